/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue's engine: submit, take what is used, check, count. A turn takes all that is used, then
 * fills the queue up to its depth and publishes once, so kicks are batched as a good driver batches
 * them. The clock is read once or twice a turn.
 *
 * Stages: BLK_LOAD until the time or the quota is over and all is back; with verify=1
 * BLK_READ_BACK, which reads everything whose content is known; BLK_DONE.
 */
#include "blk.h"
#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "memory.h"
#include "pattern.h"

static void divide_disk(struct blk_queue *queue, unsigned part, unsigned parts)
{
	const struct options *options = queue->options;
	uint64_t bytes = queue->disk->sectors * PATTERN_SECTOR, units;

	if (options->offset % queue->unit_bytes || options->offset >= bytes)
		finish_fail(
			"offset= must be a multiple of bs and lie on the disk (%U bytes)", bytes);
	bytes -= options->offset;
	if (options->size > bytes)
		finish_fail("size= reaches beyond the end of disk %u", queue->disk->index);
	if (options->size)
		bytes = options->size;
	if (options->verify >= VERIFY_FILL && bytes % queue->unit_bytes)
		finish_fail("verify=fill and verify=check want a size= that is a multiple of bs=");
	units = bytes / queue->unit_bytes;
	queue->units = units / parts;
	queue->first_unit = options->offset / queue->unit_bytes + queue->units * part;
	if (part + 1 == parts)
		queue->units += units % parts;
	if (queue->units < options->block_max / queue->unit_bytes)
		finish_fail("disk %u: its part for each queue is smaller than one block",
			queue->disk->index);
}

static void allocate_slots(struct blk_queue *queue)
{
	uint32_t depth = queue->options->depth;
	size_t stride = ((size_t)queue->options->block_max + 8191) &
	                ~(size_t)4095; /* room behind and before */
	struct blk_slot_dma *dma = memory_allocate(sizeof(*dma) * depth, 64);
	uint8_t *data = (uint8_t *)memory_allocate(stride * depth + 4096, 4096) + 4096;

	queue->slots = memory_allocate(sizeof(*queue->slots) * depth, 64);
	queue->free_slots = memory_allocate(2 * depth, 64);
	for (uint32_t i = 0; i < depth; i++) {
		queue->slots[i] = (struct blk_slot){.dma = &dma[i], .data = data + stride * i};
		queue->free_slots[i] = (uint16_t)(depth - 1 - i);
	}
	queue->free_count = (uint16_t)depth;
}

static void check_limits(struct blk_queue *queue)
{
	uint32_t segments = blk_data_segments(queue);
	uint32_t chain = segments + 2 + (queue->options->layout == LAYOUT_RANDOM);
	uint32_t needed = (queue->ring.indirect ? 1 : chain) * queue->options->depth;

	if (segments > VIRTQ_MAX_SEGMENTS - 3 ||
		(queue->disk->seg_max && segments > queue->disk->seg_max))
		finish_fail("disk %u: %u segments a request are more than it takes",
			queue->disk->index, segments);
	if (queue->options->layout == LAYOUT_RANDOM && queue->disk->size_max &&
		queue->disk->size_max <= queue->options->block_max)
		finish_fail("layout=random wants blocks smaller than SIZE_MAX (%u)",
			queue->disk->size_max);
	if (needed > queue->ring.size)
		finish_fail(
			"qd=%u needs %u descriptors, the queue has %u; lower qd or use indirect=1",
			queue->options->depth, needed, (uint32_t)queue->ring.size);
}

/* Fills the buffers once, so that no first touch falls into the measured time. */
static void prepare(struct task *task)
{
	struct blk_queue *queue = (struct blk_queue *)task;

	for (uint32_t i = 0; i < queue->options->depth; i++) {
		uint64_t *words = (uint64_t *)queue->slots[i].data;

		for (uint32_t w = 0; w < queue->options->block_max / 8; w++)
			words[w] = random_next(&queue->random);
	}
}

