/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive buffers that were taken off the ring and wait for frames. A tap does not tell how long
 * its next frame is, so that each read must be offered room for the longest; with mergeable buffers
 * that is dozens of chains, of which a small frame fills one. Instead of giving the others back and
 * loading them again for each frame, they stay here, in ring order.
 *
 * Segments that touch in memory are joined, across chains too where frames may be: guests cut
 * buffers from larger pieces, so that a few iovecs cover what dozens of chains describe, and the
 * kernel has that much less to copy and check in each read.
 *
 * Owned by the receive queue's worker. What is held when the queue stops is forgotten: the driver
 * starts its rings anew then.
 */
#pragma once

#include "virtio/virtqueue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define NET_RESERVE_CHAINS 1024
#define NET_RESERVE_IOVS   2048

struct net_reserve_chain {
	struct virtqueue_entry entry;
	uint16_t iovs; /* where chains are not joined */
	uint64_t bytes;
};

struct net_reserve {
	bool mergeable;       /* a frame may go over several chains: VIRTIO_NET_F_MRG_RXBUF */
	unsigned chain_first; /* chains[chain_first, chain_end) are there */
	unsigned chain_end;
	unsigned iov_first; /* iov[iov_first, iov_end) are their bytes, in order */
	unsigned iov_end;
	uint64_t bytes;
	bool full; /* the last net_reserve_fill() ended for want of room here */
	struct net_reserve_chain chains[NET_RESERVE_CHAINS];
	struct iovec iov[NET_RESERVE_IOVS + 1]; /* there is always one behind the last */
};

/* The part of the reserve that one frame may fill. */
struct net_window {
	struct iovec *iov;
	unsigned count;
	uint64_t bytes;
};

void net_reserve_init(struct net_reserve *reserve, bool mergeable);

/*
 * Takes chains off @queue until there are @wanted bytes, or, not mergeable, one chain; in batches,
 * so that it usually ends with more. Returns 0, also where the ring or the room is exhausted first,
 * or a negative errno that the device cannot go on after: -EPROTO for a broken ring, a chain
 * without writable bytes or one longer than any driver may make it.
 */
int net_reserve_fill(struct net_reserve *reserve, struct virtqueue *queue, uint64_t wanted);

static inline unsigned net_reserve_count(const struct net_reserve *reserve)
{
	return reserve->chain_end - reserve->chain_first;
}

/*
 * The first bytes of the reserve: at least @wanted where there are as many, or, not mergeable, the
 * first chain. There is always an iov[count], which the caller may set but must restore, and count
 * is below the 1024 iovecs that the kernel takes. The reserve must not be empty.
 */
struct net_window net_reserve_window(struct net_reserve *reserve, uint64_t wanted);

/* How many chains the first @bytes (at most reserve->bytes, at least 1) take. */
unsigned net_reserve_chains(const struct net_reserve *reserve, uint64_t bytes);

/*
 * Pushes the chains of the first @bytes as used, each with its share, and drops them from the
 * reserve. The same bounds.
 */
void net_reserve_use(struct net_reserve *reserve, struct virtqueue *queue, uint64_t bytes);
