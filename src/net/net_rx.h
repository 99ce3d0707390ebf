/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A receive queue: frames from one tap queue straight into the guest's buffers (virtio 1.2,
 * sections 5.1.6.3 and 5.1.6.4). Prepared and started by the main or a vCPU thread while no worker
 * has it, otherwise the worker's.
 */
#pragma once

#include "io/worker.h"
#include "net/net_device.h"
#include "net/net_notifier.h"
#include "net/net_reserve.h"
#include "net/net_shared.h"
#include "net/tap_poll.h"
#include "net/virtio_net_abi.h"

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): lines of their own are the point. */
struct net_rx {
	struct io_source source;
	struct net_shared *shared;
	struct virtqueue *queue;
	unsigned pair;
	struct net_notifier notifier;

	/* The worker's, while started. */
	const struct net_policy *policy; /* in force here; NULL before the first is taken over */
	bool enabled;                    /* this pair is in use */
	bool readable;                   /* the tap has, or may have, frames */
	bool dead;    /* the tap is gone, or the ring is broken: nothing more is done */
	bool starved; /* frames wait for receive buffers: kicks are needed */
	struct tap_poll tap_poll;
	uint64_t wanted; /* bytes to offer to each read */
	/* A frame that ended in the spill buffer and waits for chains: 0, none. */
	size_t pending;
	size_t pending_spilled; /* its last bytes, at the start of the spill buffer */

	/* Written by the worker, read by the control queue. See net_shared.h. */
	_Atomic(const struct net_policy *) applied;
	/* Written by whoever starts and stops the queue, read by the control queue. */
	_Atomic bool running;

	cache_aligned struct net_rx_counters counters;
	struct net_reserve reserve;
	uint8_t spill[NET_GSO_FRAME_BYTES + 1];
};

/* @queue, @shared and the eventfds outlive it. @poll_us: see io_source_init(). Main thread. */
void net_rx_init(struct net_rx *rx, struct net_shared *shared, unsigned pair, int kick_fd,
	int call_fd, struct virtqueue *queue, unsigned poll_us);

/*
 * Hands the started virtqueue to @worker; the tap queue is attached there once the policy says that
 * the pair is in use. 0 or negative errno. A vCPU thread, under the device's lock.
 */
int net_rx_start(struct net_rx *rx, struct io_worker *worker);

/* Takes it back: the tap queue is detached, no thread touches the ring any more. The same thread.
 */
void net_rx_stop(struct net_rx *rx);

/*
 * True where @rx follows @policy or does not run, so that nothing is received by another one. The
 * control queue's worker.
 */
bool net_rx_follows(const struct net_rx *rx, const struct net_policy *policy);
