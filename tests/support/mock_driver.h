/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the guest's driver on plain memory: RAM with an allocator, the driver's side of split and
 * packed rings, and the bring-up of a virtio_device without a transport. What it does follows the
 * specification's driver rules with real barriers, so that a worker may serve the other side from
 * another thread; for the rules that a hostile guest breaks, it hands out the raw areas.
 *
 * A mock_queue belongs to one thread. Misuse by a test (memory exhausted, unknown token) aborts
 * with a message: it is never a condition under test.
 */
#pragma once

#include "memory/guest_memory.h"
#include "virtio/virtqueue.h"

#include <stdbool.h>
#include <stdint.h>

struct virtio_device;

/* ---- RAM ---- */

struct mock_guest {
	struct guest_memory *memory;
	uint64_t next_gpa; /* of the bump allocator, in the first region */
	uint64_t end_gpa;
};

/*
 * RAM of @bytes (rounded up to pages) at MOCK_GUEST_BASE, plus a second region of 64 KiB at
 * MOCK_GUEST_HIGH, right behind a hole, that the allocator leaves alone. Nothing is mapped at 0.
 * Aborts where the host has no memory.
 */
#define MOCK_GUEST_BASE       0x10000u
#define MOCK_GUEST_HIGH       0x100000000ull
#define MOCK_GUEST_HIGH_BYTES 0x10000u
void mock_guest_init(struct mock_guest *guest, uint64_t bytes);
void mock_guest_deinit(struct mock_guest *guest);

/* The guest physical address of @bytes fresh zeroed bytes; @alignment is a power of two. */
uint64_t mock_guest_alloc(struct mock_guest *guest, uint64_t bytes, uint64_t alignment);

/* The host address of guest bytes; aborts where they are not RAM. */
void *mock_guest_pointer(struct mock_guest *guest, uint64_t gpa, uint64_t length);

/* ---- one ring, the driver's side ---- */

struct mock_queue;

struct mock_queue_options {
	uint16_t size; /* a power of two unless packed */
	bool packed;
	bool event_idx;
	bool indirect; /* only passed on in the layout: the mock does as it is told */
	bool in_order;
};

/* A part of a request's buffer. Readable means: by the device. */
struct mock_segment {
	uint64_t gpa;
	uint32_t length;
	bool writable;
};

struct mock_used {
	uint16_t token;   /* what mock_queue_add() returned */
	uint32_t written; /* bytes, as the device claims */
};

/* Lays a zeroed ring out in fresh guest memory. Destroy it before @guest. */
struct mock_queue *mock_queue_create(
	struct mock_guest *guest, const struct mock_queue_options *options);
void mock_queue_destroy(struct mock_queue *queue); /* accepts NULL */

/* What virtqueue_start() or virtio_device_queue_set_addresses() want to know. */
const struct virtqueue_layout *mock_queue_layout(const struct mock_queue *queue);

/*
 * Adds a chain of @count (at least 1) segments, readable ones first, in descriptors of the ring
 * itself. The device does not see it before mock_queue_expose() or mock_queue_kick().
 * Returns a token (below the queue size, unique while in flight) or -ENOSPC.
 */
int mock_queue_add(struct mock_queue *queue, const struct mock_segment *segments, unsigned count);

/* The same with one ring descriptor that points to an indirect table (any number of segments). */
int mock_queue_add_indirect(
	struct mock_queue *queue, const struct mock_segment *segments, unsigned count);

/* Makes everything added visible to the device, without a kick. */
void mock_queue_expose(struct mock_queue *queue);

/*
 * Exposes, then, behind a full barrier, signals @kick_fd if the device asked for a kick (its flags
 * or avail_event or event suppression structure). True where it did.
 */
bool mock_queue_kick(struct mock_queue *queue, int kick_fd);

/* Takes one used entry, and frees its descriptors; false where there is none. */
bool mock_queue_get_used(struct mock_queue *queue, struct mock_used *ret_used);

/* Chains added and not yet taken back by mock_queue_get_used(). */
unsigned mock_queue_in_flight(const struct mock_queue *queue);

