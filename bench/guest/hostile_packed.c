/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile cases on the packed ring (ring=packed). Ring entries are written directly, made available
 * with the first lap's flags, head last.
 */
#include <linux/virtio_ring.h>

#include "cpu.h"
#include "hostile.h"
#include "memory.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define AVAIL    (1u << VRING_PACKED_DESC_F_AVAIL)

static void put(
	struct hostile *hostile, uint16_t at, uint64_t address, uint32_t length, uint32_t flags)
{
	volatile struct virtq_packed_descriptor *descriptor = &hostile->ring.packed.descriptors[at];

	descriptor->address = address;
	descriptor->length = length;
	descriptor->id = 0;
	cpu_store_barrier(); /* flags hand it over */
	descriptor->flags = (uint16_t)(flags | AVAIL);
}

/* Status and data first, so that the device sees nothing before the header is there. */
static void put_read(struct hostile *hostile, uint64_t data, uint32_t length, uint32_t header_flags)
{
	put(hostile, 2, (uint64_t)hostile->status, 1, WRITE);
	put(hostile, 1, data, length, WRITE | NEXT);
	put(hostile, 0, (uint64_t)hostile->header, 16, header_flags);
	virtq_kick(&hostile->ring);
}

static void good(struct hostile *hostile)
{
	put_read(hostile, (uint64_t)hostile->data, 4096, NEXT);
}

static void data_out_of_range(struct hostile *hostile)
{
	put_read(hostile, memory_hole(), 4096, NEXT);
}

static void address_wraps(struct hostile *hostile)
{
	put_read(hostile, 0xffffffffffffff00, 4096, NEXT);
}

static void length_huge(struct hostile *hostile)
{
	put_read(hostile, (uint64_t)hostile->data, 0xfffffe00, NEXT);
}

static void no_status(struct hostile *hostile)
{
	put_read(hostile, (uint64_t)hostile->data, 4096, 0);
}

/* Every entry of the ring says that another follows: the chain has no end. */
static void endless_chain(struct hostile *hostile)
{
	for (uint16_t i = hostile->ring.size; i-- > 1;)
		put(hostile, i, (uint64_t)hostile->data, 512, WRITE | NEXT);
	put(hostile, 0, (uint64_t)hostile->header, 16, NEXT);
	virtq_kick(&hostile->ring);
}

/* A head that announces a next entry which is not available. */
static void missing_next(struct hostile *hostile)
{
	put(hostile, 0, (uint64_t)hostile->header, 16, NEXT);
	virtq_kick(&hostile->ring);
}

static void writable_before_readable(struct hostile *hostile)
{
	put(hostile, 2, (uint64_t)hostile->header, 16, 0);
	put(hostile, 1, (uint64_t)hostile->data, 4096, WRITE | NEXT);
	put(hostile, 0, (uint64_t)hostile->status, 1, WRITE | NEXT);
	virtq_kick(&hostile->ring);
}

/* An indirect table with the good read in it; packed tables have no next field, flags come last. */
static bool make_table(struct hostile *hostile)
{
	volatile struct virtq_packed_descriptor *table = (void *)hostile->table;

	if (!(hostile->device->features & 1ull << VIRTIO_RING_F_INDIRECT_DESC)) {
		hostile->skip = "INDIRECT_DESC is not agreed on";
		return false;
	}
	table[0].address = (uint64_t)hostile->header;
	table[0].length = 16;
	table[0].flags = 0;
	table[1].address = (uint64_t)hostile->data;
	table[1].length = 4096;
	table[1].flags = WRITE;
	table[2].address = (uint64_t)hostile->status;
	table[2].length = 1;
	table[2].flags = WRITE;
	return true;
}

static void put_table(struct hostile *hostile, uint64_t address, uint32_t length, uint32_t flags)
{
	put(hostile, 0, address, length, flags);
	virtq_kick(&hostile->ring);
}

static void indirect_good(struct hostile *hostile)
{
	if (make_table(hostile))
		put_table(hostile, (uint64_t)hostile->table, 48, INDIRECT);
}

static void indirect_odd_length(struct hostile *hostile)
{
	if (make_table(hostile))
		put_table(hostile, (uint64_t)hostile->table, 47, INDIRECT);
}

static void indirect_zero_length(struct hostile *hostile)
{
	if (make_table(hostile))
		put_table(hostile, (uint64_t)hostile->table, 0, INDIRECT);
}

static void indirect_huge(struct hostile *hostile)
{
	if (make_table(hostile))
		put_table(hostile, (uint64_t)hostile->table, 0xfffffff0, INDIRECT);
}

static void indirect_out_of_range(struct hostile *hostile)
{
	if (make_table(hostile))
		put_table(hostile, memory_hole(), 48, INDIRECT);
}

static void indirect_nested(struct hostile *hostile)
{
	volatile struct virtq_packed_descriptor *table = (void *)hostile->table;

	if (!make_table(hostile))
		return;
	table[0].address = (uint64_t)(hostile->table + 8);
	table[0].length = 48;
	table[0].flags = INDIRECT;
	put_table(hostile, (uint64_t)hostile->table, 48, INDIRECT);
}

static void event_area_garbage(struct hostile *hostile)
{
	hostile->ring.packed.driver_event[0] = 0xffff;
	hostile->ring.packed.driver_event[1] = 0xffff;
	good(hostile);
}

static void fuzz(struct hostile *hostile)
{
	uint64_t rounds = hostile->options->ios ? hostile->options->ios : 300;

	for (uint64_t round = 0; round < rounds; round++) {
		for (uint16_t i = hostile->ring.size; i--;) {
			uint64_t dice = random_next(&hostile->random);
			uint64_t address = dice & 0x700
			                           ? (uint64_t)hostile->data + (dice >> 20 & 0x7fff)
			                   : dice & 0x800 ? memory_hole()
			                                  : UINT64_MAX - (dice >> 20 & 0xfff);

			if (dice & INDIRECT && dice & 0x3000)
				dice &= ~(uint64_t)INDIRECT;
			if (i == 0)
				address = (uint64_t)hostile->header;
			hostile->header->type =
				dice >> 48 & 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_GET_ID;
			put(hostile, i, address, (uint32_t)(dice >> 32 & 0x7ff), dice & 7);
		}
		virtq_kick(&hostile->ring);
		hostile_pause(random_below(&hostile->random, 50000));
		virtio_pci_reset(hostile->device);
		hostile_begin(hostile);
	}
}

const struct hostile_case hostile_packed_cases[] = {
	{"good", good, HOSTILE_COMPLETED},
	{"data-out-of-range", data_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"address-wraps", address_wraps, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"length-huge", length_huge, HOSTILE_REJECTED},
	{"no-status", no_status, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"endless-chain", endless_chain, HOSTILE_REJECTED},
	{"missing-next", missing_next, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"writable-before-readable", writable_before_readable, HOSTILE_REJECTED},
	{"indirect-good", indirect_good, HOSTILE_COMPLETED},
	{"indirect-odd-length", indirect_odd_length, HOSTILE_REJECTED},
	{"indirect-zero-length", indirect_zero_length, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-huge", indirect_huge, HOSTILE_REJECTED},
	{"indirect-out-of-range", indirect_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	/* In a packed indirect table all flags but WRITE are ignored (2.8.7): a device may serve it. */
	{"indirect-nested", indirect_nested, HOSTILE_ANY},
	{"event-area-garbage", event_area_garbage, HOSTILE_ANY},
	{"fuzz", fuzz, HOSTILE_ANY},
	{NULL, NULL, 0},
};
