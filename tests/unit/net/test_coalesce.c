/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications that the driver wants in bunches. A frame is sent once the one before it has been
 * used, so that the worker decides on each by itself; where no interrupt may have come, the worker
 * has been through a turn since. A time of an hour never ends in a test.
 */
#include "command.h"
#include "rig.h"

#include "net/net_vhost.h"
#include "util/bytes.h"
#include "util/clock.h"

#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#define FEATURES                                                                                   \
	(RIG_FEATURES | 1ull << VIRTIO_NET_F_NOTF_COAL | 1ull << VIRTIO_NET_F_VQ_NOTF_COAL |       \
		1ull << VIRTIO_F_RING_RESET)
#define HOUR_USECS 3600000000u
#define FRAME      200u

static struct rig rig;
static uint8_t frame[FRAME];

static void setup(void)
{
	rig_init(&rig, FEATURES);
	rig_post(&rig, 200, 1536);
}

static void teardown(void)
{
	rig_deinit(&rig);
}

TestSuite(coalesce, .init = setup, .fini = teardown, .timeout = 60);

/* ---- commands ---- */

static uint8_t set_all(uint8_t command, uint32_t packets, uint32_t usecs)
{
	uint8_t data[8];

	put_le32(data, packets);
	put_le32(data + 4, usecs);
	return control_command(&rig.driver, VIRTIO_NET_CTRL_NOTF_COAL, command, data, sizeof(data));
}

static void set_receive(uint32_t packets, uint32_t usecs)
{
	cr_assert_eq(set_all(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, packets, usecs), VIRTIO_NET_OK);
}

static void set_transmit(uint32_t packets, uint32_t usecs)
{
	cr_assert_eq(set_all(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, packets, usecs), VIRTIO_NET_OK);
}

static uint8_t set_queue(uint16_t queue, uint32_t packets, uint32_t usecs)
{
	uint8_t data[12] = {0};

	put_le16(data, queue);
	put_le32(data + 4, packets);
	put_le32(data + 8, usecs);
	return control_command(&rig.driver, VIRTIO_NET_CTRL_NOTF_COAL,
		VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, data, sizeof(data));
}

/* VQ_GET with @room bytes for answer and limits, in segments of @piece bytes. Returns the answer.
 */
static uint8_t get_queue(
	uint16_t queue, uint32_t room, uint32_t piece, struct net_coalesce_limits *ret_limits)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, 6 + room, 1);
	uint8_t *bytes = mock_guest_pointer(&rig.guest, gpa, 6 + room);
	struct mock_segment segments[10] = {{gpa, 6, false}};
	uint32_t written, done = 0;
	unsigned count = 1;

	bytes[0] = VIRTIO_NET_CTRL_NOTF_COAL;
	bytes[1] = VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET;
	put_le16(bytes + 2, queue);
	put_le16(bytes + 4, 0xffff); /* reserved */
	memset(bytes + 6, 0xaa, room);
	for (; done < room; done += piece)
		segments[count++] =
			(struct mock_segment){gpa + 6 + done, min_of(piece, room - done), true};
	cr_assert_eq(mock_driver_request(
			     &rig.driver, RIG_CONTROL, segments, count, RIG_TIMEOUT_MS, &written),
		0);
	cr_expect_eq(written, bytes[6] == VIRTIO_NET_OK ? 9 : 1);
	if (bytes[6] == VIRTIO_NET_OK)
		*ret_limits =
			(struct net_coalesce_limits){get_le32(bytes + 7), get_le32(bytes + 11)};
	return bytes[6];
}

static void expect_limits(uint16_t queue, uint32_t packets, uint32_t usecs)
{
	struct net_coalesce_limits limits = {0};

	cr_assert_eq(get_queue(queue, 9, 9, &limits), VIRTIO_NET_OK);
	cr_expect_eq(limits.max_packets, packets, "queue %u", queue);
	cr_expect_eq(limits.max_usecs, usecs, "queue %u", queue);
}

