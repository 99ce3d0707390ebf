/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring: set-up with the best flags that the kernel takes, what it offers, fixed files,
 * registered guest memory, and the few operations of the I/O loop, inline.
 *
 * Threads: ring_init() may be called by any thread; everything else by the one that then calls
 * ring_enable().
 */
#pragma once

#include "io/uring_compat.h"
#include "util/checked.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct guest_memory;

/* What this kernel offers; constant for the life of the process. For `fastvmm probe` too. */
struct ring_features {
	int error;              /* 0, or why there is no io_uring at all: -ENOSYS, -EPERM, ... */
	uint32_t kernel;        /* IORING_FEAT_* bits */
	bool single_issuer;     /* IORING_SETUP_SINGLE_ISSUER, 6.0 */
	bool defer_taskrun;     /* IORING_SETUP_DEFER_TASKRUN, 6.1 */
	bool submit_all;        /* IORING_SETUP_SUBMIT_ALL, 5.18 */
	bool registered_ring;   /* IORING_REGISTER_RING_FDS, 5.18 */
	bool sparse_files;      /* a sparse table of fixed files, 5.19 */
	bool multishot_poll;    /* 5.13; probed by its companion, see ring.c */
	bool op_read_write;     /* IORING_OP_READ and WRITE, 5.6 */
	bool op_fallocate;      /* 5.6 */
	bool op_uring_cmd;      /* 5.19; discard on block devices by it since 6.12 */
	bool op_vectored_fixed; /* READV_FIXED and WRITEV_FIXED, 6.15 */
};

/*
 * Looks at the kernel with a small ring that is closed again. Always fills @ret_features; returns
 * its error field. Any thread.
 */
int ring_probe(struct ring_features *ret_features);

/* A file as an SQE names it: an index into the fixed table, or a plain descriptor. */
struct ring_file {
	int number;
	uint8_t sqe_flags; /* IOSQE_FIXED_FILE or 0 */
};

#define RING_FILES       256 /* fixed file slots of a ring */
#define RING_BUFFERS_MAX 64  /* pieces of guest memory of at most 1 GiB each */

struct ring_buffer {
	uintptr_t start;
	uint64_t size;
};

/* Fields are private to src/io but for `features`. */
struct ring {
	struct io_uring uring;
	struct ring_features features;
	unsigned enter_flags; /* of every io_uring_enter() */
	bool initialised;
	bool enabled;
	bool files_registered;
	uint64_t files_used[RING_FILES / 64];
	unsigned buffer_count; /* 0: none registered */
	struct ring_buffer buffers[RING_BUFFERS_MAX];
};

/*
 * Makes a disabled ring of @sq_entries SQEs and @cq_entries CQEs (powers of two). Returns 0, or
 * negative errno with an explanation in @error.
 */
int ring_init(struct ring *ring, unsigned sq_entries, unsigned cq_entries, struct error *error);

/* A ring that is something more. */
struct ring_kind {
	unsigned setup_flags; /* IORING_SETUP_* bits */
	bool watched;         /* its descriptor is polled from elsewhere: no DEFER_TASKRUN */
};

/* The same for a ring of @kind. */
int ring_init_as(struct ring *ring, const struct ring_kind *kind, unsigned sq_entries,
	unsigned cq_entries, struct error *error);

/*
 * Accepts a zeroed ring. Closes it; what is in flight is cancelled by the kernel. Once enabled,
 * only by the thread that did so.
 */
void ring_deinit(struct ring *ring);

/* The calling thread becomes the only one that uses the ring. 0 or negative errno. */
int ring_enable(struct ring *ring);

/*
 * Puts @fd into the fixed table where there is room, else names it as it is; never fails. The
 * descriptor must stay open until ring_remove_file().
 */
void ring_add_file(struct ring *ring, int fd, struct ring_file *ret_file);
void ring_remove_file(struct ring *ring, const struct ring_file *file);

/*
 * Registers all guest memory in pieces of at most 1 GiB, which pins and faults in all of it.
 * Returns 0 (also when it is registered already), -ENOMEM (locked-memory limit), -E2BIG or another
 * negative errno: the ring works on without.
 */
int ring_register_memory(struct ring *ring, const struct guest_memory *memory);

/* Index of the registered piece that holds all of the bytes, or -1. */
static inline int ring_buffer_index(const struct ring *ring, const void *at, size_t length)
{
	for (unsigned i = 0; i < ring->buffer_count; i++) {
		uint64_t offset = (uintptr_t)at - ring->buffers[i].start;

		if (range_within(offset, length, ring->buffers[i].size))
			return (int)i;
	}
	return -1;
}

/* How many SQEs can be prepared before the next ring_enter(). */
static inline unsigned ring_sq_space(const struct ring *ring)
{
	const struct io_uring_sq *sq = &ring->uring.sq;

	/* Acquire pairs with the kernel's release of the head: the slot has been read out. */
	return sq->ring_entries - (sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE));
}

/* The next SQE, zeroed, or NULL where the SQ is full. It leaves with the next ring_enter(). */
static inline struct io_uring_sqe *ring_sqe(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	struct io_uring_sqe *sqe;

	if (unlikely(!ring_sq_space(ring)))
		return NULL;
	sqe = &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
	*sqe = (struct io_uring_sqe){0};
	return sqe;
}

/* The same on a ring with IORING_SETUP_SQE128; all 128 bytes are zeroed. */
static inline struct io_uring_sqe *ring_sqe128(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	struct io_uring_sqe *sqe;

	if (unlikely(!ring_sq_space(ring)))
		return NULL;
	sqe = &sq->sqes[(size_t)(sq->sqe_tail++ & sq->ring_mask) * 2];
	sqe[0] = sqe[1] = (struct io_uring_sqe){0};
	return sqe;
}

/*
 * Makes @sqe the cancellation of the request, of any kind, that has @user_data. Each of the two has
 * a CQE, in either order; only the request's own ends it. For polls too: a poll removal fails with
 * -EALREADY, and the poll stays, where an event wakes it at that very moment.
 */
static inline void ring_prepare_cancel(struct io_uring_sqe *sqe, uint64_t user_data)
{
	io_uring_prep_cancel64(sqe, user_data, 0);
}

/* SQEs that the kernel has not taken yet. */
static inline unsigned ring_pending(const struct ring *ring)
{
	return ring->uring.sq.sqe_tail - __atomic_load_n(ring->uring.sq.khead, __ATOMIC_ACQUIRE);
}

/* True where the CQ holds something. */
static inline bool ring_has_cqe(const struct ring *ring)
{
	const struct io_uring_cq *cq = &ring->uring.cq;

	/* Acquire pairs with the kernel's release of the tail: the CQEs before it are written. */
	return *cq->khead != __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
}

/*
 * True where completions wait in the kernel for the owner to come in: deferred task work, or a CQ
 * that overflowed.
 */
static inline bool ring_needs_enter(const struct ring *ring)
{
	return __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/*
 * One io_uring_enter(): submits all pending SQEs and, with @wait, sleeps until there is a CQE;
 * runs deferred work where there is any. Returns how many SQEs the kernel took (it may be fewer
 * than there were: the rest stays pending), or negative errno (-EINTR, -EBUSY and -EAGAIN mean
 * "reap, then try again").
 */
int ring_enter(struct ring *ring, bool wait);

/*
 * One io_uring_enter() that submits all pending SQEs and looks for completions, without waiting; on
 * a ring with IORING_SETUP_IOPOLL it asks the devices. Returns what ring_enter() does.
 */
int ring_poll(struct ring *ring);
