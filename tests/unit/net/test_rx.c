/* SPDX-License-Identifier: Apache-2.0 */
/* The receive path on a socket pair: buffers, headers, shortage, filters. */
#include "command.h"
#include "rig.h"

#include "util/fd.h"

#include <criterion/criterion.h>
#include <linux/virtio_ring.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static struct rig rig;
static uint8_t sent[140000], got[140000];

static void setup(void)
{
	rig_init(&rig, RIG_FEATURES);
}

static void teardown(void)
{
	rig_deinit(&rig);
}

TestSuite(rx, .init = setup, .fini = teardown, .timeout = 60);

static const struct net_rx_counters *counters(void)
{
	return &rig.rx->counters;
}

/* Sends a frame to the guest's own address. */
static void host_send(size_t length, unsigned seed)
{
	rig_make_frame(sent, length, rig_mac, seed);
	rig_host_send(&rig, sent, length);
}

/* The last frame sent is what arrives, over @buffers buffers. */
static void expect_frame(size_t length, unsigned buffers)
{
	unsigned num_buffers;

	cr_assert_eq(rig_receive(&rig, got, sizeof(got), &num_buffers), length);
	cr_expect_eq(num_buffers, buffers);
	sent[NET_HEADER_NUM_BUFFERS] = (uint8_t)buffers;
	sent[NET_HEADER_NUM_BUFFERS + 1] = (uint8_t)(buffers >> 8);
	cr_expect_arr_eq(got, sent, length);
}

Test(rx, small_frame_takes_one_buffer)
{
	rig_post(&rig, 64, 1536);
	host_send(NET_HEADER_BYTES + 60, 1);
	expect_frame(NET_HEADER_BYTES + 60, 1);
	cr_expect_eq(counter_read(&counters()->frames), 1);
	cr_expect_eq(counter_read(&counters()->bytes), 60);
	cr_expect_eq(counter_read(&counters()->chains), 1);
}

/* The buffers that a frame leaves over are filled by the next, in order. */
Test(rx, frames_of_all_sizes_in_order)
{
	static const size_t sizes[] = {
		27, 60, 1514, 1524, 1525, 3060, 3061, 9000, 65549, 14, 65535};

	rig_post(&rig, 128, 1536);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t length = NET_HEADER_BYTES + sizes[i];
		unsigned buffers = (unsigned)((length + 1535) / 1536);

		host_send(length, i);
		expect_frame(length, buffers);
		cr_assert(rig_nothing_received(&rig), "more than was sent");
		rig_post(&rig, buffers, 1536);
	}
	cr_expect_eq(counter_read(&counters()->frames), ARRAY_SIZE(sizes));
	cr_expect_eq(counter_read(&counters()->bounced), 0);
}

/* Buffers of 64 bytes: more than a thousand iovecs when they lie apart. */
Test(rx, tiny_buffers_apart)
{
	for (unsigned i = 0; i < 250; i++) {
		rig_add(&rig, 1, 64);
		mock_guest_alloc(&rig.guest, 64, 64); /* a gap */
	}
	rig_kick(&rig, RIG_RX);
	host_send(64 * 200, 3);
	expect_frame(64 * 200, 200);
	host_send(65, 4);
	expect_frame(65, 2);
}

/* A header that is cut across segments is filled in all the same. */
Test(rx, segments_of_a_few_bytes)
{
	struct mock_segment segments[16];
	uint64_t gpa = mock_guest_alloc(&rig.guest, 16 * 100, 64);
	uint8_t *bytes = mock_guest_pointer(&rig.guest, gpa, 1600);
	struct mock_used used;
	int token;

	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
		segments[i] = (struct mock_segment){gpa + 100 * i, i < 15 ? 5 : 100, true};
	token = mock_queue_add(rig.driver.queues[RIG_RX], segments, ARRAY_SIZE(segments));
	rig_kick(&rig, RIG_RX);
	host_send(NET_HEADER_BYTES + 100, 9);
	cr_assert_eq(mock_driver_wait_used(&rig.driver, RIG_RX, RIG_TIMEOUT_MS, &used), 0);
	cr_expect_eq(used.token, token);
	cr_expect_eq(used.written, NET_HEADER_BYTES + 100);
	sent[NET_HEADER_NUM_BUFFERS] = 1;
	for (unsigned i = 0; i < NET_HEADER_BYTES + 100; i++)
		cr_assert_eq(bytes[i < 75 ? i / 5 * 100 + i % 5 : 1500 + i - 75], sent[i], "%u", i);
}

