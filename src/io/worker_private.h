/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What worker.c (life, commands), worker_loop.c (the loop; its windows are worker_window.h's) and
 * worker_side.c (further rings) share. Private to them.
 */
#pragma once

#include "io/poll_trial.h"
#include "io/worker.h"

#include <pthread.h>
#include <stdatomic.h>

/* How long to look at most while the host is at work: a late look costs little then. */
#define BUSY_LIMIT_NS 5000u

struct command {
	struct command *next;
	int (*function)(struct io_worker *worker, void *argument);
	void *argument;
	int result;
	sem_t done;
};

/* A ring beside the main one. */
struct worker_side {
	struct ring ring;
	unsigned in_flight; /* SQEs of all sources */
	unsigned in_flight_max;
	bool polls;   /* IORING_SETUP_IOPOLL */
	bool large;   /* SQEs and CQEs of twice the size */
	bool watched; /* a poll of its descriptor is in the main ring */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): lines of their own are the point. */
struct io_worker {
	struct ring ring;
	unsigned in_flight; /* SQEs of all sources in `ring` */
	unsigned in_flight_max;
	unsigned side_in_flight; /* and in all `sides` together */
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
	struct worker_side *sides[IO_SIDES];         /* NULL: not needed so far */

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

/* The source is flushed at the end of this turn. */
void worker_touch(struct io_worker *worker, struct io_source *source);

/* Counts an io_uring_enter(), and looks at what it returned. */
void worker_entered(struct io_worker *worker, int result);

/* The host has completed what the source waited for. */
void worker_completion(struct io_worker *worker, struct io_source *source);

/* Tags of the worker's own; the slot of the last is SLOT_WORKER. */
#define SLOT_WORKER 0u
#define TAG_KICK    0xffffffffu /* a source's kick, or the worker's command eventfd */
#define TAG_CANCEL  0xfffffffeu
#define TAG_SIDE    0xfffffff0u /* something came in a further ring: plus its enum io_side */

/* What an SQE's user_data says: whose it is, and what the source calls it. */
static inline uint64_t worker_user_data(unsigned slot, uint32_t tag)
{
	return (uint64_t)slot << 32 | tag;
}

/*
 * Submits what is prepared in the further rings and hands out what they have completed. True where
 * there was anything.
 */
bool worker_serve_sides(struct io_worker *worker);

/* How many SQEs there is room for in each of the further rings that the source uses. */
unsigned worker_side_space(const struct io_source *source);

/*
 * The worker is about to sleep in the main ring: makes it wake up for what is in flight in the
 * others. False where it must not sleep.
 */
bool worker_watch_sides(struct io_worker *worker);

/* The wake-up for the ring @side has come. */
void worker_side_woke(struct io_worker *worker, unsigned side);

/* Closes them. */
void worker_close_sides(struct io_worker *worker);
