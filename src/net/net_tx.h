/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transmit queue: frames from the guest's memory straight into one tap queue (virtio 1.2, section
 * 5.1.6.2). Prepared and started by the main or a vCPU thread while no worker has it, otherwise the
 * worker's.
 */
#pragma once

#include "io/worker.h"
#include "net/net_device.h"
#include "net/net_notifier.h"
#include "net/net_shared.h"
#include "net/tap_poll.h"

#define NET_TX_BATCH 32u
/* The most segments that writev() takes; a driver may make no chain longer than its queue. */
#define NET_TX_IOVS 1024u

struct net_tx {
	struct io_source source;
	struct net_shared *shared;
	struct virtqueue *queue;
	unsigned pair;
	struct net_notifier notifier;

	/* The worker's, while started. */
	bool full;     /* the tap refused a frame: wait until it is writable */
	bool dead;     /* the ring is broken: nothing more is done */
	uint64_t done; /* frames that the driver has, or will be, given back */
	struct tap_poll tap_poll;

	cache_aligned struct net_tx_counters counters;
	struct iovec iov[NET_TX_IOVS];
};

/* @queue, @shared and the eventfds outlive it. @poll_us: see io_source_init(). Main thread. */
void net_tx_init(struct net_tx *tx, struct net_shared *shared, unsigned pair, int kick_fd,
	int call_fd, struct virtqueue *queue, unsigned poll_us);

/* Hands the started virtqueue to @worker. 0 or negative errno. A vCPU thread. */
int net_tx_start(struct net_tx *tx, struct io_worker *worker);

/* Takes it back: no thread touches the ring any more. The same thread. */
void net_tx_stop(struct net_tx *tx);
