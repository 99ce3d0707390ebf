/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers that break rules. What can be answered is answered with an error and the device goes on;
 * the rest makes this device, and no other, need a reset, after which it works again.
 */
#include "fixture.h"
#include "util/fd.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>

static struct blk_rig rig;

static void setup(void)
{
	blk_rig_init(&rig, &(struct blk_rig_options){.seed = 5, .queues = 2});
}

static void teardown(void)
{
	blk_rig_deinit(&rig);
}

TestSuite(blk_hostile, .init = setup, .fini = teardown, .timeout = 120);

static void still_works(void)
{
	unsigned char want[4096];

	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 8, 4096), VIRTIO_BLK_S_OK);
	image_pattern(want, 4096, sizeof(want), 5);
	cr_assert_eq(memcmp(rig_data(&rig), want, sizeof(want)), 0);
	cr_assert_eq(
		virtio_device_status(blk_device_virtio(rig.device)) & VIRTIO_STATUS_NEEDS_RESET, 0);
}

static uint8_t send_raw(const struct mock_segment *segments, unsigned count)
{
	uint32_t written;

	*rig_status(&rig) = 0xee;
	cr_assert_eq(
		mock_driver_request(&rig.driver, 0, segments, count, RIG_TIMEOUT_MS, &written), 0);
	return *rig_status(&rig);
}

/* The request is not answered: the device gives up. After a reset it works again. */
static void gives_up(void)
{
	struct virtio_device *virtio = blk_device_virtio(rig.device);
	struct pollfd pollfd = {.fd = virtio->config_call_fd, .events = POLLIN};

	cr_assert_eq(poll(&pollfd, 1, RIG_TIMEOUT_MS), 1, "no configuration interrupt");
	cr_assert(fd_drain(virtio->config_call_fd));
	cr_assert(virtio_device_status(virtio) & VIRTIO_STATUS_NEEDS_RESET);
	mock_driver_deinit(&rig.driver);
	blk_rig_restart(&rig);
	still_works();
}

static void breaks(void)
{
	mock_driver_kick(&rig.driver, 0);
	gives_up();
}

/* ---- answered with an error ---- */

Test(blk_hostile, sectors_out_of_range)
{
	uint64_t capacity = 8 * MIB / 512;

	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, capacity, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, capacity - 1, 1024), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, UINT64_MAX - 1, 1024), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 1ull << 55, 512), VIRTIO_BLK_S_IOERR);
	still_works();
}

Test(blk_hostile, odd_lengths_and_types)
{
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 0, 511), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 1), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_request(&rig, 2, 0, 512), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(rig_request(&rig, 0xffffffff, 0, 512), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_DISCARD, 0, 17), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(
		rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0xffffffff, 0), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_ERRORS), 7);
	still_works();
}

Test(blk_hostile, header_too_small)
{
	struct mock_segment segments[] = {
		{.gpa = rig.header, .length = 15},
		{.gpa = rig.status, .length = 1, .writable = true},
	};

	cr_assert_eq(send_raw(segments, 2), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(send_raw(segments + 1, 1), VIRTIO_BLK_S_IOERR, "no header at all");
	still_works();
}

/* More segments than any buffer of ours: the last byte still gets an answer. */
Test(blk_hostile, more_segments_than_seg_max)
{
	static struct mock_segment segments[600];

	segments[0] = (struct mock_segment){.gpa = rig.header, .length = 16};
	for (unsigned i = 1; i < 599; i++)
		segments[i] = (struct mock_segment){
			.gpa = rig.data + i * 512, .length = 512, .writable = true};
	segments[599] = (struct mock_segment){.gpa = rig.status, .length = 1, .writable = true};
	*rig_header(&rig) = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
	*rig_status(&rig) = 0xee;
	for (unsigned count = 60; count <= 600; count += 90) {
		struct mock_used used;

		segments[count - 1] = segments[599];
		cr_assert_geq(mock_queue_add_indirect(rig.driver.queues[0], segments, count), 0);
		mock_driver_kick(&rig.driver, 0);
		cr_assert_eq(mock_driver_wait_used(&rig.driver, 0, RIG_TIMEOUT_MS, &used), 0);
		cr_assert_eq(*rig_status(&rig), count == 60 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
		if (count < 600)
			segments[count - 1] = (struct mock_segment){
				.gpa = rig.data + count * 512, .length = 512, .writable = true};
	}
	still_works();
}

/* ---- nothing to answer to ---- */

Test(blk_hostile, no_status_byte)
{
	struct mock_segment segment = {.gpa = rig.header, .length = 16};

	cr_assert_geq(mock_queue_add(rig.driver.queues[0], &segment, 1), 0);
	breaks();
}

Test(blk_hostile, buffer_outside_of_ram)
{
	struct mock_segment segments[] = {
		{.gpa = rig.header, .length = 16},
		{.gpa = 1ull << 40, .length = 512, .writable = true},
		{.gpa = rig.status, .length = 1, .writable = true},
	};

	cr_assert_geq(mock_queue_add(rig.driver.queues[0], segments, 3), 0);
	breaks();
}

Test(blk_hostile, head_out_of_range)
{
	mock_queue_add_head(rig.driver.queues[0], 64);
	breaks();
}

Test(blk_hostile, avail_index_ahead_of_the_ring)
{
	struct vring_avail *avail = mock_queue_driver_area(rig.driver.queues[0]);

	__atomic_store_n(&avail->idx, 1000, __ATOMIC_RELEASE);
	fd_signal(blk_device_virtio(rig.device)->queues[0].kick_fd);
	gives_up(); /* another kick by the mock would put the index right */
}

Test(blk_hostile, the_same_chain_twice)
{
	struct mock_segment segments[] = {
		{.gpa = rig.header, .length = 16},
		{.gpa = rig.status, .length = 1, .writable = true},
	};
	int head;

	/* A flush takes its time on the host, so the second one meets it in flight. */
	*rig_header(&rig) = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_FLUSH};
	head = mock_queue_add(rig.driver.queues[0], segments, 2);
	cr_assert_geq(head, 0);
	mock_queue_add_head(rig.driver.queues[0], (uint16_t)head);
	breaks();
}

Test(blk_hostile, the_other_queue_goes_on)
{
	struct mock_segment no_status = {.gpa = rig.header, .length = 16};
	struct mock_segment segments[] = {
		{.gpa = rig.header, .length = 16},
		{.gpa = rig.data, .length = 4096, .writable = true},
		{.gpa = rig.status, .length = 1, .writable = true},
	};
	uint32_t written;

	cr_assert_geq(mock_queue_add(rig.driver.queues[0], &no_status, 1), 0);
	mock_driver_kick(&rig.driver, 0);
	*rig_header(&rig) = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
	cr_assert_eq(mock_driver_request(&rig.driver, 1, segments, 3, RIG_TIMEOUT_MS, &written), 0);
	cr_assert_eq(*rig_status(&rig), VIRTIO_BLK_S_OK);
	breaks();
}
