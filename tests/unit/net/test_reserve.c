/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of mergeable buffers, on a ring without a worker. */
#include "net/net_reserve.h"

#include "rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>

static struct mock_guest guest;
static struct mock_queue *driver;
static struct virtqueue queue;
static struct net_reserve reserve;

static void setup(void)
{
	const struct mock_queue_options options = {.size = 1024,
		.packed = RIG_RING_FEATURES >> VIRTIO_F_RING_PACKED & 1,
		.indirect = true};

	mock_guest_init(&guest, 16 << 20);
	driver = mock_queue_create(&guest, &options);
	cr_assert_eq(virtqueue_start(&queue, guest.memory, mock_queue_layout(driver)), 0);
	net_reserve_init(&reserve, true);
}

static void teardown(void)
{
	mock_queue_destroy(driver);
	mock_guest_deinit(&guest);
}

TestSuite(reserve, .init = setup, .fini = teardown);

/* @count buffers of @length bytes, @gap bytes apart. */
static void offer(unsigned count, uint32_t length, uint32_t gap)
{
	uint64_t gpa = mock_guest_alloc(&guest, (uint64_t)count * (length + gap), 64);

	for (unsigned i = 0; i < count; i++, gpa += length + gap) {
		const struct mock_segment segment = {gpa, length, true};

		cr_assert_geq(mock_queue_add(driver, &segment, 1), 0);
	}
	mock_queue_expose(driver);
}

static void expect_used(uint32_t written)
{
	struct mock_used used;

	cr_assert(mock_queue_get_used(driver, &used));
	cr_expect_eq(used.written, written);
}

Test(reserve, buffers_side_by_side_are_one_segment)
{
	struct net_window window;

	offer(20, 1500, 0);
	cr_assert_eq(net_reserve_fill(&reserve, &queue, 30000), 0);
	cr_expect_eq(reserve.bytes, 30000);
	cr_expect_eq(net_reserve_count(&reserve), 20);
	window = net_reserve_window(&reserve, 1);
	cr_expect_eq(window.count, 1);
	cr_expect_eq(window.bytes, 30000);
}

Test(reserve, buffers_apart_are_as_many_as_are_wanted)
{
	struct net_window window;

	offer(20, 1500, 64);
	cr_assert_eq(net_reserve_fill(&reserve, &queue, 30000), 0);
	window = net_reserve_window(&reserve, 1);
	cr_expect_eq(window.count, 1);
	cr_expect_eq(window.bytes, 1500);
	window = net_reserve_window(&reserve, 1501);
	cr_expect_eq(window.count, 2);
	cr_expect_eq(window.bytes, 3000);
	window = net_reserve_window(&reserve, 1000000);
	cr_expect_eq(window.count, 20);
	cr_expect_eq(window.bytes, 30000);
}

Test(reserve, chains_of_a_length)
{
	offer(20, 1500, 0);
	net_reserve_fill(&reserve, &queue, 30000);
	cr_expect_eq(net_reserve_chains(&reserve, 1), 1);
	cr_expect_eq(net_reserve_chains(&reserve, 1500), 1);
	cr_expect_eq(net_reserve_chains(&reserve, 1501), 2);
	cr_expect_eq(net_reserve_chains(&reserve, 30000), 20);
}

/* What a frame leaves of its last buffer is lost to the next: that begins with a new one. */
Test(reserve, each_frame_begins_with_a_fresh_buffer)
{
	struct net_window after;
	char *start;

	offer(20, 1500, 0);
	net_reserve_fill(&reserve, &queue, 30000);
	start = net_reserve_window(&reserve, 1).iov->iov_base;
	net_reserve_use(&reserve, &queue, 3100);
	virtqueue_publish(&queue);
	expect_used(1500);
	expect_used(1500);
	expect_used(100);
	after = net_reserve_window(&reserve, 1);
	cr_expect_eq((char *)after.iov->iov_base - start, 4500);
	cr_expect_eq(after.bytes, 30000 - 4500);
	cr_expect_eq(reserve.bytes, 30000 - 4500);
	cr_expect_eq(net_reserve_count(&reserve), 17);
}

Test(reserve, fill_stops_when_there_is_enough)
{
	offer(200, 1500, 0);
	cr_assert_eq(net_reserve_fill(&reserve, &queue, 3000), 0);
	cr_expect_geq(reserve.bytes, 3000);
	cr_expect_lt(net_reserve_count(&reserve), 200);
	cr_expect(virtqueue_has_work(&queue));
	cr_expect_not(reserve.full);
}

Test(reserve, an_empty_ring_is_no_error)
{
	cr_expect_eq(net_reserve_fill(&reserve, &queue, 3000), 0);
	cr_expect_eq(net_reserve_count(&reserve), 0);
}

