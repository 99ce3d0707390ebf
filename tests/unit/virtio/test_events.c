/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told when: event indices on either side, flags, and looking again after rearming. */
#include "rig.h"

#include "util/bytes.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <linux/virtio_ring.h>
#include <unistd.h>

/* Publishes @count used entries as one batch. */
static void publish(struct rig *rig, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct virtqueue_entry entry;

		rig_offer(rig, 1);
		entry = rig_pop(rig);
		virtqueue_push(&rig->device, &entry, 0);
	}
	cr_assert(virtqueue_publish(&rig->device));
}

static void collect(struct rig *rig)
{
	while (mock_queue_in_flight(rig->driver))
		rig_used(rig);
}

static void set_used_event(struct rig *rig, uint16_t event)
{
	struct vring_avail *avail = mock_queue_driver_area(rig->driver);

	avail->ring[mock_queue_layout(rig->driver)->size] = event;
}

static uint16_t avail_event(struct rig *rig)
{
	const struct vring_used *used = mock_queue_device_area(rig->driver);

	return get_le16(&used->ring[mock_queue_layout(rig->driver)->size]);
}

/* ---- interrupts, split ---- */

/*
 * Publishes @count entries from used index @start on, with used_event @event: an interrupt is
 * due exactly where the index passes the event, that is event is one of start .. start + count - 1.
 */
static void expect_interrupt(uint16_t start, unsigned count, uint16_t event, bool expected)
{
	struct rig rig;

	rig_init_at(&rig, 8, RIG_EVENT_IDX, start);
	set_used_event(&rig, event);
	publish(&rig, count);
	cr_expect_eq(virtqueue_need_interrupt(&rig.device), expected, "start %u count %u event %u",
		start, count, event);
	rig_deinit(&rig);
}

Test(events, used_event_edges)
{
	static const uint16_t starts[] = {0, 5, 32766, 32767, 65530, 65533, 65535};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		uint16_t start = starts[i];

		for (unsigned count = 1; count <= 4; count++) {
			expect_interrupt(start, count, start - 1, false); /* one before the first */
			expect_interrupt(start, count, start, true);
			expect_interrupt(start, count, (uint16_t)(start + count - 1), true);
			expect_interrupt(start, count, (uint16_t)(start + count), false);
			expect_interrupt(start, count, (uint16_t)(start + count + 1), false);
			expect_interrupt(start, count, (uint16_t)(start + 32768), false);
		}
	}
}

Test(events, each_entry_is_judged_once)
{
	struct rig rig;

	rig_init(&rig, 8, RIG_EVENT_IDX);
	set_used_event(&rig, 0);
	publish(&rig, 1);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	cr_expect_not(virtqueue_need_interrupt(&rig.device), "nothing new");
	publish(&rig, 1);
	cr_expect_not(virtqueue_need_interrupt(&rig.device), "event 0 lies behind");
	cr_expect_eq(counter_read(&rig.device.counters.interrupts), 1);
	cr_expect_eq(counter_read(&rig.device.counters.suppressed), 1);
	rig_deinit(&rig);
}

