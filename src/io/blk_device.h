/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio block device (virtio 1.2, section 5.2): a disk, its configuration space, and its
 * queues, each served by one of the workers that it is given.
 *
 * Threads: created, refreshed and destroyed by the main thread. The configuration is read and
 * written by vCPU threads under the virtio_device's lock. Queue i belongs to
 * workers[i % worker_count] while it is started.
 */
#pragma once

#include "io/disk.h"

#include <stdbool.h>
#include <stdint.h>

struct blk_device;
struct error;
struct guest_memory;
struct io_worker;
struct virtio_device;

#define BLK_QUEUES_MAX 128

struct blk_config {
	const char *name; /* "disk0", for messages */
	const char *path;
	enum disk_cache cache;
	bool readonly;
	bool discard;        /* offer DISCARD, let WRITE_ZEROES unmap */
	const char *serial;  /* GET_ID, cut to 20 bytes; NULL: @name */
	unsigned queues;     /* 1 to BLK_QUEUES_MAX */
	uint16_t queue_size; /* power of two, 2 to VIRTQUEUE_SIZE_MAX */
	unsigned poll_us;    /* bound of the polling windows; 0: no polling */
	bool fixed_buffers;  /* register guest memory with the workers' rings, at first use */
	bool merge;          /* neighbouring transfers become one */
	bool packed;         /* offer packed rings, section 2.8 */
	bool iopoll;         /* poll for completions of reads and writes; needs DISK_CACHE_NONE */
};

/* A good poll_us for a host with a CPU to spare. */
#define BLK_POLL_US_DEFAULT 32

/*
 * Opens the disk and makes the device. @memory and the workers are borrowed and must outlive it;
 * the strings of @config are copied. Returns 0, or negative errno with a line in @error that names
 * the option or file.
 */
int blk_device_create(const struct blk_config *config, const struct guest_memory *memory,
	struct io_worker *const *workers, unsigned worker_count, struct blk_device **ret_device,
	struct error *error);

/* Resets the device, which drains its queues, and closes the disk. Accepts NULL. */
void blk_device_destroy(struct blk_device *device);

/* For the transport; lives as long as the device. */
struct virtio_device *blk_device_virtio(struct blk_device *device);

const struct disk *blk_device_disk(const struct blk_device *device);

/*
 * Looks at the size of the file again and, where it changed, shows the driver the new capacity
 * with a configuration interrupt. Requests in flight are not touched; those beyond a smaller
 * capacity fail from then on. Returns 1 where it changed, 0, or negative errno. Main thread.
 */
int blk_device_refresh_capacity(struct blk_device *device);

/*
 * A queue's counters, copied: numbers with names in the same order, ready for a report. Any thread.
 */
enum blk_stat {
	BLK_STAT_READS,
	BLK_STAT_READ_BYTES,
	BLK_STAT_WRITES,
	BLK_STAT_WRITE_BYTES,
	BLK_STAT_FLUSHES,
	BLK_STAT_DISCARDS,
	BLK_STAT_WRITE_ZEROES,
	BLK_STAT_OTHERS,    /* GET_ID, unknown types, malformed requests */
	BLK_STAT_ERRORS,    /* answered with IOERR or UNSUPP */
	BLK_STAT_RESUBMITS, /* SQEs beyond the first: short transfers, retries, fallbacks */
	BLK_STAT_BOUNCES,   /* transfers through the aligned buffer */
	BLK_STAT_BATCHES,   /* process() rounds that took at least one request */
	BLK_STAT_MERGED,    /* transfers that travelled with the one before them */
	BLK_STAT_POLLED,    /* SQEs whose completion was polled for */
	BLK_STATS
};
extern const char *const blk_stat_names[BLK_STATS];
void blk_device_stats(
	const struct blk_device *device, unsigned queue, uint64_t ret_values[BLK_STATS]);

unsigned blk_device_queue_count(const struct blk_device *device);
