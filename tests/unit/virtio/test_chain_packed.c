/* SPDX-License-Identifier: Apache-2.0 */
/* The same for packed rings, where it differs, and totals beyond 4 GiB on both. */
#include "rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define AVAIL    (1u << VRING_PACKED_DESC_F_AVAIL)
#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define SIZE     8

static struct rig rig;

static void setup(void)
{
	rig_init(&rig, SIZE, RIG_PACKED | RIG_INDIRECT);
}

static void teardown(void)
{
	rig_deinit(&rig);
}

TestSuite(chain_packed, .init = setup, .fini = teardown);

static struct vring_packed_desc descriptor(uint64_t address, uint32_t length, uint16_t flags)
{
	return (struct vring_packed_desc){.addr = address, .len = length, .flags = flags};
}

/* The first lap's slots, from 0 on; one chain a test. */
static void put(uint16_t slot, uint64_t address, uint32_t length, uint16_t flags)
{
	((struct vring_packed_desc *)mock_queue_desc_area(rig.driver))[slot] =
		descriptor(address, length, flags | AVAIL);
}

static int load(unsigned capacity)
{
	struct virtqueue_entry entry = rig_pop(&rig);

	return rig_load(&rig, &entry, capacity);
}

static struct vring_packed_desc *table(unsigned count, uint64_t *ret_gpa)
{
	uint64_t bytes = count * sizeof(struct vring_packed_desc);

	*ret_gpa = mock_guest_alloc(&rig.guest, bytes, 16);
	return mock_guest_pointer(&rig.guest, *ret_gpa, bytes);
}

Test(chain_packed, readable_then_writable)
{
	put(0, rig.buffer, 16, NEXT);
	put(1, rig.buffer + 0x1000, 512, NEXT | WRITE);
	put(2, rig.buffer + 0x2000, 1, WRITE);
	cr_assert_eq(load(8), 0);
	cr_expect_eq(rig.chain.readable, 1);
	cr_expect_eq(rig.chain.writable, 2);
	cr_expect_eq(rig.chain.readable_bytes, 16);
	cr_expect_eq(rig.chain.writable_bytes, 513);
	cr_expect_eq(rig.iov[1].iov_base, rig_host(&rig, rig.buffer + 0x1000));
}

Test(chain_packed, readable_after_writable_is_refused)
{
	put(0, rig.buffer, 16, NEXT | WRITE);
	put(1, rig.buffer, 16, 0);
	cr_expect_eq(load(8), -EPROTO);
}

Test(chain_packed, addresses_outside_ram)
{
	put(0, 0, 16, NEXT);
	put(1, rig.buffer, 16, 0);
	cr_expect_eq(load(8), -EPROTO);
}

Test(chain_packed, zero_length_descriptors_are_skipped)
{
	put(0, 0, 0, NEXT);
	put(1, rig.buffer, 4, 0);
	cr_assert_eq(load(1), 0);
	cr_expect_eq(rig.chain.readable, 1);
}

Test(chain_packed, nothing_but_zero_length_is_refused)
{
	put(0, rig.buffer, 0, WRITE);
	cr_expect_eq(load(8), -EPROTO);
}

Test(chain_packed, more_segments_than_room)
{
	put(0, rig.buffer, 1, NEXT);
	put(1, rig.buffer, 2, NEXT);
	put(2, rig.buffer, 3, WRITE);
	cr_expect_eq(load(2), -E2BIG);
	cr_expect_eq(rig.iov[1].iov_len, 3);
	cr_expect_eq(rig.chain.writable, 1);
}

Test(chain_packed, all_of_a_table_belongs_to_the_chain)
{
	uint64_t gpa;
	struct vring_packed_desc *entries = table(3, &gpa);

	entries[0] = descriptor(rig.buffer, 16, 0);
	entries[1] = descriptor(rig.buffer, 32, WRITE);
	/* Only WRITE counts in a table: section 2.8.7. */
	entries[2] = descriptor(rig.buffer, 64, WRITE | NEXT | INDIRECT);
	put(0, gpa, 48, INDIRECT | WRITE);
	cr_assert_eq(load(8), 0);
	cr_expect_eq(rig.chain.readable, 1);
	cr_expect_eq(rig.chain.writable, 2);
	cr_expect_eq(rig.chain.writable_bytes, 96);
}

