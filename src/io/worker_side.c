/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's rings beside the main one. A ring that polls for completions (IORING_SETUP_IOPOLL)
 * carries nothing but reads and writes: no eventfd polls, fsync or fallocate. So sources put those
 * SQEs into a ring of its own and all else into the main one. A command for an NVMe device needs
 * SQEs and CQEs of twice the size, which everybody else would pay for: a ring of its own again.
 *
 * Nobody is woken by a polled completion. As long as SQEs are out, each turn enters that ring
 * without waiting and asks the devices, and the main ring is entered in the same turn where it has
 * something, without sleeping. The other rings are entered where there is something to submit or
 * to fetch; before the worker sleeps, which it does in the main ring, that one polls the
 * descriptors of the rings that something is in flight in. With nothing in flight in any, the loop
 * does not look here at all.
 */
#include "io/worker_private.h"

#include "util/error.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#define LARGE (IORING_SETUP_SQE128 | IORING_SETUP_CQE32)

static const struct ring_kind kinds[IO_SIDES] = {
	[IO_SIDE_POLLED] = {.setup_flags = IORING_SETUP_IOPOLL},
	[IO_SIDE_COMMAND] = {.setup_flags = LARGE, .watched = true},
	[IO_SIDE_COMMAND_POLLED] = {.setup_flags = LARGE | IORING_SETUP_IOPOLL},
};

static int make_side(
	struct worker_side *side, const struct ring_kind *kind, const struct ring *model)
{
	struct error error = ERROR_INIT;
	int result = ring_init_as(&side->ring, kind, model->uring.sq.ring_entries,
		model->uring.cq.ring_entries, &error);

	if (!result)
		result = ring_enable(&side->ring);
	side->in_flight_max = side->ring.uring.cq.ring_entries;
	side->polls = kind->setup_flags & IORING_SETUP_IOPOLL;
	side->large = kind->setup_flags & IORING_SETUP_SQE128;
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
	result = make_side(made, &kinds[side], &worker->ring);
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
	sqe = side->large ? ring_sqe128(&side->ring) : ring_sqe(&side->ring);
	if (unlikely(!sqe))
		return NULL;
	sqe->user_data = worker_user_data(source->slot, tag);
	source->in_flight++;
	side->in_flight++;
	source->worker->side_in_flight++;
	return sqe;
}

/* ---- a turn ---- */

/* The worker never sleeps over what it polls for: there is nothing for a window to learn. */
static void completed(
	struct io_worker *worker, struct worker_side *side, const struct io_uring_cqe *cqe)
{
	struct io_source *source = worker->slots[cqe->user_data >> 32];

	source->in_flight--;
	side->in_flight--;
	worker->side_in_flight--;
	if (!side->polls)
		worker_completion(worker, source);
	source->ops->complete(source, (uint32_t)cqe->user_data, cqe->res, cqe->flags);
	worker_touch(worker, source);
}

/* True where there were any. */
static bool reap(struct io_worker *worker, struct worker_side *side)
{
	struct io_uring_cq *cq = &side->ring.uring.cq;
	unsigned head = *cq->khead, count = io_uring_cq_ready(&side->ring.uring);

	if (!count)
		return false;
	for (unsigned i = 0; i < count; i++)
		completed(worker, side, &cq->cqes[((head + i) & cq->ring_mask) << side->large]);
	io_uring_cq_advance(&side->ring.uring, count);
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
		if (side->polls || ring_pending(&side->ring) || ring_needs_enter(&side->ring))
			worker_entered(worker, ring_poll(&side->ring));
		any |= reap(worker, side);
	}
	return any;
}

/* ---- sleeping ---- */

static bool watch(struct io_worker *worker, struct worker_side *side, unsigned number)
{
	struct io_uring_sqe *sqe;

	if (side->watched)
		return true;
	sqe = ring_sqe(&worker->ring);
	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, side->ring.uring.ring_fd, POLLIN);
	sqe->user_data = worker_user_data(SLOT_WORKER, TAG_SIDE + number);
	side->watched = true;
	return true;
}

bool worker_watch_sides(struct io_worker *worker)
{
	for (unsigned i = 0; i < IO_SIDES; i++) {
		struct worker_side *side = worker->sides[i];

		if (!side || !side->in_flight)
			continue;
		if (side->polls || ring_pending(&side->ring) || ring_needs_enter(&side->ring) ||
			ring_has_cqe(&side->ring) || !watch(worker, side, i))
			return false;
	}
	return true;
}

void worker_side_woke(struct io_worker *worker, unsigned side)
{
	worker->sides[side]->watched = false;
}
