/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor chains of split rings: good ones, and everything that a hostile guest may try. */
#include "rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define SIZE     16

static struct rig rig;

static void setup(void)
{
	rig_init(&rig, SIZE, RIG_INDIRECT);
}

static void teardown(void)
{
	rig_deinit(&rig);
}

TestSuite(chain, .init = setup, .fini = teardown);

static struct vring_desc descriptor(
	uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	return (struct vring_desc){.addr = address, .len = length, .flags = flags, .next = next};
}

static void put(uint16_t slot, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	((struct vring_desc *)mock_queue_desc_area(rig.driver))[slot] =
		descriptor(address, length, flags, next);
}

/* Makes @head available and loads its chain with room for @capacity segments. */
static int load(uint16_t head, unsigned capacity)
{
	struct virtqueue_entry entry;

	mock_queue_add_head(rig.driver, head);
	mock_queue_expose(rig.driver);
	entry = rig_pop(&rig);
	cr_assert_eq(entry.head, head);
	return rig_load(&rig, &entry, capacity);
}

/* An indirect table in guest memory. */
static struct vring_desc *table(unsigned count, uint64_t *ret_gpa)
{
	uint64_t bytes = count * sizeof(struct vring_desc);

	*ret_gpa = mock_guest_alloc(&rig.guest, bytes, 16);
	return mock_guest_pointer(&rig.guest, *ret_gpa, bytes);
}

static void expect_counts(unsigned readable, unsigned writable, uint64_t in, uint64_t out)
{
	cr_expect_eq(rig.chain.readable, readable);
	cr_expect_eq(rig.chain.writable, writable);
	cr_expect_eq(rig.chain.readable_bytes, in);
	cr_expect_eq(rig.chain.writable_bytes, out);
}

Test(chain, readable_then_writable)
{
	put(4, rig.buffer, 16, NEXT, 9);
	put(9, rig.buffer + 0x1000, 4096, NEXT | WRITE, 2);
	put(2, rig.buffer + 0x3000, 1, WRITE, 4); /* next counts for nothing without the flag */
	cr_assert_eq(load(4, 8), 0);
	expect_counts(1, 2, 16, 4097);
	cr_expect_eq(rig.iov[0].iov_base, rig_host(&rig, rig.buffer));
	cr_expect_eq(rig.iov[1].iov_base, rig_host(&rig, rig.buffer + 0x1000));
	cr_expect_eq(rig.iov[1].iov_len, 4096);
	cr_expect_eq(rig.iov[2].iov_base, rig_host(&rig, rig.buffer + 0x3000));
}

Test(chain, as_long_as_the_queue)
{
	for (uint16_t i = 0; i < SIZE; i++)
		put(i, rig.buffer + i, 1, i + 1 < SIZE ? NEXT : 0, i + 1);
	cr_assert_eq(load(0, SIZE), 0);
	expect_counts(SIZE, 0, SIZE, 0);
}

Test(chain, loops_end)
{
	put(0, rig.buffer, 1, NEXT, 0); /* onto itself */
	cr_expect_eq(load(0, SIZE), -EPROTO);
	put(1, rig.buffer, 1, NEXT, 2);
	put(2, rig.buffer, 1, NEXT, 1);
	cr_expect_eq(load(1, SIZE), -EPROTO);
	for (uint16_t i = 0; i < SIZE; i++)
		put(i, rig.buffer, 1, NEXT, (i + 1) % SIZE);
	cr_expect_eq(load(3, RIG_IOV), -EPROTO);
}

Test(chain, next_out_of_range)
{
	put(0, rig.buffer, 1, NEXT, SIZE);
	cr_expect_eq(load(0, 4), -EPROTO);
	put(0, rig.buffer, 1, NEXT, 0xffff);
	cr_expect_eq(load(0, 4), -EPROTO);
}

Test(chain, addresses_outside_ram)
{
	static const struct {
		uint64_t address;
		uint32_t length;
		int result;
	} cases[] = {
		{0, 16, -EPROTO},
		{MOCK_GUEST_BASE - 1, 2, -EPROTO},
		{MOCK_GUEST_BASE - 16, 16, -EPROTO},
		{MOCK_GUEST_BASE, 16, 0},
		{MOCK_GUEST_BASE + (1 << 20) - 16, 16, 0},
		{MOCK_GUEST_BASE + (1 << 20) - 16, 17, -EPROTO},
		{MOCK_GUEST_BASE + (1 << 20), 1, -EPROTO},
		{MOCK_GUEST_BASE, UINT32_MAX, -EPROTO}, /* over the hole into the next region */
		{MOCK_GUEST_HIGH - 1, 2, -EPROTO},
		{MOCK_GUEST_HIGH, MOCK_GUEST_HIGH_BYTES, 0},
		{MOCK_GUEST_HIGH, MOCK_GUEST_HIGH_BYTES + 1, -EPROTO},
		{UINT64_MAX, 1, -EPROTO},
		{UINT64_MAX, UINT32_MAX, -EPROTO},
		{UINT64_MAX - 15, 16, -EPROTO},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtqueue_entry entry;

		put(0, cases[i].address, cases[i].length, WRITE, 0);
		mock_queue_add_head(rig.driver, 0);
		mock_queue_expose(rig.driver);
		entry = rig_pop(&rig);
		cr_expect_eq(rig_load(&rig, &entry, 4), cases[i].result, "case %zu", i);
		virtqueue_push(&rig.device, &entry, 0); /* a refused chain can be given back */
		cr_expect(virtqueue_publish(&rig.device));
	}
}

