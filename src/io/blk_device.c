/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device around the queues: what it offers, the configuration space, and the hand-over of
 * queues to workers. The configuration structure is put together from the disk at each read, so
 * there is no copy that could be stale; what may change under it (capacity, write-back mode) is an
 * atomic, because workers read it too.
 *
 * Write-back mode (section 5.2.6.2): with CONFIG_WCE the driver switches it; without, a driver
 * that accepted FLUSH is trusted to flush, and one that did not gets every write made durable.
 * cache=unsafe ignores all of that.
 */
#include "io/blk_device.h"

#include "io/blk_queue.h"
#include "io/disk_channel.h"
#include "util/error.h"
#include "util/log.h"
#include "virtio/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANGE_SECTORS_MAX 0x3fffffu /* just under 2 GiB in one range */

struct blk_device {
	struct virtio_device virtio;
	struct disk *disk;
	unsigned queue_count;
	unsigned seg_max;
	_Atomic bool writeback;    /* the driver's wish; vCPU threads write it under the lock */
	_Atomic bool writethrough; /* what the queues do; the same */
	char serial[VIRTIO_BLK_ID_BYTES];
	struct blk_queue *queues;
	struct disk_files *files; /* of queue i */
	bool virtio_ready;
	struct log_limit flush_log;
};

static struct blk_device *device_of(struct virtio_device *virtio)
{
	return container_of(virtio, struct blk_device, virtio);
}

/* ---- configuration space ---- */

static uint32_t range_sectors_max(const struct disk *disk)
{
	return (uint32_t)align_down(RANGE_SECTORS_MAX, disk->logical_block / DISK_SECTOR);
}

static void fill_ranges(const struct blk_device *device, struct virtio_blk_config *config)
{
	const struct disk *disk = device->disk;

	if (disk->readonly)
		return;
	config->max_write_zeroes_sectors = range_sectors_max(disk);
	config->max_write_zeroes_seg = BLK_RANGES;
	config->write_zeroes_may_unmap = disk->discard;
	if (!disk->discard)
		return;
	config->max_discard_sectors = range_sectors_max(disk);
	config->max_discard_seg = BLK_RANGES;
	config->discard_sector_alignment = disk->physical_block / DISK_SECTOR;
}

static void fill_config(const struct blk_device *device, struct virtio_blk_config *config)
{
	const struct disk *disk = device->disk;
	uint32_t blocks = disk->physical_block / disk->logical_block;

	*config = (struct virtio_blk_config){
		.capacity = disk_size(disk) / DISK_SECTOR,
		.seg_max = device->seg_max,
		.blk_size = disk->logical_block,
		.physical_block_exp = (uint8_t)__builtin_ctz(blocks),
		.min_io_size = (uint16_t)blocks,
		.opt_io_size = disk->optimal_io / disk->logical_block,
		.wce = atomic_load_explicit(&device->writeback, memory_order_relaxed),
		.num_queues = (uint16_t)device->queue_count,
	};
	fill_ranges(device, config);
}

static void blk_config_read(
	struct virtio_device *virtio, uint32_t offset, void *data, uint32_t length)
{
	struct virtio_blk_config config;
	uint32_t part = 0;

	fill_config(device_of(virtio), &config);
	if (offset < sizeof(config))
		part = min_of(length, (uint32_t)sizeof(config) - offset);
	if (part)
		memcpy(data, (const char *)&config + offset, part);
	memset((char *)data + part, 0, length - part);
}

static void update_writethrough(struct blk_device *device)
{
	bool writeback = atomic_load_explicit(&device->writeback, memory_order_relaxed);

	if (!virtio_device_has(&device->virtio, VIRTIO_BLK_F_CONFIG_WCE))
		writeback = virtio_device_has(&device->virtio, VIRTIO_BLK_F_FLUSH);
	if (device->disk->cache == DISK_CACHE_UNSAFE)
		writeback = true;
	atomic_store_explicit(&device->writethrough, !writeback, memory_order_relaxed);
}

/* Only the write-back mode is writable. */
static void blk_config_write(
	struct virtio_device *virtio, uint32_t offset, const void *data, uint32_t length)
{
	uint32_t at = offsetof(struct virtio_blk_config, wce);
	struct blk_device *device = device_of(virtio);
	bool before, writeback;
	int result = 0;

	if (offset > at || at - offset >= length ||
		!virtio_device_has(virtio, VIRTIO_BLK_F_CONFIG_WCE))
		return;
	writeback = ((const uint8_t *)data)[at - offset] & 1;
	before = atomic_exchange_explicit(&device->writeback, writeback, memory_order_relaxed);
	update_writethrough(device);
	/* What was written back so far is as durable as what comes, once the switch is done. */
	if (before && !writeback && device->disk->cache != DISK_CACHE_UNSAFE)
		result = disk_sync(device->disk);
	if (result && log_limit_allows(&device->flush_log))
		log_warning("%s: flush on the switch to write-through: %s", virtio->name,
			strerror(-result));
}

/* ---- queues ---- */

