/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile cases on the rings: descriptors, indirect tables, avail ring, request formats. Each
 * changes one thing about the good read that hostile_lay_out left in descriptors 0 (header), 1
 * (data), 2 (status).
 */
#include <linux/virtio_ring.h>

#include "cpu.h"
#include "hostile.h"
#include "memory.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

#define DESCRIPTOR(at) (hostile->ring.split.descriptors[at])

static void send(struct hostile *hostile)
{
	hostile_offer(hostile, 0);
	hostile_kick(hostile);
}

static void good(struct hostile *hostile)
{
	send(hostile);
}

static void head_out_of_range(struct hostile *hostile)
{
	hostile_offer(hostile, hostile->ring.size);
	hostile_kick(hostile);
}

static void head_far_out_of_range(struct hostile *hostile)
{
	hostile_offer(hostile, 0xffff);
	hostile_kick(hostile);
}

static void next_out_of_range(struct hostile *hostile)
{
	DESCRIPTOR(1).next = hostile->ring.size;
	send(hostile);
}

static void loop(struct hostile *hostile)
{
	DESCRIPTOR(1).next = 0;
	send(hostile);
}

static void loop_writable(struct hostile *hostile)
{
	DESCRIPTOR(1).next = 1;
	send(hostile);
}

static void data_out_of_range(struct hostile *hostile)
{
	DESCRIPTOR(1).address = memory_hole();
	send(hostile);
}

static void header_out_of_range(struct hostile *hostile)
{
	DESCRIPTOR(0).address = memory_hole();
	send(hostile);
}

static void status_out_of_range(struct hostile *hostile)
{
	DESCRIPTOR(2).address = memory_hole();
	send(hostile);
}

static void address_wraps(struct hostile *hostile)
{
	DESCRIPTOR(1).address = 0xffffffffffffff00;
	send(hostile);
}

static void length_huge(struct hostile *hostile)
{
	DESCRIPTOR(1).length = 0xfffffe00;
	send(hostile);
}

static void length_huge_write(struct hostile *hostile)
{
	hostile->header->type = VIRTIO_BLK_T_OUT;
	hostile->header->sector = hostile->disk.sectors - 1;
	DESCRIPTOR(1).length = 0xfffffe00;
	DESCRIPTOR(1).flags = NEXT;
	send(hostile);
}

static void data_in_device(struct hostile *hostile)
{
	DESCRIPTOR(1).address = (uint64_t)hostile->device->isr;
	DESCRIPTOR(1).length = 512;
	send(hostile);
}

static void data_zero_length(struct hostile *hostile)
{
	DESCRIPTOR(1).length = 0;
	send(hostile);
}

static void all_zero_length(struct hostile *hostile)
{
	DESCRIPTOR(0).length = DESCRIPTOR(1).length = DESCRIPTOR(2).length = 0;
	send(hostile);
}

static void status_zero_length(struct hostile *hostile)
{
	DESCRIPTOR(2).length = 0;
	send(hostile);
}

static void no_status(struct hostile *hostile)
{
	DESCRIPTOR(0).flags = 0;
	send(hostile);
}

static void no_header(struct hostile *hostile)
{
	hostile_offer(hostile, 1);
	hostile_kick(hostile);
}

static void short_header(struct hostile *hostile)
{
	DESCRIPTOR(0).length = 8;
	send(hostile);
}

static void writable_before_readable(struct hostile *hostile)
{
	DESCRIPTOR(2).next = 0;
	DESCRIPTOR(2).flags |= NEXT;
	DESCRIPTOR(0).flags = 0;
	hostile_offer(hostile, 1);
	hostile_kick(hostile);
}

static void length_not_sectors(struct hostile *hostile)
{
	DESCRIPTOR(1).length = 100;
	send(hostile);
}

static void read_into_readable(struct hostile *hostile)
{
	DESCRIPTOR(1).flags = NEXT;
	send(hostile);
}

/* The writable byte that is left is the status; at most that may change. */
static void write_from_writable(struct hostile *hostile)
{
	hostile->header->type = VIRTIO_BLK_T_OUT;
	hostile->header->sector = hostile->disk.sectors - 8;
	send(hostile);
}

static void unknown_type(struct hostile *hostile)
{
	hostile->header->type = 0x7777;
	send(hostile);
}

static void sector_beyond_end(struct hostile *hostile)
{
	hostile->header->sector = hostile->disk.sectors;
	send(hostile);
}

static void sector_across_end(struct hostile *hostile)
{
	hostile->header->sector = hostile->disk.sectors - 7;
	send(hostile);
}

static void sector_wraps(struct hostile *hostile)
{
	hostile->header->sector = UINT64_MAX - 3;
	send(hostile);
}

