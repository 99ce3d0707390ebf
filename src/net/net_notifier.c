/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A notification is pending from the first packet that the driver is not told of at once until the
 * decision on it: when max_packets have come or half the ring is used, when max_usecs are over, or
 * at once where that cannot be waited for (the source is stopping, or the worker's ring has no room
 * for a timeout). As long as it is pending a timeout is in the worker's ring, so that no further
 * packet is needed, and the source cannot be detached before it is decided on: taking the timeout
 * out of the ring ends in a flush.
 *
 * A decision is what it is without coalescing: the driver is interrupted if its used_event or flags
 * say so at that moment. A driver that polls its ring is not told, and looks again itself.
 *
 * The clock is read, and timers are set, only where a driver has set limits.
 */
#include "net/net_notifier.h"

#include "util/clock.h"
#include "util/fd.h"

#define NS_PER_USEC 1000u

static unsigned decide(struct net_notifier *notifier, uint64_t packets)
{
	notifier->pending = false;
	notifier->told = packets;
	if (!virtqueue_need_interrupt(notifier->queue))
		return 0;
	fd_signal(notifier->call_fd);
	return 1;
}

/* True where the pending notification can wait, and will not be forgotten. */
static bool may_wait(
	struct net_notifier *notifier, struct net_coalesce_limits limits, uint64_t packets)
{
	uint64_t until = notifier->since_ns + (uint64_t)limits.max_usecs * NS_PER_USEC;

	/* With max_usecs at 0 the time is up. A driver whose ring is used up makes no packets. */
	return !notifier->source->stopping && !virtqueue_owes_half(notifier->queue) &&
	       packets - notifier->told < limits.max_packets && clock_ns() < until &&
	       net_timer_set(&notifier->timer, notifier->source, until);
}

static unsigned flush_coalesced(struct net_notifier *notifier, uint64_t word, uint64_t packets)
{
	bool published = virtqueue_publish(notifier->queue);

	notifier->seen = word;
	if (published && !notifier->pending) {
		notifier->pending = true;
		notifier->since_ns = clock_ns();
	}
	if (!notifier->pending || may_wait(notifier, net_coalesce_limits(word), packets))
		return 0;
	return decide(notifier, packets);
}

unsigned net_notifier_flush(struct net_notifier *notifier, uint64_t packets)
{
	uint64_t word = atomic_load_explicit(
		&notifier->coalesce->queues[notifier->index], memory_order_relaxed);

	if (unlikely(word || notifier->pending))
		return flush_coalesced(notifier, word, packets);
	notifier->told = packets;
	return net_shared_flush(notifier->queue, notifier->call_fd);
}

bool net_notifier_completed(struct net_notifier *notifier, uint32_t tag)
{
	return net_timer_completed(&notifier->timer, tag);
}

void net_notifier_cancel(struct net_notifier *notifier)
{
	net_timer_cancel(&notifier->timer, notifier->source);
}

/* ---- life ---- */

void net_notifier_init(struct net_notifier *notifier, struct io_source *source,
	struct net_shared *shared, unsigned index, struct virtqueue *queue, int call_fd)
{
	*notifier = (struct net_notifier){.source = source,
		.queue = queue,
		.call_fd = call_fd,
		.index = index,
		.coalesce = &shared->coalesce};
}

void net_notifier_start(struct net_notifier *notifier, uint64_t packets)
{
	notifier->pending = false;
	notifier->told = packets;
	notifier->timer = (struct net_timer){0};
	net_coalesce_enable(notifier->coalesce, notifier->index);
}

void net_notifier_stop(struct net_notifier *notifier)
{
	net_coalesce_disable(notifier->coalesce, notifier->index);
}
