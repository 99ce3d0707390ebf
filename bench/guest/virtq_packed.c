/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed ring. A request's buffer ID is its slot. Its ring entries are filled first, the flags
 * of its first entry last: that store hands the whole chain over, so requests are visible before
 * virtq_publish, which decides about the kick only.
 */
#include <linux/virtio_ring.h>

#include "cpu.h"
#include "finish.h"
#include "memory.h"
#include "virtq.h"

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED  (1u << VRING_PACKED_DESC_F_USED)

void virtq_packed_allocate(struct virtq *ring)
{
	struct virtq_packed *packed = &ring->packed;

	packed->descriptors = memory_allocate(16u * ring->size, 4096);
	packed->driver_event = memory_allocate(4, 4096);
	packed->device_event = memory_allocate(4, 4096);
	packed->length_of_slot = memory_allocate(2u * ring->size, 64);
	ring->ring_address[0] = (uint64_t)packed->descriptors;
	ring->ring_address[1] = (uint64_t)packed->driver_event;
	ring->ring_address[2] = (uint64_t)packed->device_event;
}

void virtq_packed_reset(struct virtq *ring)
{
	struct virtq_packed *packed = &ring->packed;

	for (uint16_t i = 0; i < ring->size; i++) {
		packed->descriptors[i].address = 0;
		packed->descriptors[i].length = 0;
		packed->descriptors[i].id = 0;
		packed->descriptors[i].flags = 0;
		packed->length_of_slot[i] = 0;
	}
	packed->driver_event[0] = packed->driver_event[1] = 0;
	packed->device_event[0] = packed->device_event[1] = 0;
	packed->next = packed->used_next = packed->added = 0;
	packed->wrap = packed->used_wrap = true;
	ring->stopped = false;
}

static uint16_t put_descriptor(
	struct virtq *ring, struct virtq_segment segment, uint16_t id, uint16_t flags, bool first)
{
	struct virtq_packed *packed = &ring->packed;
	volatile struct virtq_packed_descriptor *descriptor = &packed->descriptors[packed->next];

	flags |= packed->wrap ? FLAG_AVAIL : FLAG_USED;
	descriptor->address = segment.address;
	descriptor->length = segment.length;
	descriptor->id = id;
	if (!first)
		descriptor->flags = flags;
	if (++packed->next == ring->size) {
		packed->next = 0;
		packed->wrap = !packed->wrap;
	}
	return flags;
}

bool virtq_packed_add(struct virtq *ring, const struct virtq_segment *segments, unsigned out,
	unsigned in, uint16_t slot)
{
	struct virtq_packed *packed = &ring->packed;
	unsigned count = out + in, needed = ring->indirect && count > 1 ? 1 : count;
	volatile struct virtq_packed_descriptor *head = &packed->descriptors[packed->next];
	uint16_t head_flags = 0;

	if (needed > ring->free)
		return false;
	if (needed < count) {
		struct virtq_segment table = {
			.address = (uint64_t)(ring->tables + (size_t)VIRTQ_MAX_SEGMENTS * slot),
			.length = 16 * virtq_fill_table(ring, segments, out, in, slot),
		};

		head_flags = put_descriptor(ring, table, slot, VRING_DESC_F_INDIRECT, true);
	}
	for (unsigned i = 0; i < count && needed == count; i++) {
		uint16_t flags = (uint16_t)((i < out ? 0 : VRING_DESC_F_WRITE) |
					    (i + 1 < count ? VRING_DESC_F_NEXT : 0));

		flags = put_descriptor(ring, segments[i], slot, flags, i == 0);
		if (i == 0)
			head_flags = flags;
	}
	packed->length_of_slot[slot] = (uint16_t)needed;
	packed->added += (uint16_t)needed;
	ring->free -= (uint16_t)needed;
	cpu_store_barrier(); /* the chain before its head's flags; pairs with the device's load of
	                        flags */
	head->flags = head_flags;
	return true;
}

