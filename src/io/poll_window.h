/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether it pays to poll for the next event of one kind, and for how long: an
 * exponentially weighted average of the recent gaps between events, compared with a bound.
 *
 * An event that comes after g nanoseconds costs g of spinning when it is polled for, and a sleep
 * and a wake-up (tens of microseconds of latency, a few of CPU time) when it is not. So the window
 * is open, as long as the bound, while the average gap is within the bound.
 *
 * A gap that was slept through says little: it ends with the wake-up, whose cost may be larger
 * than the bound. So only gaps that were polled are measured, a miss counts as twice the bound, and
 * a closed window is opened for a probe now and then: after the first event, and after each
 * probe that failed twice as many events later, at most PROBE_MAX. Probes that succeed follow
 * each other, so three or four quick events open a window; and traffic that polling cannot serve
 * costs the bound once in PROBE_MAX events.
 *
 * Pure arithmetic on the caller's clock; owned by one thread.
 */
#pragma once

#include "util/checked.h"

#include <stdbool.h>
#include <stdint.h>

#define POLL_WINDOW_LIMIT_MAX_NS 1000000000u
#define POLL_WINDOW_PROBE_MAX    256u

struct poll_window {
	uint32_t limit_ns;   /* the device's setting; 0: never poll */
	uint32_t average_ns; /* of the gaps, each capped at twice the limit */
	uint16_t probe_in;   /* closed: slept events until the next probe; 0: probe now */
	uint16_t backoff;    /* what probe_in becomes when a probe fails */
	uint64_t since_ns;   /* when the wait under way began; 0: not known yet */
};

/* Closed at first. @limit_ns is at most POLL_WINDOW_LIMIT_MAX_NS. */
static inline void poll_window_init(struct poll_window *window, uint32_t limit_ns)
{
	*window = (struct poll_window){
		.limit_ns = limit_ns, .average_ns = 2 * limit_ns, .probe_in = 1, .backoff = 1};
}

static inline void poll_window_sample(struct poll_window *window, uint64_t gap_ns)
{
	int64_t sample = (int64_t)min_of(gap_ns, 2ull * window->limit_ns);
	int64_t average = window->average_ns;

	window->average_ns = (uint32_t)(average + (sample - average) / 4);
}

/* The event came @gap_ns after the wait began, while it was polled for. */
static inline void poll_window_hit(struct poll_window *window, uint64_t gap_ns)
{
	poll_window_sample(window, gap_ns);
	window->probe_in = 0;
	window->backoff = 1;
}

/* It was polled for during @length_ns in vain. */
static inline void poll_window_miss(struct poll_window *window, uint32_t length_ns)
{
	poll_window_sample(window, 2ull * length_ns);
	window->probe_in = window->backoff;
	window->backoff = (uint16_t)min_of(2u * window->backoff, POLL_WINDOW_PROBE_MAX);
}

/* The event came after polling had ended or without any. */
static inline void poll_window_slept(struct poll_window *window)
{
	if (window->probe_in)
		window->probe_in--;
}

/*
 * How long to poll, under a bound of @limit_ns that may be tighter than the window's own: 0 where
 * it does not pay.
 */
static inline uint32_t poll_window_length(const struct poll_window *window, uint32_t limit_ns)
{
	uint32_t limit = min_of(limit_ns, window->limit_ns);

	return window->average_ns <= limit || !window->probe_in ? limit : 0;
}
