/* SPDX-License-Identifier: Apache-2.0 */
/* A block queue from its making to its end; what it does in between is in io/blk_queue.c. */
#include "io/blk_queue.h"

#include "util/checked.h"
#include "util/log.h"
#include "virtio/device.h"

#include <string.h>

const char *const blk_stat_names[BLK_STATS] = {
	[BLK_STAT_READS] = "reads",
	[BLK_STAT_READ_BYTES] = "read_bytes",
	[BLK_STAT_WRITES] = "writes",
	[BLK_STAT_WRITE_BYTES] = "write_bytes",
	[BLK_STAT_FLUSHES] = "flushes",
	[BLK_STAT_DISCARDS] = "discards",
	[BLK_STAT_WRITE_ZEROES] = "write_zeroes",
	[BLK_STAT_OTHERS] = "others",
	[BLK_STAT_ERRORS] = "errors",
	[BLK_STAT_RESUBMITS] = "resubmits",
	[BLK_STAT_BOUNCES] = "bounces",
	[BLK_STAT_BATCHES] = "batches",
	[BLK_STAT_MERGED] = "merged",
	[BLK_STAT_POLLED] = "polled",
};

static int init_channel(struct blk_queue *queue)
{
	const struct blk_queue_setup *setup = &queue->setup;

	if (setup->sync)
		return disk_sync_channel_init(&queue->channel, setup->disk);
	return disk_channel_init(&queue->channel, setup->disk, &queue->source, setup->files);
}

int blk_queue_init(struct blk_queue *queue, const struct blk_queue_setup *setup, unsigned size_max)
{
	unsigned vector_iovs = max_of(setup->seg_max, BLK_RANGES);
	int result;

	memset(queue, 0, sizeof(*queue));
	queue->setup = *setup;
	result =
		blk_slots_init(&queue->slots, size_max, vector_iovs, vector_iovs + BLK_HEADER_IOVS);
	queue->slots.merge_bytes = min_of(BLK_MERGE_BYTES, setup->disk->part_max);
	if (!result)
		result = init_channel(queue);
	if (result) {
		blk_queue_deinit(queue);
		return result;
	}
	for (unsigned i = 0; i < BLK_STATS; i++)
		atomic_init(&queue->counters.values[i].value, 0);
	return 0;
}

void blk_queue_deinit(struct blk_queue *queue)
{
	disk_channel_deinit(&queue->channel);
	blk_slots_deinit(&queue->slots);
}

static void begin(
	struct blk_queue *queue, struct virtqueue *virtqueue, const struct blk_limits *limits)
{
	queue->virtqueue = virtqueue;
	queue->limits = *limits;
	queue->limits.max_segments = min_of(limits->max_segments, queue->slots.vector_iovs);
	queue->broken = queue->blocked = queue->backlog_ready = false;
	queue->backlog_count = 0;
}

static int register_memory(struct io_worker *worker, void *argument)
{
	const struct blk_queue_setup *setup = argument;

	return disk_files_register_memory(worker, setup->disk, setup->files, setup->device->memory);
}

/* Optional: without registered memory everything works, a little slower. */
static void try_fixed_buffers(struct blk_queue *queue)
{
	int result = io_worker_call(queue->setup.worker, register_memory, &queue->setup);

	queue->channel.fixed_buffers = !result;
	if (result)
		log_warning(
			"%s: guest memory cannot be registered with io_uring (%s); see ulimit -l",
			queue->setup.device->name, strerror(-result));
}

int blk_queue_start(struct blk_queue *queue, struct virtqueue *virtqueue, int kick_fd, int call_fd,
	const struct blk_limits *limits)
{
	begin(queue, virtqueue, limits);
	queue->call_fd = call_fd;
	if (queue->setup.fixed_buffers)
		try_fixed_buffers(queue);
	io_source_init(&queue->source, &blk_queue_source_ops, kick_fd, queue->setup.poll_us);
	disk_channel_use_sides(&queue->channel);
	return io_worker_attach(queue->setup.worker, &queue->source);
}

void blk_queue_stop(struct blk_queue *queue)
{
	io_worker_detach(&queue->source);
}

void blk_queue_start_sync(
	struct blk_queue *queue, struct virtqueue *virtqueue, const struct blk_limits *limits)
{
	begin(queue, virtqueue, limits);
}
