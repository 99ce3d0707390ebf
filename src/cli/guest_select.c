/* SPDX-License-Identifier: Apache-2.0 */
/* Each place is a directory; the first that holds a readable kernel wins. */
#include "cli/guest_select.h"

#include "util/cleanup.h"
#include "util/error.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_GUEST   "/var/lib/fastvmm/guest/default"
#define KERNEL_PREFIX "vmlinuz-"

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* "DIRECTORY/NAME", heap-allocated, where that file is readable; else NULL. */
static char *readable(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		return NULL;
	if (!access(path, R_OK))
		return path;
	free(path);
	return NULL;
}

int guest_select_directory(const char *directory, struct guest_selection *ret_selection)
{
	char *kernel = readable(directory, "vmlinuz");

	if (!kernel)
		return -ENOENT;
	*ret_selection = (struct guest_selection){kernel, readable(directory, "initrd")};
	return 0;
}

/* The name of the newest kernel that is readable, heap-allocated, or NULL. */
static char *newest_kernel(const char *path)
{
	auto_call(close_directory) DIR *directory = opendir(path);
	auto_free char *best = NULL;
	struct dirent *entry;

	if (!directory)
		return NULL;
	while ((entry = readdir(directory))) {
		auto_free char *file = NULL;

		if (strncmp(entry->d_name, KERNEL_PREFIX, strlen(KERNEL_PREFIX)))
			continue;
		if (best && strverscmp(entry->d_name, best) <= 0)
			continue;
		file = readable(path, entry->d_name);
		if (!file)
			continue;
		free(best);
		best = strdup(entry->d_name);
	}
	return take_pointer(best);
}

int guest_select_boot(const char *directory, struct guest_selection *ret_selection)
{
	auto_free char *name = newest_kernel(directory);
	char initrd[NAME_MAX + 16];

	if (!name)
		return -ENOENT;
	snprintf(initrd, sizeof(initrd), "initrd.img-%s", name + strlen(KERNEL_PREFIX));
	ret_selection->kernel = readable(directory, name);
	ret_selection->initrd = readable(directory, initrd);
	return ret_selection->kernel ? 0 : -ENOENT;
}

/* The guest of a build tree lies beside the executable. */
static int select_beside_executable(struct guest_selection *ret_selection)
{
	char path[PATH_MAX + sizeof("/guest/default")];
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	if (length < 0)
		return -ENOENT;
	path[length] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -ENOENT;
	strcpy(slash, "/guest/default");
	return guest_select_directory(path, ret_selection);
}

int guest_select(struct guest_selection *ret_selection, struct error *error)
{
	const char *directory = getenv("FASTVMM_GUEST");

	if (directory && *directory) {
		if (!guest_select_directory(directory, ret_selection))
			return 0;
		return error_set(error, -ENOENT,
			"FASTVMM_GUEST=%s: no readable file vmlinuz in it; run tools/mkguest "
			"--output",
			directory);
	}
	if (!select_beside_executable(ret_selection) ||
		!guest_select_directory(STATE_GUEST, ret_selection) ||
		!guest_select_boot("/boot", ret_selection))
		return 0;
	return error_set(error, -ENOENT,
		"no guest kernel found: make one with tools/mkguest, or name one with --kernel");
}

void guest_selection_deinit(struct guest_selection *selection)
{
	free(selection->kernel);
	free(selection->initrd);
	*selection = (struct guest_selection){0};
}
