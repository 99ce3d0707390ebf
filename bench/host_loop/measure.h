/* SPDX-License-Identifier: Apache-2.0 */
/* What both loops share: the ring, the measured stretch of time, and how failures are told. */
#pragma once

#include "options.h"

#include <liburing.h>
#include <stdint.h>
#include <time.h>

enum measure_state { MEASURE_WARMUP, MEASURE_ON, MEASURE_OVER };

struct measure {
	enum measure_state state;
	uint64_t from, to;    /* when to measure, clock_ns() */
	uint64_t enters;      /* io_uring_enter calls up to now; the loop counts them */
	uint64_t measured_ns; /* how long it was in fact */
	uint64_t cpu_ns;      /* of this process, or with rate= of this thread, kernel included */
	uint64_t enters_measured;
	/* Private. */
	clockid_t cpu_clock; /* the process', so with kernel workers; with rate= not the pacer's */
	uint64_t began, cpu_from, enters_from;
};

/* One line on standard error: "host_loop: @what @subject: the errno's text". Returns @result. */
int measure_fail(const char *what, const char *subject, int result);

/*
 * A ring of @entries with the best flags that this kernel takes and @count fixed files, called by
 * their place in @fds. Returns 0 or negative errno, told; nothing is left behind on failure.
 */
int measure_ring(struct io_uring *ring, unsigned entries, const int *fds, unsigned count);

/* Warm-up begins now. */
void measure_start(struct measure *measure, const struct options *options);

/* Where we are; to be called once a turn. */
enum measure_state measure_tick(struct measure *measure);
