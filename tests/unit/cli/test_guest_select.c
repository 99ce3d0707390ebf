/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/guest_select.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/fastvmm-test-XXXXXX";

static void make_directory(void)
{
	cr_assert_not_null(mkdtemp(directory));
}

static void path_of(const char *name, char path[static 256])
{
	snprintf(path, 256, "%s/%s", directory, name);
}

static void add(const char *name)
{
	char path[256];
	int fd;

	path_of(name, path);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
}

static void remove_all(void)
{
	static const char *const names[] = {"vmlinuz", "initrd", "vmlinuz-6.1.9", "vmlinuz-6.1.10",
		"vmlinuz-5.10.0", "initrd.img-6.1.10"};
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_of(names[i], path);
		unlink(path);
	}
	rmdir(directory);
}

static bool ends_with(const char *text, const char *ending)
{
	size_t length = strlen(text), tail = strlen(ending);

	return length >= tail && !strcmp(text + length - tail, ending);
}

Test(guest_select, a_directory_with_kernel_and_initrd, .init = make_directory, .fini = remove_all)
{
	struct guest_selection selection = {0};

	cr_assert_eq(guest_select_directory(directory, &selection), -ENOENT);
	add("vmlinuz");
	cr_assert_eq(guest_select_directory(directory, &selection), 0);
	cr_assert_null(selection.initrd);
	guest_selection_deinit(&selection);
	add("initrd");
	cr_assert_eq(guest_select_directory(directory, &selection), 0);
	cr_assert(ends_with(selection.initrd, "/initrd"));
	guest_selection_deinit(&selection);
}

Test(guest_select, the_newest_kernel_counts_numbers, .init = make_directory, .fini = remove_all)
{
	struct guest_selection selection = {0};

	cr_assert_eq(guest_select_boot(directory, &selection), -ENOENT);
	add("vmlinuz-6.1.9");
	add("vmlinuz-6.1.10");
	add("vmlinuz-5.10.0");
	add("initrd.img-6.1.10");
	cr_assert_eq(guest_select_boot(directory, &selection), 0);
	cr_assert(ends_with(selection.kernel, "/vmlinuz-6.1.10"), "%s", selection.kernel);
	cr_assert(ends_with(selection.initrd, "/initrd.img-6.1.10"));
	guest_selection_deinit(&selection);
}

Test(guest_select, the_environment_names_a_directory, .init = make_directory, .fini = remove_all)
{
	struct guest_selection selection = {0};
	struct error error = ERROR_INIT;

	setenv("FASTVMM_GUEST", directory, 1);
	cr_assert_eq(guest_select(&selection, &error), -ENOENT);
	cr_assert_not_null(strstr(error.text, "FASTVMM_GUEST="), "%s", error.text);
	cr_assert_not_null(strstr(error.text, "tools/mkguest"), "%s", error.text);
	add("vmlinuz");
	cr_assert_eq(guest_select(&selection, NULL), 0);
	guest_selection_deinit(&selection);
}
