/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main() for fuzz targets built without libFuzzer: feeds each file of the directories (or each
 * file) named on the command line to the target once, in name order. The target aborts where it
 * finds a fault; the name printed before is then that of the culprit. No file at all is a failure:
 * a corpus that was lost must not look like one that passes.
 */
#include "util/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned files_replayed;
static char current[4096];

/* The one file that was being replayed, for whoever reads the output of an abort. */
static void announce(const char *path)
{
	snprintf(current, sizeof(current), "%s", path);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s\n", current);
}

static int replay_file(const char *path)
{
	auto_file FILE *file = fopen(path, "rb");
	auto_free uint8_t *data = malloc(INPUT_MAX);
	auto_free uint8_t *exact = NULL;
	size_t size;

	if (!file || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(data, 1, INPUT_MAX, file);
	exact = malloc(size ? size : 1); /* of the exact size, so that overruns are seen */
	if (!exact)
		return -1;
	memcpy(exact, data, size);
	announce(path);
	LLVMFuzzerTestOneInput(exact, size);
	files_replayed++;
	return 0;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int replay_directory(const char *path)
{
	struct dirent **names;
	int count = scandir(path, &names, is_visible, alphasort);
	int result = 0;

	if (count < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (!result)
			result = replay_file(file);
		free(names[i]);
	}
	free(names);
	return result;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat status;
		int result;

		if (stat(argv[i], &status)) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		result = S_ISDIR(status.st_mode) ? replay_directory(argv[i]) : replay_file(argv[i]);
		if (result)
			return 1;
	}
	if (!files_replayed) {
		fputs("nothing to replay: the corpus is empty\n", stderr);
		return 1;
	}
	printf("%u inputs replayed\n", files_replayed);
	return 0;
}
