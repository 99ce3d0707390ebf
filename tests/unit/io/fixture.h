/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary disk images, and a whole block device with workers and a driver that plays the guest.
 */
#pragma once

#include "io/blk_device.h"
#include "io/worker.h"
#include "support/mock_driver.h"

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#define MIB (1u << 20)

/* ---- images ---- */

struct image {
	char path[64];
	int fd; /* of the test's own, without O_DIRECT */
};

/* A file of @bytes, filled from @seed (0: left sparse), on a real file system (/var/tmp). */
void image_init(struct image *image, uint64_t bytes, uint64_t seed);
void image_deinit(struct image *image);

/* What image_init() puts at @offset for @seed; @length is a multiple of 8, @offset too. */
void image_pattern(void *buffer, uint64_t offset, size_t length, uint64_t seed);

/* A small, fast, repeatable generator; the state must not be 0. */
uint64_t random_next(uint64_t *state);
static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return random_next(state) % bound;
}

/* ---- workers ---- */

/* Abort the test where the host has no usable io_uring. */
struct io_worker *test_worker(const char *name);
struct io_worker *test_worker_sized(const char *name, unsigned sq_entries);

uint64_t worker_stat(const struct io_worker *worker, const char *name);

/* Waits until the worker sleeps: with nothing sent to it, that is for good. */
void worker_wait_asleep(const struct io_worker *worker);

/* ---- a device ---- */

#define RIG_WORKERS_MAX 4
#define RIG_TIMEOUT_MS  20000

struct blk_rig_options {
	uint64_t bytes;      /* 0: 8 MiB */
	uint64_t seed;       /* of the image; 0: sparse */
	unsigned queues;     /* 0: 1 */
	unsigned workers;    /* 0: 1 */
	uint16_t queue_size; /* 0: 64 */
	unsigned poll_us;
	bool readonly;
	bool no_discard;
	bool fixed_buffers;
	bool merge;
	bool iopoll;
	unsigned sq_entries;   /* of the workers' rings; 0: the default */
	const char *path;      /* an image of the test's own; NULL: a fresh one */
	enum disk_cache cache; /* the default here is NONE, as it is the first */
	uint64_t features;     /* 0: all that the device offers */
	const char *serial;
};

struct blk_rig {
	struct image image;
	struct mock_guest guest;
	struct io_worker *workers[RIG_WORKERS_MAX];
	unsigned worker_count;
	struct blk_device *device;
	struct mock_driver driver;
	uint64_t features;
	uint16_t queue_size;
	uint64_t header; /* guest addresses for simple requests */
	uint64_t status;
	uint64_t data; /* 1 MiB */
};

void blk_rig_init(struct blk_rig *rig, const struct blk_rig_options *options);
void blk_rig_deinit(struct blk_rig *rig);

/* A new driver, after mock_driver_deinit(): the device has been reset. */
void blk_rig_restart(struct blk_rig *rig);

/* Host addresses of the simple request's parts. */
struct virtio_blk_outhdr *rig_header(struct blk_rig *rig);
uint8_t *rig_status(struct blk_rig *rig);
void *rig_data(struct blk_rig *rig);

/*
 * One request on queue 0, with @length bytes at rig->data + @shift, readable or writable as the
 * type says. Returns the status byte. Fails the test on a time-out.
 */
uint8_t rig_request_at(
	struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t shift, uint32_t length);
uint8_t rig_request(struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t length);

/* A DISCARD or WRITE_ZEROES of one range. */
uint8_t rig_range(
	struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);

/* A statistic of queue @queue. */
uint64_t rig_stat(const struct blk_rig *rig, unsigned queue, enum blk_stat stat);
