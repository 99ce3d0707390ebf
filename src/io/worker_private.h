/* SPDX-License-Identifier: Apache-2.0 */
/* What worker.c (life, commands) and worker_loop.c (the loop) share. Private to them. */
#pragma once

#include "io/poll_trial.h"
#include "io/worker.h"

#include <pthread.h>
#include <stdatomic.h>

struct command {
	struct command *next;
	int (*function)(struct io_worker *worker, void *argument);
	void *argument;
	int result;
	sem_t done;
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): lines of their own are the point. */
struct io_worker {
	struct ring ring;
	unsigned in_flight; /* SQEs of all sources */
	unsigned in_flight_max;
	unsigned active_count;
	unsigned rotation;          /* which polled source is served first */
	unsigned completion_polled; /* sources whose completions are spun for */
	unsigned stopping;          /* sources that are being detached */
	unsigned unarmed;           /* kick polls that have to be added again */
	unsigned slots_end;         /* all slots from here on are free */
	unsigned looks;             /* since the last tick */
	bool only_spins;            /* nothing happened since the last tick */
	bool woken;                 /* by a kick: whether its window is open is for the next turn */
	bool exiting;
	bool command_armed;
	uint64_t now;        /* at the last tick */
	uint64_t hold_until; /* no polling before: others want the CPU */
	uint64_t hold_ended;
	uint64_t hold_ns;
	long preemptions;
	struct poll_trial trial;
	struct io_source *touched;
	struct io_source *active[IO_SOURCES_MAX];
	struct io_source *slots[IO_SOURCES_MAX + 1]; /* slot 0 is the worker */

	int command_fd;
	int cpu;
	pthread_t thread;
	int thread_id;
	int start_result;
	sem_t started;
	char name[16];

	/* Written by any thread; read, relaxed, in each turn. Release pairs with take_commands().
	 */
	cache_aligned _Atomic(struct command *) commands;
	cache_aligned struct io_worker_counters counters;
};

/* All below: owner only. */

/* One round of the loop: commands, process, enter, complete, flush, and spinning where it pays. */
void worker_turn(struct io_worker *worker);

/* Takes the commands off the stack and runs them. */
void worker_run_commands(struct io_worker *worker);

/* From now on the source is looked at in each turn. */
void worker_set_active(struct io_worker *worker, struct io_source *source);