Test(chain, zero_length_descriptors_are_skipped)
{
	put(0, 0, 0, NEXT, 1); /* an address that is not looked at */
	put(1, rig.buffer, 8, NEXT, 2);
	put(2, rig.buffer, 0, NEXT | WRITE, 3);
	put(3, rig.buffer + 8, 4, WRITE, 0);
	cr_assert_eq(load(0, 2), 0);
	expect_counts(1, 1, 8, 4);
	cr_expect_eq(rig.iov[1].iov_len, 4);
}

Test(chain, nothing_but_zero_length_is_refused)
{
	put(0, rig.buffer, 0, WRITE, 0);
	cr_expect_eq(load(0, 4), -EPROTO);
	put(1, rig.buffer, 0, NEXT, 2);
	put(2, rig.buffer, 0, 0, 0);
	cr_expect_eq(load(1, 4), -EPROTO);
}

Test(chain, readable_after_writable_is_refused)
{
	put(0, rig.buffer, 8, NEXT | WRITE, 1);
	put(1, rig.buffer, 8, 0, 0);
	cr_expect_eq(load(0, 4), -EPROTO);
	put(2, rig.buffer, 8, NEXT | WRITE, 3);
	put(3, rig.buffer, 0, 0, 0); /* empty, but out of order all the same */
	cr_expect_eq(load(2, 4), -EPROTO);
}

Test(chain, more_segments_than_room_keeps_the_last_one)
{
	for (uint16_t i = 0; i < 6; i++)
		put(i, rig.buffer + 0x100 * i, 10 + i, (i < 5 ? NEXT : 0) | (i >= 2 ? WRITE : 0),
			i + 1);
	cr_assert_eq(load(0, 6), 0);
	cr_assert_eq(load(0, 5), -E2BIG);
	expect_counts(2, 4, 21, 12 + 13 + 14 + 15);
	cr_expect_eq(rig.iov[3].iov_len, 13);
	cr_expect_eq(rig.iov[4].iov_base, rig_host(&rig, rig.buffer + 0x500));
	cr_expect_eq(rig.iov[4].iov_len, 15);
	cr_expect_eq(rig.iov[5].iov_len, 0xeeeeeeeeeeeeeeeeull, "nothing beyond the capacity");
	cr_assert_eq(load(0, 1), -E2BIG);
	cr_expect_eq(rig.iov[0].iov_len, 15);
}

Test(chain, a_malformed_chain_is_refused_though_it_is_too_long_as_well)
{
	put(0, rig.buffer, 1, NEXT, 1);
	put(1, rig.buffer, 1, NEXT, 2);
	put(2, 0, 1, 0, 0);
	cr_expect_eq(load(0, 1), -EPROTO);
}

/* ---- indirect tables ---- */

Test(chain, an_indirect_table)
{
	uint64_t gpa;
	struct vring_desc *entries = table(3, &gpa);

	entries[0] = descriptor(rig.buffer, 16, NEXT, 2);
	entries[2] = descriptor(rig.buffer + 0x1000, 512, NEXT | WRITE, 1);
	entries[1] = descriptor(rig.buffer + 0x2000, 1, WRITE, 0);
	put(5, gpa, 48, INDIRECT | WRITE, 0); /* WRITE is to be ignored on it */
	cr_assert_eq(load(5, 8), 0);
	expect_counts(1, 2, 16, 513);
}

Test(chain, direct_descriptors_may_come_before_the_table)
{
	uint64_t gpa;
	struct vring_desc *entries = table(1, &gpa);

	entries[0] = descriptor(rig.buffer + 0x1000, 512, WRITE, 0);
	put(0, rig.buffer, 16, NEXT, 1);
	put(1, gpa, 16, INDIRECT, 0);
	cr_assert_eq(load(0, 8), 0);
	expect_counts(1, 1, 16, 512);
}