static void sector_byte_wraps(struct hostile *hostile)
{
	hostile->header->sector = 1ull << 55;
	send(hostile);
}

/* A discard or write-zeroes whose range the case has put into the data buffer. */
static void send_range(struct hostile *hostile, uint32_t type, uint64_t sector, uint32_t sectors,
	uint32_t flags, uint32_t length)
{
	struct virtio_blk_discard_write_zeroes *range = (void *)hostile->table;

	if (type == VIRTIO_BLK_T_DISCARD ? !hostile->disk.has_discard : !hostile->disk.has_zeroes) {
		hostile->skip = "the operation is not offered";
		return;
	}
	for (uint32_t i = 0; i < length / sizeof(*range) + 1; i++)
		range[i] = (struct virtio_blk_discard_write_zeroes){sector, sectors, flags};
	hostile->header->type = type;
	hostile_set(hostile, 1, (uint64_t)range, length, NEXT, 2);
	send(hostile);
}

static void discard_beyond_end(struct hostile *hostile)
{
	send_range(hostile, VIRTIO_BLK_T_DISCARD, hostile->disk.sectors - 8, 16, 0, 16);
}

static void discard_wraps(struct hostile *hostile)
{
	send_range(hostile, VIRTIO_BLK_T_DISCARD, UINT64_MAX - 7, 16, 0, 16);
}

static void discard_bad_flags(struct hostile *hostile)
{
	send_range(hostile, VIRTIO_BLK_T_DISCARD, hostile->disk.sectors, 8, 0xfffffffe, 16);
}

static void discard_short_range(struct hostile *hostile)
{
	send_range(hostile, VIRTIO_BLK_T_DISCARD, hostile->disk.sectors, 8, 0, 12);
}

static void discard_many_ranges(struct hostile *hostile)
{
	send_range(hostile, VIRTIO_BLK_T_DISCARD, hostile->disk.sectors, 8, 0, 16 * 512);
}

static void zeroes_beyond_end(struct hostile *hostile)
{
	send_range(hostile, VIRTIO_BLK_T_WRITE_ZEROES, hostile->disk.sectors - 8, 16, 0, 16);
}

static void zeroes_too_long(struct hostile *hostile)
{
	send_range(
		hostile, VIRTIO_BLK_T_WRITE_ZEROES, hostile->disk.sectors - 8, 0xffffffff, 0, 16);
}

/* Moves the good read into the indirect table, descriptor 0 pointing to it. */
static bool make_indirect(struct hostile *hostile)
{
	if (!(hostile->device->features & 1ull << VIRTIO_RING_F_INDIRECT_DESC)) {
		hostile->skip = "INDIRECT_DESC is not agreed on";
		return false;
	}
	for (unsigned i = 0; i < 3; i++)
		hostile->table[i] = DESCRIPTOR(i);
	hostile_set(hostile, 0, (uint64_t)hostile->table, 48, INDIRECT, 0);
	return true;
}

static void indirect_good(struct hostile *hostile)
{
	if (make_indirect(hostile))
		send(hostile);
}

static void indirect_nested(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	for (unsigned i = 0; i < 3; i++)
		hostile->table[8 + i] = hostile->table[i];
	hostile->table[0] =
		(struct virtq_descriptor){(uint64_t)(hostile->table + 8), 48, INDIRECT, 0};
	send(hostile);
}

static void indirect_itself(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	hostile->table[0] = (struct virtq_descriptor){(uint64_t)hostile->table, 48, INDIRECT, 0};
	send(hostile);
}

static void indirect_length(struct hostile *hostile, uint32_t length)
{
	if (!make_indirect(hostile))
		return;
	DESCRIPTOR(0).length = length;
	send(hostile);
}

static void indirect_odd_length(struct hostile *hostile)
{
	indirect_length(hostile, 47);
}

static void indirect_zero_length(struct hostile *hostile)
{
	indirect_length(hostile, 0);
}

static void indirect_huge(struct hostile *hostile)
{
	indirect_length(hostile, 0xfffffff0);
}

static void indirect_out_of_range(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	DESCRIPTOR(0).address = memory_hole();
	send(hostile);
}

static void indirect_loop(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	hostile->table[1].next = 1;
	send(hostile);
}

static void indirect_next_out_of_range(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	hostile->table[1].next = 3;
	send(hostile);
}

/* A table longer than the queue: more segments than any chain may have. */
static void indirect_too_long(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	for (uint16_t i = 1; i < 1023; i++)
		hostile->table[i] = (struct virtq_descriptor){
			(uint64_t)hostile->data, 512, NEXT | WRITE, (uint16_t)(i + 1)};
	hostile->table[1023] = (struct virtq_descriptor){(uint64_t)hostile->status, 1, WRITE, 0};
	DESCRIPTOR(0).length = 1024 * 16;
	send(hostile);
}