static struct blk_limits limits_of(const struct blk_device *device)
{
	const struct disk *disk = device->disk;

	return (struct blk_limits){
		.capacity = disk_size(disk) / DISK_SECTOR,
		.block_sectors = disk->logical_block / DISK_SECTOR,
		.max_segments = max_of(device->seg_max, BLK_RANGES),
		.max_ranges = BLK_RANGES,
		.max_range = range_sectors_max(disk),
		.readonly = disk->readonly,
		.discard = virtio_device_has(&device->virtio, VIRTIO_BLK_F_DISCARD),
		.write_zeroes = virtio_device_has(&device->virtio, VIRTIO_BLK_F_WRITE_ZEROES),
	};
}

static int blk_activate(struct virtio_device *virtio)
{
	update_writethrough(device_of(virtio));
	return 0;
}

static int blk_queue_start_op(struct virtio_device *virtio, unsigned index)
{
	struct blk_device *device = device_of(virtio);
	struct virtio_queue *queue = &virtio->queues[index];
	struct blk_limits limits = limits_of(device);

	return blk_queue_start(
		&device->queues[index], &queue->virtqueue, queue->kick_fd, queue->call_fd, &limits);
}

static void blk_queue_stop_op(struct virtio_device *virtio, unsigned index)
{
	blk_queue_stop(&device_of(virtio)->queues[index]);
}

static void blk_reset(struct virtio_device *virtio)
{
	atomic_store_explicit(&device_of(virtio)->writeback, true, memory_order_relaxed);
}

static const struct virtio_device_ops blk_ops = {
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.activate = blk_activate,
	.queue_start = blk_queue_start_op,
	.queue_stop = blk_queue_stop_op,
	.reset = blk_reset,
};

/* ---- building ---- */

static uint64_t bit(unsigned feature)
{
	return 1ull << feature;
}

/* SIZE_MAX is not offered: a segment may be as long as its 32-bit length says. */
static uint64_t features_of(const struct blk_device *device)
{
	uint64_t features = bit(VIRTIO_BLK_F_SEG_MAX) | bit(VIRTIO_BLK_F_BLK_SIZE) |
	                    bit(VIRTIO_BLK_F_TOPOLOGY) | bit(VIRTIO_BLK_F_FLUSH) |
	                    bit(VIRTIO_BLK_F_MQ);

	if (device->disk->readonly)
		return features | bit(VIRTIO_BLK_F_RO);
	features |= bit(VIRTIO_BLK_F_CONFIG_WCE) | bit(VIRTIO_BLK_F_WRITE_ZEROES);
	if (device->disk->discard)
		features |= bit(VIRTIO_BLK_F_DISCARD);
	return features;
}

struct files_call {
	struct disk_files *files;
	struct disk *disk;
};

static int add_files(struct io_worker *worker, void *argument)
{
	const struct files_call *call = argument;

	return disk_files_add(worker, call->disk, call->files);
}

static int remove_files(struct io_worker *worker, void *argument)
{
	const struct files_call *call = argument;

	disk_files_remove(worker, call->disk, call->files);
	return 0;
}

/* The first queue of each worker brings the file into its rings; the others use the same slots. */
static const struct blk_queue *first_of_worker(const struct blk_device *device, unsigned index)
{
	for (unsigned i = 0; i < index; i++) {
		if (device->queues[i].setup.worker == device->queues[index].setup.worker)
			return &device->queues[i];
	}
	return &device->queues[index];
}

static int init_queue(struct blk_device *device, const struct blk_config *config, unsigned index,
	struct io_worker *worker)
{
	struct blk_queue *queue = &device->queues[index];
	struct blk_queue_setup setup = {
		.device = &device->virtio,
		.index = index,
		.disk = device->disk,
		.worker = worker,
		.files = &device->files[index],
		.writethrough = &device->writethrough,
		.serial = device->serial,
		.seg_max = device->seg_max,
		.poll_us = config->poll_us,
		.fixed_buffers = config->fixed_buffers,
		.merge = config->merge,
	};
	struct files_call call = {.files = &device->files[index], .disk = device->disk};
	const struct blk_queue *first;
	int result = 0;

	queue->setup.worker = worker;
	first = first_of_worker(device, index);
	if (first == queue)
		result = io_worker_call(worker, add_files, &call);
	else
		device->files[index] = device->files[first->setup.index];
	if (result)
		return result;
	result = blk_queue_init(queue, &setup, config->queue_size);
	if (result && first == queue)
		io_worker_call(worker, remove_files, &call);
	return result;
}

static int init_queues(struct blk_device *device, const struct blk_config *config,
	struct io_worker *const *workers, unsigned worker_count)
{
	device->queues = aligned_alloc(CACHE_LINE, config->queues * sizeof(*device->queues));
	device->files = calloc(config->queues, sizeof(*device->files));
	if (!device->queues || !device->files)
		return -ENOMEM;
	memset(device->queues, 0, config->queues * sizeof(*device->queues));
	for (unsigned i = 0; i < config->queues; i++) {
		int result = init_queue(device, config, i, workers[i % worker_count]);

		if (result)
			return result;
		device->queue_count = i + 1;
	}
	return 0;
}

