/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O worker: one thread, its io_uring, and any number of sources (a disk's queue, a NIC's
 * queue pair) that it serves in batches:
 *
 *   each source with work  -> process: pop a batch, prepare SQEs
 *   one io_uring_enter     -> with the wait, when nothing is worth polling for
 *   all CQEs               -> complete
 *   each touched source    -> flush: publish once, one interrupt decision, one eventfd write
 *
 * A source is *polled* (the worker looks at its ring itself, the driver need not kick) or *armed*
 * (a kick on its eventfd wakes the worker). Which of them pays is learned per source, from the gaps
 * between its own requests (io/poll_window.h), and whether polling pays at all from what the driver
 * gets done with it and without (io/poll_trial.h). When every source is armed, the worker sleeps in
 * the kernel without a timeout and costs nothing.
 *
 * A worker has further rings beside that main one where a source needs what the main ring cannot be
 * (enum io_side). While anything is in flight in one that polls, the worker does not sleep.
 *
 * Threads: functions say who may call them. "Owner" is the worker's thread: inside any io_source
 * operation, or inside a function run by io_worker_call(). The functions for other threads block
 * until the worker has answered, so nobody may call them while holding a lock that a source's
 * operation takes; the sources of fastvmm take none.
 */
#pragma once

#include "io/poll_window.h"
#include "io/ring.h"
#include "util/counter.h"

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

struct error;
struct guest_memory;
struct io_source;
struct io_worker;

#define IO_SOURCES_MAX 1024

/*
 * What a source does. All are called by the owner, none may block, allocate, lock or log but for
 * what virtio_device_fail() does once.
 */
struct io_source_ops {
	/*
	 * True where process() has something to do now: loads only, called while spinning. Must be
	 * false where the work cannot go on before a completion (a full tap, for example).
	 */
	bool (*poll)(struct io_source *source);

	/*
	 * Takes a batch (at most io_source_space() SQEs) and prepares it. What it leaves behind is
	 * asked for again, by poll(), after the next io_uring_enter(). Where source->stopping is
	 * set, no new work is taken: only what was taken already goes on.
	 */
	void (*process)(struct io_source *source);

	/* A CQE of an SQE that io_source_sqe() gave out with @tag; @flags as the kernel wrote them.
	 */
	void (*complete)(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags);

	/*
	 * The end of a turn in which process() or complete() was called: publish once, decide once,
	 * signal at most once. Returns the number of system calls made (eventfd writes).
	 */
	unsigned (*flush)(struct io_source *source);

	/*
	 * Asks the driver for kicks and looks again, behind a full barrier; true where work has
	 * come meanwhile. (virtqueue_rearm)
	 */
	bool (*arm)(struct io_source *source);

	/* Kicks are not needed from now on: the worker looks by itself. A hint. */
	void (*disarm)(struct io_source *source);

	/* May be NULL. Detaching begins: cancel what would otherwise stay in flight (polls, reads).
	 */
	void (*stop)(struct io_source *source);

	/*
	 * May be NULL. True where nothing that was taken is unfinished; asked while stopping and
	 * with no SQE in flight.
	 */
	bool (*drained)(struct io_source *source);
};

/* Embedded in what it serves. The first block is set before it is attached. */
struct io_source {
	const struct io_source_ops *ops;
	int kick_fd;   /* eventfd, never drained; -1: none */
	uint8_t sides; /* a bit for each io_side that it may put SQEs into */

	/* Owner's, readable by the operations. */
	struct io_worker *worker; /* NULL while detached */
	bool stopping;            /* detaching: take nothing new */
	unsigned in_flight;       /* SQEs given out whose last CQE has not come, of all rings */

	/* Private to worker.c. */
	uint16_t slot;          /* index in the worker's table, the upper half of user_data */
	uint16_t active_index;  /* place in the list of polled sources */
	bool active;            /* polled; otherwise armed */
	bool touched;           /* flush at the end of this turn */
	bool kick_armed;        /* a POLL_ADD on kick_fd is in the ring */
	bool kick_cancelled;    /* and its cancellation too */
	bool completion_polled; /* its completions are spun for */
	bool slept;             /* what comes next is not polled for: a kick or chance brings it */
	struct io_source *next_touched;
	struct poll_window avail_idle; /* gaps until the driver's next request, nothing in flight */
	struct poll_window avail_busy; /* the same, something in flight */
	struct poll_window completion; /* gaps until the host's next completion */
	sem_t *detached;               /* posted once stopped and drained */
};

struct io_worker_options {
	const char *name;    /* of the thread, 15 characters */
	int cpu;             /* to run on, or -1 */
	unsigned sq_entries; /* power of two; 0: 256 */
	unsigned cq_entries; /* power of two; 0: 8 times sq_entries */
};

