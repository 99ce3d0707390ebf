/* SPDX-License-Identifier: Apache-2.0 */
/* What split and packed rings share: the cycle of a chain, batches, wrap-around, broken rings. */
#include "rig.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <linux/virtio_ring.h>

/* Every test here runs on each kind of ring. */
struct kind {
	unsigned flags;
	uint16_t size;
};

static struct kind kinds[] = {
	{0, 8},
	{RIG_EVENT_IDX, 1},
	{RIG_EVENT_IDX, 256},
	{RIG_EVENT_IDX, VIRTQUEUE_SIZE_MAX},
	{RIG_PACKED, 8},
	{RIG_PACKED | RIG_EVENT_IDX, 1},
	{RIG_PACKED | RIG_EVENT_IDX, 7}, /* no power of two */
	{RIG_PACKED | RIG_EVENT_IDX, VIRTQUEUE_SIZE_MAX},
};

#define FOR_EACH_KIND(name)                                                                        \
	ParameterizedTestParameters(ring, name)                                                    \
	{                                                                                          \
		return cr_make_param_array(struct kind, kinds, sizeof(kinds) / sizeof(kinds[0]));  \
	}                                                                                          \
	ParameterizedTest(struct kind *kind, ring, name)

FOR_EACH_KIND(an_empty_ring_has_no_work)
{
	struct virtqueue_entry entry;
	struct rig rig;

	rig_init(&rig, kind->size, kind->flags);
	cr_expect_not(virtqueue_has_work(&rig.device));
	cr_expect_eq(virtqueue_pop_batch(&rig.device, &entry, 1), 0);
	cr_expect_not(virtqueue_publish(&rig.device));
	cr_expect_not(virtqueue_need_interrupt(&rig.device));
	cr_expect_not(virtqueue_rearm(&rig.device));
	rig_deinit(&rig);
}

FOR_EACH_KIND(a_chain_goes_round)
{
	struct virtqueue_entry entry;
	struct mock_used used;
	struct rig rig;
	int token;

	rig_init(&rig, kind->size, kind->flags);
	token = rig_offer(&rig, 100);
	cr_assert_geq(token, 0);
	cr_expect(virtqueue_has_work(&rig.device));
	entry = rig_pop(&rig);
	cr_expect_eq(entry.id, token);
	cr_expect_not(virtqueue_has_work(&rig.device));
	cr_assert_eq(rig_load(&rig, &entry, 1), 0);
	cr_expect_eq(rig.chain.readable, 0);
	cr_expect_eq(rig.chain.writable, 1);
	cr_expect_eq(rig.chain.writable_bytes, 100);
	cr_expect_eq(rig.iov[0].iov_base, rig_host(&rig, rig.buffer));
	cr_expect_eq(rig.iov[0].iov_len, 100);
	virtqueue_push(&rig.device, &entry, 42);
	cr_expect_not(mock_queue_get_used(rig.driver, &used), "not visible before publishing");
	cr_expect(virtqueue_publish(&rig.device));
	cr_expect_not(virtqueue_publish(&rig.device), "only once");
	used = rig_used(&rig);
	cr_expect_eq(used.token, token);
	cr_expect_eq(used.written, 42);
	cr_expect_not(mock_queue_get_used(rig.driver, &used));
	rig_deinit(&rig);
}

FOR_EACH_KIND(a_full_ring_is_popped_in_batches_and_completed_backwards)
{
	static struct virtqueue_entry entries[VIRTQUEUE_SIZE_MAX + 1];
	struct rig rig;
	int popped = 0, count;

	rig_init(&rig, kind->size, kind->flags);
	for (unsigned lap = 0; lap < 3; lap++) {
		while (rig_offer(&rig, 1) >= 0)
			;
		cr_assert_eq(mock_queue_in_flight(rig.driver), kind->size);
		for (popped = 0;; popped += count) {
			count = virtqueue_pop_batch(&rig.device, &entries[popped], 5);
			cr_assert_geq(count, 0);
			cr_assert_leq(count, 5);
			if (!count)
				break;
		}
		cr_assert_eq(popped, kind->size);
		for (int i = popped; i-- > 0;)
			cr_assert_eq(rig_load(&rig, &entries[i], 4), 0);
		for (int i = popped; i-- > 0;)
			virtqueue_push(&rig.device, &entries[i], entries[i].id + 1u);
		cr_assert(virtqueue_publish(&rig.device));
		for (int i = popped; i-- > 0;) {
			struct mock_used used = rig_used(&rig);

			cr_assert_eq(used.token, entries[i].id);
			cr_assert_eq(used.written, entries[i].id + 1u);
		}
		cr_assert_eq(mock_queue_in_flight(rig.driver), 0);
	}
	rig_deinit(&rig);
}

