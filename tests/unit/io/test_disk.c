/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: what is refused and in which words, the lock, the size. */
#include "fixture.h"
#include "io/disk.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct disk *disk;
static struct error error;

static int open_as(const char *path, bool readonly)
{
	struct disk_options options = {
		.path = path, .cache = DISK_CACHE_WRITEBACK, .readonly = readonly, .discard = true};

	error = ERROR_INIT;
	disk = NULL;
	return disk_open(&options, &disk, &error);
}

static void refused(const char *path, int code, const char *text)
{
	cr_assert_eq(open_as(path, false), code, "%s", error.text);
	cr_assert_null(disk, "outputs stay untouched on failure");
	cr_assert_not_null(strstr(error.text, path), "names the file: %s", error.text);
	cr_assert_not_null(strstr(error.text, text), "says \"%s\": %s", text, error.text);
	cr_assert_null(strchr(error.text, '\n'));
}

Test(disk, missing_file)
{
	refused("/var/tmp/fastvmm-no-such-file", -ENOENT, "truncate -s");
}

Test(disk, directory)
{
	refused("/var/tmp", -EISDIR, "is a directory");
}

Test(disk, character_device)
{
	refused("/dev/null", -EINVAL, "neither a file nor a block device");
}

Test(disk, fifo_is_not_opened)
{
	char path[64];

	/* A FIFO without a reader would block an open for writing: the test would time out. */
	snprintf(path, sizeof(path), "/var/tmp/fastvmm-test-fifo-%d", (int)getpid());
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused(path, -EINVAL, "neither a file nor a block device");
	unlink(path);
}

Test(disk, empty_file)
{
	struct image image;

	image_init(&image, 0, 0);
	refused(image.path, -ENODATA, "is empty");
	image_deinit(&image);
}

Test(disk, size_must_be_a_multiple_of_a_sector)
{
	struct image image;

	image_init(&image, 4096 + 511, 0);
	refused(image.path, -EINVAL, "4607 bytes, is not a multiple of 512");
	image_deinit(&image);
}

Test(disk, permission)
{
	uid_t user = geteuid();
	struct image image;

	image_init(&image, 4096, 0);
	cr_assert_eq(fchmod(image.fd, 0444), 0);
	if (!user && seteuid(65534)) {
		image_deinit(&image);
		cr_skip_test("cannot drop root's rights");
	}
	refused(image.path, -EACCES, "permission denied");
	cr_assert_not_null(strstr(error.text, "readonly=on"));
	cr_assert_eq(open_as(image.path, true), 0, "%s", error.text);
	disk_close(disk);
	cr_assert_eq(seteuid(user), 0);
	image_deinit(&image);
}

Test(disk, what_is_found_out)
{
	struct image image;

	image_init(&image, 3 * MIB, 0);
	cr_assert_eq(open_as(image.path, false), 0, "%s", error.text);
	cr_assert_eq(disk_size(disk), 3 * MIB);
	cr_assert_eq(disk->logical_block, 512);
	cr_assert_geq(disk->physical_block, 512);
	cr_assert(!disk->block_device && !disk->direct && !disk->readonly && disk->discard);
	cr_assert_eq(disk->memory_align, 1);
	disk_close(disk);
	image_deinit(&image);
}

