/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of one block queue that are in flight: a slot for each chain id, and vectors for
 * those that have more segments than a slot holds, or that travel with their neighbours.
 *
 * Slots and vectors lie in one anonymous mapping, so that what the driver never uses costs no
 * memory; the stack of free vectors hands out the warm one. Private to src/io.
 *
 * Threads: blk_slots_init() and _deinit() by whoever is alone with them; all else is for the worker
 * of the started queue.
 */
#pragma once

#include "io/disk.h"
#include "virtio/virtqueue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLK_SLOT_IOVS 2u /* in the slot itself; longer requests take a vector */

/* A request in flight; the table of them is indexed by the chain's id. */
struct blk_slot {
	struct disk_request request;
	struct virtqueue_entry entry;
	bool busy;        /* the chain is ours: the driver may not offer it again */
	bool has_vector;  /* its segments, or its ranges, are in a vector of its own */
	uint8_t *status;  /* in guest memory */
	uint32_t written; /* for the used entry */
	uint16_t vector;  /* which, where has_vector */
	uint16_t next;    /* in the backlog */
	uint8_t ranges;   /* of a discard or write zeroes: how many, and which is under way */
	uint8_t range;
	bool leads;      /* `request` is the slots' from `joined` on too: see io/blk_merge.h */
	bool has_joined; /* another one comes after this one in the merged request */
	uint16_t joined;
	uint16_t merged_vector; /* of all segments, where it leads */
	struct iovec iov[BLK_SLOT_IOVS];
} cache_aligned;

struct blk_slots {
	struct blk_slot *table; /* one per ring entry */
	struct iovec *vectors;  /* vector_iovs each; a slot may need two, but only one that leads */
	uint16_t *free_vectors; /* a stack: what was used last is warm */
	struct iovec *scratch;  /* scratch_iovs of them, where a long chain is loaded */
	unsigned vector_iovs;
	unsigned scratch_iovs;
	uint32_t merge_bytes; /* of a merged request; the user of the slots sets it */
	unsigned free_vector_count;
	unsigned busy; /* slots */
	void *arena;   /* the mapping behind all of these */
	size_t arena_bytes;
};

/* @count slots, with vectors of @vector_iovs elements. 0 or -ENOMEM. */
int blk_slots_init(
	struct blk_slots *slots, unsigned count, unsigned vector_iovs, unsigned scratch_iovs);

/* Accepts zeroed ones. */
void blk_slots_deinit(struct blk_slots *slots);

/* The slot's own vector, taken for it now. It has none yet. */
struct iovec *blk_slots_take_vector(struct blk_slots *slots, struct blk_slot *slot);

/* A vector by its number. */
static inline struct iovec *blk_slots_vector(const struct blk_slots *slots, uint16_t number)
{
	return slots->vectors + (size_t)number * slots->vector_iovs;
}

/* The segments of the slot's own request as the driver gave them. */
static inline struct iovec *blk_slots_segments(const struct blk_slots *slots, struct blk_slot *slot)
{
	return slot->has_vector ? blk_slots_vector(slots, slot->vector) : slot->iov;
}

/* For io/blk_merge.c: numbers of vectors off and onto the stack. */
static inline uint16_t blk_slots_pop_vector(struct blk_slots *slots)
{
	return slots->free_vectors[--slots->free_vector_count];
}

static inline void blk_slots_push_vector(struct blk_slots *slots, uint16_t number)
{
	slots->free_vectors[slots->free_vector_count++] = number;
}

/* The request is answered: the slot is free again, and so is its vector. */
void blk_slots_release(struct blk_slots *slots, struct blk_slot *slot);
