/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that find the submission queue full wait in the backlog of their queue. Here a worker
 * with four SQEs serves one queue, and an engine of the test's own asks for a second try of each
 * request. What matters is that the queue still hears of new requests afterwards.
 */
#include "fixture.h"
#include "io/blk_queue.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fd.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <unistd.h>

#define SQ_ENTRIES 4u
#define ROUNDS     100u

static struct image image;
static struct mock_guest guest;
static struct mock_queue *driver;
static struct virtqueue virtqueue;
static struct io_worker *worker;
static struct disk *disk;
static struct disk_files files;
static struct virtio_device device = {.name = "disk-test"};
static struct blk_queue queue;
static uint64_t header, status[SQ_ENTRIES];
static int kick_fd, call_fd;

/* ---- an engine whose requests succeed at the second try ---- */

static enum disk_progress nop_submit(struct disk_channel *channel, struct disk_request *request)
{
	struct io_uring_sqe *sqe;

	if (!request->started)
		disk_begin(request);
	sqe = io_source_sqe(channel->source, request->tag);
	if (!sqe)
		return DISK_WAIT;
	sqe->opcode = IORING_OP_NOP;
	return DISK_STARTED;
}

static enum disk_progress nop_complete(
	struct disk_channel *channel, struct disk_request *request, int32_t result)
{
	return request->retries++ ? disk_finish(channel, request, result) : DISK_WAIT;
}

static const struct disk_ops nop_ops = {
	.name = "nop", .submit = nop_submit, .complete = nop_complete};

/* ---- set-up ---- */

static int add_files(struct io_worker *to, void *argument)
{
	(void)argument;
	return disk_files_add(to, disk, &files);
}

static void set_up_driver(void)
{
	mock_guest_init(&guest, 1 << 20);
	/* Without event indices a queue that is not armed says so, and a driver does not kick. */
	driver = mock_queue_create(&guest, &(struct mock_queue_options){.size = 64});
	cr_assert_eq(virtqueue_start(&virtqueue, guest.memory, mock_queue_layout(driver)), 0);
	header = mock_guest_alloc(&guest, 16, 16);
	*(struct virtio_blk_outhdr *)mock_guest_pointer(&guest, header, 16) =
		(struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_FLUSH};
	for (unsigned i = 0; i < SQ_ENTRIES; i++)
		status[i] = mock_guest_alloc(&guest, 1, 1);
	kick_fd = fd_eventfd();
	call_fd = fd_eventfd();
}

static void setup(void)
{
	static const _Atomic bool writethrough;
	struct blk_queue_setup with = {.device = &device,
		.files = &files,
		.writethrough = &writethrough,
		.serial = "",
		.seg_max = 4};
	struct disk_options options = {.cache = DISK_CACHE_WRITEBACK};
	struct error error = ERROR_INIT;

	image_init(&image, MIB, 0);
	options.path = image.path;
	cr_assert_eq(disk_open(&options, &disk, &error), 0, "%s", error.text);
	worker = test_worker_sized("backlog", SQ_ENTRIES);
	cr_assert_eq(io_worker_call(worker, add_files, NULL), 0);
	set_up_driver();
	with.disk = disk;
	with.worker = worker;
	cr_assert_eq(blk_queue_init(&queue, &with, 64), 0);
	queue.channel.ops = &nop_ops;
	cr_assert_eq(blk_queue_start(&queue, &virtqueue, kick_fd, call_fd,
			     &(struct blk_limits){.block_sectors = 1, .max_segments = 4}),
		0);
}

static void teardown(void)
{
	blk_queue_stop(&queue);
	blk_queue_deinit(&queue);
	io_worker_destroy(worker);
	disk_close(disk);
	close(kick_fd);
	close(call_fd);
	mock_queue_destroy(driver);
	mock_guest_deinit(&guest);
	image_deinit(&image);
}

TestSuite(blk_backlog, .init = setup, .fini = teardown, .timeout = 120);

/* ---- the test ---- */

static void offer_and_wait(unsigned count)
{
	uint64_t start = clock_ns();
	struct mock_used used;

	for (unsigned i = 0; i < count; i++) {
		struct mock_segment segments[2] = {
			{header, 16, false},
			{status[i], 1, true},
		};

		cr_assert_geq(mock_queue_add(driver, segments, 2), 0);
	}
	mock_queue_kick(driver, kick_fd);
	while (count) {
		cr_assert_lt(clock_ns() - start, RIG_TIMEOUT_MS * 1000000ull, "%u left", count);
		if (mock_queue_get_used(driver, &used))
			count--;
		else
			sched_yield();
	}
}

Test(blk_backlog, a_queue_whose_backlog_fills_the_sq_still_hears_its_driver)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		offer_and_wait(SQ_ENTRIES); /* all four wait, and go out together once more */
		worker_wait_asleep(worker);
		offer_and_wait(1);
	}
	cr_assert_geq(counter_read(&queue.counters.values[BLK_STAT_RESUBMITS]), ROUNDS);
}
