/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block workload. A disk is one virtio-blk device; a queue is one of its virtqueues with its
 * slots, its own part of the disk, its random numbers and its counters, owned by one CPU for the
 * whole run.
 */
#pragma once

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "options.h"
#include "random.h"
#include "virtio_pci.h"
#include "virtq.h"
#include "worker.h"

#define BLK_MAX_DISKS 32
#define BLK_ID_SIZE   20

struct blk_disk {
	struct virtio_device *device;
	uint32_t index;
	uint16_t queues; /* offered */
	uint64_t sectors;
	uint32_t seg_max, size_max, block_size;
	uint32_t max_discard_sectors, max_zeroes_sectors;
	bool read_only, has_flush, has_discard, has_zeroes, may_unmap;
};

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZEROES, BLK_GET_ID, BLK_OPS };

struct blk_counters {
	uint64_t ios, bytes;          /* within the measured time */
	uint64_t ops[BLK_OPS];        /* likewise, by operation */
	uint64_t total;               /* completions from start to end */
	uint64_t errors, unsupported; /* status 1 (or none of the known), status 2 */
	uint64_t bad_lengths;         /* used length more than the device may write: a violation */
	uint64_t inexact_lengths;     /* used length allowed, but not what was written */
	uint64_t verified_sectors, verify_failures;
};

/* What the device reads and writes besides the data. */
struct blk_slot_dma {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes range;
	volatile uint8_t status;
} __attribute__((aligned(64)));

struct blk_slot {
	struct blk_slot_dma *dma;
	uint8_t *data; /* 4 KiB aligned, with PATTERN_SECTOR bytes of room before and behind */
	volatile uint8_t *status; /* in dma, or right behind the data (layout=random) */
	enum blk_op op;
	uint32_t units, bytes; /* bytes of data transferred, discarded or zeroed */
	uint64_t unit;         /* first, relative to the queue's part */
	uint32_t generation;   /* written */
	uint64_t start;        /* time stamp: submitted, or due when a rate is set */
};

enum blk_stage { BLK_LOAD, BLK_READ_BACK, BLK_DONE };

struct blk_queue {
	struct task task; /* first: the worker knows only this */
	const struct options *options;
	const struct blk_disk *disk;
	struct virtq ring;
	unsigned number, all_queues; /* which of those that share ios= and rate= */
	struct blk_slot *slots;
	uint16_t *free_slots;
	uint16_t free_count;
	struct random random;
	enum blk_stage stage;
	enum option_rw rw; /* as asked for, or as verify=fill and verify=check want it */
	uint32_t unit_bytes;
	uint64_t first_unit, units,
		cursor;         /* this queue's part of the disk; place of sequential access */
	uint64_t issued, quota; /* requests; UINT64_MAX: by time */
	uint64_t interval, due; /* ticks between requests at a fixed rate; 0: none */
	uint64_t start, measure_from, measure_to; /* time stamps */
	uint64_t last_completion, last_progress;
	uint32_t generation;
	uint32_t *table; /* verify=1: what each unit holds (blk_verify.c) */
	uint64_t kicks_before, interrupts_before;
	uint64_t kicks, interrupts; /* within the measured time */
	bool measuring;
	struct blk_counters counters;
	struct histogram *latency; /* ticks */
};

/* blk_disk.c: finds and sets up all disks the options name; returns how many. */
unsigned blk_disk_open(const struct options *options, struct blk_disk *ret_disks);

/* Negotiates again after a reset, with the options' features. */
void blk_disk_negotiate(const struct options *options, struct blk_disk *disk);

/*
 * blk_queue.c: ring, buffers and slots for queue `index` of a disk, one of `parts` that divide it,
 * as a task. queue->options, disk, number, all_queues and task.cpu are set by the caller.
 */
void blk_queue_init(struct blk_queue *queue, unsigned index, unsigned parts);

/* blk_choose.c: chooses op, place and length for a free slot. False when nothing can be chosen now.
 */
bool blk_choose(struct blk_queue *queue, struct blk_slot *slot);

/* blk_layout.c: pieces that data is cut into; lays the slot's request out and adds it to the ring.
 */
uint32_t blk_data_segments(const struct blk_queue *queue);
bool blk_add_request(struct blk_queue *queue, struct blk_slot *slot);

/* True for operations on a range of sectors. */
static inline bool blk_has_place(enum blk_op op)
{
	return op != BLK_FLUSH && op != BLK_GET_ID;
}

static inline uint64_t blk_sector_of(const struct blk_queue *queue, const struct blk_slot *slot)
{
	return (queue->first_unit + slot->unit) * (queue->unit_bytes / 512);
}

/* blk_verify.c: the table of what each unit holds. */
void blk_verify_init(struct blk_queue *queue);

/* Marks the units as being worked on. False when one of them is already. */
bool blk_verify_lock(struct blk_queue *queue, uint64_t unit, uint32_t units);

/* Notes the result of the slot's request, checks data that was read, and unlocks its units. */
void blk_verify_complete(struct blk_queue *queue, const struct blk_slot *slot, bool success);

/* The next run of known units at or behind *unit, at most `max` long; 0 when there are none left.
 */
uint32_t blk_verify_next_known(const struct blk_queue *queue, uint64_t *unit, uint32_t max);

/* Checks data against one generation (verify=check). */
void blk_verify_constant(struct blk_queue *queue, const struct blk_slot *slot);

/* blk_run.c: the workload. Ends the guest. */
void blk_run(const struct options *options, unsigned cpus) __attribute__((noreturn));

/* hostile.c: bad drivers. Ends the guest. */
void hostile_run(const struct options *options) __attribute__((noreturn));