static void begin(struct task *task, uint64_t now)
{
	struct blk_queue *queue = (struct blk_queue *)task;
	const struct options *options = queue->options;

	queue->start = queue->last_progress = queue->due = now;
	queue->quota = UINT64_MAX;
	queue->measure_from = now;
	queue->measure_to = UINT64_MAX;
	if (options->verify == VERIFY_FILL || options->verify == VERIFY_CHECK) {
		queue->quota = queue->units;
	} else if (options->ios) {
		queue->quota = options->ios / queue->all_queues;
		queue->quota += queue->number < options->ios % queue->all_queues;
	} else {
		queue->measure_from += clock_to_ticks(options->warmup_ns);
		queue->measure_to = queue->measure_from + clock_to_ticks(options->time_ns);
	}
	if (options->rate)
		queue->interval = clock_frequency() * queue->all_queues / options->rate;
}

/* Submits one request. False when none can be chosen now. */
static bool submit_one(struct blk_queue *queue, uint64_t now)
{
	uint16_t number = queue->free_slots[queue->free_count - 1];
	struct blk_slot *slot = &queue->slots[number];

	if (!blk_choose(queue, slot))
		return false;
	slot->start = queue->interval ? queue->due : now;
	if (!blk_add_request(queue, slot))
		finish_fail("disk %u: the ring is full before qd is reached", queue->disk->index);
	if (queue->free_count == queue->options->depth)
		queue->last_progress = now;
	queue->free_count--;
	queue->issued++;
	queue->due += queue->interval;
	return true;
}

static bool may_submit(const struct blk_queue *queue, uint64_t now)
{
	if (queue->free_count == 0 || queue->stage == BLK_DONE)
		return false;
	if (queue->stage == BLK_READ_BACK)
		return true;
	return queue->issued < queue->quota && now < queue->measure_to &&
	       (!queue->interval || now >= queue->due);
}

static unsigned submit_all(struct blk_queue *queue, uint64_t now)
{
	unsigned count = 0;

	while (may_submit(queue, now) && submit_one(queue, now))
		count++;
	if (count)
		virtq_publish(&queue->ring);
	return count;
}

static void count_result(
	struct blk_queue *queue, const struct blk_slot *slot, uint8_t status, uint32_t length)
{
	struct blk_counters *counters = &queue->counters;
	uint32_t written = (slot->op == BLK_READ || slot->op == BLK_GET_ID ? slot->bytes : 0) + 1;

	counters->total++;
	if (status == VIRTIO_BLK_S_UNSUPP)
		counters->unsupported++;
	else if (status != VIRTIO_BLK_S_OK)
		counters->errors++;
	if (length == UINT32_MAX || length == written) /* the first: not told, IN_ORDER */
		return;
	if (length > written)
		counters->bad_lengths++;
	else if (status == VIRTIO_BLK_S_OK)
		counters->inexact_lengths++;
}

static void count_measured(struct blk_queue *queue, const struct blk_slot *slot, uint64_t now)
{
	struct blk_counters *counters = &queue->counters;

	if (!queue->measuring || now >= queue->measure_to || queue->stage != BLK_LOAD)
		return;
	counters->ios++;
	counters->ops[slot->op]++;
	if (slot->op == BLK_READ || slot->op == BLK_WRITE)
		counters->bytes += slot->bytes;
	histogram_add(queue->latency, now - slot->start);
}

static void complete(struct blk_queue *queue, uint16_t number, uint32_t length, uint64_t now)
{
	struct blk_slot *slot;
	uint8_t status;

	if (number >= queue->options->depth)
		finish_fail(
			"disk %u: request %u was never sent", queue->disk->index, (uint32_t)number);
	slot = &queue->slots[number];
	status = *slot->status;
	count_result(queue, slot, status, length);
	count_measured(queue, slot, now);
	if (queue->table && blk_has_place(slot->op))
		blk_verify_complete(queue, slot, status == VIRTIO_BLK_S_OK);
	if (queue->options->verify == VERIFY_CHECK && status == VIRTIO_BLK_S_OK)
		blk_verify_constant(queue, slot);
	queue->last_completion = queue->last_progress = now;
	queue->free_slots[queue->free_count++] = number;
}