Test(reserve, not_mergeable_one_chain_a_frame)
{
	struct net_window window;

	net_reserve_init(&reserve, false);
	offer(3, 1500, 0);
	cr_assert_eq(net_reserve_fill(&reserve, &queue, 1000000), 0);
	window = net_reserve_window(&reserve, 1000000);
	cr_expect_eq(window.bytes, 1500);
	cr_expect_eq(window.count, 1);
	net_reserve_use(&reserve, &queue, 10);
	virtqueue_publish(&queue);
	expect_used(10);
	cr_expect_eq(net_reserve_window(&reserve, 1).bytes, 1500);
}

/* Thousands of frames: the arrays are moved to the front now and then, and nothing changes. */
Test(reserve, runs_on_for_ever)
{
	struct mock_used used;
	unsigned frames = 0;

	offer(1024, 256, 16);
	for (unsigned lap = 0; lap < 20; lap++) {
		while (net_reserve_fill(&reserve, &queue, 2000), reserve.bytes >= 2000) {
			struct net_window window = net_reserve_window(&reserve, 2000);

			cr_assert_eq(window.count, 8);
			*(uint32_t *)window.iov->iov_base = ++frames;
			net_reserve_use(&reserve, &queue, 2000);
			virtqueue_publish(&queue);
		}
		for (unsigned i = 0; mock_queue_get_used(driver, &used); i++)
			cr_assert_eq(used.written, i % 8 == 7 ? 2000 - 7 * 256 : 256);
		offer(1024 - net_reserve_count(&reserve), 256, 16);
	}
	cr_expect_eq(frames, 20 * 1024 / 8);
}

/* As many segments as a chain can have, so that room runs short before chains do. */
Test(reserve, full_of_segments)
{
	static struct mock_segment segments[800];
	uint64_t gpa = mock_guest_alloc(&guest, 800 * 32, 64);

	for (unsigned i = 0; i < 800; i++)
		segments[i] = (struct mock_segment){gpa + 32 * i, 16, true};
	for (unsigned i = 0; i < 5; i++)
		cr_assert_geq(mock_queue_add_indirect(driver, segments, 800), 0);
	mock_queue_expose(driver);
	cr_assert_eq(net_reserve_fill(&reserve, &queue, 1000000), 0);
	cr_expect(reserve.full);
	cr_expect_eq(net_reserve_count(&reserve), 2);
	cr_expect_eq(reserve.bytes, 2 * 800 * 16);
	cr_expect(virtqueue_has_work(&queue), "what did not fit is still on the ring");
	net_reserve_use(&reserve, &queue, 2 * 800 * 16);
	cr_assert_eq(net_reserve_fill(&reserve, &queue, 1), 0);
	cr_expect_geq(net_reserve_count(&reserve), 1);
}

/* Not one iovec is left when the last chain's turn comes: what lies behind must stay as it is. */
Test(reserve, full_to_the_last_segment)
{
	static struct mock_segment segments[1023];
	static struct {
		struct net_reserve reserve;
		char behind[1024 * sizeof(struct iovec)];
	} held;
	uint64_t gpa = mock_guest_alloc(&guest, 1024 * 32, 64);

	net_reserve_init(&held.reserve, true);
	memset(held.behind, 0x5a, sizeof(held.behind));
	for (unsigned i = 0; i < 1023; i++)
		segments[i] = (struct mock_segment){gpa + 32 * i, 16, true};
	for (unsigned i = 0; i < 2; i++)
		cr_assert_geq(mock_queue_add_indirect(driver, segments, 1023), 0);
	cr_assert_geq(mock_queue_add_indirect(driver, segments, 2), 0);
	cr_assert_geq(mock_queue_add_indirect(driver, segments, 100), 0);
	mock_queue_expose(driver);
	cr_assert_eq(net_reserve_fill(&held.reserve, &queue, 1000000), 0);
	cr_expect_eq(held.reserve.iov_end, NET_RESERVE_IOVS);
	cr_expect(held.reserve.full);
	cr_expect_eq(net_reserve_count(&held.reserve), 3);
	cr_expect(virtqueue_has_work(&queue), "the fourth is still on the ring");
	for (size_t i = 0; i < sizeof(held.behind); i++)
		cr_assert_eq(held.behind[i], 0x5a, "byte %zu behind the reserve", i);
}

Test(reserve, a_chain_without_room_to_write_is_an_error)
{
	const struct mock_segment readable = {mock_guest_alloc(&guest, 64, 64), 64, false};

	mock_queue_add(driver, &readable, 1);
	mock_queue_expose(driver);
	cr_expect_eq(net_reserve_fill(&reserve, &queue, 1), -EPROTO);
}
