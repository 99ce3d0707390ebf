/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which polling window a source's wait goes by, and for how long it is open. Private to
 * worker_loop.c; owner only.
 *
 * The wait for the driver has two, since its gaps are of two kinds: with nothing in flight a driver
 * that waits for each answer comes back at once, and with its request in flight it does not come at
 * all. One average of both would poll for what cannot come, once a request.
 */
#pragma once

#include "io/worker_private.h"

/* Of the wait for the driver that is under way; after process(), of the one that begins. */
static inline struct poll_window *avail_window(struct io_source *source)
{
	return source->in_flight ? &source->avail_busy : &source->avail_idle;
}

/* The bound is @limit_ns or the window's own. 0 where it does not pay, or must not be. */
static inline uint32_t window_length(
	const struct io_worker *worker, const struct poll_window *window, uint32_t limit_ns)
{
	if (unlikely(worker->hold_until) || !poll_trial_polls(&worker->trial))
		return 0;
	return poll_window_length(window, limit_ns);
}

static inline uint32_t avail_length(const struct io_worker *worker, struct io_source *source)
{
	return window_length(worker, avail_window(source), UINT32_MAX);
}

/* With more than one in flight, the others hide the time that a wake-up takes. */
static inline uint32_t completion_length(
	const struct io_worker *worker, const struct io_source *source)
{
	return window_length(
		worker, &source->completion, source->in_flight > 1 ? BUSY_LIMIT_NS : UINT32_MAX);
}

/* The event that @window waited for is here. */
static inline void window_event(struct io_worker *worker, struct poll_window *window, bool slept)
{
	uint64_t since = window->since_ns;

	window->since_ns = 0;
	if (slept)
		poll_window_slept(window);
	else
		poll_window_hit(window, since ? worker->now - min_of(since, worker->now) : 0);
}

/*
 * True, and the end of the wait's polling, where it has gone on for @length. What began since the
 * last tick is timed from now on.
 */
static inline bool window_expired(
	struct io_worker *worker, struct poll_window *window, uint32_t length)
{
	if (!window->since_ns)
		window->since_ns = worker->now;
	if (length && worker->now - window->since_ns < length)
		return false;
	if (length)
		poll_window_miss(window, length);
	return true;
}
