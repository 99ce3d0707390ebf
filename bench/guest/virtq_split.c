/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring. Free descriptors form a list through next_free: last in, first out, which keeps
 * the cache warm; with IN_ORDER first in, first out, which is the ring order that the specification
 * demands then. What the device writes (used ring, flags) is read through volatile; the driver's
 * own bookkeeping is private, so a device that scribbles over descriptors cannot confuse it.
 */
#include <linux/virtio_ring.h>

#include "cpu.h"
#include "finish.h"
#include "memory.h"
#include "virtq.h"

#define NONE 0xffff

void virtq_split_allocate(struct virtq *ring)
{
	struct virtq_split *split = &ring->split;
	size_t size = ring->size;

	split->descriptors = memory_allocate(16 * size, 4096);
	split->avail = memory_allocate(6 + 2 * size, 4096);
	split->used = memory_allocate(6 + 8 * size, 4096);
	split->next_free = memory_allocate(2 * size, 64);
	split->slot_of_head = memory_allocate(2 * size, 64);
	split->length_of_head = memory_allocate(2 * size, 64);
	split->head_of_slot = memory_allocate(2 * size, 64);
	ring->ring_address[0] = (uint64_t)split->descriptors;
	ring->ring_address[1] = (uint64_t)split->avail;
	ring->ring_address[2] = (uint64_t)split->used;
}

void virtq_split_reset(struct virtq *ring)
{
	struct virtq_split *split = &ring->split;

	for (uint16_t i = 0; i < ring->size; i++) {
		split->descriptors[i] = (struct virtq_descriptor){0};
		split->next_free[i] = (uint16_t)((i + 1) % ring->size);
		split->slot_of_head[i] = NONE;
	}
	for (unsigned i = 0; i < 3u + ring->size; i++)
		split->avail[i] = 0;
	for (unsigned i = 0; i < 3u + 4 * ring->size; i++)
		split->used[i] = 0;
	split->free_head = 0;
	ring->stopped = false;
	split->avail_index = split->published_index = split->used_index = 0;
}

static volatile uint16_t *used_event(struct virtq *ring)
{
	return &ring->split.avail[2 + ring->size];
}

static uint16_t avail_event(struct virtq *ring)
{
	return ring->split.used[2 + 4 * ring->size];
}

static uint16_t put_descriptor(
	struct virtq *ring, uint16_t at, uint64_t address, uint32_t length, uint16_t flags)
{
	struct virtq_split *split = &ring->split;

	split->descriptors[at].address = address;
	split->descriptors[at].length = length;
	split->descriptors[at].flags = flags;
	split->descriptors[at].next = flags & VRING_DESC_F_NEXT ? split->next_free[at] : 0;
	return split->next_free[at];
}

bool virtq_split_add(struct virtq *ring, const struct virtq_segment *segments, unsigned out,
	unsigned in, uint16_t slot)
{
	struct virtq_split *split = &ring->split;
	unsigned count = out + in, needed = ring->indirect && count > 1 ? 1 : count;
	uint16_t head = split->free_head, at = head;

	if (needed > ring->free)
		return false;
	if (needed < count) {
		count = virtq_fill_table(ring, segments, out, in, slot);
		at = put_descriptor(ring, at,
			(uint64_t)(ring->tables + (size_t)VIRTQ_MAX_SEGMENTS * slot), 16 * count,
			VRING_DESC_F_INDIRECT);
	} else {
		for (unsigned i = 0; i < count; i++) {
			uint16_t flags = (uint16_t)((i < out ? 0 : VRING_DESC_F_WRITE) |
						    (i + 1 < count ? VRING_DESC_F_NEXT : 0));

			at = put_descriptor(
				ring, at, segments[i].address, segments[i].length, flags);
		}
	}
	split->free_head = at;
	ring->free -= (uint16_t)needed;
	split->slot_of_head[head] = slot;
	split->head_of_slot[slot] = head;
	split->length_of_head[head] = (uint16_t)needed;
	split->avail[2 + (split->avail_index++ & (ring->size - 1))] = head;
	return true;
}

