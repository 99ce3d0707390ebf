/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine changes the vector that it works on, so that of a merged request is a copy: with two
 * vectors a ring entry there is always one left, since only a slot that leads takes a second.
 */
#include "io/blk_merge.h"

#include "io/iov.h"

static bool continues(const struct disk_request *first, const struct disk_request *next)
{
	return next->offset == first->offset + first->length && next->op == first->op &&
	       next->durable == first->durable;
}

static bool fits(const struct blk_slots *slots, const struct disk_request *first,
	const struct disk_request *next)
{
	return first->length + next->length <= slots->merge_bytes &&
	       first->iov_count + next->iov_count <= slots->vector_iovs;
}

static void begin(struct blk_slots *slots, struct blk_slot *leader)
{
	struct disk_request *request = &leader->request;
	struct iovec *vector;

	leader->leads = true;
	leader->merged_vector = blk_slots_pop_vector(slots);
	vector = blk_slots_vector(slots, leader->merged_vector);
	for (unsigned i = 0; i < request->iov_count; i++)
		vector[i] = request->iov[i];
	request->iov = vector;
}

bool blk_merge_join(struct blk_slots *slots, struct blk_merge *merge, struct blk_slot *slot)
{
	struct blk_slot *leader = merge->leader;
	struct disk_request *all, *own = &slot->request;

	if (!leader)
		return false;
	all = &leader->request;
	if (likely(!continues(all, own)) || !fits(slots, all, own))
		return false;
	if (!leader->leads)
		begin(slots, leader);
	for (unsigned i = 0; i < own->iov_count; i++)
		iov_append(all->iov, &all->iov_count, &own->iov[i]);
	all->length += own->length;
	merge->tail->has_joined = true;
	merge->tail->joined = (uint16_t)(slot - slots->table);
	merge->tail = slot;
	return true;
}

/* How many elements of @iov make @length bytes. */
static unsigned elements_of(const struct iovec *iov, uint64_t length)
{
	unsigned count = 0;

	for (uint64_t bytes = 0; bytes < length; count++)
		bytes += iov[count].iov_len;
	return count;
}

void blk_merge_undo(struct blk_slots *slots, struct blk_slot *leader)
{
	struct disk_request *request = &leader->request;

	request->length = slots->table[leader->joined].request.offset - request->offset;
	request->iov = blk_slots_segments(slots, leader);
	request->iov_count = elements_of(request->iov, request->length);
	request->started = false;
	leader->leads = false;
	blk_slots_push_vector(slots, leader->merged_vector);
}
