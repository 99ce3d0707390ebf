/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of a block device: the data path between a virtqueue and a disk_channel. Private to
 * blk_device.c and the tests of src/io.
 *
 * Threads: blk_queue_init(), _deinit(), _start() and _stop() by whoever holds the device's lock or
 * is alone with it; all else, and all state, is the worker's while the queue is started.
 */
#pragma once

#include "io/blk_device.h"
#include "io/blk_merge.h"
#include "io/blk_request.h"
#include "io/blk_slots.h"
#include "io/disk_channel.h"
#include "io/worker.h"
#include "virtio/virtqueue.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct virtio_device;

#define BLK_SEGMENTS    254u /* the most that we offer as SEG_MAX */
#define BLK_RANGES      32u  /* of a discard or write zeroes */
#define BLK_HEADER_IOVS 17u  /* scratch for a header and a status split to bytes */
#define BLK_BATCH       16u  /* chains taken in one turn */

/* Written by the worker, read by anyone. */
struct blk_queue_counters {
	struct counter values[BLK_STATS];
};

struct blk_queue_setup {
	struct virtio_device *device;
	unsigned index;
	struct disk *disk;
	struct io_worker *worker;
	const struct disk_files *files;   /* of @disk, with @worker */
	const _Atomic bool *writethrough; /* every write durable; changed by the driver */
	const char *serial;               /* VIRTIO_BLK_ID_BYTES bytes */
	unsigned seg_max;
	unsigned poll_us;
	bool fixed_buffers;
	bool merge; /* neighbouring transfers become one */
	bool sync;  /* the blocking engine, for tests and fuzzing */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): lines of their own are the point. */
struct blk_queue {
	struct io_source source;
	struct virtqueue *virtqueue;
	struct disk_channel channel;
	struct blk_limits limits;
	struct blk_slots slots;
	struct blk_merge held;   /* waits for a neighbour, within take_batch() */
	uint16_t last_head;      /* of the last lone request, and where its parts were: */
	const void *last_header; /* likely the next one's too; prefetched, never read */
	const void *last_status;
	bool durable;          /* the state of writethrough in this turn */
	bool broken;           /* the driver broke a rule: nothing is taken any more */
	bool blocked;          /* the last batch was cut short by the ring */
	bool backlog_ready;    /* trying the backlog again makes sense */
	uint16_t backlog_head; /* slots that wait for an SQE or the bounce buffer */
	uint16_t backlog_tail;
	uint16_t backlog_count;
	int call_fd;
	struct blk_queue_setup setup;
	cache_aligned struct blk_queue_counters counters;
};

/* What the worker calls; between blk_queue.c and blk_queue_life.c. */
extern const struct io_source_ops blk_queue_source_ops;

/* Prepares a queue of at most @size_max entries. @setup is copied. 0 or -ENOMEM. */
int blk_queue_init(struct blk_queue *queue, const struct blk_queue_setup *setup, unsigned size_max);

/* The queue is stopped. Accepts a zeroed one. */
void blk_queue_deinit(struct blk_queue *queue);

/*
 * Serves @virtqueue, started by the caller, from now on; @call_fd is signalled for interrupts.
 * @limits->capacity is read from the disk in each turn. 0 or negative errno.
 */
int blk_queue_start(struct blk_queue *queue, struct virtqueue *virtqueue, int kick_fd, int call_fd,
	const struct blk_limits *limits);

/* Drains and lets go of the virtqueue. */
void blk_queue_stop(struct blk_queue *queue);

/* The same as blk_queue_start() without a worker, for the sync engine: the caller runs turns. */
void blk_queue_start_sync(
	struct blk_queue *queue, struct virtqueue *virtqueue, const struct blk_limits *limits);

/* One turn by hand after blk_queue_start_sync(): a batch, and publish. True where work was done. */
bool blk_queue_turn_sync(struct blk_queue *queue);