bool virtq_packed_publish(struct virtq *ring)
{
	struct virtq_packed *packed = &ring->packed;
	uint16_t new = packed->next, old = (uint16_t)(new - packed->added);
	uint16_t event, flags;

	if (packed->added == 0)
		return false;
	packed->added = 0;
	cpu_full_barrier(); /* flags before the device's event area; pairs with its re-check */
	flags = packed->device_event[1];
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	event = packed->device_event[0];
	if (event >> VRING_PACKED_EVENT_F_WRAP_CTR != packed->wrap)
		event = (uint16_t)((event & 0x7fff) - ring->size);
	else
		event &= 0x7fff;
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static bool is_used_at(struct virtq *ring, uint16_t at, bool wrap)
{
	uint16_t flags = ring->packed.descriptors[at].flags;

	return !!(flags & FLAG_AVAIL) == wrap && !!(flags & FLAG_USED) == wrap;
}

static bool is_used(struct virtq *ring)
{
	return is_used_at(ring, ring->packed.used_next, ring->packed.used_wrap);
}

static void skip_slot(struct virtq *ring, uint16_t slot)
{
	struct virtq_packed *packed = &ring->packed;
	uint16_t length = packed->length_of_slot[slot];

	packed->length_of_slot[slot] = 0;
	ring->free += length;
	packed->used_next += length;
	if (packed->used_next >= ring->size) {
		packed->used_next -= ring->size;
		packed->used_wrap = !packed->used_wrap;
	}
}

/* See virtq.c: one used entry for a batch. */
static void skip_batch(struct virtq *ring, uint16_t last_slot, uint32_t length)
{
	uint16_t slot;

	do {
		if (ring->order_target == ring->order_tail)
			finish_fail("queue %u: used out of order", (uint32_t)ring->index);
		slot = ring->order[ring->order_target++ % ring->size];
		skip_slot(ring, slot);
	} while (slot != last_slot);
	ring->order_length = length;
}

bool virtq_packed_take(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length)
{
	struct virtq_packed *packed = &ring->packed;
	uint16_t slot;

	if (!is_used(ring))
		return false;
	cpu_load_barrier(); /* flags before the rest; pairs with the device's store barrier */
	slot = packed->descriptors[packed->used_next].id;
	*ret_length = packed->descriptors[packed->used_next].length;
	if (slot >= ring->size || packed->length_of_slot[slot] == 0)
		finish_fail("queue %u: the device used buffer %u, which is not in flight",
			(uint32_t)ring->index, (uint32_t)slot);
	*ret_slot = slot;
	if (ring->in_order)
		skip_batch(ring, slot, *ret_length);
	else
		skip_slot(ring, slot);
	return true;
}

bool virtq_packed_enable_interrupts(struct virtq *ring)
{
	struct virtq_packed *packed = &ring->packed;
	uint16_t at = (uint16_t)(packed->used_next + (ring->event_index ? ring->lazy : 0));
	bool wrap = packed->used_wrap;

	if (at >= ring->size) {
		at -= ring->size;
		wrap = !wrap;
	}
	ring->stopped = false;
	if (ring->event_index) {
		packed->driver_event[0] = (uint16_t)(at | (wrap ? 0x8000 : 0));
		cpu_store_barrier(); /* the place before the flag that makes it valid */
		packed->driver_event[1] = VRING_PACKED_EVENT_FLAG_DESC;
	} else {
		packed->driver_event[1] = VRING_PACKED_EVENT_FLAG_ENABLE;
	}
	cpu_full_barrier(); /* the event area before the ring; pairs with the device's decision */
	return is_used_at(ring, at, wrap);
}

void virtq_packed_disable_interrupts(struct virtq *ring)
{
	if (ring->stopped)
		return;
	ring->stopped = true;
	ring->packed.driver_event[1] = VRING_PACKED_EVENT_FLAG_DISABLE;
}