Test(chain, the_order_of_directions_holds_across_the_table)
{
	uint64_t gpa;
	struct vring_desc *entries = table(1, &gpa);

	entries[0] = descriptor(rig.buffer, 16, 0, 0);
	put(0, rig.buffer, 16, NEXT | WRITE, 1);
	put(1, gpa, 16, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
}

Test(chain, a_table_larger_than_the_queue_is_served)
{
	uint64_t gpa;
	struct vring_desc *entries = table(40, &gpa);

	for (uint16_t i = 0; i < 40; i++)
		entries[i] = descriptor(rig.buffer + i, 1, i < 39 ? NEXT : 0, i + 1);
	put(0, gpa, 40 * 16, INDIRECT, 0);
	cr_assert_eq(load(0, 40), 0);
	expect_counts(40, 0, 40, 0);
}

Test(chain, a_table_beyond_our_bound_is_refused)
{
	unsigned count = VIRTQUEUE_SIZE_MAX + 1;
	uint64_t gpa;
	struct vring_desc *entries = table(count, &gpa);

	for (unsigned i = 0; i < count; i++)
		entries[i] = descriptor(rig.buffer, 1, i + 1 < count ? NEXT : 0, (uint16_t)(i + 1));
	put(0, gpa, count * 16, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
	entries[count - 2].flags = 0;
	cr_expect_eq(load(0, 8), -E2BIG, "exactly at the bound it is only too long for us");
	expect_counts(VIRTQUEUE_SIZE_MAX, 0, VIRTQUEUE_SIZE_MAX, 0);
}

Test(chain, loops_in_a_table_end)
{
	uint64_t gpa;
	struct vring_desc *entries = table(2, &gpa);

	entries[0] = descriptor(rig.buffer, 1, NEXT, 1);
	entries[1] = descriptor(rig.buffer, 1, NEXT, 0);
	put(0, gpa, 32, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
}

Test(chain, next_out_of_the_table)
{
	uint64_t gpa;
	struct vring_desc *entries = table(3, &gpa);

	entries[0] = descriptor(rig.buffer, 1, NEXT, 2);
	entries[2] = descriptor(rig.buffer, 1, 0, 0);
	put(0, gpa, 32, INDIRECT, 0); /* two entries only */
	cr_expect_eq(load(0, 8), -EPROTO);
}

Test(chain, nested_tables_are_refused)
{
	uint64_t gpa;
	struct vring_desc *entries = table(2, &gpa);

	entries[0] = descriptor(gpa, 32, INDIRECT, 0);
	put(0, gpa, 32, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
	entries[0] = descriptor(rig.buffer, 1, NEXT, 1);
	entries[1] = descriptor(gpa, 32, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
}

Test(chain, a_table_with_next_is_refused)
{
	uint64_t gpa;
	struct vring_desc *entries = table(1, &gpa);

	entries[0] = descriptor(rig.buffer, 1, 0, 0);
	put(0, gpa, 16, INDIRECT | NEXT, 1);
	put(1, rig.buffer, 1, 0, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
}

Test(chain, table_lengths)
{
	static const uint32_t bad[] = {0, 1, 15, 17, 24, 0xffffffff};
	uint64_t gpa;
	struct vring_desc *entries = table(2, &gpa);

	entries[0] = descriptor(rig.buffer, 1, 0, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(0, gpa, bad[i], INDIRECT, 0);
		cr_expect_eq(load(0, 8), -EPROTO, "length %u", bad[i]);
	}
	put(0, gpa, 0xfffffff0, INDIRECT, 0); /* a multiple of 16, but not in RAM */
	cr_expect_eq(load(0, 8), -EPROTO);
	put(0, 0, 16, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
	put(0, MOCK_GUEST_BASE + (1 << 20) - 16, 32, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
	put(0, gpa, 16, INDIRECT, 0);
	cr_expect_eq(load(0, 8), 0);
}

Test(chain, a_misaligned_table_is_read_correctly)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, 64, 16) + 3;
	struct vring_desc entry = descriptor(rig.buffer, 77, WRITE, 0);

	memcpy(rig_host(&rig, gpa), &entry, sizeof(entry));
	put(0, gpa, 16, INDIRECT, 0);
	cr_assert_eq(load(0, 8), 0);
	expect_counts(0, 1, 0, 77);
}

Test(chain, tables_need_the_feature)
{
	struct virtqueue_layout layout = *mock_queue_layout(rig.driver);
	uint64_t gpa;
	struct vring_desc *entries = table(1, &gpa);

	layout.indirect = false;
	cr_assert_eq(virtqueue_start(&rig.device, rig.guest.memory, &layout), 0);
	entries[0] = descriptor(rig.buffer, 1, 0, 0);
	put(0, gpa, 16, INDIRECT, 0);
	cr_expect_eq(load(0, 8), -EPROTO);
}