/*
 * Asks for an interrupt at the next used entry, or, with event_idx, once @more further ones (0:
 * the next) are used; then a full barrier. True where a used entry is there already, for which no
 * interrupt may come. A fresh queue asks for interrupts.
 */
bool mock_queue_enable_interrupts(struct mock_queue *queue, uint16_t more);

/* Asks for no interrupts (a hint, with event_idx on a split ring weaker still). */
void mock_queue_disable_interrupts(struct mock_queue *queue);

/*
 * Takes one used entry, waiting for signals of @call_fd at most @timeout_ms (-1: for ever) in
 * between. 0 or -ETIMEDOUT.
 */
int mock_queue_wait_used(
	struct mock_queue *queue, int call_fd, int timeout_ms, struct mock_used *ret_used);

/*
 * Raw access for hostile guests, edges of the event indices and so on. The areas are struct
 * vring_desc[] / vring_avail / vring_used of <linux/virtio_ring.h>, or, packed, struct
 * vring_packed_desc[] / vring_packed_desc_event twice.
 */
void *mock_queue_desc_area(struct mock_queue *queue);
void *mock_queue_driver_area(struct mock_queue *queue);
void *mock_queue_device_area(struct mock_queue *queue);

/* Split: puts any head into the avail ring (exposed with the rest); its chain is the test's. */
void mock_queue_add_head(struct mock_queue *queue, uint16_t head);

/* Packed: the flags (AVAIL and USED bits) that make ring slot @slot available at this moment. */
uint16_t mock_queue_packed_avail_flags(const struct mock_queue *queue, uint16_t slot);

/*
 * Moves both sides' starting point, to reach wrap-around without 65536 requests: a split ring's
 * indices start at @index. Before anything is added; see mock_queue_align() for the device.
 */
void mock_queue_set_start(struct mock_queue *queue, uint16_t index);

/* Sets a started, idle virtqueue to the split index given to mock_queue_set_start(). */
void mock_queue_align(struct mock_queue *queue, struct virtqueue *device_side);

/* ---- a device, driven without a transport ---- */

struct mock_driver {
	struct virtio_device *device; /* borrowed */
	struct mock_guest *guest;     /* borrowed */
	uint64_t features;            /* accepted */
	struct mock_queue **queues;   /* owned; NULL where not enabled */
};

/*
 * Resets @device, acknowledges it, accepts @features (VERSION_1 is added; only what is offered) and
 * sets FEATURES_OK. Returns 0, or -EOPNOTSUPP where the device refuses the set; call
 * mock_driver_deinit() either way.
 */
int mock_driver_init(struct mock_driver *driver, struct virtio_device *device,
	struct mock_guest *guest, uint64_t features);

/* Resets the device and frees the queues. */
void mock_driver_deinit(struct mock_driver *driver);

/* Lays queue @index out with @size entries (0: the device's largest) as negotiated; enables it. */
struct mock_queue *mock_driver_enable_queue(
	struct mock_driver *driver, unsigned index, uint16_t size);

/* Sets DRIVER_OK: the device starts its enabled queues. */
void mock_driver_ready(struct mock_driver *driver);

/* init, enable_queue for queues 0 to @queues - 1 and ready in one. */
int mock_driver_start(struct mock_driver *driver, struct virtio_device *device,
	struct mock_guest *guest, uint64_t features, unsigned queues, uint16_t size);

/* Kicks queue @index where the device asked for it; exposes in any case. */
bool mock_driver_kick(struct mock_driver *driver, unsigned index);

/* mock_queue_wait_used() on queue @index and its call_fd. */
int mock_driver_wait_used(
	struct mock_driver *driver, unsigned index, int timeout_ms, struct mock_used *ret_used);

/*
 * One request from start to end on an otherwise idle queue: add, kick, wait. Returns 0 with the
 * bytes that the device wrote, -ENOSPC or -ETIMEDOUT.
 */
int mock_driver_request(struct mock_driver *driver, unsigned index,
	const struct mock_segment *segments, unsigned count, int timeout_ms, uint32_t *ret_written);