bool virtq_split_publish(struct virtq *ring)
{
	struct virtq_split *split = &ring->split;
	uint16_t old = split->published_index, new = split->avail_index;

	if (old == new)
		return false;
	cpu_store_barrier(); /* entries before idx; pairs with the device's load of idx */
	split->avail[1] = new;
	split->published_index = new;
	cpu_full_barrier(); /* idx before avail_event or flags; pairs with the device's re-check */
	if (ring->event_index)
		return (uint16_t)(new - avail_event(ring) - 1) < (uint16_t)(new - old);
	return !(split->used[0] & VRING_USED_F_NO_NOTIFY);
}

/* Gives a chain's descriptors back. IN_ORDER: the list is the ring itself, so counting is enough.
 */
void virtq_split_free(struct virtq *ring, uint16_t head)
{
	struct virtq_split *split = &ring->split;
	uint16_t count = split->length_of_head[head], last = head;

	for (uint16_t i = 1; i < count; i++)
		last = split->next_free[last];
	if (!ring->in_order) {
		split->next_free[last] = split->free_head;
		split->free_head = head;
	}
	ring->free += count;
	split->slot_of_head[head] = NONE;
}

static uint16_t slot_of(struct virtq *ring, uint32_t head)
{
	if (head >= ring->size || ring->split.slot_of_head[head] == NONE)
		finish_fail("queue %u: the device used descriptor %u, which is not in flight",
			(uint32_t)ring->index, head);
	return ring->split.slot_of_head[head];
}

/* A used entry ends a batch: everything up to it is used, and the next entry lies as many places
 * on. */
static void take_batch(struct virtq *ring, uint16_t last_slot, uint32_t length)
{
	struct virtq_split *split = &ring->split;
	uint16_t slot;

	do {
		if (ring->order_target == ring->order_tail)
			finish_fail("queue %u: used out of order", (uint32_t)ring->index);
		slot = ring->order[ring->order_target++ % ring->size];
		virtq_split_free(ring, split->head_of_slot[slot]);
		split->used_index++;
	} while (slot != last_slot);
	ring->order_length = length;
}

bool virtq_split_take(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length)
{
	struct virtq_split *split = &ring->split;
	const volatile uint32_t *entry;
	uint32_t head;

	if (split->used[1] == split->used_index)
		return false;
	cpu_load_barrier(); /* idx before entry; pairs with the device's store barrier */
	entry = (const volatile uint32_t *)(split->used + 2) +
	        2 * (split->used_index & (ring->size - 1));
	head = entry[0];
	*ret_length = entry[1];
	*ret_slot = slot_of(ring, head);
	if (ring->in_order) {
		take_batch(ring, *ret_slot, *ret_length);
		return true;
	}
	virtq_split_free(ring, (uint16_t)head);
	split->used_index++;
	/* With EVENT_IDX "never" does not exist: used_event stays far behind, and is moved along.
	 */
	if (ring->stopped && ring->event_index && (split->used_index & 0x3fff) == 0)
		*used_event(ring) = (uint16_t)(split->used_index - 1);
	return true;
}

bool virtq_split_enable_interrupts(struct virtq *ring)
{
	struct virtq_split *split = &ring->split;
	uint16_t lazy = ring->event_index ? ring->lazy : 0;

	ring->stopped = false;
	if (ring->event_index)
		*used_event(ring) = (uint16_t)(split->used_index + lazy);
	else
		split->avail[0] = 0;
	cpu_full_barrier(); /* used_event or flags before used.idx; pairs with the device's decision
	                     */
	return (uint16_t)(split->used[1] - split->used_index) > lazy;
}

void virtq_split_disable_interrupts(struct virtq *ring)
{
	struct virtq_split *split = &ring->split;

	if (ring->stopped)
		return;
	ring->stopped = true;
	if (ring->event_index)
		*used_event(ring) = (uint16_t)(split->used_index - 1);
	else
		split->avail[0] = VRING_AVAIL_F_NO_INTERRUPT;
}