/* Without buffers the tap keeps the frames; the first one comes when buffers do. */
Test(rx, no_buffers_no_loss)
{
	for (unsigned i = 0; i < 5; i++)
		host_send(NET_HEADER_BYTES + 100 + i, i);
	rig_wait_counter(&counters()->starved, 1);
	cr_expect_eq(counter_read(&counters()->reads), 0);
	rig_post(&rig, 5, 2048);
	for (unsigned i = 0; i < 5; i++) {
		rig_make_frame(sent, NET_HEADER_BYTES + 100 + i, rig_mac, i);
		expect_frame(NET_HEADER_BYTES + 100 + i, 1);
	}
}

/* The frame began when there were buffers for a part of it; nothing of it is lost. */
Test(rx, frame_waits_for_the_rest_of_its_buffers)
{
	rig_post(&rig, 3, 1000);
	host_send(10000, 5);
	rig_wait_counter(&counters()->starved, 1);
	cr_expect(rig_nothing_received(&rig));
	rig_post(&rig, 3, 1000);
	rig_post(&rig, 60, 1000);
	expect_frame(10000, 10);
	cr_expect_eq(counter_read(&counters()->bounced), 7000);
	host_send(2000, 6);
	expect_frame(2000, 2);
	cr_expect_eq(counter_read(&counters()->bounced), 7000);
}

Test(rx, rest_of_a_frame_is_forgotten_at_a_reset)
{
	rig_post(&rig, 3, 1000);
	host_send(10000, 5);
	rig_wait_counter(&counters()->starved, 1);
	rig_restart(&rig, RIG_FEATURES);
	rig_post(&rig, 60, 1536);
	host_send(NET_HEADER_BYTES + 64, 6);
	expect_frame(NET_HEADER_BYTES + 64, 1);
}

Test(rx, much_longer_than_any_frame_is_dropped)
{
	rig_post(&rig, 43, 1536);
	/* The 43 buffers that the longest frame needs, and more than the spill behind them. */
	host_send(43 * 1536 + NET_GSO_FRAME_BYTES + 100, 1);
	rig_wait_counter(&counters()->truncated, 1);
	host_send(NET_GSO_FRAME_BYTES, 1);
	expect_frame(NET_GSO_FRAME_BYTES, 43);
}

Test(rx, without_mergeable_buffers)
{
	rig_restart(&rig, RIG_FEATURES & ~(1ull << VIRTIO_NET_F_MRG_RXBUF));
	rig_post(&rig, 16, 1530);
	host_send(1530, 1);
	expect_frame(1530, 1);
	host_send(1531, 2);
	rig_wait_counter(&counters()->truncated, 1);
	host_send(100, 3);
	expect_frame(100, 1);
	cr_expect(rig_nothing_received(&rig));
}

/* What the driver has not accepted does not reach it. */
Test(rx, headers_follow_the_offloads)
{
	static const struct {
		uint8_t flags, type;
		bool arrives;
	} headers[] = {
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, true},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, true},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6, false},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
			false},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, false},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP, false},
		{VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_NONE, true},
		{0, 0x7f, false},
	};
	unsigned stale = 0;

	rig_restart(&rig, 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_GUEST_CSUM |
				  1ull << VIRTIO_NET_F_GUEST_TSO4);
	rig_post(&rig, 100, 1536);
	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++) {
		rig_make_frame(sent, 200, rig_mac, i);
		sent[0] = headers[i].flags;
		sent[1] = headers[i].type;
		rig_host_send(&rig, sent, 200);
		if (headers[i].arrives)
			expect_frame(200, 1);
		else
			rig_wait_counter(&counters()->stale, ++stale);
	}
	cr_expect(rig_nothing_received(&rig));
}