FOR_EACH_KIND(indices_wrap_round_at_65536)
{
	struct rig rig;

	rig_init(&rig, kind->size, kind->flags);
	for (unsigned i = 0; i < 70000; i++) {
		int token = rig_offer(&rig, 1);
		struct mock_used used;

		cr_assert_geq(token, 0);
		rig_serve(&rig, i);
		used = rig_used(&rig);
		cr_assert_eq(used.token, token);
		cr_assert_eq(used.written, i);
	}
	cr_expect_eq(counter_read(&rig.device.counters.popped), 70000);
	cr_expect_eq(counter_read(&rig.device.counters.pushed), 70000);
	cr_expect_eq(counter_read(&rig.device.counters.publishes), 70000);
	rig_deinit(&rig);
}

FOR_EACH_KIND(unpopped_chains_come_again)
{
	struct virtqueue_entry first[3], again[3];
	struct rig rig;
	int count;

	rig_init(&rig, kind->size, kind->flags);
	for (unsigned lap = 0; lap < 20; lap++) { /* crosses the end of small rings */
		while (rig_offer(&rig, 1) >= 0)
			;
		count = virtqueue_pop_batch(&rig.device, first, 3);
		cr_assert_gt(count, 0);
		cr_assert_eq(rig_load(&rig, &first[count - 1], 1), 0);
		virtqueue_unpop(&rig.device, first + 1, (unsigned)count - 1);
		virtqueue_push(&rig.device, &first[0], 9);
		cr_assert(virtqueue_publish(&rig.device));
		cr_expect_eq(rig_used(&rig).token, first[0].id);
		cr_assert_eq(
			virtqueue_pop_batch(&rig.device, again, (unsigned)count - 1), count - 1);
		for (int i = 0; i < count - 1; i++) {
			cr_expect_eq(again[i].id, first[i + 1].id);
			cr_expect_eq(again[i].head, first[i + 1].head);
		}
		virtqueue_unpop(&rig.device, again, (unsigned)count - 1);
		while (virtqueue_has_work(&rig.device))
			rig_serve(&rig, 0);
		while (mock_queue_in_flight(rig.driver))
			rig_used(&rig);
	}
	cr_expect_eq(counter_read(&rig.device.counters.popped),
		counter_read(&rig.device.counters.pushed));
	rig_deinit(&rig);
}

FOR_EACH_KIND(several_chains_are_published_as_one_batch)
{
	struct virtqueue_entry entries[3];
	struct rig rig;
	int count;

	rig_init(&rig, kind->size, kind->flags);
	for (unsigned i = 0; i < 3; i++)
		rig_offer(&rig, 1);
	count = virtqueue_pop_batch(&rig.device, entries, 3);
	cr_assert_gt(count, 0);
	for (int i = 0; i < count; i++) {
		struct mock_used used;

		virtqueue_push(&rig.device, &entries[i], 1);
		cr_expect_not(mock_queue_get_used(rig.driver, &used));
	}
	cr_expect(virtqueue_publish(&rig.device));
	for (int i = 0; i < count; i++)
		cr_expect_eq(rig_used(&rig).token, entries[i].id);
	cr_expect_eq(counter_read(&rig.device.counters.publishes), 1);
	rig_deinit(&rig);
}

FOR_EACH_KIND(a_stopped_queue_is_idle_and_can_be_started_again)
{
	struct virtqueue_entry entry = {0};
	struct rig rig;

	rig_init(&rig, kind->size, kind->flags);
	rig_offer(&rig, 1);
	virtqueue_stop(&rig.device);
	cr_expect_not(virtqueue_has_work(&rig.device));
	cr_expect_eq(virtqueue_pop_batch(&rig.device, &entry, 1), 0);
	cr_expect_not(virtqueue_rearm(&rig.device));
	virtqueue_disarm(&rig.device);
	virtqueue_push(&rig.device, &entry, 0);
	cr_expect_not(virtqueue_publish(&rig.device));
	cr_expect_not(virtqueue_need_interrupt(&rig.device));
	cr_assert_eq(
		virtqueue_start(&rig.device, rig.guest.memory, mock_queue_layout(rig.driver)), 0);
	rig_serve(&rig, 5);
	cr_expect_eq(rig_used(&rig).written, 5);
	rig_deinit(&rig);
}

