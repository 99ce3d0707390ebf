/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real block device behind the disk: a loop device on a temporary file. Needs the right to set
 * one up; skipped elsewhere.
 */
#include "fixture.h"
#include "io/disk.h"
#include "util/error.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BYTES (4u << 20)

struct loop {
	struct image backing;
	char path[32];
	int fd;
};

static struct loop loop;

/* The device goes away with its last user (AUTOCLEAR), whatever becomes of the test. */
static bool loop_init(uint32_t block_size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = {.block_size = block_size, .info.lo_flags = LO_FLAGS_AUTOCLEAR};

	image_init(&loop.backing, BYTES, 21);
	config.fd = (uint32_t)loop.backing.fd;
	for (unsigned tries = 0; control >= 0 && tries < 20; tries++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			break;
		snprintf(loop.path, sizeof(loop.path), "/dev/loop%d", number);
		loop.fd = open(loop.path, O_RDWR | O_CLOEXEC);
		if (loop.fd < 0)
			break;
		if (!ioctl(loop.fd, LOOP_CONFIGURE, &config)) {
			close(control);
			return true;
		}
		close(loop.fd); /* somebody else was quicker */
	}
	if (control >= 0)
		close(control);
	image_deinit(&loop.backing);
	return false;
}

static void loop_deinit(void)
{
	close(loop.fd);
	image_deinit(&loop.backing);
}

#define need_loop(block_size)                                                                      \
	do {                                                                                       \
		if (!loop_init(block_size))                                                        \
			cr_skip_test("no right to set a loop device up");                          \
	} while (0)

static struct disk *open_loop(enum disk_cache cache)
{
	struct disk_options options = {.path = loop.path, .cache = cache, .discard = true};
	struct error error = ERROR_INIT;
	struct disk *disk = NULL;

	cr_assert_eq(disk_open(&options, &disk, &error), 0, "%s", error.text);
	return disk;
}

TestSuite(block_device, .timeout = 120);

Test(block_device, what_is_found_out)
{
	struct disk *disk;

	need_loop(512);
	disk = open_loop(DISK_CACHE_WRITEBACK);
	cr_assert(disk->block_device);
	cr_assert_eq(disk_size(disk), BYTES);
	cr_assert_eq(disk->logical_block, 512);
	disk_close(disk);
	loop_deinit();
}

Test(block_device, large_blocks_are_passed_on)
{
	struct disk *disk;

	need_loop(4096);
	disk = open_loop(DISK_CACHE_NONE);
	cr_assert_eq(disk->logical_block, 4096);
	cr_assert_geq(disk->physical_block, 4096);
	disk_close(disk);
	loop_deinit();
}

Test(block_device, a_second_writer_is_kept_out)
{
	struct disk_options options = {.cache = DISK_CACHE_WRITEBACK};
	struct error error = ERROR_INIT;
	struct disk *disk, *second = NULL;

	need_loop(512);
	disk = open_loop(DISK_CACHE_WRITEBACK);
	options.path = loop.path;
	cr_assert_eq(disk_open(&options, &second, &error), -EBUSY);
	cr_assert_not_null(strstr(error.text, "in use"), "%s", error.text);
	disk_close(disk);
	loop_deinit();
}

/* ---- the whole device on it ---- */

struct whole {
	struct mock_guest guest;
	struct io_worker *worker;
	struct blk_device *device;
	struct mock_driver driver;
	uint64_t page; /* header at 0, status at 64, data at 4096 */
};

static struct whole whole;

static void whole_init(enum disk_cache cache)
{
	struct blk_config config = {.name = "disk0",
		.path = loop.path,
		.cache = cache,
		.discard = true,
		.queues = 1,
		.queue_size = 16};
	struct error error = ERROR_INIT;

	mock_guest_init(&whole.guest, MIB);
	whole.worker = test_worker("block-test");
	cr_assert_eq(blk_device_create(
			     &config, whole.guest.memory, &whole.worker, 1, &whole.device, &error),
		0, "%s", error.text);
	cr_assert_eq(mock_driver_start(&whole.driver, blk_device_virtio(whole.device), &whole.guest,
			     blk_device_virtio(whole.device)->features_offered, 1, 16),
		0);
	whole.page = mock_guest_alloc(&whole.guest, 4096 * 5, 4096);
}

static void whole_deinit(void)
{
	mock_driver_deinit(&whole.driver);
	blk_device_destroy(whole.device);
	io_worker_destroy(whole.worker);
	mock_guest_deinit(&whole.guest);
}

static void *data(void)
{
	return mock_guest_pointer(&whole.guest, whole.page + 4096, 16384);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t length)
{
	bool in = type == VIRTIO_BLK_T_IN;
	struct mock_segment segments[3] = {
		{.gpa = whole.page, .length = 16},
		{.gpa = whole.page + 4096, .length = length, .writable = in},
		{.gpa = whole.page + 64, .length = 1, .writable = true},
	};
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	uint32_t written;

	memcpy(mock_guest_pointer(&whole.guest, whole.page, 16), &header, sizeof(header));
	cr_assert_eq(
		mock_driver_request(&whole.driver, 0, segments, 3, RIG_TIMEOUT_MS, &written), 0);
	return *(uint8_t *)mock_guest_pointer(&whole.guest, whole.page + 64, 1);
}

static uint8_t range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes entry = {
		.sector = sector, .num_sectors = sectors, .flags = flags};

	memcpy(data(), &entry, sizeof(entry));
	return request(type, 0, sizeof(entry));
}

static void check_content(uint64_t sector, unsigned bytes, bool zero)
{
	unsigned char want[16384];

	cr_assert_eq(request(VIRTIO_BLK_T_IN, sector, bytes), VIRTIO_BLK_S_OK);
	if (zero)
		memset(want, 0, bytes);
	else
		image_pattern(want, sector * 512, bytes, 21);
	cr_assert_eq(memcmp(data(), want, bytes), 0, "sector %llu", (unsigned long long)sector);
}

static void check_requests(enum disk_cache cache)
{
	need_loop(512);
	whole_init(cache);
	check_content(8, 8192, false);
	image_pattern(data(), 64 * 512, 4096, 21);
	cr_assert_eq(request(VIRTIO_BLK_T_OUT, 128, 4096), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, 16), VIRTIO_BLK_S_OK);
	cr_assert_eq(range(VIRTIO_BLK_T_WRITE_ZEROES, 256, 64, 0), VIRTIO_BLK_S_OK);
	check_content(248, 4096, false);
	check_content(256, 16384, true);
	check_content(288, 16384, true);
	check_content(320, 4096, false);
	cr_assert_eq(range(VIRTIO_BLK_T_WRITE_ZEROES, 512, 64, 1), VIRTIO_BLK_S_OK);
	check_content(512, 16384, true);
	cr_assert_eq(range(VIRTIO_BLK_T_DISCARD, 1024, 1024, 0), VIRTIO_BLK_S_OK);
	check_content(1016, 4096, false);
	check_content(2048, 4096, false);
	whole_deinit();
	loop_deinit();
}

Test(block_device, requests_through_the_page_cache)
{
	check_requests(DISK_CACHE_WRITEBACK);
}

Test(block_device, requests_with_direct_io)
{
	check_requests(DISK_CACHE_NONE);
}

Test(block_device, misaligned_to_large_blocks)
{
	need_loop(4096);
	whole_init(DISK_CACHE_NONE);
	check_content(16, 8192, false);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 17, 4096), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_IN, 16, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(range(VIRTIO_BLK_T_WRITE_ZEROES, 1, 8, 0), VIRTIO_BLK_S_IOERR);
	whole_deinit();
	loop_deinit();
}
