/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A one-shot timer in a worker's ring. It may be set again and again: at most one timeout is in the
 * ring, and one that turns out to be too early is left there, since setting it anew at its end
 * costs less than cancelling it. All functions belong to the source's worker.
 */
#pragma once

#include "net/one_shot.h"
#include "net/tap_poll.h"

#include <stdbool.h>
#include <stdint.h>

/* Tags of the SQEs, behind those of a tap_poll in the same source. */
enum {
	NET_TIMER_TAG = TAP_POLL_TAGS,
	NET_TIMER_CANCEL_TAG,
};

/* Embedded; zeroed before its source is attached. */
struct net_timer {
	struct one_shot shot; /* a timeout */
	uint64_t at_ns;       /* its time */
	struct __kernel_timespec at;
};

/*
 * The source will be flushed at @at_ns (of clock_ns()) or earlier; who is flushed early sets the
 * timer again. False where there is no SQE for that now.
 */
bool net_timer_set(struct net_timer *timer, struct io_source *source, uint64_t at_ns);

/* Takes the timeout out of the ring; without an SQE it is to be asked again in the next turn. */
void net_timer_cancel(struct net_timer *timer, struct io_source *source);

/* True where a timeout is in the ring that nobody has cancelled yet. */
static inline bool net_timer_must_be_cancelled(const struct net_timer *timer)
{
	return one_shot_must_be_cancelled(&timer->shot);
}

/* Takes note of the completion with @tag. False where it is none of the timer's. */
bool net_timer_completed(struct net_timer *timer, uint32_t tag);