/* Written by the worker alone, read by anyone with counter_read(). */
struct io_worker_counters {
	struct counter loops;   /* turns: process, enter, complete, flush */
	struct counter sleeps;  /* io_uring_enter calls that were willing to block */
	struct counter enters;  /* all io_uring_enter calls, of all rings, as are the next two */
	struct counter sqes;    /* submitted */
	struct counter cqes;    /* reaped */
	struct counter wakeups; /* kicks and commands that arrived as CQEs */
	struct counter spins;   /* empty looks while polling */
	struct counter signals; /* eventfd writes of sources */
	struct counter other_syscalls;
	struct counter work;      /* requests and frames of all sources */
	struct counter contended; /* times that polling was given up: others want the CPU */
};

/* A copy for reports, in the order of io_worker_stat_names. */
#define IO_WORKER_STATS 11
extern const char *const io_worker_stat_names[IO_WORKER_STATS];

/*
 * Starts a worker. Returns 0, or negative errno with an explanation in @error. Main thread.
 * io_worker_destroy() ends and joins the thread: every source must be detached by then.
 */
int io_worker_create(const struct io_worker_options *options, struct io_worker **ret_worker,
	struct error *error);

/* Accepts NULL. Main thread. */
void io_worker_destroy(struct io_worker *worker);

/* Kernel id of the thread. Any thread. */
int io_worker_thread_id(const struct io_worker *worker);

/* Constant from creation on. Any thread. */
const struct ring_features *io_worker_features(const struct io_worker *worker);

const struct io_worker_counters *io_worker_counters(const struct io_worker *worker);

/* Copies all counters. Any thread. */
void io_worker_stats(const struct io_worker *worker, uint64_t ret_values[IO_WORKER_STATS]);

/*
 * Runs @function(@worker, @argument) on the worker's thread between two turns and returns its
 * result. Any thread; from the owner it runs at once.
 */
int io_worker_call(
	struct io_worker *worker, int (*function)(struct io_worker *, void *), void *argument);

/*
 * Prepares @source. @kick_fd is an eventfd that stays open while attached, or -1. @poll_us bounds
 * each of its polling windows in microseconds; 0 switches polling off. Any thread.
 */
void io_source_init(
	struct io_source *source, const struct io_source_ops *ops, int kick_fd, unsigned poll_us);

/*
 * Hands @source to @worker, which looks at it at once. Returns 0, or -ENOSPC where the worker has
 * IO_SOURCES_MAX of them. Any thread but the owner.
 */
int io_worker_attach(struct io_worker *worker, struct io_source *source);

/*
 * Quiesce: the worker takes nothing new from @source, finishes and flushes what is in flight while
 * it serves the others, lets go of it and answers. On return no thread touches what the source
 * serves. Does nothing for a source that is not attached. Any thread but the owner; one at a
 * time for each source.
 */
void io_worker_detach(struct io_source *source);

/*
 * Looks at @source in the next turn as if a kick had come (what it waited for has changed). Owner.
 */
void io_source_activate(struct io_source *source);

/*
 * An SQE whose completion comes back through ops->complete() with @tag (below IO_TAG_MAX), or NULL
 * where the SQ is full or too much is in flight. All but user_data is the caller's to fill; the
 * rest is zero. Owner.
 */
#define IO_TAG_MAX 0xffff0000u
struct io_uring_sqe *io_source_sqe(struct io_source *source, uint32_t tag);

/*
 * How many SQEs io_source_sqe() would give now, and io_source_side_sqe() for each of the source's
 * rings. Owner.
 */
unsigned io_source_space(const struct io_source *source);

/* The worker's main ring, for fixed files, registered memory and features. Owner. */
struct ring *io_worker_ring(struct io_worker *worker);

/* What a further ring of a worker is. */
enum io_side {
	IO_SIDE_POLLED,  /* IORING_SETUP_IOPOLL: nothing but reads and writes of O_DIRECT files */
	IO_SIDE_COMMAND, /* SQEs of 128 bytes and CQEs of 32, for commands of NVMe devices */
	IO_SIDE_COMMAND_POLLED, /* both: their reads and writes */
	IO_SIDES
};

/*
 * Makes the worker's ring @side, unless it is there already; it goes with the worker. Returns 0 or
 * negative errno. Owner, inside a function run by io_worker_call().
 */
int io_worker_open_side(struct io_worker *worker, enum io_side side);

/* That ring, which is open, for fixed files and registered memory. Owner. */
struct ring *io_worker_side_ring(struct io_worker *worker, enum io_side side);

/*
 * @source may put SQEs into @side, which is open in the worker that it will be attached to. After
 * io_source_init(), before io_worker_attach(). Any thread.
 */
void io_source_use_side(struct io_source *source, enum io_side side);

/*
 * io_source_sqe() for a ring that io_source_use_side() named; all of the SQE is zero but for
 * user_data, in rings of 128-byte SQEs all 128. Owner.
 */
struct io_uring_sqe *io_source_side_sqe(struct io_source *source, enum io_side which, uint32_t tag);

/*
 * Says that @count requests or frames were taken from the driver or brought to it: by that the
 * worker judges whether polling makes it faster. Owner; does nothing for a source without a worker.
 */
void io_source_count_work(struct io_source *source, unsigned count);

/* Adds to counters.other_syscalls, for a source that makes system calls itself. Owner. */
void io_source_count_syscalls(struct io_source *source, unsigned count);