static void indirect_with_next(struct hostile *hostile)
{
	if (!make_indirect(hostile))
		return;
	DESCRIPTOR(0).flags |= NEXT;
	DESCRIPTOR(0).next = 2;
	send(hostile);
}

static void duplicate_head(struct hostile *hostile)
{
	hostile_offer(hostile, 0);
	hostile_offer(hostile, 0);
	hostile_kick(hostile);
}

static void shared_descriptors(struct hostile *hostile)
{
	hostile_set(hostile, 3, (uint64_t)hostile->header, 16, NEXT, 1);
	hostile_offer(hostile, 0);
	hostile_offer(hostile, 3);
	hostile_kick(hostile);
}

static void avail_jumps(struct hostile *hostile)
{
	hostile->available = (uint16_t)(hostile->ring.size + 100);
	hostile_kick(hostile);
}

static void avail_goes_back(struct hostile *hostile)
{
	hostile->available = 0xffff;
	hostile_kick(hostile);
}

static void kick_empty(struct hostile *hostile)
{
	for (unsigned i = 0; i < 100; i++)
		hostile_kick(hostile);
}

/* Every descriptor in one chain: legal in length, absurd as a request. */
static void whole_ring_chain(struct hostile *hostile)
{
	uint16_t size = hostile->ring.size;

	for (uint16_t i = 1; i + 1 < size; i++)
		hostile_set(
			hostile, i, (uint64_t)hostile->data, 512, NEXT | WRITE, (uint16_t)(i + 1));
	hostile_set(hostile, (uint16_t)(size - 1), (uint64_t)hostile->status, 1, WRITE, 0);
	send(hostile);
}

/* Where a random descriptor may point: into the buffer, into nothing, or around a boundary of RAM.
 */
static uint64_t random_address(struct hostile *hostile)
{
	uint64_t offset = random_below(&hostile->random, 32768);

	switch (random_below(&hostile->random, 8)) {
	case 0:
		return memory_hole() + offset;
	case 1:
		return UINT64_MAX - offset;
	case 2:
		return (uint64_t)hostile->header;
	case 3:
		return (uint64_t)hostile->status;
	default:
		return (uint64_t)hostile->data + offset;
	}
}

static void random_descriptor(
	struct hostile *hostile, struct virtq_descriptor *descriptor, uint32_t size)
{
	uint64_t dice = random_next(&hostile->random);

	descriptor->address = random_address(hostile);
	descriptor->length = (uint32_t)(dice & 0x100 ? 512 : dice >> 32 & 0x3fff);
	descriptor->flags = (uint16_t)(dice & 0x80 ? dice & 7 : dice & 3);
	descriptor->next = (uint16_t)((dice >> 16) % (size + size / 8 + 1));
	if (descriptor->flags & INDIRECT) {
		descriptor->address = (uint64_t)hostile->table;
		descriptor->length &= 0x3ff;
	}
}

static void random_header(struct hostile *hostile)
{
	static const uint8_t types[] = {
		0, 0, 0, 4, 8, 14, 77}; /* no write: the disk stays as it is */

	hostile->header->type = types[random_below(&hostile->random, sizeof(types))];
	hostile->header->sector = hostile->disk.sectors - 16 + random_below(&hostile->random, 32);
}

/* Rings full of random descriptors, offered while the device works; ios= rounds. */
static void fuzz(struct hostile *hostile)
{
	uint64_t rounds = hostile->options->ios ? hostile->options->ios : 300;
	uint16_t size = hostile->ring.size;

	for (uint64_t round = 0; round < rounds; round++) {
		for (uint16_t i = 0; i < size; i++)
			random_descriptor(hostile, &hostile->ring.split.descriptors[i], size);
		for (uint16_t i = 0; i < 64; i++) {
			random_descriptor(hostile, &hostile->table[i], 64);
			if (random_below(&hostile->random, 16))
				hostile->table[i].flags &= (uint16_t)~INDIRECT;
		}
		random_header(hostile);
		hostile_set(hostile, 0, (uint64_t)hostile->header, 16, NEXT, 1);
		hostile_offer(hostile, (uint16_t)random_below(&hostile->random, 4));
		hostile_offer(hostile, 0);
		hostile_kick(hostile);
		hostile_pause(random_below(&hostile->random, 50000));
		if (virtio_pci_broken(hostile->device) || hostile->available > 8 * size) {
			virtio_pci_reset(hostile->device);
			hostile_begin(hostile);
		}
	}
}

