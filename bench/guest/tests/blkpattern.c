/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blkpattern fill|check FILE SEED GENERATION [OFFSET [SIZE]]: the host's side of verify=fill and
 * verify=check. Writes the pattern of pattern.h to an image, or checks an image for it. OFFSET and
 * SIZE are bytes, multiples of 512. check prints the number of bad sectors and the first; exit
 * status 1 when some.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

#define CHUNK_SECTORS 2048u

static uint64_t number(const char *text, const char *name)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end) {
		fprintf(stderr, "blkpattern: %s is not a number: %s\n", name, text);
		exit(2);
	}
	return value;
}

/* Moves all of a chunk; false at a short file or an error. */
static int transfer(int fd, void *data, size_t size, off_t offset, int writing)
{
	for (size_t done = 0; done < size;) {
		ssize_t n =
			writing ? pwrite(fd, (char *)data + done, size - done, offset + (off_t)done)
				: pread(fd, (char *)data + done, size - done, offset + (off_t)done);

		if (n <= 0)
			return 0;
		done += (size_t)n;
	}
	return 1;
}

int main(int argc, char **argv)
{
	static uint64_t data[CHUNK_SECTORS * PATTERN_SECTOR / 8];
	uint64_t seed, generation, offset = 0, size, bad = 0;
	int writing, fd;
	struct stat info;

	if (argc < 5 || argc > 7 || (strcmp(argv[1], "fill") && strcmp(argv[1], "check"))) {
		fprintf(stderr,
			"usage: blkpattern fill|check FILE SEED GENERATION [OFFSET [SIZE]]\n");
		return 2;
	}
	writing = !strcmp(argv[1], "fill");
	fd = open(argv[2], (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) < 0) {
		fprintf(stderr, "blkpattern: %s: %s\n", argv[2], strerror(errno));
		return 2;
	}
	seed = number(argv[3], "SEED");
	generation = number(argv[4], "GENERATION");
	offset = argc > 5 ? number(argv[5], "OFFSET") : 0;
	size = argc > 6 ? number(argv[6], "SIZE") : (uint64_t)info.st_size - offset;
	if (offset % PATTERN_SECTOR || size % PATTERN_SECTOR) {
		fprintf(stderr, "blkpattern: OFFSET and SIZE must be multiples of %d\n",
			PATTERN_SECTOR);
		return 2;
	}
	for (uint64_t at = offset; at < offset + size;) {
		uint64_t left = (offset + size - at) / PATTERN_SECTOR;
		uint32_t sectors = left < CHUNK_SECTORS ? (uint32_t)left : CHUNK_SECTORS;
		uint32_t wrong = 0;

		if (writing)
			pattern_fill(data, at / PATTERN_SECTOR, sectors, generation, seed);
		if (!transfer(fd, data, (size_t)sectors * PATTERN_SECTOR, (off_t)at, writing)) {
			fprintf(stderr, "blkpattern: %s: cannot %s at byte %" PRIu64 "\n", argv[2],
				writing ? "write" : "read", at);
			return 2;
		}
		if (!writing)
			wrong = pattern_check(data, at / PATTERN_SECTOR, sectors, generation, seed);
		if (wrong && !bad)
			fprintf(stderr,
				"blkpattern: first bad sector within %u from sector %" PRIu64
				" on\n",
				sectors, at / PATTERN_SECTOR);
		bad += wrong;
		at += (uint64_t)sectors * PATTERN_SECTOR;
	}
	close(fd);
	if (!writing)
		printf("%" PRIu64 " bad sectors of %" PRIu64 "\n", bad, size / PATTERN_SECTOR);
	return bad != 0;
}
