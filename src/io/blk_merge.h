/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbouring transfers as one: where the driver offers reads (or writes) in one batch of which
 * each begins where the one before ends, the disk gets a single request. The first slot leads: its
 * disk_request covers them all, over a vector of all their segments; the others hang on it by
 * `joined` and keep what is theirs, so that they can still be carried out alone.
 *
 * Threads: the worker of the queue. Private to src/io.
 */
#pragma once

#include "io/blk_slots.h"

/* Of a merged request, and where one SQE or NVMe command carries less, that. */
#define BLK_MERGE_BYTES (1u << 20)

/* A transfer that is held back for the next one to join it. */
struct blk_merge {
	struct blk_slot *leader; /* NULL: none is */
	struct blk_slot *tail;   /* the last one that joined, or the leader */
};

/*
 * Lets @slot, a READ or WRITE whose request is filled in and not started, join @merge->leader.
 * False, and nothing is changed, where there is no leader, @slot is not its continuation, or the
 * two would be too long together.
 */
bool blk_merge_join(struct blk_slots *slots, struct blk_merge *merge, struct blk_slot *slot);

/* The slot after @slot in its merged request, or NULL; to be read before @slot is released. */
static inline struct blk_slot *blk_merge_next(
	const struct blk_slots *slots, const struct blk_slot *slot)
{
	return slot->has_joined ? &slots->table[slot->joined] : NULL;
}

/*
 * Gives the leader of a merged request that is done its own request back, not started. The others
 * still follow it by blk_merge_next().
 */
void blk_merge_undo(struct blk_slots *slots, struct blk_slot *leader);
