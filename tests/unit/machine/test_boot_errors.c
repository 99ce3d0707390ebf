/* SPDX-License-Identifier: Apache-2.0 */
/* What a user reads when the files are not what they should be. */
#include "boot_fixture.h"

#include "util/checked.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct bzimage_fixture image;
static struct boot_file_fixture kernel;
static struct guest_memory *memory;
static struct boot_options options;
static struct boot_result result;
static struct error error;

static void set_up(void)
{
	bzimage_default(&image);
	options = (struct boot_options){0};
	memory = fixture_memory(64 * MIB);
	memset(&result, 0x5a, sizeof(result));
}

static void tear_down(void)
{
	guest_memory_destroy(memory);
}

TestSuite(boot_errors, .init = set_up, .fini = tear_down);

/* One line that names the option and the file, says @what, and leaves the result alone. */
static void check_refused(int expected, const char *path, const char *what)
{
	static struct boot_result untouched;
	int code;

	memset(&untouched, 0x5a, sizeof(untouched));
	error = ERROR_INIT;
	code = boot_load(memory, &options, &result, &error);
	cr_assert_eq(code, expected, "%s: %d: %s", what, code, error.text);
	cr_assert(strstr(error.text, what), "'%s' not in: %s", what, error.text);
	cr_assert(strstr(error.text, path), "'%s' not in: %s", path, error.text);
	cr_assert_null(strchr(error.text, '\n'));
	cr_assert_eq(memcmp(&result, &untouched, sizeof(result)), 0, "%s", what);
}

static void check_kernel_refused(int expected, const char *what)
{
	bzimage_write(&image, &kernel);
	options.kernel_path = kernel.path;
	check_refused(expected, kernel.path, what);
	cr_assert(strstr(error.text, "--kernel"), "%s", error.text);
}

Test(boot_errors, kernel_missing)
{
	options.kernel_path = "/nonexistent/vmlinuz";
	check_refused(-ENOENT, "--kernel /nonexistent/vmlinuz", "No such file or directory");
}

Test(boot_errors, kernel_unreadable)
{
	char path[] = "/tmp/fastvmm-test-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fchmod(fd, 0), 0);
	if (geteuid() == 0 && setegid(65534) == 0 && seteuid(65534) != 0)
		cr_skip_test("cannot give up root's right to read everything");
	options.kernel_path = path;
	check_refused(-EACCES, path, "Permission denied");
	if (getuid() == 0 && seteuid(0) != 0)
		cr_assert_fail("cannot take root's rights back");
	unlink(path);
}

Test(boot_errors, kernel_is_no_regular_file)
{
	char directory[] = "/tmp/fastvmm-test-XXXXXX", path[64];

	options.kernel_path = "/";
	check_refused(-EISDIR, "--kernel /", "a directory");
	options.kernel_path = "/dev/null";
	check_refused(-EINVAL, "/dev/null", "not a regular file");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/fifo", directory);
	cr_assert_eq(mkfifo(path, 0600), 0);
	options.kernel_path = path;
	check_refused(-EINVAL, path, "not a regular file"); /* and does not wait for a writer */
	unlink(path);
	rmdir(directory);
}

struct stranger {
	const char *bytes;
	size_t offset;
	const char *what;
};

Test(boot_errors, not_a_kernel)
{
	static const struct stranger strangers[] = {
		{"hello", 0, "not a kernel"},
		{"\x1f\x8b", 0, "compressed with gzip"},
		{"\xfd"
		 "7zXZ",
			0, "compressed with xz"},
		{"\x28\xb5\x2f\xfd", 0, "compressed with zstd"},
		{"BZh", 0, "compressed with bzip2"},
		{"ARM\x64", 56, "arm64"},
		{"RSC\x05", 56, "RISC-V"},
		{"070701", 0, "is it the initrd?"},
		{"MZ", 0, "EFI program"},
	};
	char bytes[100];

	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++) {
		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes + strangers[i].offset, strangers[i].bytes, strlen(strangers[i].bytes));
		fixture_file(&kernel, bytes, sizeof(bytes));
		options.kernel_path = kernel.path;
		check_refused(-ENOEXEC, kernel.path, strangers[i].what);
	}
}

