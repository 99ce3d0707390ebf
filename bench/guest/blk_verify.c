/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify=1: a word for each unit (of the smallest block size) of the queue's part of the disk says
 * what it must hold: the generation last written, zeros, or nothing known; and whether a request is
 * working on it. A unit is never read while it is being written, so every read of a known unit has
 * one right answer.
 */
#include "blk.h"
#include "finish.h"
#include "memory.h"
#include "pattern.h"

#define BUSY    0x80000000u
#define STATE   0x7fffffffu
#define UNKNOWN 0u
#define ZEROS   0x7fffffffu

void blk_verify_init(struct blk_queue *queue)
{
	uint64_t bytes = queue->units * sizeof(*queue->table);

	if (bytes + (16 << 20) > memory_available())
		finish_fail(
			"verify=1 needs %U bytes for its table, %U are free; use size= or more RAM",
			bytes, memory_available());
	queue->table = memory_allocate(bytes, 64);
}

bool blk_verify_lock(struct blk_queue *queue, uint64_t unit, uint32_t units)
{
	for (uint32_t i = 0; i < units; i++) {
		if (queue->table[unit + i] & BUSY)
			return false;
	}
	for (uint32_t i = 0; i < units; i++)
		queue->table[unit + i] |= BUSY;
	return true;
}

static uint32_t check_unit(struct blk_queue *queue, const struct blk_slot *slot, uint32_t i)
{
	uint32_t sectors = queue->unit_bytes / PATTERN_SECTOR;
	uint32_t state = queue->table[slot->unit + i] & STATE;
	const uint8_t *data = slot->data + (size_t)i * queue->unit_bytes;

	if (state == UNKNOWN)
		return 0;
	queue->counters.verified_sectors += sectors;
	if (state == ZEROS)
		return pattern_check_zero(data, sectors);
	return pattern_check(data, (queue->first_unit + slot->unit + i) * sectors, sectors, state,
		queue->options->seed);
}

static void report(
	struct blk_queue *queue, const struct blk_slot *slot, uint32_t unit, uint32_t bad)
{
	const uint64_t *word = (const uint64_t *)(slot->data + (size_t)unit * queue->unit_bytes);

	if (queue->counters.verify_failures == 0)
		finish_note("disk %u: %u bad sectors from sector %U on; found magic %X sector %X "
			    "generation %X",
			queue->disk->index, bad,
			(queue->first_unit + slot->unit + unit) *
				(queue->unit_bytes / PATTERN_SECTOR),
			word[0], word[1], word[2]);
	queue->counters.verify_failures += bad;
}

static uint32_t state_after(const struct blk_slot *slot, bool success)
{
	if (!success || slot->op == BLK_DISCARD)
		return UNKNOWN;
	return slot->op == BLK_ZEROES ? ZEROS : slot->generation;
}

void blk_verify_complete(struct blk_queue *queue, const struct blk_slot *slot, bool success)
{
	for (uint32_t i = 0; i < slot->units; i++) {
		uint32_t *entry = &queue->table[slot->unit + i];

		if (slot->op == BLK_READ) {
			uint32_t bad = success ? check_unit(queue, slot, i) : 0;

			if (bad)
				report(queue, slot, i, bad);
			*entry &= STATE;
		} else {
			*entry = state_after(slot, success);
		}
	}
}

uint32_t blk_verify_next_known(const struct blk_queue *queue, uint64_t *unit, uint32_t max)
{
	uint32_t length = 0;

	while (*unit < queue->units && (queue->table[*unit] & STATE) == UNKNOWN)
		++*unit;
	while (length < max && *unit + length < queue->units &&
		(queue->table[*unit + length] & STATE) != UNKNOWN)
		length++;
	return length;
}

void blk_verify_constant(struct blk_queue *queue, const struct blk_slot *slot)
{
	uint32_t sectors = slot->bytes / PATTERN_SECTOR;
	uint64_t sector = (queue->first_unit + slot->unit) * (queue->unit_bytes / PATTERN_SECTOR);
	uint32_t bad = pattern_check(
		slot->data, sector, sectors, queue->options->generation, queue->options->seed);

	queue->counters.verified_sectors += sectors;
	if (bad)
		report(queue, slot, 0, bad);
}