/* ---- interrupts ---- */

static int nothing(struct io_worker *worker, void *argument)
{
	(void)worker;
	(void)argument;
	return 0;
}

/* How often the driver was interrupted since the last look; the worker's turn has ended. */
static uint64_t interrupts(unsigned queue)
{
	uint64_t count;

	io_worker_call(rig.worker, nothing, NULL);
	if (read(rig.virtio.queues[queue].call_fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

static void wait_interrupt(unsigned queue)
{
	struct pollfd pollfd = {.fd = rig.virtio.queues[queue].call_fd, .events = POLLIN};

	cr_assert_eq(poll(&pollfd, 1, RIG_TIMEOUT_MS), 1, "no interrupt of queue %u", queue);
	cr_expect_eq(interrupts(queue), 1);
}

/* The driver wants to be told of the next used buffer. */
static void want_interrupt(unsigned queue)
{
	cr_assert_not(mock_queue_enable_interrupts(rig.driver.queues[queue], 0));
}

/* Without asking for interrupts anew, and without waiting for one. */
static void take_used(unsigned queue)
{
	uint64_t start = clock_ns();
	struct mock_used used;

	while (!mock_queue_get_used(rig.driver.queues[queue], &used)) {
		cr_assert_lt(clock_ns() - start, RIG_TIMEOUT_MS * 1000000ull, "no used buffer");
		sched_yield();
	}
}

/* One frame on a data queue, from start to end. */
static void one_frame(unsigned queue)
{
	uint64_t gpa;

	rig_make_frame(frame, sizeof(frame), rig_mac, 1);
	if (queue == RIG_RX) {
		rig_host_send(&rig, frame, sizeof(frame));
	} else {
		gpa = mock_guest_alloc(&rig.guest, sizeof(frame), 64);
		memcpy(mock_guest_pointer(&rig.guest, gpa, sizeof(frame)), frame, sizeof(frame));
		mock_queue_add(rig.driver.queues[queue],
			&(struct mock_segment){gpa, sizeof(frame), false}, 1);
		rig_kick(&rig, queue);
		rig_host_receive(&rig, frame, sizeof(frame));
	}
	take_used(queue);
}

/* @count frames of which the driver is not told. */
static void quiet_frames(unsigned queue, unsigned count)
{
	while (count--) {
		one_frame(queue);
		cr_assert_eq(interrupts(queue), 0);
	}
}

/* Bunches of @packets frames, an interrupt with the last of each. */
static void expect_bunches(unsigned queue, unsigned packets)
{
	for (unsigned i = 0; i < 3; i++) {
		want_interrupt(queue);
		quiet_frames(queue, packets - 1);
		one_frame(queue);
		wait_interrupt(queue);
	}
}

/* ---- the tests ---- */

Test(coalesce, nothing_is_kept_back_before_it_is_asked_for)
{
	expect_limits(RIG_RX, 0, 0);
	expect_limits(RIG_TX, 0, 0);
	expect_bunches(RIG_RX, 1);
	expect_bunches(RIG_TX, 1);
}

Test(coalesce, a_number_of_packets)
{
	set_receive(4, HOUR_USECS);
	expect_bunches(RIG_RX, 4);
	expect_bunches(RIG_TX, 1);
	set_transmit(5, HOUR_USECS);
	expect_bunches(RIG_TX, 5);
	expect_bunches(RIG_RX, 4);
}

/* Of more packets than the ring has room for, the driver would never hear. */
Test(coalesce, half_a_ring_is_not_waited_for)
{
	unsigned half = mock_queue_layout(rig.driver.queues[RIG_TX])->size / 2;

	set_receive(100000, HOUR_USECS);
	set_transmit(100000, HOUR_USECS);
	expect_bunches(RIG_TX, half);
	want_interrupt(RIG_RX);
	quiet_frames(RIG_RX, half - 1);
	one_frame(RIG_RX);
	wait_interrupt(RIG_RX);
}

/* A frame counts once, whatever the number of its buffers. */
Test(coalesce, frames_count_and_not_their_buffers)
{
	static uint8_t large[10000];

	set_receive(3, HOUR_USECS);
	want_interrupt(RIG_RX);
	for (unsigned i = 1; i <= 3; i++) {
		rig_make_frame(large, sizeof(large), rig_mac, i);
		rig_host_send(&rig, large, sizeof(large));
		for (unsigned buffer = 0; buffer < 7; buffer++)
			take_used(RIG_RX);
		if (i < 3)
			cr_assert_eq(interrupts(RIG_RX), 0);
	}
	wait_interrupt(RIG_RX);
}

/* No further frame comes: the interrupt does. */
Test(coalesce, a_time)
{
	set_receive(1000, 1000);
	set_transmit(1000, 1000);
	for (unsigned i = 0; i < 20; i++) {
		unsigned queue = i % 3 ? RIG_RX : RIG_TX;

		want_interrupt(queue);
		one_frame(queue);
		wait_interrupt(queue);
	}
	cr_expect_eq(interrupts(RIG_RX) + interrupts(RIG_TX), 0);
}

/* Timers of bunches that were full before their time are still in the ring. */
Test(coalesce, number_and_time_in_turns)
{
	for (unsigned i = 0; i < 5; i++) {
		set_receive(3, HOUR_USECS);
		expect_bunches(RIG_RX, 3);
		set_receive(1000, 500);
		want_interrupt(RIG_RX);
		one_frame(RIG_RX);
		wait_interrupt(RIG_RX);
		set_receive(3, HOUR_USECS / 2);
		expect_bunches(RIG_RX, 3);
	}
}

Test(coalesce, one_limit_alone_is_none)
{
	set_receive(0, HOUR_USECS);
	set_transmit(1000, 0);
	expect_bunches(RIG_RX, 1);
	expect_bunches(RIG_TX, 1);
	expect_limits(RIG_RX, 0, HOUR_USECS);
	expect_limits(RIG_TX, 1000, 0);
}

/* The new limits hold for what is pending too. */
Test(coalesce, changes_under_a_pending_notification)
{
	static const struct net_coalesce_limits changes[] = {
		{8, HOUR_USECS}, {0, HOUR_USECS}, {1000, 0}, {0, 0}, {1000, 1}, {1000, 100000}};

	for (unsigned queue = RIG_RX; queue <= RIG_TX; queue++) {
		for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
			cr_assert_eq(set_queue((uint16_t)queue, 1000, HOUR_USECS), VIRTIO_NET_OK);
			want_interrupt(queue);
			quiet_frames(queue, 10);
			cr_assert_eq(set_queue((uint16_t)queue, changes[i].max_packets,
					     changes[i].max_usecs),
				VIRTIO_NET_OK);
			wait_interrupt(queue);
		}
		cr_assert_eq(set_queue((uint16_t)queue, 1000, HOUR_USECS), VIRTIO_NET_OK);
		want_interrupt(queue);
		quiet_frames(queue, 10);
		cr_assert_eq(set_queue((uint16_t)queue, 12, HOUR_USECS), VIRTIO_NET_OK);
		quiet_frames(queue, 1);
		one_frame(queue);
		wait_interrupt(queue);
	}
}

Test(coalesce, a_driver_that_wants_no_interrupt_gets_none)
{
	set_receive(3, HOUR_USECS);
	expect_bunches(RIG_RX, 3);
	mock_queue_disable_interrupts(rig.driver.queues[RIG_RX]);
	quiet_frames(RIG_RX, 6);
	expect_bunches(RIG_RX, 3);
}

/* ---- each queue's own limits ---- */

Test(coalesce, the_last_command_for_a_queue_holds)
{
	set_receive(7, 8);
	set_transmit(9, 10);
	expect_limits(RIG_RX, 7, 8);
	expect_limits(RIG_TX, 9, 10);
	cr_expect_eq(set_queue(RIG_RX, 1, UINT32_MAX), VIRTIO_NET_OK);
	expect_limits(RIG_RX, 1, UINT32_MAX);
	expect_limits(RIG_TX, 9, 10);
	set_transmit(11, 12);
	expect_limits(RIG_RX, 1, UINT32_MAX);
	expect_limits(RIG_TX, 11, 12);
	set_receive(UINT32_MAX, 14);
	expect_limits(RIG_RX, UINT32_MAX, 14);
}

Test(coalesce, queues_that_have_no_limits)
{
	struct net_coalesce_limits limits;

	for (uint16_t queue = RIG_CONTROL; queue < 6; queue++) {
		cr_expect_eq(set_queue(queue, 1, 1), VIRTIO_NET_ERR);
		cr_expect_eq(get_queue(queue, 9, 9, &limits), VIRTIO_NET_ERR);
	}
}

Test(coalesce, the_result_needs_its_room)
{
	struct net_coalesce_limits limits = {0};

	set_transmit(0x01020304, 0x05060708);
	for (uint32_t room = 1; room < 9; room++)
		cr_expect_eq(get_queue(RIG_TX, room, 9, &limits), VIRTIO_NET_ERR);
	for (uint32_t piece = 1; piece <= 9; piece++) {
		cr_expect_eq(get_queue(RIG_TX, 9, piece, &limits), VIRTIO_NET_OK);
		cr_expect_eq(limits.max_packets, 0x01020304);
		cr_expect_eq(limits.max_usecs, 0x05060708);
	}
}

/* ---- the end of a queue, of a driver ---- */

Test(coalesce, a_queue_that_stops_sends_what_is_pending)
{
	struct net_coalesce_limits limits;

	set_receive(50, HOUR_USECS);
	set_transmit(60, HOUR_USECS);
	for (unsigned queue = RIG_RX; queue <= RIG_TX; queue++) {
		cr_assert_eq(set_queue((uint16_t)queue, 1000, HOUR_USECS), VIRTIO_NET_OK);
		want_interrupt(queue);
		quiet_frames(queue, 5);
		cr_assert(virtio_device_queue_reset(&rig.virtio, queue));
		wait_interrupt(queue);
		cr_expect_eq(get_queue((uint16_t)queue, 9, 9, &limits), VIRTIO_NET_ERR);
		cr_expect_eq(set_queue((uint16_t)queue, 1, 1), VIRTIO_NET_ERR);
	}
	set_transmit(6, HOUR_USECS); /* while it is disabled */
	mock_driver_enable_queue(&rig.driver, RIG_RX, RIG_QUEUE_SIZE);
	mock_driver_enable_queue(&rig.driver, RIG_TX, RIG_QUEUE_SIZE);
	expect_limits(RIG_RX, 50, HOUR_USECS);
	expect_limits(RIG_TX, 6, HOUR_USECS);
	expect_bunches(RIG_TX, 6);
}

Test(coalesce, a_reset_ends_it)
{
	for (unsigned i = 0; i < 3; i++) {
		set_receive(1000, HOUR_USECS);
		set_transmit(1000, HOUR_USECS);
		want_interrupt(RIG_RX);
		want_interrupt(RIG_TX);
		quiet_frames(RIG_RX, 5);
		quiet_frames(RIG_TX, 5);
		rig_restart(&rig, FEATURES);
		interrupts(RIG_RX); /* of the driver that has left */
		interrupts(RIG_TX);
		rig_post(&rig, 200, 1536);
		expect_limits(RIG_RX, 0, 0);
		expect_limits(RIG_TX, 0, 0);
		expect_bunches(RIG_RX, 1);
		expect_bunches(RIG_TX, 1);
	}
}

Test(coalesce, not_where_the_kernel_moves_the_frames)
{
	cr_expect_eq(net_vhost_features(UINT64_MAX) &
			     (1ull << VIRTIO_NET_F_NOTF_COAL | 1ull << VIRTIO_NET_F_VQ_NOTF_COAL),
		0);
}
