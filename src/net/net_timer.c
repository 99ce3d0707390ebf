/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timeout that is too late for what it is set to now is cancelled. Its own CQE then comes with
 * the next turn, the source is flushed, as after any completion, and whoever needs the timer sets
 * it again.
 */
#include "net/net_timer.h"

#define NS_PER_SECOND 1000000000u

static bool arm(struct net_timer *timer, struct io_source *source, uint64_t at_ns)
{
	struct io_uring_sqe *sqe = one_shot_arm(&timer->shot, source, NET_TIMER_TAG);

	if (!sqe)
		return false;
	timer->at = (struct __kernel_timespec){.tv_sec = (int64_t)(at_ns / NS_PER_SECOND),
		.tv_nsec = (long long)(at_ns % NS_PER_SECOND)};
	timer->at_ns = at_ns;
	io_uring_prep_timeout(sqe, &timer->at, 0, IORING_TIMEOUT_ABS);
	return true;
}

bool net_timer_set(struct net_timer *timer, struct io_source *source, uint64_t at_ns)
{
	if (!timer->shot.armed)
		return arm(timer, source, at_ns);
	if (timer->at_ns > at_ns)
		net_timer_cancel(timer, source);
	return timer->at_ns <= at_ns || timer->shot.cancel_sent;
}

void net_timer_cancel(struct net_timer *timer, struct io_source *source)
{
	one_shot_cancel(&timer->shot, source, NET_TIMER_CANCEL_TAG);
}

bool net_timer_completed(struct net_timer *timer, uint32_t tag)
{
	if (tag == NET_TIMER_TAG)
		timer->shot.armed = false;
	return tag == NET_TIMER_TAG || tag == NET_TIMER_CANCEL_TAG;
}