static uint64_t interrupts_of(const struct blk_queue *queue)
{
	return queue->disk->device->msix_entries ? irq_cells[queue->ring.cell].count : 0;
}

static void begin_measuring(struct blk_queue *queue)
{
	queue->measuring = true;
	queue->kicks_before = queue->ring.kicks;
	queue->interrupts_before = interrupts_of(queue);
}

static void end_measuring(struct blk_queue *queue)
{
	queue->measuring = false;
	queue->kicks = queue->ring.kicks - queue->kicks_before;
	queue->interrupts = interrupts_of(queue) - queue->interrupts_before;
}

/* Moves from stage to stage as time passes and requests come back. */
static void advance(struct blk_queue *queue, uint64_t now)
{
	bool idle = queue->free_count == queue->options->depth;
	bool over = now >= queue->measure_to || (queue->issued >= queue->quota && idle);

	if (!idle && now - queue->last_progress > clock_to_ticks(queue->options->timeout_ns))
		finish_fail(
			"disk %u queue %u: %u requests in flight and none completed in timeout=",
			queue->disk->index, (uint32_t)queue->ring.index,
			queue->options->depth - queue->free_count);
	if (queue->stage == BLK_LOAD && !queue->measuring && now >= queue->measure_from && !over)
		begin_measuring(queue);
	if (queue->measuring && over)
		end_measuring(queue);
	if (queue->stage == BLK_LOAD && over && idle) {
		queue->stage = queue->table ? BLK_READ_BACK : BLK_DONE;
		queue->cursor = 0;
	}
}

/* Takes what is used, a queue full at most; @now is read again where there is anything. */
static unsigned take_used(struct blk_queue *queue, uint64_t *now)
{
	unsigned done = 0;
	uint16_t slot;
	uint32_t length;

	while (done < queue->options->depth && virtq_take(&queue->ring, &slot, &length)) {
		if (done++ == 0)
			*now = cpu_tsc();
		complete(queue, slot, length, *now);
	}
	return done;
}

static unsigned turn(struct task *task)
{
	struct blk_queue *queue = (struct blk_queue *)task;
	uint64_t now = cpu_tsc();
	unsigned done = take_used(queue, &now);

	/* As a driver's callback: what comes from here on interrupts, what came before does not. */
	while (queue->options->mode == MODE_CALLBACK && virtq_enable_interrupts(&queue->ring))
		done += take_used(queue, &now);
	advance(queue, now);
	done += submit_all(queue, now);
	if (queue->stage == BLK_READ_BACK && queue->free_count == queue->options->depth)
		queue->stage = BLK_DONE;
	task->done = queue->stage == BLK_DONE;
	return done;
}

static uint64_t next_due(const struct task *task, uint64_t now)
{
	const struct blk_queue *queue = (const struct blk_queue *)task;

	if (queue->interval == 0 || queue->free_count == 0 || queue->stage != BLK_LOAD)
		return UINT64_MAX;
	return queue->due > now ? queue->due - now : 0;
}

static const struct task_ops blk_queue_ops = {
	.prepare = prepare,
	.begin = begin,
	.turn = turn,
	.next_due = next_due,
};

void blk_queue_init(struct blk_queue *queue, unsigned index, unsigned parts)
{
	const struct options *options = queue->options;
	const struct blk_disk *disk = queue->disk;

	queue->task.ops = &blk_queue_ops;
	queue->task.rings[0] = &queue->ring;
	queue->unit_bytes = options->block_min;
	queue->rw = options->rw;
	if (options->verify == VERIFY_FILL)
		queue->rw = RW_WRITE;
	if (options->verify == VERIFY_CHECK)
		queue->rw = RW_READ;
	queue->generation = options->generation;
	random_init(&queue->random, options->seed * 1000 + disk->index * 64 + index);
	divide_disk(queue, index, parts);
	virtq_create(&queue->ring, disk->device, index, (uint16_t)options->queue_size,
		options->indirect != SWITCH_OFF, queue->task.cpu);
	check_limits(queue);
	allocate_slots(queue);
	queue->latency = memory_allocate(sizeof(*queue->latency), 64);
	if (options->verify == VERIFY_ON)
		blk_verify_init(queue);
}