static int check_config(const struct blk_config *config, struct error *error)
{
	if (config->queues < 1 || config->queues > BLK_QUEUES_MAX)
		return error_set(error, -EINVAL, "disk %s: queues=%u: must be 1 to %u",
			config->path, config->queues, BLK_QUEUES_MAX);
	if (!is_power_of_two(config->queue_size) || config->queue_size < 2 ||
		config->queue_size > VIRTQUEUE_SIZE_MAX)
		return error_set(error, -EINVAL,
			"disk %s: queue-size=%u: must be a power of two from 2 to %u", config->path,
			config->queue_size, VIRTQUEUE_SIZE_MAX);
	return 0;
}

static int open_disk(
	struct blk_device *device, const struct blk_config *config, struct error *error)
{
	struct disk_options options = {
		.path = config->path,
		.cache = config->cache,
		.readonly = config->readonly,
		.discard = config->discard,
		.iopoll = config->iopoll,
	};
	int result = disk_open(&options, &device->disk, error);

	if (!result && device->disk->nvme && config->fixed_buffers)
		return error_set(error, -EINVAL,
			"disk %s: fixed-buffers=on does not go with an NVMe namespace's character "
			"device",
			config->path);
	return result;
}

static int build(struct blk_device *device, const struct blk_config *config,
	const struct guest_memory *memory, struct io_worker *const *workers, unsigned worker_count,
	struct error *error)
{
	const char *serial = config->serial ? config->serial : config->name;
	int result = open_disk(device, config, error);

	if (result)
		return result;
	memcpy(device->serial, serial, strnlen(serial, sizeof(device->serial)));
	device->seg_max = (unsigned)max_of(min_of(config->queue_size - 2, (int)BLK_SEGMENTS), 1);
	atomic_init(&device->writeback, true);
	result = init_queues(device, config, workers, worker_count);
	if (result && result != -ENOMEM)
		return error_set(error, result, "disk %s: no io_uring for NVMe commands: %s%s",
			config->path, strerror(-result),
			result == -EINVAL ? "; Linux 5.19 or newer is needed" : "");
	if (result)
		return error_set(error, result, "disk %s: out of memory", config->path);
	result = virtio_device_init(&device->virtio, &blk_ops, memory, VIRTIO_ID_BLOCK,
		config->name, config->queues, config->queue_size,
		features_of(device) | (config->packed ? bit(VIRTIO_F_RING_PACKED) : 0));
	if (result)
		return error_set(error, result, "disk %s: cannot make the device: %s%s",
			config->path, strerror(-result),
			result == -EMFILE ? "; raise the limit (ulimit -n)" : "");
	device->virtio_ready = true;
	return 0;
}

int blk_device_create(const struct blk_config *config, const struct guest_memory *memory,
	struct io_worker *const *workers, unsigned worker_count, struct blk_device **ret_device,
	struct error *error)
{
	struct blk_device *device;
	int result = check_config(config, error);

	if (result)
		return result;
	device = calloc(1, sizeof(*device));
	if (!device)
		return error_set(error, -ENOMEM, "disk %s: out of memory", config->path);
	result = build(device, config, memory, workers, worker_count, error);
	if (result) {
		blk_device_destroy(device);
		return result;
	}
	*ret_device = device;
	return 0;
}

void blk_device_destroy(struct blk_device *device)
{
	if (!device)
		return;
	if (device->virtio_ready)
		virtio_device_deinit(&device->virtio);
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct files_call call = {.files = &device->files[i], .disk = device->disk};

		if (first_of_worker(device, i) == &device->queues[i])
			io_worker_call(device->queues[i].setup.worker, remove_files, &call);
		blk_queue_deinit(&device->queues[i]);
	}
	free(device->queues);
	free(device->files);
	disk_close(device->disk);
	free(device);
}

/* ---- at run time ---- */

struct virtio_device *blk_device_virtio(struct blk_device *device)
{
	return &device->virtio;
}

const struct disk *blk_device_disk(const struct blk_device *device)
{
	return device->disk;
}

int blk_device_refresh_capacity(struct blk_device *device)
{
	bool changed = false;
	int result = disk_refresh_size(device->disk, &changed);

	if (result || !changed)
		return result;
	virtio_device_config_changed(&device->virtio);
	return 1;
}

void blk_device_stats(
	const struct blk_device *device, unsigned queue, uint64_t ret_values[BLK_STATS])
{
	const struct blk_queue *from = &device->queues[queue];

	for (unsigned i = 0; i < BLK_STATS; i++)
		ret_values[i] = counter_read(&from->counters.values[i]);
	ret_values[BLK_STAT_BOUNCES] = counter_read(&from->channel.bounces);
	ret_values[BLK_STAT_POLLED] = counter_read(&from->channel.polled);
}

unsigned blk_device_queue_count(const struct blk_device *device)
{
	return device->queue_count;
}
