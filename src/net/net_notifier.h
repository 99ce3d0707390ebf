/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a worker's turn for a receive or transmit queue: what was pushed is published, and the
 * driver is told at once, or later, where it has asked for that (net_coalesce.h).
 *
 * Prepared by the main thread, started and stopped with the queue, otherwise its worker's.
 */
#pragma once

#include "net/net_shared.h"
#include "net/net_timer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct net_notifier {
	struct io_source *source;
	struct virtqueue *queue;
	int call_fd;
	unsigned index; /* of the queue, as the device counts */
	struct net_coalesce *coalesce;

	/* The worker's, while started. */
	bool pending;      /* something is published that the driver was not told of */
	uint64_t seen;     /* the limits that `pending` was decided by */
	uint64_t since_ns; /* when the first of it was */
	uint64_t told;     /* packets up to the last decision */
	struct net_timer timer;
};

/* @source, @shared and @queue outlive it. Main thread. */
void net_notifier_init(struct net_notifier *notifier, struct io_source *source,
	struct net_shared *shared, unsigned index, struct virtqueue *queue, int call_fd);

/*
 * The queue is enabled and starts with nothing pending after @packets packets. Before its source is
 * attached; the main or a vCPU thread, as for net_notifier_stop(), which is called once the source
 * is detached.
 */
void net_notifier_start(struct net_notifier *notifier, uint64_t packets);
void net_notifier_stop(struct net_notifier *notifier);

/*
 * For io_source_ops.flush: publishes, and interrupts the driver where that is due and wanted.
 * @packets is the number of all packets that were ever pushed. While the source is stopping,
 * nothing is kept back. Returns the number of system calls.
 */
unsigned net_notifier_flush(struct net_notifier *notifier, uint64_t packets);

/* Takes note of the completion with @tag. False where it is not the notifier's. */
bool net_notifier_completed(struct net_notifier *notifier, uint32_t tag);

/*
 * For io_source_ops.poll: true where the limits have changed under a pending notification, so that
 * the source must be flushed.
 */
static inline bool net_notifier_must_look(const struct net_notifier *notifier)
{
	return unlikely(notifier->pending) &&
	       atomic_load_explicit(&notifier->coalesce->queues[notifier->index],
		       memory_order_relaxed) != notifier->seen;
}

/* For a stopping source: whether net_notifier_cancel() has something to do, and to have it done. */
static inline bool net_notifier_must_be_cancelled(const struct net_notifier *notifier)
{
	return net_timer_must_be_cancelled(&notifier->timer);
}

void net_notifier_cancel(struct net_notifier *notifier);
