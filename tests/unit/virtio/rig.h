/* SPDX-License-Identifier: Apache-2.0 */
/* Both sides of one ring: what every test of virtqueues starts from. */
#pragma once

#include "support/mock_driver.h"
#include "virtio/virtqueue.h"

#include <stdbool.h>
#include <stdint.h>

#define RIG_IOV 64

struct rig {
	struct mock_guest guest;
	struct mock_queue *driver;
	struct virtqueue device;
	uint64_t buffer; /* 64 KiB of guest memory */
	/* of rig_load() */
	struct iovec iov[RIG_IOV];
	struct virtqueue_chain chain;
};

enum {
	RIG_PACKED = 1,
	RIG_EVENT_IDX = 2,
	RIG_INDIRECT = 4,
};

/* A ring of @size, started, with the features of @flags. */
void rig_init(struct rig *rig, uint16_t size, unsigned flags);
void rig_deinit(struct rig *rig);

/* A split ring whose indices start at @index on both sides. */
void rig_init_at(struct rig *rig, uint16_t size, unsigned flags, uint16_t index);

/* Adds a chain of one writable segment of @length bytes and exposes it. Returns the token. */
int rig_offer(struct rig *rig, uint32_t length);

/* Pops one chain; fails the test where there is none. */
struct virtqueue_entry rig_pop(struct rig *rig);

/* Loads @entry into rig->chain with @capacity elements (at most RIG_IOV). */
int rig_load(struct rig *rig, const struct virtqueue_entry *entry, unsigned capacity);

/* Pops, pushes with @written, publishes. */
void rig_serve(struct rig *rig, uint32_t written);

/* The driver's next used entry; fails the test where there is none. */
struct mock_used rig_used(struct rig *rig);

/* The host address of guest memory. */
void *rig_host(struct rig *rig, uint64_t gpa);