Test(chain_packed, a_table_stands_alone)
{
	uint64_t gpa;
	struct vring_packed_desc *entries = table(1, &gpa);

	entries[0] = descriptor(rig.buffer, 16, 0);
	put(0, rig.buffer, 16, NEXT);
	put(1, gpa, 16, INDIRECT);
	cr_expect_eq(load(8), -EPROTO);
}

Test(chain_packed, a_table_with_next_is_refused)
{
	uint64_t gpa;
	struct vring_packed_desc *entries = table(1, &gpa);

	entries[0] = descriptor(rig.buffer, 16, 0);
	put(0, gpa, 16, INDIRECT | NEXT);
	put(1, rig.buffer, 16, 0);
	cr_expect_eq(load(8), -EPROTO);
}

static void expect_table_length(uint32_t length, int result)
{
	uint64_t gpa;
	struct vring_packed_desc *entries = table(2, &gpa);
	struct virtqueue_entry entry;

	/* A fresh ring for each: a refused chain stays in flight. */
	memset(mock_queue_desc_area(rig.driver), 0, SIZE * sizeof(struct vring_packed_desc));
	cr_assert_eq(
		virtqueue_start(&rig.device, rig.guest.memory, mock_queue_layout(rig.driver)), 0);
	entries[0] = descriptor(rig.buffer, 16, 0);
	entries[1] = descriptor(rig.buffer, 16, 0);
	put(0, gpa, length, INDIRECT);
	entry = rig_pop(&rig);
	cr_expect_eq(rig_load(&rig, &entry, 8), result, "length %u", length);
}

Test(chain_packed, table_lengths)
{
	expect_table_length(0, -EPROTO);
	expect_table_length(8, -EPROTO);
	expect_table_length(17, -EPROTO);
	expect_table_length(0xfffffff0, -EPROTO);
	expect_table_length((VIRTQUEUE_SIZE_MAX + 1) * 16, -EPROTO);
	expect_table_length(16, 0);
	expect_table_length(32, 0);
}

Test(chain_packed, tables_need_the_feature)
{
	struct virtqueue_layout layout = *mock_queue_layout(rig.driver);
	uint64_t gpa;
	struct vring_packed_desc *entries = table(1, &gpa);

	layout.indirect = false;
	cr_assert_eq(virtqueue_start(&rig.device, rig.guest.memory, &layout), 0);
	entries[0] = descriptor(rig.buffer, 16, 0);
	put(0, gpa, 16, INDIRECT);
	cr_expect_eq(load(8), -EPROTO);
}

/*
 * The same 1 MiB of guest memory over and over, until the sum passes 4 GiB: 4096 descriptors would
 * be needed, more than fit a table, so a larger guest serves, of which nothing is ever touched.
 */
Test(chain_total, above_4_gib_is_refused)
{
	const uint32_t part = 16u << 20;
	struct mock_segment segments[257];
	struct mock_guest guest;
	const struct mock_queue_options options = {.size = 4, .indirect = true};
	struct mock_queue *driver;
	struct virtqueue queue = {0};
	struct virtqueue_entry entry;
	struct iovec iov[2];
	struct virtqueue_chain chain = {.iov = iov, .capacity = 2};
	uint64_t buffer;

	mock_guest_init(&guest, part + (1 << 20));
	driver = mock_queue_create(&guest, &options);
	buffer = mock_guest_alloc(&guest, part, 4096);
	cr_assert_eq(virtqueue_start(&queue, guest.memory, mock_queue_layout(driver)), 0);
	for (unsigned i = 0; i < 257; i++)
		segments[i] = (struct mock_segment){
			.gpa = buffer, .length = i < 256 ? part : 1, .writable = true};
	cr_assert_geq(mock_queue_add_indirect(driver, segments, 256), 0);
	cr_assert_geq(mock_queue_add_indirect(driver, segments, 257), 0);
	mock_queue_expose(driver);
	cr_assert_eq(virtqueue_pop_batch(&queue, &entry, 1), 1);
	cr_expect_eq(virtqueue_load_chain(&queue, &entry, &chain), -E2BIG, "4 GiB are allowed");
	cr_expect_eq(chain.writable_bytes, 1ull << 32);
	cr_assert_eq(virtqueue_pop_batch(&queue, &entry, 1), 1);
	cr_expect_eq(virtqueue_load_chain(&queue, &entry, &chain), -EPROTO, "a byte more is not");
	mock_queue_destroy(driver);
	mock_guest_deinit(&guest);
}
