/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that hands requests to the loop at a rate, as a driver that polls does: it counts them
 * up, and kicks by an eventfd only where the loop has said that it goes to sleep. It never sleeps
 * itself.
 */
#pragma once

#include "util/checked.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pacer {
	int kick_fd;          /* to be polled by the loop; needs no draining */
	uint64_t interval_ns; /* between two requests */
	uint64_t depth;       /* most that are handed out and not done */
	uint64_t start, end;  /* clock_ns() */
	pthread_t thread;
	_Alignas(CACHE_LINE) _Atomic uint64_t handed;
	_Alignas(CACHE_LINE) _Atomic uint64_t done;
	_Atomic bool wants_kick;
	_Atomic bool over;
	uint64_t taken; /* the loop's own */
};

/*
 * Starts to hand out @rate requests a second, until @end (clock_ns()). Returns 0, or negative errno
 * after one line on standard error.
 */
int pacer_start(struct pacer *pacer, uint64_t rate, uint64_t depth, uint64_t end);

/* Waits for its end and frees what it has. */
void pacer_stop(struct pacer *pacer);

/*
 * How many requests there are that have not been taken. 0: none, and the next one comes with a
 * kick; or all have been taken, see pacer_is_over(). The loop's thread, as all below.
 */
unsigned pacer_look(struct pacer *pacer);

/* Takes one of them. Returns when it was due, clock_ns(). */
uint64_t pacer_take(struct pacer *pacer);

/* All that were taken are done. */
void pacer_complete(struct pacer *pacer);

/* Nothing more will come. */
bool pacer_is_over(const struct pacer *pacer);
