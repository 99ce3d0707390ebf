/* SPDX-License-Identifier: Apache-2.0 */
/* The transmit path on a socket pair: contents, order, push-back, malformed frames. */
#include "command.h"
#include "rig.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>

static struct rig rig;
static uint8_t sent[70000], got[70000];

static void setup(void)
{
	rig_init(&rig, RIG_FEATURES);
}

static void teardown(void)
{
	rig_deinit(&rig);
}

TestSuite(tx, .init = setup, .fini = teardown, .timeout = 60);

static const struct net_tx_counters *counters(void)
{
	return &rig.tx->counters;
}

/* Adds a frame of @length bytes in @pieces segments, not visible yet. */
static void guest_add(size_t length, unsigned seed, unsigned pieces)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, length, 64);
	struct mock_segment segments[20];
	size_t part = length / pieces;

	rig_make_frame(sent, length, rig_mac, seed);
	memcpy(mock_guest_pointer(&rig.guest, gpa, length), sent, length);
	for (unsigned i = 0; i < pieces; i++)
		segments[i] = (struct mock_segment){gpa + part * i,
			(uint32_t)(i + 1 < pieces ? part : length - part * i), false};
	cr_assert_geq(mock_queue_add(rig.driver.queues[RIG_TX], segments, pieces), 0);
}

static void expect_used(void)
{
	struct mock_used used;

	cr_assert_eq(mock_driver_wait_used(&rig.driver, RIG_TX, RIG_TIMEOUT_MS, &used), 0);
	cr_expect_eq(used.written, 0);
}

Test(tx, frame_arrives_as_it_is)
{
	static const size_t sizes[] = {26, 60, 1526, 9012, 65565};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		guest_add(sizes[i], i, 1 + 3 * i);
		rig_kick(&rig, RIG_TX);
		cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), sizes[i]);
		cr_expect_arr_eq(got, sent, sizes[i]);
		expect_used();
	}
	cr_expect_eq(counter_read(&counters()->frames), ARRAY_SIZE(sizes));
	cr_expect_eq(counter_read(&counters()->rejected), 0);
}

Test(tx, hundreds_of_frames_keep_their_order)
{
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 200; i++)
			guest_add(100 + i, i, 1);
		rig_kick(&rig, RIG_TX);
		for (unsigned i = 0; i < 200; i++) {
			rig_make_frame(sent, 100 + i, rig_mac, i);
			cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 100 + i);
			cr_assert_arr_eq(got, sent, 100 + i);
		}
		for (unsigned i = 0; i < 200; i++)
			expect_used();
	}
	cr_expect_eq(counter_read(&counters()->frames), 1000);
}

/* Nobody takes the frames: the guest has to wait, nothing is lost, the order stays. */
Test(tx, a_full_tap_pushes_back)
{
	unsigned used_before = 0;
	struct mock_used used;

	for (unsigned i = 0; i < 256; i++)
		guest_add(4000 + i, i, 1);
	rig_kick(&rig, RIG_TX);
	rig_wait_counter(&counters()->full, 1);
	while (mock_queue_get_used(rig.driver.queues[RIG_TX], &used))
		used_before++;
	cr_expect_lt(used_before, 256);
	cr_expect_eq(counter_read(&counters()->frames), counter_read(&counters()->writes) - 1);
	for (unsigned i = 0; i < 256; i++) {
		rig_make_frame(sent, 4000 + i, rig_mac, i);
		cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 4000 + i);
		cr_assert_arr_eq(got, sent, 4000 + i);
	}
	for (; used_before < 256; used_before++)
		expect_used();
	cr_expect_eq(counter_read(&counters()->frames), 256);
	/* And the next kick is heard again. */
	guest_add(100, 7, 1);
	rig_kick(&rig, RIG_TX);
	cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 100);
}

Test(tx, reset_while_the_tap_is_full)
{
	for (unsigned i = 0; i < 256; i++)
		guest_add(4000, i, 1);
	rig_kick(&rig, RIG_TX);
	rig_wait_counter(&counters()->full, 1);
	rig_restart(&rig, RIG_FEATURES);
	for (uint64_t i = counter_read(&counters()->frames); i > 0; i--)
		rig_host_receive(&rig, got, sizeof(got));
	guest_add(100, 7, 1);
	rig_kick(&rig, RIG_TX);
	cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 100);
	cr_expect_arr_eq(got, sent, 100);
}

