/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's rings beside the main one. A ring that polls for completions (IORING_SETUP_IOPOLL)
 * carries nothing but reads and writes: no eventfd polls, fsync or fallocate. So sources put those
 * SQEs into a ring of its own and all else into the main one.
 *
 * Nobody is woken by a polled completion. As long as SQEs are out, each turn enters that ring
 * without waiting and asks the devices, and the main ring is entered in the same turn where it has
 * something, without sleeping. With none out, the loop does not look here at all.
 */
#include "io/worker_private.h"

#include "util/error.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static const unsigned setup_flags[IO_SIDES] = {
	[IO_SIDE_POLLED] = IORING_SETUP_IOPOLL,
};

static int make_side(struct worker_side *side, unsigned flags, const struct ring *model)
{
	struct error error = ERROR_INIT;
	int result = ring_init_with(&side->ring, flags, model->uring.sq.ring_entries,
		model->uring.cq.ring_entries, &error);

	if (!result)
		result = ring_enable(&side->ring);
	side->in_flight_max = side->ring.uring.cq.ring_entries;
	return result;
}

int io_worker_open_side(struct io_worker *worker, enum io_side side)
{
	struct worker_side *made;
	int result;

	if (worker->sides[side])
		return 0;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	result = make_side(made, setup_flags[side], &worker->ring);
	if (result) {
		ring_deinit(&made->ring);
		free(made);
		return result;
	}
	worker->sides[side] = made;
	return 0;
}

void worker_close_sides(struct io_worker *worker)
{
	for (unsigned i = 0; i < IO_SIDES; i++) {
		if (!worker->sides[i])
			continue;
		ring_deinit(&worker->sides[i]->ring);
		free(worker->sides[i]);
		worker->sides[i] = NULL;
	}
}

struct ring *io_worker_side_ring(struct io_worker *worker, enum io_side side)
{
	return &worker->sides[side]->ring;
}

void io_source_use_side(struct io_source *source, enum io_side side)
{
	source->sides |= (uint8_t)(1u << side);
}

/* ---- SQEs ---- */

static unsigned space_of(const struct worker_side *side)
{
	return min_of(side->in_flight_max - side->in_flight, ring_sq_space(&side->ring));
}

unsigned worker_side_space(const struct io_source *source)
{
	unsigned space = UINT_MAX;

	for (unsigned i = 0; i < IO_SIDES; i++) {
		if (source->sides & 1u << i)
			space = min_of(space, space_of(source->worker->sides[i]));
	}
	return space;
}

struct io_uring_sqe *io_source_side_sqe(struct io_source *source, enum io_side which, uint32_t tag)
{
	struct worker_side *side = source->worker->sides[which];
	struct io_uring_sqe *sqe;

	if (unlikely(side->in_flight >= side->in_flight_max))
		return NULL;
	sqe = ring_sqe(&side->ring);
	if (unlikely(!sqe))
		return NULL;
	sqe->user_data = worker_user_data(source->slot, tag);
	source->in_flight++;
	side->in_flight++;
	source->worker->side_in_flight++;
	return sqe;
}

/* ---- a turn ---- */

/* The worker never sleeps over these, so their windows have nothing to learn from it. */
static void completed(
	struct io_worker *worker, struct worker_side *side, const struct io_uring_cqe *cqe)
{
	struct io_source *source = worker->slots[cqe->user_data >> 32];

	source->in_flight--;
	side->in_flight--;
	worker->side_in_flight--;
	source->ops->complete(source, (uint32_t)cqe->user_data, cqe->res, cqe->flags);
	worker_touch(worker, source);
}

/* True where there were any. */
static bool reap(struct io_worker *worker, struct worker_side *side)
{
	struct io_uring_cq *cq = &side->ring.uring.cq;
	unsigned head = *cq->khead;
	/* Acquire pairs with the kernel's release of the tail: the CQEs before it are written. */
	unsigned tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
	unsigned count = tail - head;

	if (!count)
		return false;
	for (; head != tail; head++)
		completed(worker, side, &cq->cqes[head & cq->ring_mask]);
	/* Release pairs with the kernel's acquire of the head: the CQEs are read out. */
	__atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
	counter_add(&worker->counters.cqes, count);
	return true;
}

bool worker_serve_sides(struct io_worker *worker)
{
	bool any = false;

	for (unsigned i = 0; i < IO_SIDES; i++) {
		struct worker_side *side = worker->sides[i];

		if (!side || !side->in_flight)
			continue;
		any |= ring_pending(&side->ring) > 0;
		worker_entered(worker, ring_poll(&side->ring));
		any |= reap(worker, side);
	}
	return any;
}