/* Good requests whose descriptors and header change while the device looks at them. */
static void change_in_flight(struct hostile *hostile)
{
	uint64_t rounds = hostile->options->ios ? hostile->options->ios : 300;

	for (uint64_t round = 0; round < rounds; round++) {
		send(hostile);
		for (unsigned i = 0; i < 200; i++) {
			struct virtq_descriptor *victim =
				&DESCRIPTOR(random_below(&hostile->random, 3));

			random_descriptor(hostile, victim, 4);
			random_header(hostile);
		}
		if (virtio_pci_broken(hostile->device))
			virtio_pci_reset(hostile->device);
		if (virtio_pci_status(hostile->device) == 0)
			hostile_begin(hostile);
		else
			hostile_set(hostile, 0, (uint64_t)hostile->header, 16, NEXT, 1);
	}
}

const struct hostile_case hostile_split_cases[] = {
	{"good", good, HOSTILE_COMPLETED},
	{"head-out-of-range", head_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"head-far-out-of-range", head_far_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"next-out-of-range", next_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"loop", loop, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"loop-writable", loop_writable, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"data-out-of-range", data_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"header-out-of-range", header_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"status-out-of-range", status_out_of_range, HOSTILE_REJECTED},
	{"address-wraps", address_wraps, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"length-huge", length_huge, HOSTILE_REJECTED},
	{"length-huge-write", length_huge_write, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"data-in-device", data_in_device, HOSTILE_ANY | HOSTILE_UNTOUCHED},
	{"data-zero-length", data_zero_length, HOSTILE_ANY | HOSTILE_UNTOUCHED},
	{"all-zero-length", all_zero_length, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"status-zero-length", status_zero_length, HOSTILE_ANY},
	{"no-status", no_status, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"no-header", no_header, HOSTILE_REJECTED},
	{"short-header", short_header, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"writable-before-readable", writable_before_readable, HOSTILE_REJECTED},
	{"length-not-sectors", length_not_sectors, HOSTILE_REJECTED},
	{"read-into-readable", read_into_readable, HOSTILE_ANY | HOSTILE_UNTOUCHED},
	{"write-from-writable", write_from_writable, HOSTILE_ANY},
	{"unknown-type", unknown_type, HOSTILE_FAILED | HOSTILE_UNTOUCHED},
	{"sector-beyond-end", sector_beyond_end, HOSTILE_FAILED},
	{"sector-across-end", sector_across_end, HOSTILE_FAILED},
	{"sector-wraps", sector_wraps, HOSTILE_FAILED},
	{"sector-byte-wraps", sector_byte_wraps, HOSTILE_FAILED},
	{"discard-beyond-end", discard_beyond_end, HOSTILE_FAILED},
	{"discard-wraps", discard_wraps, HOSTILE_FAILED},
	{"discard-bad-flags", discard_bad_flags, HOSTILE_FAILED},
	{"discard-short-range", discard_short_range, HOSTILE_REJECTED},
	{"discard-many-ranges", discard_many_ranges, HOSTILE_REJECTED},
	{"zeroes-beyond-end", zeroes_beyond_end, HOSTILE_FAILED},
	{"zeroes-too-long", zeroes_too_long, HOSTILE_FAILED},
	{"indirect-good", indirect_good, HOSTILE_COMPLETED},
	{"indirect-nested", indirect_nested, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-itself", indirect_itself, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-odd-length", indirect_odd_length, HOSTILE_REJECTED},
	{"indirect-zero-length", indirect_zero_length, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-huge", indirect_huge, HOSTILE_REJECTED},
	{"indirect-out-of-range", indirect_out_of_range, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-loop", indirect_loop, HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-next-out-of-range", indirect_next_out_of_range,
		HOSTILE_REJECTED | HOSTILE_UNTOUCHED},
	{"indirect-too-long", indirect_too_long, HOSTILE_ANY},
	{"indirect-with-next", indirect_with_next, HOSTILE_ANY},
	{"duplicate-head", duplicate_head, HOSTILE_ANY},
	{"shared-descriptors", shared_descriptors, HOSTILE_ANY},
	{"avail-jumps", avail_jumps, HOSTILE_ANY},
	{"avail-goes-back", avail_goes_back, HOSTILE_ANY},
	{"kick-empty", kick_empty, HOSTILE_IGNORED},
	{"whole-ring-chain", whole_ring_chain, HOSTILE_ANY},
	{"fuzz", fuzz, HOSTILE_ANY},
	{"change-in-flight", change_in_flight, HOSTILE_ANY},
	{NULL, NULL, 0},
};