/* ---- areas ---- */

struct area_case {
	const char *what;
	bool packed;
	uint16_t size;
	uint64_t desc, driver, device;
	int result;
};

#define GOOD MOCK_GUEST_BASE
#define END  (MOCK_GUEST_BASE + 0x100000ull)

static struct area_case area_cases[] = {
	{"size 0", false, 0, GOOD, GOOD, GOOD, -EINVAL},
	{"not a power of two", false, 6, GOOD, GOOD, GOOD, -EINVAL},
	{"too large", false, 2 * VIRTQUEUE_SIZE_MAX, GOOD, GOOD, GOOD, -EINVAL},
	{"desc misaligned", false, 4, GOOD + 8, GOOD, GOOD, -EINVAL},
	{"avail misaligned", false, 4, GOOD, GOOD + 1, GOOD, -EINVAL},
	{"used misaligned", false, 4, GOOD, GOOD, GOOD + 2, -EINVAL},
	{"avail at 2", false, 4, GOOD, GOOD + 2, GOOD + 4, 0},
	{"desc outside", false, 4, END, GOOD, GOOD, -EFAULT},
	{"desc over the end", false, 4, END - 48, GOOD, GOOD, -EFAULT},
	{"desc to the end", false, 4, END - 64, GOOD, GOOD, 0},
	{"avail over the end", false, 4, GOOD, END - 12, GOOD, -EFAULT},
	{"avail to the end", false, 4, GOOD, END - 14, GOOD, 0},
	{"used over the end", false, 4, GOOD, GOOD, END - 36, -EFAULT},
	{"used to the end", false, 4, GOOD, GOOD, END - 40, 0},
	{"wraps", false, 4, 0xfffffffffffffff0, GOOD, GOOD, -EFAULT},
	{"packed, size 0", true, 0, GOOD, GOOD, GOOD, -EINVAL},
	{"packed, too large", true, VIRTQUEUE_SIZE_MAX + 1, GOOD, GOOD, GOOD, -EINVAL},
	{"packed, any size", true, 6, GOOD, GOOD, GOOD + 128, 0},
	{"packed, desc misaligned", true, 4, GOOD + 8, GOOD, GOOD, -EINVAL},
	{"packed, driver misaligned", true, 4, GOOD, GOOD + 2, GOOD, -EINVAL},
	{"packed, device misaligned", true, 4, GOOD, GOOD, GOOD + 2, -EINVAL},
	{"packed, desc over the end", true, 4, END - 48, GOOD, GOOD, -EFAULT},
	{"packed, driver outside", true, 4, GOOD, END, GOOD, -EFAULT},
	{"packed, device in the hole", true, 4, GOOD, GOOD, 0x200000000, -EFAULT},
};

Test(ring, areas_are_checked_at_the_start)
{
	struct mock_guest guest;
	struct virtqueue queue = {0};

	mock_guest_init(&guest, END - GOOD);
	for (size_t i = 0; i < sizeof(area_cases) / sizeof(area_cases[0]); i++) {
		const struct area_case *test = &area_cases[i];
		const struct virtqueue_layout layout = {.size = test->size,
			.packed = test->packed,
			.event_idx = true,
			.desc_gpa = test->desc,
			.driver_gpa = test->driver,
			.device_gpa = test->device};

		cr_expect_eq(virtqueue_start(&queue, guest.memory, &layout), test->result, "%s",
			test->what);
		cr_expect_eq(virtqueue_rearm(&queue), false, "%s", test->what);
	}
	virtqueue_stop(&queue);
	mock_guest_deinit(&guest);
}

/* ---- split rings alone ---- */

static void expect_broken(struct rig *rig)
{
	struct virtqueue_entry entries[16];

	cr_expect_eq(virtqueue_pop_batch(&rig->device, entries, 16), -EPROTO);
	cr_expect_eq(virtqueue_pop_batch(&rig->device, entries, 1), -EPROTO, "and stays so");
	cr_expect_not(virtqueue_has_work(&rig->device));
	cr_expect_not(virtqueue_rearm(&rig->device));
	cr_expect_not(virtqueue_publish(&rig->device));
	cr_expect_not(virtqueue_need_interrupt(&rig->device));
}

