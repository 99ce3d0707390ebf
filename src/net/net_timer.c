/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timeout that is too late for what it is set to now is cancelled. Its own CQE then comes with
 * the next turn, the source is flushed, as after any completion, and whoever needs the timer sets
 * it again. The timeout and its cancellation have a CQE each, in either order; only the timeout's
 * own ends it.
 */
#include "net/net_timer.h"

#define NS_PER_SECOND 1000000000u

static bool arm(struct net_timer *timer, struct io_source *source, uint64_t at_ns)
{
	struct io_uring_sqe *sqe = io_source_sqe(source, NET_TIMER_TAG);

	if (!sqe)
		return false;
	timer->at = (struct __kernel_timespec){.tv_sec = (int64_t)(at_ns / NS_PER_SECOND),
		.tv_nsec = (long long)(at_ns % NS_PER_SECOND)};
	timer->at_ns = at_ns;
	timer->user_data = sqe->user_data;
	io_uring_prep_timeout(sqe, &timer->at, 0, IORING_TIMEOUT_ABS);
	timer->armed = true;
	timer->cancel_sent = false;
	return true;
}

bool net_timer_set(struct net_timer *timer, struct io_source *source, uint64_t at_ns)
{
	if (!timer->armed)
		return arm(timer, source, at_ns);
	if (timer->at_ns > at_ns)
		net_timer_cancel(timer, source);
	return timer->at_ns <= at_ns || timer->cancel_sent;
}

void net_timer_cancel(struct net_timer *timer, struct io_source *source)
{
	struct io_uring_sqe *sqe;

	if (!net_timer_must_be_cancelled(timer))
		return;
	sqe = io_source_sqe(source, NET_TIMER_CANCEL_TAG);
	if (!sqe)
		return;
	ring_prepare_cancel(sqe, timer->user_data);
	timer->cancel_sent = true;
}

bool net_timer_completed(struct net_timer *timer, uint32_t tag)
{
	if (tag == NET_TIMER_TAG)
		timer->armed = false;
	return tag == NET_TIMER_TAG || tag == NET_TIMER_CANCEL_TAG;
}