Test(rx, no_flags_without_guest_csum)
{
	rig_restart(&rig, 1ull << VIRTIO_NET_F_MRG_RXBUF);
	rig_post(&rig, 10, 1536);
	rig_make_frame(sent, 200, rig_mac, 1);
	sent[0] = VIRTIO_NET_HDR_F_DATA_VALID;
	rig_host_send(&rig, sent, 200);
	sent[0] = 0;
	expect_frame(200, 1);
	sent[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	rig_host_send(&rig, sent, 200);
	rig_wait_counter(&counters()->stale, 1);
}

/* A frame that is filtered leaves its buffers to the next. */
Test(rx, filtered_frames_take_no_buffers)
{
	static const uint8_t other[] = {0x02, 0, 0, 0, 0, 2};

	rig_post(&rig, 2, 70000);
	cr_assert_eq(control_command(
			     &rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
		VIRTIO_NET_OK);
	for (unsigned i = 0; i < 10; i++) {
		rig_make_frame(sent, 500, other, i);
		rig_host_send(&rig, sent, 500);
	}
	host_send(500, 42);
	expect_frame(500, 1);
	cr_expect_eq(counter_read(&counters()->filtered), 10);
	cr_assert_eq(control_command(
			     &rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		VIRTIO_NET_OK);
	rig_make_frame(sent, 500, other, 5);
	rig_host_send(&rig, sent, 500);
	expect_frame(500, 1);
}

/* Each answer comes after the last frame by the old rules: no frame sent after it slips through. */
Test(rx, a_command_is_in_effect_when_it_is_answered)
{
	static const uint8_t other[] = {0x02, 0, 0, 0, 0, 2};
	uint64_t filtered = 0;

	rig_post(&rig, 200, 600);
	for (unsigned i = 0; i < 50; i++) {
		control_command(
			&rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1);
		rig_make_frame(sent, 500, other, i);
		rig_host_send(&rig, sent, 500);
		rig_wait_counter(&counters()->filtered, ++filtered);
		control_command(
			&rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1);
		rig_host_send(&rig, sent, 500);
		expect_frame(500, 1);
	}
}

Test(rx, new_address_by_command)
{
	static const uint8_t mac[] = {0x02, 7, 7, 7, 7, 7};
	uint8_t shown[NET_MAC_LENGTH];

	rig_post(&rig, 10, 1536);
	control_command(&rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1);
	cr_assert_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
			     mac, 6),
		VIRTIO_NET_OK);
	net_shared_mac(&rig.shared, shown);
	cr_expect_arr_eq(shown, mac, 6);
	host_send(300, 1); /* to the old one */
	rig_make_frame(sent, 300, mac, 2);
	rig_host_send(&rig, sent, 300);
	expect_frame(300, 1);
	cr_expect_eq(counter_read(&counters()->filtered), 1);
}

/* ---- guests that break the rules ---- */

static bool failed(void)
{
	return virtio_device_status(&rig.virtio) & VIRTIO_STATUS_NEEDS_RESET;
}

static void wait_failed(void)
{
	uint64_t value;

	cr_assert_eq(
		read(rig.virtio.config_call_fd, &value, sizeof(value)) < 0 && !failed(), false);
}

Test(rx, a_buffer_that_cannot_be_written_breaks_the_device_only)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, 2048, 64);
	const struct mock_segment readable = {gpa, 2048, false};

	mock_queue_add(rig.driver.queues[RIG_RX], &readable, 1);
	rig_kick(&rig, RIG_RX);
	host_send(500, 1);
	while (!failed())
		sched_yield();
	wait_failed();
	rig_restart(&rig, RIG_FEATURES);
	cr_expect_not(failed());
	rig_post(&rig, 10, 1536);
	host_send(500, 2);
	expect_frame(500, 1);
}

/* An avail index far ahead, or, packed, a buffer id that no slot can have. */
static void break_ring(struct mock_queue *queue)
{
	uint16_t *avail = mock_queue_driver_area(queue);
	struct vring_packed_desc *slot = mock_queue_desc_area(queue);

	if (!mock_queue_layout(queue)->packed) {
		__atomic_store_n(&avail[1], 10000, __ATOMIC_RELEASE);
		return;
	}
	slot->id = UINT16_MAX;
	__atomic_store_n(&slot->flags, mock_queue_packed_avail_flags(queue, 0), __ATOMIC_RELEASE);
}

Test(rx, a_broken_ring_breaks_the_device_only)
{
	host_send(500, 1);
	rig_wait_counter(&counters()->starved, 1);
	break_ring(rig.driver.queues[RIG_RX]);
	fd_signal(rig.virtio.queues[RIG_RX].kick_fd);
	while (!failed())
		sched_yield();
	rig_restart(&rig, RIG_FEATURES);
	rig_post(&rig, 10, 1536);
	host_send(500, 2);
	expect_frame(500, 1);
}