Test(boot_errors, kernel_empty)
{
	fixture_file(&kernel, "", 0);
	options.kernel_path = kernel.path;
	check_refused(-ENOEXEC, kernel.path, "empty");
}

Test(boot_errors, kernel_truncated)
{
	image.header.syssize = 10016 / 16 + 1;
	check_kernel_refused(-ENOEXEC, "truncated");
	bzimage_default(&image);
	image.header.syssize = UINT32_MAX;
	check_kernel_refused(-ENOEXEC, "truncated");
	bzimage_default(&image);
	image.header.setup_sects = 255;
	image.payload_size = 0;
	bzimage_write(&image, &kernel);
	cr_assert_eq(ftruncate(kernel.fd, 5000), 0);
	options.kernel_path = kernel.path;
	check_refused(-ENOEXEC, kernel.path, "truncated");
}

/* Cut anywhere, it is refused, and never read beyond its end. */
Test(boot_errors, kernel_cut_anywhere)
{
	bzimage_write(&image, &kernel);
	options.kernel_path = kernel.path;
	for (size_t size = image.size - 1; size; size = size > 600 ? size - 301 : size - 1) {
		int code;

		cr_assert_eq(ftruncate(kernel.fd, (off_t)size), 0);
		error = ERROR_INIT;
		code = boot_load(memory, &options, &result, &error);
		if (size + 15 < image.size)
			cr_assert_eq(code, -ENOEXEC, "%zu: %d %s", size, code, error.text);
	}
}

Test(boot_errors, kernel_of_an_unsuitable_kind)
{
	image.header.version = 0x20b;
	check_kernel_refused(-ENOEXEC, "boot protocol 2.11 is too old");
	bzimage_default(&image);
	image.header.xloadflags = 0;
	check_kernel_refused(-ENOEXEC, "32-bit kernel");
	bzimage_default(&image);
	image.header.loadflags = 0;
	check_kernel_refused(-ENOEXEC, "zImage");
	bzimage_default(&image);
	options.protocol = BOOT_PROTOCOL_PVH;
	check_kernel_refused(-ENOEXEC, "no PVH entry");
}

Test(boot_errors, kernel_with_a_damaged_header)
{
	image.header.kernel_alignment = 3;
	check_kernel_refused(-ENOEXEC, "alignment");
	image.header.kernel_alignment = 0x80000000;
	check_kernel_refused(-ENOEXEC, "alignment");
	bzimage_default(&image);
	image.header.pref_address = UINT64_MAX;
	check_kernel_refused(-ENOEXEC, "preferred address");
	bzimage_default(&image);
	image.header.init_size = 0;
	check_kernel_refused(-ENOEXEC, "unpack");
	bzimage_default(&image);
	image.header.init_size = UINT32_MAX;
	check_kernel_refused(-ENOEXEC, "never has memory");
	bzimage_default(&image);
	image.header.pref_address = 0xfff00000;
	check_kernel_refused(-ENOEXEC, "never has memory");
	bzimage_default(&image);
	image.header.relocatable_kernel = 0;
	image.header.pref_address = 0x7000;
	check_kernel_refused(-ENOEXEC, "below 1 MiB");
}

Test(boot_errors, initrd_missing)
{
	bzimage_write(&image, &kernel);
	options.kernel_path = kernel.path;
	options.initrd_path = "/nonexistent/initrd";
	check_refused(-ENOENT, "--initrd /nonexistent/initrd", "No such file or directory");
	options.initrd_path = "/";
	check_refused(-EISDIR, "--initrd /", "a directory");
}

Test(boot_errors, initrd_empty)
{
	struct boot_file_fixture initrd;

	bzimage_write(&image, &kernel);
	fixture_file(&initrd, "", 0);
	options.kernel_path = kernel.path;
	options.initrd_path = initrd.path;
	check_refused(-ENOEXEC, initrd.path, "empty");
}

Test(boot_errors, memory_too_little_for_anything)
{
	guest_memory_destroy(memory);
	memory = fixture_memory(1 * MIB);
	bzimage_write(&image, &kernel);
	options.kernel_path = kernel.path;
	check_refused(-ENOMEM, "--memory", "too little");
}
