/* SPDX-License-Identifier: Apache-2.0 */
/* One mapping, cut into the tables. */
#include "io/blk_slots.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(sizeof(struct blk_slot) == 128, "a slot is two cache lines");

int blk_slots_init(
	struct blk_slots *slots, unsigned count, unsigned vector_iovs, unsigned scratch_iovs)
{
	unsigned vectors = 2 * count;
	size_t table_bytes = count * sizeof(struct blk_slot);
	size_t vector_bytes = (size_t)vectors * vector_iovs * sizeof(struct iovec);
	size_t scratch_bytes = scratch_iovs * sizeof(struct iovec);
	char *at;

	memset(slots, 0, sizeof(*slots));
	slots->arena_bytes =
		table_bytes + scratch_bytes + vector_bytes + vectors * sizeof(uint16_t);
	at = mmap(NULL, slots->arena_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	slots->arena = at;
	slots->table = (struct blk_slot *)at;
	slots->scratch = (struct iovec *)(at + table_bytes);
	slots->vectors = (struct iovec *)(at + table_bytes + scratch_bytes);
	slots->free_vectors = (uint16_t *)(at + table_bytes + scratch_bytes + vector_bytes);
	slots->vector_iovs = vector_iovs;
	slots->scratch_iovs = scratch_iovs;
	for (unsigned i = vectors; i-- > 0;)
		blk_slots_push_vector(slots, (uint16_t)i);
	return 0;
}

void blk_slots_deinit(struct blk_slots *slots)
{
	if (slots->arena)
		munmap(slots->arena, slots->arena_bytes);
	slots->arena = NULL;
}

struct iovec *blk_slots_take_vector(struct blk_slots *slots, struct blk_slot *slot)
{
	slot->vector = blk_slots_pop_vector(slots);
	slot->has_vector = true;
	return blk_slots_vector(slots, slot->vector);
}

void blk_slots_release(struct blk_slots *slots, struct blk_slot *slot)
{
	if (slot->has_vector)
		blk_slots_push_vector(slots, slot->vector);
	slot->has_vector = false;
	slot->busy = false;
	slots->busy--;
}