Test(ring, starting_anywhere_wraps_cleanly)
{
	static const uint16_t starts[] = {0, 1, 32767, 32768, 65535, 65530};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct rig rig;

		rig_init_at(&rig, 4, RIG_EVENT_IDX, starts[i]);
		for (unsigned n = 0; n < 20; n++) {
			int token = rig_offer(&rig, 1);

			rig_offer(&rig, 1);
			cr_expect(virtqueue_has_work(&rig.device));
			rig_serve(&rig, n);
			rig_serve(&rig, n);
			cr_expect_eq(rig_used(&rig).token, token);
			cr_expect_eq(rig_used(&rig).written, n);
		}
		rig_deinit(&rig);
	}
}

Test(ring, an_avail_index_that_jumps_breaks_the_queue)
{
	struct vring_avail *avail;
	struct rig rig;

	rig_init(&rig, 8, 0);
	avail = mock_queue_driver_area(rig.driver);
	avail->idx = 9;
	cr_expect(virtqueue_has_work(&rig.device), "a look at the index is no judgement");
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(ring, an_avail_index_that_runs_backwards_breaks_the_queue)
{
	struct vring_avail *avail;
	struct rig rig;

	rig_init(&rig, 8, 0);
	rig_offer(&rig, 1);
	rig_offer(&rig, 1);
	rig_serve(&rig, 0);
	rig_serve(&rig, 0);
	avail = mock_queue_driver_area(rig.driver);
	avail->idx = 1;
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(ring, as_many_as_the_queue_holds_are_fine)
{
	struct virtqueue_entry entries[16];
	struct rig rig;

	rig_init(&rig, 8, 0);
	for (uint16_t i = 0; i < 8; i++)
		mock_queue_add_head(rig.driver, i);
	mock_queue_expose(rig.driver);
	cr_expect_eq(virtqueue_pop_batch(&rig.device, entries, 16), 8);
	rig_deinit(&rig);
}

/*
 * A head that is made available twice: the ring lets it pass (who keeps state per head refuses
 * it), but never more chains than the queue has entries.
 */
Test(ring, duplicate_heads_never_exceed_the_queue)
{
	struct virtqueue_entry entries[16];
	struct rig rig;

	rig_init(&rig, 4, 0);
	for (unsigned i = 0; i < 4; i++)
		mock_queue_add_head(rig.driver, 2);
	mock_queue_expose(rig.driver);
	cr_expect_eq(virtqueue_pop_batch(&rig.device, entries, 3), 3);
	cr_expect_eq(entries[0].head, 2);
	cr_expect_eq(entries[2].head, 2);
	cr_expect_eq(virtqueue_pop_batch(&rig.device, entries + 3, 3), 1);
	mock_queue_add_head(rig.driver, 2);
	mock_queue_expose(rig.driver);
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(ring, what_was_completed_makes_room_for_more)
{
	struct virtqueue_entry entries[4];
	struct rig rig;

	rig_init(&rig, 4, 0);
	for (uint16_t i = 0; i < 4; i++)
		mock_queue_add_head(rig.driver, i);
	mock_queue_expose(rig.driver);
	cr_assert_eq(virtqueue_pop_batch(&rig.device, entries, 4), 4);
	virtqueue_push(&rig.device, &entries[3], 0);
	virtqueue_publish(&rig.device);
	mock_queue_add_head(rig.driver, 3);
	mock_queue_expose(rig.driver);
	cr_expect_eq(virtqueue_pop_batch(&rig.device, entries, 4), 1);
	rig_deinit(&rig);
}

Test(ring, a_head_out_of_range_breaks_the_queue)
{
	struct rig rig;

	rig_init(&rig, 8, 0);
	mock_queue_add_head(rig.driver, 0);
	mock_queue_add_head(rig.driver, 8);
	mock_queue_expose(rig.driver);
	expect_broken(&rig);
	rig_deinit(&rig);
}

Test(ring, what_was_seen_is_not_looked_for_again)
{
	struct vring_avail *avail;
	struct virtqueue_entry entry;
	struct rig rig;

	rig_init(&rig, 8, 0);
	rig_offer(&rig, 1);
	rig_offer(&rig, 1);
	cr_assert_eq(virtqueue_pop_batch(&rig.device, &entry, 1), 1);
	avail = mock_queue_driver_area(rig.driver);
	avail->idx = 1234; /* the second was announced before the index went mad */
	cr_expect_eq(virtqueue_pop_batch(&rig.device, &entry, 1), 1);
	expect_broken(&rig);
	rig_deinit(&rig);
}