Test(tx, frames_too_short_or_too_long_are_rejected)
{
	guest_add(1, 1, 1);
	guest_add(NET_HEADER_BYTES, 1, 1);
	guest_add(NET_HEADER_BYTES + 13, 1, 1);
	guest_add(NET_GSO_FRAME_BYTES + 1, 1, 2);
	guest_add(300, 1, 1);
	rig_kick(&rig, RIG_TX);
	cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 300);
	for (unsigned i = 0; i < 5; i++)
		expect_used();
	cr_expect_eq(counter_read(&counters()->rejected), 4);
	cr_expect_eq(counter_read(&counters()->frames), 1);
}

static bool failed(void)
{
	return virtio_device_status(&rig.virtio) & VIRTIO_STATUS_NEEDS_RESET;
}

Test(tx, a_descriptor_outside_of_ram_breaks_the_device_only)
{
	const struct mock_segment wild = {0x7fffffff0000ull, 100, false};

	guest_add(200, 1, 1);
	mock_queue_add(rig.driver.queues[RIG_TX], &wild, 1);
	guest_add(300, 1, 1);
	rig_kick(&rig, RIG_TX);
	cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 200);
	while (!failed())
		sched_yield();
	rig_restart(&rig, RIG_FEATURES);
	guest_add(400, 1, 1);
	rig_kick(&rig, RIG_TX);
	cr_assert_eq(rig_host_receive(&rig, got, sizeof(got)), 400);
}

/* ---- the control queue on the ring: what is not about the command itself ---- */

Test(ctrl, room_for_the_answer_is_required, .init = setup, .fini = teardown, .timeout = 60)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, 3, 1);
	const struct mock_segment readable = {gpa, 3, false};

	mock_queue_add(rig.driver.queues[RIG_CONTROL], &readable, 1);
	rig_kick(&rig, RIG_CONTROL);
	while (!failed())
		sched_yield();
	rig_restart(&rig, RIG_FEATURES);
	cr_expect_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
}

Test(ctrl, refused_commands_are_answered, .init = setup, .fini = teardown, .timeout = 60)
{
	cr_expect_eq(control_command(&rig.driver, 77, 0, "\1", 1), VIRTIO_NET_ERR);
	cr_expect_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_RX, 0, "", 0), VIRTIO_NET_ERR);
	cr_expect_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_RX, 0, "\1", 1), VIRTIO_NET_OK);
}

Test(ctrl, announcement_is_taken_back, .init = setup, .fini = teardown, .timeout = 60)
{
	atomic_fetch_or(&rig.shared.status, VIRTIO_NET_S_ANNOUNCE);
	cr_expect_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_ANNOUNCE,
			     VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0),
		VIRTIO_NET_OK);
	cr_expect_eq(atomic_load(&rig.shared.status), VIRTIO_NET_S_LINK_UP);
}

Test(ctrl, many_commands_in_one_go, .init = setup, .fini = teardown, .timeout = 60)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, 4 * 80, 64);
	uint8_t *bytes = mock_guest_pointer(&rig.guest, gpa, 4 * 80);

	for (unsigned i = 0; i < 80; i++) {
		const struct mock_segment segments[] = {
			{gpa + 4 * i, 3, false}, {gpa + 4 * i + 3, 1, true}};

		bytes[4 * i + 1] = VIRTIO_NET_CTRL_RX_ALLMULTI;
		bytes[4 * i + 2] = i & 1;
		bytes[4 * i + 3] = 0xaa;
		cr_assert_geq(mock_queue_add(rig.driver.queues[RIG_CONTROL], segments, 2), 0);
	}
	rig_kick(&rig, RIG_CONTROL);
	for (unsigned i = 0; i < 80; i++) {
		struct mock_used used;

		cr_assert_eq(
			mock_driver_wait_used(&rig.driver, RIG_CONTROL, RIG_TIMEOUT_MS, &used), 0);
		cr_expect_eq(bytes[4 * i + 3], VIRTIO_NET_OK);
	}
	cr_expect(atomic_load(&rig.shared.policy)->filter.all_multicast);
}
