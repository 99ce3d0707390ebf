/* SPDX-License-Identifier: Apache-2.0 */
/* Packed rings: slots, wrap counters, hostile flags and ids. */
#include "rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

static struct vring_packed_desc *ring_of(struct rig *rig)
{
	return mock_queue_desc_area(rig->driver);
}

/* Writes ring slot @slot as a driver on its first lap would. */
static void put_slot(struct rig *rig, uint16_t slot, uint16_t id, uint16_t flags)
{
	ring_of(rig)[slot] = (struct vring_packed_desc){
		.addr = rig->buffer, .len = 16, .id = id, .flags = flags | AVAIL};
}

static int add_chain(struct rig *rig, unsigned segments)
{
	struct mock_segment list[16];
	int token;

	for (unsigned i = 0; i < segments; i++)
		list[i] = (struct mock_segment){
			.gpa = rig->buffer + 256 * i, .length = 16 + i, .writable = i > 0};
	token = mock_queue_add(rig->driver, list, segments);
	mock_queue_expose(rig->driver);
	return token;
}

static void expect_broken(struct rig *rig)
{
	struct virtqueue_entry entries[16];

	cr_expect_eq(virtqueue_pop_batch(&rig->device, entries, 16), -EPROTO);
	cr_expect_eq(virtqueue_pop_batch(&rig->device, entries, 1), -EPROTO);
	cr_expect_not(virtqueue_has_work(&rig->device));
	cr_expect_not(virtqueue_rearm(&rig->device));
}

Test(packed, chains_take_several_slots_and_cross_the_end)
{
	struct rig rig;

	rig_init(&rig, 7, RIG_PACKED);
	for (unsigned n = 0; n < 100; n++) {
		unsigned segments = 1 + n % 5;
		int token = add_chain(&rig, segments);
		struct virtqueue_entry entry = rig_pop(&rig);

		cr_assert_eq(entry.id, token);
		cr_assert_eq(entry.descriptors, segments);
		cr_assert_eq(rig_load(&rig, &entry, 8), 0);
		cr_assert_eq(rig.chain.readable, 1);
		cr_assert_eq(rig.chain.writable, segments - 1);
		for (unsigned i = 0; i < segments; i++)
			cr_assert_eq(rig.iov[i].iov_len, 16 + i);
		virtqueue_push(&rig.device, &entry, n);
		cr_assert(virtqueue_publish(&rig.device));
		cr_assert_eq(rig_used(&rig).written, n);
	}
	rig_deinit(&rig);
}

/*
 * Used entries overwrite slots of chains that are in flight. Those were loaded in pop order before,
 * so nothing is lost: chains of different lengths, completed in every order of three.
 */
