/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A polled disk as a whole device: what goes by the polled ring and what does not, beside a disk
 * that is not polled, and where the file cannot be. Polling itself needs a file system such as ext4
 * on a device with polled queues, as NVMe has: tests/linux runs these tests on one.
 */
#include "fixture.h"
#include "util/error.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SEED  31
#define DEPTH 16u

static struct blk_rig rig;

TestSuite(iopoll, .timeout = 120);

/* False where the file system does not poll; the test is skipped then. */
static bool begin(const struct blk_rig_options *options)
{
	blk_rig_init(&rig, options);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
	return disk_is_polled(blk_device_disk(rig.device));
}

#define need_polling(...)                                                                          \
	do {                                                                                       \
		if (!begin(&(struct blk_rig_options){.iopoll = true, __VA_ARGS__})) {              \
			blk_rig_deinit(&rig);                                                      \
			cr_skip_test("/var/tmp cannot be polled");                                 \
		}                                                                                  \
	} while (0)

static void expect_data(uint64_t sector, uint32_t shift, uint32_t length, uint64_t seed)
{
	char want[65536];

	image_pattern(want, sector * 512, length, seed);
	memset(rig_data(&rig), 0x55, length + shift);
	cr_assert_eq(rig_request_at(&rig, VIRTIO_BLK_T_IN, sector, shift, length), VIRTIO_BLK_S_OK);
	cr_assert_eq(memcmp((char *)rig_data(&rig) + shift, want, length), 0);
}

static void expect_zeros(uint64_t sector, uint32_t length)
{
	const char *data = rig_data(&rig);

	memset(rig_data(&rig), 0x55, length);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, sector, length), VIRTIO_BLK_S_OK);
	for (uint32_t i = 0; i < length; i++)
		cr_assert_eq(data[i], 0);
}

static void write_data(uint64_t sector, uint32_t shift, uint32_t length, uint64_t seed)
{
	char got[65536], want[65536];

	image_pattern(want, sector * 512, length, seed);
	memcpy((char *)rig_data(&rig) + shift, want, length);
	cr_assert_eq(
		rig_request_at(&rig, VIRTIO_BLK_T_OUT, sector, shift, length), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(rig.image.fd, got, length, (off_t)sector * 512), (ssize_t)length);
	cr_assert_eq(memcmp(got, want, length), 0);
}

Test(iopoll, reads_and_writes_are_polled_and_nothing_else_is)
{
	uint64_t polled;

	need_polling(.seed = SEED);
	expect_data(8, 0, 65536, SEED);
	write_data(16, 0, 32768, SEED + 1);
	expect_data(16, 0, 32768, SEED + 1);
	polled = rig_stat(&rig, 0, BLK_STAT_POLLED);
	cr_assert_geq(polled, 4);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_DISCARD, 64, 64, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 128, 8, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_POLLED), polled);
	expect_zeros(128, 4096);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_ERRORS), 0);
	blk_rig_deinit(&rig);
}

/* A driver that does not flush: every write is durable, with RWF_DSYNC. */
Test(iopoll, durable_writes)
{
	need_polling(.seed = SEED,
		.features = ~(1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE));
	write_data(8, 0, 16384, SEED + 2);
	expect_data(8, 0, 16384, SEED + 2);
	cr_assert_geq(rig_stat(&rig, 0, BLK_STAT_POLLED), 3);
	blk_rig_deinit(&rig);
}

Test(iopoll, unaligned_buffers_go_through_the_aligned_one)
{
	need_polling(.seed = SEED);
	write_data(8, 3, 16384, SEED + 3);
	expect_data(8, 5, 16384, SEED + 3);
	cr_assert_geq(rig_stat(&rig, 0, BLK_STAT_BOUNCES), 2);
	cr_assert_geq(rig_stat(&rig, 0, BLK_STAT_POLLED), 3);
	blk_rig_deinit(&rig);
}

Test(iopoll, registered_memory)
{
	need_polling(.seed = SEED, .fixed_buffers = true);
	expect_data(8, 0, 65536, SEED);
	write_data(8, 0, 16384, SEED + 4);
	expect_data(8, 0, 16384, SEED + 4);
	blk_rig_deinit(&rig);
}

/* Nothing in flight: nothing is entered, in neither ring. */
Test(iopoll, an_idle_worker_sleeps)
{
	uint64_t enters, cqes;

	need_polling(.seed = SEED);
	worker_wait_asleep(rig.workers[0]);
	enters = worker_stat(rig.workers[0], "enters");
	cqes = worker_stat(rig.workers[0], "cqes");
	expect_data(8, 0, 4096, SEED);
	cr_assert_geq(worker_stat(rig.workers[0], "enters"), enters + 1);
	cr_assert_geq(worker_stat(rig.workers[0], "cqes"), cqes + 1, "both rings are counted");
	blk_rig_deinit(&rig);
}

/* ---- beside a disk that is not polled ---- */

struct other {
	struct image image;
	struct blk_device *device;
	struct mock_driver driver;
};

static struct other other;

