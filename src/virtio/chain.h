/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/virtio: walks descriptor tables and turns them into a virtqueue_chain. The model
 * is described at the top of chain.c. Called by the worker that owns the queue; pure but for
 * reading guest memory.
 */
#pragma once

#include "virtio/virtqueue.h"

#include <stdint.h>

struct guest_memory;

/* A descriptor in our own memory: the guest can no longer change it. */
struct chain_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags; /* VRING_DESC_F_* */
	uint16_t next;  /* split rings; packed: the buffer id */
};

/* One walk: what is built, and what bounds it. */
struct chain_walk {
	const struct guest_memory *memory;
	struct virtqueue_chain *chain;
	bool indirect; /* an indirect table is allowed */
	bool writable; /* a writable descriptor has been seen: no readable one may follow */
};

/*
 * Starts a walk that fills @chain (iov and capacity are the caller's).
 */
struct chain_walk chain_begin(
	const struct guest_memory *memory, struct virtqueue_chain *chain, bool indirect);

/*
 * Follows a split ring's chain from descriptor @head of a table of @count (at least 1) in guest
 * memory at @table, and the indirect table that it may end in. 0 or -EPROTO.
 */
int chain_walk_split(struct chain_walk *walk, const void *table, uint32_t count, uint32_t head);

/*
 * Adds @descriptors slots of a packed ring of @size, from slot @head on, or the indirect table
 * that a single one points to. 0 or -EPROTO.
 */
int chain_walk_packed(struct chain_walk *walk, const void *ring, uint32_t size, uint32_t head,
	uint32_t descriptors);

/* Judges the whole: 0, -EPROTO (empty or too long) or -E2BIG. */
int chain_end(const struct chain_walk *walk);