Test(events, several_publishes_are_judged_together)
{
	struct rig rig;

	rig_init(&rig, 8, RIG_EVENT_IDX);
	set_used_event(&rig, 1);
	publish(&rig, 1);
	publish(&rig, 1);
	publish(&rig, 1);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

Test(events, more_than_a_lap_without_asking_always_interrupts)
{
	struct rig rig;

	rig_init(&rig, 8, RIG_EVENT_IDX);
	for (unsigned i = 0; i < 65536; i++) {
		publish(&rig, 1);
		collect(&rig);
	}
	set_used_event(&rig, 40000);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

Test(events, the_flag_decides_without_event_idx)
{
	struct vring_avail *avail;
	struct rig rig;

	rig_init(&rig, 8, 0);
	avail = mock_queue_driver_area(rig.driver);
	publish(&rig, 1);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	publish(&rig, 1);
	cr_expect_not(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

Test(events, the_flag_does_not_count_with_event_idx)
{
	struct vring_avail *avail;
	struct rig rig;

	rig_init(&rig, 8, RIG_EVENT_IDX);
	avail = mock_queue_driver_area(rig.driver);
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	publish(&rig, 1);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

/* ---- interrupts, packed ---- */

static void set_packed_event(struct rig *rig, uint16_t position, bool wrap, uint16_t flags)
{
	struct vring_packed_desc_event *event = mock_queue_driver_area(rig->driver);

	event->off_wrap = (uint16_t)(position | (unsigned)wrap << 15);
	event->flags = flags;
}

/* The slots used so far, from the start of the ring, in laps of @size. */
static void expect_packed_interrupt(unsigned before, unsigned count, unsigned event, bool expected)
{
	const unsigned size = 5;
	struct rig rig;

	rig_init(&rig, (uint16_t)size, RIG_PACKED | RIG_EVENT_IDX);
	for (unsigned i = 0; i < before; i++) {
		publish(&rig, 1);
		collect(&rig);
	}
	virtqueue_need_interrupt(&rig.device);
	set_packed_event(&rig, event % size, event / size % 2 == 0, VRING_PACKED_EVENT_FLAG_DESC);
	publish(&rig, count);
	cr_expect_eq(virtqueue_need_interrupt(&rig.device), expected, "before %u count %u event %u",
		before, count, event);
	rig_deinit(&rig);
}

Test(events, packed_descriptor_event_edges)
{
	for (unsigned before = 0; before < 20; before++) {
		for (unsigned count = 1; count <= 5; count++) {
			if (before)
				expect_packed_interrupt(before, count, before - 1, false);
			expect_packed_interrupt(before, count, before, true);
			expect_packed_interrupt(before, count, before + count - 1, true);
			if (count < 5)
				expect_packed_interrupt(before, count, before + count, false);
		}
	}
}

/* Positions of the last lap but one have the wrap counter of this one. */
Test(events, packed_more_than_a_lap_without_asking_always_interrupts)
{
	struct rig rig;

	rig_init(&rig, 8, RIG_PACKED | RIG_EVENT_IDX);
	set_packed_event(&rig, 6, true, VRING_PACKED_EVENT_FLAG_DESC);
	for (unsigned i = 0; i < 20; i++) {
		publish(&rig, 1);
		collect(&rig);
	}
	cr_expect(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

Test(events, packed_flags)
{
	struct rig rig;

	rig_init(&rig, 8, RIG_PACKED | RIG_EVENT_IDX);
	set_packed_event(&rig, 0, true, VRING_PACKED_EVENT_FLAG_DISABLE);
	publish(&rig, 1);
	cr_expect_not(virtqueue_need_interrupt(&rig.device));
	set_packed_event(&rig, 7, true, VRING_PACKED_EVENT_FLAG_ENABLE);
	publish(&rig, 1);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	set_packed_event(&rig, 7, true, 3); /* reserved: better one too many */
	publish(&rig, 1);
	cr_expect(virtqueue_need_interrupt(&rig.device));
	set_packed_event(&rig, 0x7fff, true, VRING_PACKED_EVENT_FLAG_DESC); /* no such slot */
	publish(&rig, 1);
	cr_expect_not(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

Test(events, a_chain_of_several_slots_covers_all_of_them)
{
	struct mock_segment segments[3];
	struct virtqueue_entry entry;
	struct rig rig;

	rig_init(&rig, 8, RIG_PACKED | RIG_EVENT_IDX);
	for (unsigned i = 0; i < 3; i++)
		segments[i] = (struct mock_segment){.gpa = rig.buffer, .length = 1};
	set_packed_event(&rig, 2, true, VRING_PACKED_EVENT_FLAG_DESC); /* inside the chain */
	cr_assert_geq(mock_queue_add(rig.driver, segments, 3), 0);
	mock_queue_expose(rig.driver);
	entry = rig_pop(&rig);
	virtqueue_push(&rig.device, &entry, 0);
	cr_assert(virtqueue_publish(&rig.device));
	cr_expect(virtqueue_need_interrupt(&rig.device));
	rig_deinit(&rig);
}

/* ---- kicks ---- */

Test(events, a_fresh_queue_wants_kicks)
{
	static const unsigned kinds[] = {0, RIG_EVENT_IDX, RIG_PACKED, RIG_PACKED | RIG_EVENT_IDX};
	int kick = fd_eventfd();

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct rig rig;
		struct mock_segment segment;

		rig_init(&rig, 8, kinds[i]);
		segment = (struct mock_segment){.gpa = rig.buffer, .length = 1};
		cr_assert_geq(mock_queue_add(rig.driver, &segment, 1), 0);
		cr_expect(mock_queue_kick(rig.driver, kick), "kind %u", kinds[i]);
		cr_expect(fd_drain(kick));
		rig_deinit(&rig);
	}
	close(kick);
}

Test(events, disarm_and_rearm_are_seen_by_the_driver)
{
	static const unsigned kinds[] = {0, RIG_EVENT_IDX, RIG_PACKED, RIG_PACKED | RIG_EVENT_IDX};
	int kick = fd_eventfd();

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct rig rig;
		struct mock_segment segment;

		rig_init(&rig, 4, kinds[i]);
		segment = (struct mock_segment){.gpa = rig.buffer, .length = 1};
		for (unsigned lap = 0; lap < 10; lap++) {
			virtqueue_disarm(&rig.device);
			cr_assert_geq(mock_queue_add(rig.driver, &segment, 1), 0);
			cr_expect_not(
				mock_queue_kick(rig.driver, kick), "kind %u lap %u", kinds[i], lap);
			cr_expect(virtqueue_rearm(&rig.device), "work came meanwhile");
			while (virtqueue_has_work(&rig.device))
				rig_serve(&rig, 0);
			collect(&rig);
			cr_expect_not(virtqueue_rearm(&rig.device));
			cr_assert_geq(mock_queue_add(rig.driver, &segment, 1), 0);
			cr_expect(
				mock_queue_kick(rig.driver, kick), "kind %u lap %u", kinds[i], lap);
			rig_serve(&rig, 0);
			collect(&rig);
			cr_expect_not(virtqueue_rearm(&rig.device));
		}
		rig_deinit(&rig);
	}
	close(kick);
}

Test(events, avail_event_is_written_when_rearming_and_disarming_only)
{
	struct rig rig;

	rig_init(&rig, 8, RIG_EVENT_IDX);
	for (unsigned i = 0; i < 5; i++) {
		rig_offer(&rig, 1);
		rig_serve(&rig, 0);
	}
	cr_expect_eq(avail_event(&rig), 0);
	virtqueue_disarm(&rig.device);
	cr_expect_eq(avail_event(&rig), 4);
	rig_offer(&rig, 1);
	rig_serve(&rig, 0);
	virtqueue_disarm(&rig.device);
	cr_expect_eq(avail_event(&rig), 4);
	cr_expect_not(virtqueue_rearm(&rig.device));
	cr_expect_eq(avail_event(&rig), 6);
	cr_expect_eq(counter_read(&rig.device.counters.rearms), 1);
	rig_deinit(&rig);
}

Test(events, split_kicks_edges_at_the_wrap)
{
	int kick = fd_eventfd();
	struct mock_segment segment;
	struct rig rig;

	rig_init_at(&rig, 8, RIG_EVENT_IDX, 65533);
	segment = (struct mock_segment){.gpa = rig.buffer, .length = 1};
	for (unsigned i = 0; i < 8; i++) {
		/* Rearmed at the index: the next chain kicks, further ones do not. */
		cr_assert_geq(mock_queue_add(rig.driver, &segment, 1), 0);
		cr_expect(mock_queue_kick(rig.driver, kick));
		cr_assert_geq(mock_queue_add(rig.driver, &segment, 1), 0);
		cr_expect_not(mock_queue_kick(rig.driver, kick));
		rig_serve(&rig, 0);
		rig_serve(&rig, 0);
		collect(&rig);
		cr_expect_not(virtqueue_rearm(&rig.device));
	}
	rig_deinit(&rig);
	close(kick);
}

Test(events, starting_overwrites_what_the_driver_left_in_the_device_area)
{
	struct vring_packed_desc_event *event;
	struct vring_used *used;
	struct rig rig;

	rig_init(&rig, 8, 0);
	used = mock_queue_device_area(rig.driver);
	used->flags = VRING_USED_F_NO_NOTIFY;
	cr_assert_eq(
		virtqueue_start(&rig.device, rig.guest.memory, mock_queue_layout(rig.driver)), 0);
	cr_expect_eq(used->flags, 0);
	rig_deinit(&rig);

	rig_init(&rig, 8, RIG_PACKED);
	event = mock_queue_device_area(rig.driver);
	event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	cr_assert_eq(
		virtqueue_start(&rig.device, rig.guest.memory, mock_queue_layout(rig.driver)), 0);
	cr_expect_eq(event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	rig_deinit(&rig);
}