Test(disk, direct_io_where_the_file_takes_it)
{
	struct disk_options options = {.cache = DISK_CACHE_NONE};
	struct disk_request request = {.op = DISK_READ, .iov_count = 1};
	struct image image;
	struct iovec iov;

	image_init(&image, MIB, 0);
	options.path = image.path;
	cr_assert_eq(disk_open(&options, &disk, &error), 0, "%s", error.text);
	if (!disk->direct) {
		disk_close(disk);
		image_deinit(&image);
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	cr_assert_neq(fcntl(disk->fd, F_GETFL) & O_DIRECT, 0);
	cr_assert_leq(disk->length_align, 512);
	request.iov = &iov;
	iov = (struct iovec){(void *)0x100000, 512};
	cr_assert(!disk_needs_bounce(disk, &request));
	iov.iov_base = (void *)0x100001;
	cr_assert(disk_needs_bounce(disk, &request));
	iov = (struct iovec){(void *)0x100000, 100};
	cr_assert(disk_needs_bounce(disk, &request));
	disk_close(disk);
	image_deinit(&image);
}

/* ---- the lock ---- */

Test(disk, a_second_writer_is_kept_out)
{
	struct disk *first;
	struct image image;

	image_init(&image, MIB, 0);
	cr_assert_eq(open_as(image.path, false), 0, "%s", error.text);
	first = disk;
	refused(image.path, -EBUSY, "locked by another instance");
	disk_close(first);
	cr_assert_eq(open_as(image.path, false), 0, "%s", error.text);
	disk_close(disk);
	image_deinit(&image);
}

Test(disk, readers_share_but_not_with_a_writer)
{
	struct disk *first, *second;
	struct image image;

	image_init(&image, MIB, 0);
	cr_assert_eq(open_as(image.path, true), 0, "%s", error.text);
	first = disk;
	cr_assert_eq(open_as(image.path, true), 0, "%s", error.text);
	second = disk;
	refused(image.path, -EBUSY, "locked by another instance");
	disk_close(first);
	refused(image.path, -EBUSY, "locked by another instance");
	disk_close(second);
	cr_assert_eq(open_as(image.path, false), 0, "%s", error.text);
	first = disk;
	cr_assert_eq(open_as(image.path, true), -EBUSY);
	disk_close(first);
	image_deinit(&image);
}

static void lock_like_qemu(const struct image *image, off_t byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	cr_assert_eq(fcntl(image->fd, F_OFD_SETLK, &lock), 0);
}

/* QEMU takes shared locks only: byte 101 says "I write", 201 "nobody may write". */
Test(disk, qemu_s_writer_is_seen)
{
	struct image image;

	image_init(&image, MIB, 0);
	lock_like_qemu(&image, 101);
	refused(image.path, -EBUSY, "locked by another instance");
	cr_assert_eq(open_as(image.path, true), -EBUSY);
	cr_assert_not_null(strstr(error.text, "that writes to it"));
	image_deinit(&image);
}

Test(disk, qemu_s_reader_is_seen)
{
	struct image image;

	image_init(&image, MIB, 0);
	lock_like_qemu(&image, 100);
	lock_like_qemu(&image, 201);
	refused(image.path, -EBUSY, "locked by another instance");
	cr_assert_eq(open_as(image.path, true), 0, "two readers share: %s", error.text);
	disk_close(disk);
	image_deinit(&image);
}

static bool held_against(const struct image *image, off_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	cr_assert_eq(fcntl(image->fd, F_OFD_GETLK, &lock), 0);
	return lock.l_type != F_UNLCK;
}

Test(disk, qemu_would_see_us)
{
	struct image image;

	image_init(&image, MIB, 0);
	cr_assert_eq(open_as(image.path, false), 0);
	cr_assert(held_against(&image, 101) && held_against(&image, 201));
	disk_close(disk);
	cr_assert_eq(open_as(image.path, true), 0);
	cr_assert(!held_against(&image, 101), "a reader does not pose as a writer");
	cr_assert(held_against(&image, 100) && held_against(&image, 201));
	disk_close(disk);
	cr_assert(!held_against(&image, 100) && !held_against(&image, 201));
	image_deinit(&image);
}

/* ---- size ---- */

Test(disk, size_is_looked_at_again)
{
	struct image image;
	bool changed = true;

	image_init(&image, MIB, 0);
	cr_assert_eq(open_as(image.path, false), 0);
	cr_assert_eq(disk_refresh_size(disk, &changed), 0);
	cr_assert(!changed);
	cr_assert_eq(ftruncate(image.fd, 2 * MIB + 700), 0);
	cr_assert_eq(disk_refresh_size(disk, &changed), 0);
	cr_assert(changed);
	cr_assert_eq(disk_size(disk), 2 * MIB + 512, "rounded down to whole sectors");
	disk_close(disk);
	image_deinit(&image);
}

/* ---- stepping down ---- */

Test(disk, range_methods_step_down_and_are_remembered)
{
	struct disk_request zero = {.op = DISK_WRITE_ZEROES, .unmap = true};
	struct disk_request again = zero;
	struct image image;

	image_init(&image, MIB, 0);
	cr_assert_eq(open_as(image.path, false), 0);
	zero.method = (uint8_t)disk_range_first(disk, &zero);
	cr_assert_eq(zero.method, DISK_RANGE_PUNCH);
	cr_assert(!disk_range_step_down(disk, &zero, -EIO), "a real error is not stepped around");
	cr_assert(!disk_range_step_down(disk, &zero, -ENOSPC));
	cr_assert(!disk_range_step_down(disk, &zero, 0));
	cr_assert(disk_range_step_down(disk, &zero, -EOPNOTSUPP));
	cr_assert_eq(zero.method, DISK_RANGE_ZERO);
	cr_assert_eq(disk_range_first(disk, &again), DISK_RANGE_ZERO);
	cr_assert(disk_range_step_down(disk, &zero, -EOPNOTSUPP));
	cr_assert_eq(zero.method, DISK_RANGE_WRITE);
	cr_assert(!disk_range_step_down(disk, &zero, -EOPNOTSUPP), "the last resort");
	again.unmap = false;
	cr_assert_eq(disk_range_first(disk, &again), DISK_RANGE_ZERO, "a method of its own");
	disk_close(disk);
	image_deinit(&image);
}

Test(disk, discard_off_touches_nothing)
{
	struct disk_request request = {.op = DISK_DISCARD};
	struct disk_options options = {.cache = DISK_CACHE_WRITEBACK};
	struct image image;

	image_init(&image, MIB, 0);
	options.path = image.path;
	cr_assert_eq(disk_open(&options, &disk, &error), 0);
	cr_assert_eq(disk_range_first(disk, &request), DISK_RANGE_WRITE);
	request = (struct disk_request){.op = DISK_WRITE_ZEROES, .unmap = true};
	cr_assert_eq(disk_range_first(disk, &request), DISK_RANGE_ZERO, "unmap is not allowed");
	disk_close(disk);
	image_deinit(&image);
}
