/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a queue asks for next: operation, place and length. Places are units of the smallest block
 * size, within the queue's own part of the disk. With verify=1 a place that is being worked on is
 * passed over.
 */
#include "blk.h"
#include "pattern.h"

static enum blk_op choose_torture(struct blk_queue *queue)
{
	uint64_t dice = random_below(&queue->random, 100);

	if (dice < 40)
		return BLK_READ;
	if (dice < 75)
		return BLK_WRITE;
	if (dice < 85 && queue->disk->has_zeroes)
		return BLK_ZEROES;
	if (dice < 93 && queue->disk->has_discard)
		return BLK_DISCARD;
	if (dice < 98 && queue->disk->has_flush)
		return BLK_FLUSH;
	return BLK_GET_ID;
}

static enum blk_op choose_op(struct blk_queue *queue)
{
	switch (queue->rw) {
	case RW_READ:
	case RW_RANDREAD:
		return BLK_READ;
	case RW_WRITE:
	case RW_RANDWRITE:
		return BLK_WRITE;
	case RW_RANDRW:
		return random_below(&queue->random, 100) < queue->options->mix ? BLK_READ
		                                                               : BLK_WRITE;
	case RW_FLUSH:
		return BLK_FLUSH;
	case RW_DISCARD:
		return BLK_DISCARD;
	case RW_WRITE_ZEROES:
		return BLK_ZEROES;
	case RW_GET_ID:
		return BLK_GET_ID;
	case RW_TORTURE:
		return choose_torture(queue);
	}
	return BLK_READ;
}

static bool is_sequential(const struct blk_queue *queue)
{
	return queue->rw == RW_READ || queue->rw == RW_WRITE;
}

static uint32_t limit_units(const struct blk_queue *queue, enum blk_op op, uint32_t units)
{
	uint32_t max_sectors = 0;
	uint32_t max_units;

	if (op == BLK_DISCARD)
		max_sectors = queue->disk->max_discard_sectors;
	else if (op == BLK_ZEROES)
		max_sectors = queue->disk->max_zeroes_sectors;
	max_units = max_sectors / (queue->unit_bytes / PATTERN_SECTOR);
	return max_units && units > max_units ? max_units : units;
}

/* Where and how much. False when the places tried are all being worked on (verify=1 only). */
static bool choose_place(struct blk_queue *queue, struct blk_slot *slot)
{
	uint32_t max = queue->options->block_max / queue->unit_bytes;

	slot->units = max == 1 ? 1 : 1 + (uint32_t)random_below(&queue->random, max);
	slot->units = limit_units(queue, slot->op, slot->units);
	for (unsigned attempt = 0; attempt < 64; attempt++) {
		if (is_sequential(queue)) {
			if (queue->cursor + slot->units > queue->units)
				queue->cursor = 0;
			slot->unit = queue->cursor;
			queue->cursor += slot->units;
		} else {
			slot->unit = random_below(&queue->random, queue->units - slot->units + 1);
		}
		if (!queue->table || blk_verify_lock(queue, slot->unit, slot->units))
			return true;
	}
	return false;
}

/* The next request of the read-back: known units only. */
static bool choose_read_back(struct blk_queue *queue, struct blk_slot *slot)
{
	slot->op = BLK_READ;
	slot->units = blk_verify_next_known(
		queue, &queue->cursor, queue->options->block_max / queue->unit_bytes);
	slot->unit = queue->cursor;
	queue->cursor += slot->units;
	return slot->units && blk_verify_lock(queue, slot->unit, slot->units);
}

bool blk_choose(struct blk_queue *queue, struct blk_slot *slot)
{
	if (queue->stage == BLK_READ_BACK)
		return choose_read_back(queue, slot);
	slot->op = choose_op(queue);
	slot->unit = slot->units = 0;
	return !blk_has_place(slot->op) || choose_place(queue, slot);
}