Test(packed, completion_in_any_order)
{
	static const unsigned orders[6][3] = {
		{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	for (unsigned lap = 0; lap < 60; lap++) {
		static struct rig rig;
		struct virtqueue_entry entries[3];
		const unsigned *order = orders[lap % 6];
		int tokens[3];

		if (lap == 0)
			rig_init(&rig, 8, RIG_PACKED);
		tokens[0] = add_chain(&rig, 2);
		tokens[1] = add_chain(&rig, 1);
		tokens[2] = add_chain(&rig, 3);
		cr_assert_eq(virtqueue_pop_batch(&rig.device, entries, 3), 3);
		for (unsigned i = 0; i < 3; i++)
			cr_assert_eq(rig_load(&rig, &entries[i], 4), 0);
		for (unsigned i = 0; i < 3; i++) {
			virtqueue_push(&rig.device, &entries[order[i]], 100 + order[i]);
			if (i == lap % 3)
				virtqueue_publish(&rig.device);
		}
		virtqueue_publish(&rig.device);
		for (unsigned i = 0; i < 3; i++) {
			struct mock_used used = rig_used(&rig);

			cr_assert_eq(used.token, tokens[order[i]]);
			cr_assert_eq(used.written, 100 + order[i]);
		}
		if (lap == 59)
			rig_deinit(&rig);
	}
}

/* One chain back at a time, of every length, so that each unpop crosses the end of the ring alone.
 */
Test(packed, unpopping_a_single_chain_over_the_end)
{
	struct rig rig;

	rig_init(&rig, 7, RIG_PACKED);
	for (unsigned n = 0; n < 100; n++) {
		unsigned segments = 1 + n % 7;
		int token = add_chain(&rig, segments);
		struct virtqueue_entry entry = rig_pop(&rig);

		virtqueue_unpop(&rig.device, &entry, 1);
		cr_assert(virtqueue_has_work(&rig.device));
		entry = rig_pop(&rig);
		cr_assert_eq(entry.id, token);
		cr_assert_eq(entry.descriptors, segments);
		cr_assert_not(virtqueue_has_work(&rig.device));
		virtqueue_push(&rig.device, &entry, 0);
		cr_assert(virtqueue_publish(&rig.device));
		cr_assert_eq(rig_used(&rig).token, token);
	}
	rig_deinit(&rig);
}

Test(packed, used_descriptors_say_whether_anything_was_written)
{
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	rig_offer(&rig, 1);
	rig_serve(&rig, 0);
	cr_expect_eq(ring_of(&rig)[0].flags, AVAIL | USED);
	rig_offer(&rig, 1);
	rig_serve(&rig, 1);
	cr_expect_eq(ring_of(&rig)[1].flags, AVAIL | USED | VRING_DESC_F_WRITE);
	rig_deinit(&rig);
}

Test(packed, the_wrap_counter_turns_the_flags_round)
{
	struct rig rig;

	rig_init(&rig, 2, RIG_PACKED);
	for (unsigned i = 0; i < 2; i++) {
		rig_offer(&rig, 1);
		rig_serve(&rig, 0);
		rig_used(&rig);
	}
	cr_expect_eq(ring_of(&rig)[1].flags, AVAIL | USED);
	cr_expect_not(
		virtqueue_has_work(&rig.device), "used slots of the last lap are not available");
	rig_offer(&rig, 1);
	cr_expect_eq(ring_of(&rig)[0].flags, USED | VRING_DESC_F_WRITE);
	rig_serve(&rig, 0);
	cr_expect_eq(ring_of(&rig)[0].flags, 0);
	rig_deinit(&rig);
}

Test(packed, flags_of_the_other_lap_are_not_available)
{
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	ring_of(&rig)[0].flags = USED;
	cr_expect_not(virtqueue_has_work(&rig.device));
	ring_of(&rig)[0].flags = AVAIL | USED;
	cr_expect_not(virtqueue_has_work(&rig.device));
	ring_of(&rig)[0].flags = AVAIL;
	cr_expect(virtqueue_has_work(&rig.device));
	rig_deinit(&rig);
}

Test(packed, the_id_counts_in_the_last_slot_alone)
{
	struct virtqueue_entry entry;
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	put_slot(&rig, 1, 3, 0);
	put_slot(&rig, 0, 0xffff, VRING_DESC_F_NEXT);
	entry = rig_pop(&rig);
	cr_expect_eq(entry.id, 3);
	cr_expect_eq(entry.descriptors, 2);
	rig_deinit(&rig);
}

Test(packed, an_id_out_of_range_breaks_the_queue)
{
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	put_slot(&rig, 0, 4, 0);
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(packed, a_chain_without_end_breaks_the_queue)
{
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	for (uint16_t i = 0; i < 4; i++)
		put_slot(&rig, i, 0, VRING_DESC_F_NEXT);
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(packed, a_chain_over_slots_in_flight_breaks_the_queue)
{
	struct virtqueue_entry entry;
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	put_slot(&rig, 0, 0, 0);
	entry = rig_pop(&rig);
	(void)entry;
	/* Three slots are free, the chain has four: it would run over the one in flight. */
	put_slot(&rig, 1, 1, VRING_DESC_F_NEXT);
	put_slot(&rig, 2, 1, VRING_DESC_F_NEXT);
	put_slot(&rig, 3, 1, VRING_DESC_F_NEXT);
	ring_of(&rig)[0].flags = USED;
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(packed, a_slot_made_available_again_while_in_flight_breaks_the_queue)
{
	struct virtqueue_entry entries[4];
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	for (uint16_t i = 0; i < 4; i++)
		put_slot(&rig, i, i, 0);
	cr_assert_eq(virtqueue_pop_batch(&rig.device, entries, 4), 4);
	ring_of(&rig)[0].flags = USED; /* as if it were the next lap */
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(packed, flags_that_change_after_the_pop_cannot_move_the_end)
{
	struct virtqueue_entry entry;
	struct rig rig;

	rig_init(&rig, 4, RIG_PACKED);
	put_slot(&rig, 1, 1, 0);
	put_slot(&rig, 0, 1, VRING_DESC_F_NEXT);
	entry = rig_pop(&rig);
	ring_of(&rig)[1].flags |= VRING_DESC_F_NEXT;
	ring_of(&rig)[0].flags &= (uint16_t)~VRING_DESC_F_NEXT;
	cr_assert_eq(rig_load(&rig, &entry, 8), 0);
	cr_expect_eq(rig.chain.readable, 2);
	rig_deinit(&rig);
}

Test(packed, mock_flags_helper_agrees_with_the_ring)
{
	struct rig rig;

	rig_init(&rig, 2, RIG_PACKED);
	cr_expect_eq(mock_queue_packed_avail_flags(rig.driver, 0), AVAIL);
	rig_offer(&rig, 1);
	cr_expect_eq(mock_queue_packed_avail_flags(rig.driver, 0), USED);
	cr_expect_eq(mock_queue_packed_avail_flags(rig.driver, 1), AVAIL);
	rig_deinit(&rig);
}
