/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of one virtqueue, split or packed, with or without indirect descriptors,
 * EVENT_IDX and IN_ORDER. A request is named by a slot number (below the queue size) that comes
 * back when it is used. A queue belongs to one CPU; nothing here is shared.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio_pci.h"

#define VIRTQ_MAX_SEGMENTS 40

struct virtq_segment {
	uint64_t address;
	uint32_t length;
};

struct virtq_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct virtq_packed_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	uint16_t flags;
};

struct virtq_split {
	struct virtq_descriptor *descriptors;
	volatile uint16_t *avail; /* flags, idx, ring[size], used_event */
	volatile uint16_t *used; /* flags, idx, {id, len}[size] as pairs of uint32_t, avail_event */
	uint16_t *next_free;     /* private: descriptor -> next in its chain or in the free list */
	uint16_t *slot_of_head;  /* private; 0xffff: not in flight */
	uint16_t *length_of_head; /* private: descriptors of the chain */
	uint16_t *head_of_slot;   /* private */
	uint16_t free_head, avail_index, published_index, used_index;
};

struct virtq_packed {
	volatile struct virtq_packed_descriptor *descriptors;
	volatile uint16_t *driver_event; /* off_wrap, flags */
	volatile uint16_t *device_event;
	uint16_t *length_of_slot; /* private: ring entries a slot's chain takes */
	uint16_t next, used_next;
	bool wrap, used_wrap;
	uint16_t added; /* ring entries since the last publish */
};

struct virtq {
	bool is_packed, event_index, indirect, in_order;
	bool stopped;        /* notifications are off: used_event is out of date */
	uint16_t size, free; /* free descriptors */
	uint16_t index;
	uint16_t lazy; /* the interrupt asked for is that of the used entry this many on (EVENT_IDX)
	                */
	volatile uint16_t *doorbell;
	uint64_t ring_address[3];        /* descriptor, driver, device area */
	struct virtq_descriptor *tables; /* indirect: VIRTQ_MAX_SEGMENTS for each slot */
	union {
		struct virtq_split split;
		struct virtq_packed packed;
	};
	/* IN_ORDER: slots in the order of submission; those before order_target are used. */
	uint16_t *order;
	uint32_t order_head, order_tail, order_target;
	uint32_t order_length; /* used length of the last one of a batch */
	/* counters */
	uint64_t kicks, requests;
	struct virtio_device *device;
	unsigned cell; /* irq_cells index of its interrupt */
};

/*
 * Allocates the ring of queue `index` by the agreed features, at most `max_size` entries (0: as
 * many as the device allows), tells the device, gives it a vector on `cpu` and enables it.
 * `use_indirect` is effective only when the feature was agreed on. Ends the run with a failure when
 * the device refuses.
 */
void virtq_create(struct virtq *ring, struct virtio_device *device, unsigned index,
	uint16_t max_size, bool use_indirect, unsigned cpu);

/* Puts the ring back to its empty state and enables it again; after a device or queue reset. */
void virtq_restart(struct virtq *ring);

/*
 * Adds one request: `out` segments that the device reads, then `in` segments that it writes. False
 * when the ring is full. The slot must not be in use.
 */
bool virtq_add(struct virtq *ring, const struct virtq_segment *segments, unsigned out, unsigned in,
	uint16_t slot);

/* Shows all added requests to the device and kicks it when it wants to be. */
void virtq_publish(struct virtq *ring);

/* Kicks regardless. */
void virtq_kick(struct virtq *ring);

/* Takes one used request. False when there is none. */
bool virtq_take(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length);

/* Asks for an interrupt at the next used request (ring->lazy: at a later one). True when there is
 * one already: look again first. */
bool virtq_enable_interrupts(struct virtq *ring);
void virtq_disable_interrupts(struct virtq *ring);

/* Called by virtq.c only: the two layouts. */
void virtq_split_allocate(struct virtq *ring);
void virtq_split_reset(struct virtq *ring);
bool virtq_split_add(struct virtq *ring, const struct virtq_segment *segments, unsigned out,
	unsigned in, uint16_t slot);
bool virtq_split_publish(struct virtq *ring);
bool virtq_split_take(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length);
void virtq_split_free(struct virtq *ring, uint16_t head);
bool virtq_split_enable_interrupts(struct virtq *ring);
void virtq_split_disable_interrupts(struct virtq *ring);

void virtq_packed_allocate(struct virtq *ring);
void virtq_packed_reset(struct virtq *ring);
bool virtq_packed_add(struct virtq *ring, const struct virtq_segment *segments, unsigned out,
	unsigned in, uint16_t slot);
bool virtq_packed_publish(struct virtq *ring);
bool virtq_packed_take(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length);
bool virtq_packed_enable_interrupts(struct virtq *ring);
void virtq_packed_disable_interrupts(struct virtq *ring);

/* Fills the slot's indirect table; returns its entries. */
unsigned virtq_fill_table(struct virtq *ring, const struct virtq_segment *segments, unsigned out,
	unsigned in, uint16_t slot);