static void other_init(void)
{
	struct blk_config config = {.name = "disk1",
		.cache = DISK_CACHE_WRITEBACK,
		.discard = true,
		.queues = 1,
		.queue_size = 64};
	struct error error = ERROR_INIT;

	image_init(&other.image, 8 * MIB, SEED + 9);
	config.path = other.image.path;
	cr_assert_eq(
		blk_device_create(&config, rig.guest.memory, rig.workers, 1, &other.device, &error),
		0, "%s", error.text);
	cr_assert_eq(mock_driver_start(&other.driver, blk_device_virtio(other.device), &rig.guest,
			     blk_device_virtio(other.device)->features_offered, 1, 64),
		0);
}

static void other_deinit(void)
{
	mock_driver_deinit(&other.driver);
	blk_device_destroy(other.device);
	image_deinit(&other.image);
}

/* A read of 4 KiB that stays in flight. */
struct flight {
	uint64_t header, status, data;
};

static void fly(struct mock_driver *driver, struct flight *flight, uint64_t sector)
{
	struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN, .sector = sector};
	struct mock_segment segments[3] = {{.length = 16}, {.length = 4096, .writable = true},
		{.length = 1, .writable = true}};

	if (!flight->header) {
		flight->header = mock_guest_alloc(&rig.guest, 16, 16);
		flight->status = mock_guest_alloc(&rig.guest, 1, 1);
		flight->data = mock_guest_alloc(&rig.guest, 4096, 4096);
	}
	memcpy(mock_guest_pointer(&rig.guest, flight->header, 16), &header, sizeof(header));
	*(uint8_t *)mock_guest_pointer(&rig.guest, flight->status, 1) = 0xee;
	segments[0].gpa = flight->header;
	segments[1].gpa = flight->data;
	segments[2].gpa = flight->status;
	cr_assert_geq(mock_queue_add(driver->queues[0], segments, 3), 0);
}

static void landed(const struct flight *flight, uint64_t sector, uint64_t seed)
{
	char want[4096];

	image_pattern(want, sector * 512, sizeof(want), seed);
	cr_assert_eq(
		*(uint8_t *)mock_guest_pointer(&rig.guest, flight->status, 1), VIRTIO_BLK_S_OK);
	cr_assert_eq(memcmp(mock_guest_pointer(&rig.guest, flight->data, 4096), want, 4096), 0);
}

static void wait_all(struct mock_driver *driver)
{
	struct mock_used used;

	while (mock_queue_in_flight(driver->queues[0]))
		cr_assert_eq(mock_driver_wait_used(driver, 0, RIG_TIMEOUT_MS, &used), 0);
}

Test(iopoll, a_disk_that_is_not_polled_on_the_same_worker)
{
	static struct flight polled[DEPTH], plain[DEPTH];

	need_polling(.seed = SEED);
	other_init();
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < DEPTH; i++) {
			fly(&rig.driver, &polled[i], (round + i) * 8);
			fly(&other.driver, &plain[i], (round + i) * 16);
		}
		mock_driver_kick(&rig.driver, 0);
		mock_driver_kick(&other.driver, 0);
		wait_all(&other.driver);
		wait_all(&rig.driver);
		for (unsigned i = 0; i < DEPTH; i++) {
			landed(&polled[i], (round + i) * 8, SEED);
			landed(&plain[i], (round + i) * 16, SEED + 9);
		}
	}
	other_deinit();
	blk_rig_deinit(&rig);
}

Test(iopoll, the_device_is_reset_while_requests_are_in_flight)
{
	static struct flight flights[DEPTH];

	need_polling(.seed = SEED);
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < DEPTH; i++)
			fly(&rig.driver, &flights[i], (round + i) * 8);
		mock_driver_kick(&rig.driver, 0);
		mock_driver_deinit(&rig.driver);
		blk_rig_restart(&rig);
	}
	expect_data(8, 0, 65536, SEED);
	blk_rig_deinit(&rig);
}

/* ---- where it cannot be ---- */

/* tmpfs takes direct I/O since Linux 6.6, and cannot be polled in any. */
Test(iopoll, a_file_that_cannot_be_polled_is_used_without)
{
	char path[] = "/dev/shm/fastvmm-test-XXXXXX", content[65536];
	int fd = mkostemp(path, O_CLOEXEC);

	cr_assert_geq(fd, 0);
	image_pattern(content, 0, sizeof(content), SEED);
	cr_assert_eq(pwrite(fd, content, sizeof(content), 0), (ssize_t)sizeof(content));
	cr_assert_not(begin(&(struct blk_rig_options){.iopoll = true, .path = path}));
	expect_data(8, 0, 32768, SEED);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	cr_assert_leq(rig_stat(&rig, 0, BLK_STAT_POLLED), 1, "one try at most");
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_ERRORS), 0);
	blk_rig_deinit(&rig);
	close(fd);
	unlink(path);
}

Test(iopoll, without_direct_io_nothing_is_tried)
{
	cr_assert_not(begin(&(struct blk_rig_options){
		.iopoll = true, .cache = DISK_CACHE_WRITEBACK, .seed = SEED}));
	expect_data(8, 0, 32768, SEED);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_POLLED), 0);
	blk_rig_deinit(&rig);
}
