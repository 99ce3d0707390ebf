/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop is one function, worker_turn(): serve, enter, reap, flush. At its end, spin() looks at
 * the polled sources and the completion queue without a system call until something shows up.
 *
 * A source is either in the list of polled sources or armed. It becomes polled by a kick, or by a
 * completion whose consequence is likely a new request soon; it is armed as soon as its window says
 * that waiting is cheaper than looking. With no source polled and no completion worth spinning for,
 * the same io_uring_enter() that submits also sleeps. Kick eventfds and the command eventfd sit in
 * the ring as multishot polls, which fire once per write and need no draining: a kick costs the
 * worker no system call but the sleep that it ends.
 *
 * Windows say when to poll; whether polling makes the driver faster at all is tried out now and
 * then (io/poll_trial.h), and where it does not, no window opens.
 *
 * Time is read once in 64 looks (a few microseconds); work that comes in between counts as a gap of
 * nothing. So a busy turn reads no clock at all, and a sleep ends with one reading.
 */
#include "io/worker_private.h"
#include "io/worker_window.h"

#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TICK           64u     /* looks between two readings of the clock */
#define EAGER_LOOKS    32u     /* before the first pause: an answer within half a microsecond */
#define STALL_NS       250000u /* a tick of spinning that took so long was preempted */
#define HOLD_MIN_NS    5000000u
#define HOLD_MAX_NS    80000000u
#define HOLD_MEMORY_NS 500000000u

/* ---- the list of polled sources ---- */

void worker_set_active(struct io_worker *worker, struct io_source *source)
{
	if (source->active)
		return;
	source->active = true;
	source->active_index = (uint16_t)worker->active_count;
	worker->active[worker->active_count++] = source;
	source->ops->disarm(source);
}

static void remove_active(struct io_worker *worker, struct io_source *source)
{
	struct io_source *last = worker->active[--worker->active_count];

	worker->active[source->active_index] = last;
	last->active_index = source->active_index;
	source->active = false;
}

static void set_completion_polled(struct io_worker *worker, struct io_source *source, bool polled)
{
	if (source->completion_polled == polled)
		return;
	source->completion_polled = polled;
	worker->completion_polled += polled ? 1 : -1u;
}

/* Decides whether to spin for the source's completions; not again in a wait that was a miss. */
static void update_completion(struct io_worker *worker, struct io_source *source)
{
	bool missed = !source->completion_polled && source->completion.since_ns;

	set_completion_polled(
		worker, source, source->in_flight && !missed && completion_length(worker, source));
	if (!source->in_flight)
		source->completion.since_ns = 0;
}

/* Leaves the source to its kicks, unless work has come meanwhile. */
static void try_arm(struct io_worker *worker, struct io_source *source)
{
	if (source->ops->arm(source))
		return;
	source->slept = true;
	remove_active(worker, source);
}

void worker_touch(struct io_worker *worker, struct io_source *source)
{
	if (source->touched)
		return;
	source->touched = true;
	source->next_touched = worker->touched;
	worker->touched = source;
}

/* ---- SQEs ---- */

static bool add_poll(struct io_worker *worker, int fd, unsigned slot)
{
	struct io_uring_sqe *sqe = ring_sqe(&worker->ring);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	sqe->user_data = worker_user_data(slot, TAG_KICK);
	return true;
}

/* Adds the polls that the kernel dropped, or that had no SQE when they were wanted. */
static void rearm_polls(struct io_worker *worker)
{
	if (!worker->command_armed && add_poll(worker, worker->command_fd, SLOT_WORKER)) {
		worker->command_armed = true;
		worker->unarmed--;
	}
	for (unsigned i = 1; i < worker->slots_end && worker->unarmed; i++) {
		struct io_source *source = worker->slots[i];

		if (!source || source->kick_armed || source->kick_fd < 0 || source->stopping)
			continue;
		if (!add_poll(worker, source->kick_fd, i))
			return;
		source->kick_armed = true;
		worker->unarmed--;
	}
}

struct io_uring_sqe *io_source_sqe(struct io_source *source, uint32_t tag)
{
	struct io_worker *worker = source->worker;
	struct io_uring_sqe *sqe;

	if (unlikely(worker->in_flight >= worker->in_flight_max))
		return NULL;
	sqe = ring_sqe(&worker->ring);
	if (unlikely(!sqe))
		return NULL;
	sqe->user_data = worker_user_data(source->slot, tag);
	source->in_flight++;
	worker->in_flight++;
	return sqe;
}

unsigned io_source_space(const struct io_source *source)
{
	const struct io_worker *worker = source->worker;
	unsigned room = worker->in_flight_max - worker->in_flight;

	if (unlikely(source->sides))
		room = min_of(room, worker_side_space(source));
	return min_of(room, ring_sq_space(&worker->ring));
}

/* ---- one turn ---- */

static void serve_source(struct io_worker *worker, struct io_source *source)
{
	window_event(worker, avail_window(source), source->slept);
	source->slept = false;
	source->ops->process(source);
	worker_touch(worker, source);
}

/* True where any source had work. */
static bool serve(struct io_worker *worker)
{
	unsigned count = worker->active_count;
	bool served = false;

	if (unlikely(worker->rotation >= count))
		worker->rotation = 0;
	for (unsigned i = 0, at = worker->rotation; i < count; i++) {
		struct io_source *source = worker->active[at];

		if (source->ops->poll(source)) {
			serve_source(worker, source);
			served = true;
		}
		if (++at == count)
			at = 0;
	}
	worker->rotation++;
	return served;
}

/*
 * Sources without an open window go to sleep, so that the enter below may wait. A source whose own
 * completions are spun for keeps it from waiting: another look costs less than a kick.
 */
static void arm_closed(struct io_worker *worker)
{
	for (struct io_source *source = worker->touched; source; source = source->next_touched)
		update_completion(worker, source);
	for (unsigned i = worker->active_count; i-- > 0;) {
		struct io_source *source = worker->active[i];

		if (!source->completion_polled && !avail_length(worker, source))
			try_arm(worker, source);
	}
}

static bool has_commands(const struct io_worker *worker)
{
	return atomic_load_explicit(&worker->commands, memory_order_relaxed);
}

/*
 * True where check_stopping() may have more to do after this turn and no CQE would say so: a source
 * was served, and may have finished without the ring, or there was no SQE for a cancellation.
 */
static bool must_check_stopping(const struct io_worker *worker)
{
	return worker->stopping && (worker->touched || !ring_sq_space(&worker->ring));
}

static bool may_sleep(const struct io_worker *worker)
{
	return !worker->active_count && !worker->completion_polled && !worker->unarmed &&
	       !has_commands(worker) && !worker->exiting && !must_check_stopping(worker);
}

/* The same, and what is in flight in the further rings will wake the worker. */
static bool goes_to_sleep(struct io_worker *worker)
{
	return may_sleep(worker) && (likely(!worker->side_in_flight) || worker_watch_sides(worker));
}

static void judge_polling(struct io_worker *worker)
{
	poll_trial_step(&worker->trial, worker->now, counter_read(&worker->counters.work));
}

/* Without polling there are no ticks, so the clock is read after each sleep. */
static void slept(struct io_worker *worker)
{
	worker->now = clock_ns();
	judge_polling(worker);
	if (likely(!worker->hold_until) || worker->now < worker->hold_until)
		return;
	worker->hold_ended = worker->now;
	worker->hold_until = 0;
}

void worker_entered(struct io_worker *worker, int result)
{
	counter_add(&worker->counters.enters, 1);
	if (likely(result >= 0)) {
		counter_add(&worker->counters.sqes, (uint64_t)result);
		return;
	}
	if (result != -EINTR && result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
		log_error("worker %s: io_uring_enter: %s", worker->name, strerror(-result));
		abort(); /* our own mistake: a broken ring cannot be served */
	}
}

static void enter(struct io_worker *worker, bool wait)
{
	worker_entered(worker, ring_enter(&worker->ring, wait));
	if (wait) {
		counter_add(&worker->counters.sleeps, 1);
		slept(worker);
	}
}

static void kicked(struct io_worker *worker, unsigned slot, const struct io_uring_cqe *cqe)
{
	struct io_source *source = slot == SLOT_WORKER ? NULL : worker->slots[slot];
	bool ended = !(cqe->flags & IORING_CQE_F_MORE);

	counter_add(&worker->counters.wakeups, 1);
	if (!source) {
		worker->command_armed = !ended;
		worker->unarmed += ended;
		return;
	}
	source->kick_armed = !ended;
	if (source->stopping)
		return;
	worker->unarmed += ended;
	if (!source->active) {
		worker->woken = true;
		worker_set_active(worker, source);
	}
}

void worker_completion(struct io_worker *worker, struct io_source *source)
{
	window_event(worker, &source->completion, !source->completion_polled);
}

static void completed(
	struct io_worker *worker, struct io_source *source, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		source->in_flight--;
		worker->in_flight--;
	}
	worker_completion(worker, source);
	source->ops->complete(source, (uint32_t)cqe->user_data, cqe->res, cqe->flags);
	worker_touch(worker, source);
}

static void dispatch(struct io_worker *worker, const struct io_uring_cqe *cqe)
{
	unsigned slot = (unsigned)(cqe->user_data >> 32);
	uint32_t tag = (uint32_t)cqe->user_data;

	if (likely(tag < IO_TAG_MAX))
		completed(worker, worker->slots[slot], cqe);
	else if (tag == TAG_KICK)
		kicked(worker, slot, cqe);
	else if (tag != TAG_CANCEL)
		worker_side_woke(worker, tag - TAG_SIDE);
}

/* True where there were any. */
static bool reap(struct io_worker *worker)
{
	struct io_uring_cq *cq = &worker->ring.uring.cq;
	unsigned head = *cq->khead, count = io_uring_cq_ready(&worker->ring.uring);

	if (!count)
		return false;
	for (unsigned i = 0; i < count; i++)
		dispatch(worker, &cq->cqes[(head + i) & cq->ring_mask]);
	io_uring_cq_advance(&worker->ring.uring, count);
	counter_add(&worker->counters.cqes, count);
	return true;
}

/*
 * Tells the driver what was done; where it is likely to come back soon, first that the source is
 * polled, or it would kick with what it does about the answers.
 */
static unsigned flush_source(struct io_worker *worker, struct io_source *source)
{
	unsigned signals;

	if (!source->active && avail_length(worker, source)) {
		source->slept = false;
		worker_set_active(worker, source);
	}
	signals = source->ops->flush(source);
	update_completion(worker, source);
	avail_window(source)->since_ns = 0; /* the wait for the driver begins here */
	if (!source->active && source->ops->poll(source))
		worker_set_active(worker, source);
	return signals;
}

static void flush(struct io_worker *worker)
{
	struct io_source *source = worker->touched;
	unsigned signals = 0;

	worker->touched = NULL;
	while (source) {
		struct io_source *next = source->next_touched;

		source->touched = false;
		signals += flush_source(worker, source);
		source = next;
	}
	if (signals)
		counter_add(&worker->counters.signals, signals);
}

/* ---- detaching ---- */

/* Takes the kick poll out of the ring; its last CQE ends the source's stay. */
static void cancel_kick(struct io_worker *worker, struct io_source *source)
{
	struct io_uring_sqe *sqe;

	if (source->kick_cancelled)
		return;
	sqe = ring_sqe(&worker->ring);
	if (!sqe)
		return; /* asked again in the next turn */
	ring_prepare_cancel(sqe, worker_user_data(source->slot, TAG_KICK));
	sqe->user_data = worker_user_data(SLOT_WORKER, TAG_CANCEL);
	source->kick_cancelled = true;
}

static bool is_drained(struct io_source *source)
{
	return !source->in_flight && !source->touched &&
	       (!source->ops->drained || source->ops->drained(source));
}

static void release_source(struct io_worker *worker, struct io_source *source)
{
	sem_t *detached = source->detached;

	set_completion_polled(worker, source, false);
	if (source->active)
		remove_active(worker, source);
	worker->slots[source->slot] = NULL;
	worker->stopping--;
	source->worker = NULL;
	sem_post(detached); /* the source may be gone from here on */
}

static void check_stopping(struct io_worker *worker)
{
	for (unsigned i = 1; i < worker->slots_end; i++) {
		struct io_source *source = worker->slots[i];

		if (!source || !source->stopping || !is_drained(source))
			continue;
		if (source->kick_armed)
			cancel_kick(worker, source);
		else
			release_source(worker, source);
	}
}

/* ---- spinning and sleeping ---- */

static bool anything_new(const struct io_worker *worker)
{
	if (ring_has_cqe(&worker->ring) || ring_needs_enter(&worker->ring) || has_commands(worker))
		return true;
	for (unsigned i = 0; i < worker->active_count; i++) {
		struct io_source *source = worker->active[i];

		if (source->ops->poll(source))
			return true;
	}
	return false;
}

/*
 * A spinner that lost the CPU to another thread (not to the hypervisor: the kernel's count of
 * preemptions tells) is in somebody's way, most likely a vCPU's. It stops polling for a while,
 * longer each time that this comes soon after the last.
 */
static void check_contention(struct io_worker *worker, uint64_t before)
{
	struct rusage usage;

	if (!worker->only_spins || worker->now - before < STALL_NS)
		return;
	counter_add(&worker->counters.other_syscalls, 1);
	if (getrusage(RUSAGE_THREAD, &usage) || usage.ru_nivcsw == worker->preemptions)
		return;
	worker->preemptions = usage.ru_nivcsw;
	if (worker->now - worker->hold_ended > HOLD_MEMORY_NS)
		worker->hold_ns = 0;
	worker->hold_ns = min_of(max_of(2 * worker->hold_ns, HOLD_MIN_NS), (uint64_t)HOLD_MAX_NS);
	worker->hold_until = worker->now + worker->hold_ns;
	counter_add(&worker->counters.contended, 1);
}

/* Reads the clock and closes the windows whose time is up. */
static void tick(struct io_worker *worker)
{
	uint64_t before = worker->now;

	worker->now = clock_ns();
	check_contention(worker, before);
	judge_polling(worker);
	worker->looks = 0;
	worker->only_spins = true;
	for (unsigned i = worker->active_count; i-- > 0;) {
		struct io_source *source = worker->active[i];

		if (!source->completion_polled &&
			window_expired(worker, avail_window(source), avail_length(worker, source)))
			try_arm(worker, source);
	}
	for (unsigned i = 1; i < worker->slots_end && worker->completion_polled; i++) {
		struct io_source *source = worker->slots[i];

		if (source && source->completion_polled &&
			window_expired(
				worker, &source->completion, completion_length(worker, source)))
			set_completion_polled(worker, source, false);
	}
}

/*
 * Looks for work until there is some or the tick is over. Where a further ring has something in
 * flight, the next turn is the next look.
 */
static void spin(struct io_worker *worker)
{
	unsigned looks = 0, limit = unlikely(worker->side_in_flight) ? 0 : TICK;

	if (worker->woken || ring_pending(&worker->ring) ||
		(!worker->side_in_flight && may_sleep(worker))) {
		worker->woken = false;
		return;
	}
	while (worker->looks + looks < limit && !anything_new(worker)) {
		if (looks++ >= EAGER_LOOKS)
			__builtin_ia32_pause();
	}
	worker->looks += looks;
	counter_add(&worker->counters.spins, looks);
	if (worker->looks >= TICK)
		tick(worker);
}

void io_source_count_work(struct io_source *source, unsigned count)
{
	if (likely(source->worker))
		counter_add(&source->worker->counters.work, count);
}

void worker_turn(struct io_worker *worker)
{
	bool worked, sleep;

	if (unlikely(has_commands(worker)))
		worker_run_commands(worker);
	if (unlikely(worker->stopping))
		check_stopping(worker);
	if (unlikely(worker->unarmed))
		rearm_polls(worker);
	worked = serve(worker);
	if (unlikely(worker->side_in_flight))
		worked |= worker_serve_sides(worker);
	arm_closed(worker);
	sleep = goes_to_sleep(worker);
	if (sleep && worker->touched) {
		/*
		 * What was finished without the ring (a lone read, frames) must reach the driver
		 * before the wait, which may be for ever; where nothing was, this is no system
		 * call. All sources are armed by now, or wait for a CQE, so whatever the driver
		 * does about it kicks; what it has added already, flush() sees, and the turn goes
		 * on without sleeping. A kick or a completion from here on is a CQE, with which
		 * the enter returns.
		 */
		flush(worker);
		sleep = goes_to_sleep(worker);
	}
	if (sleep || ring_pending(&worker->ring) || ring_needs_enter(&worker->ring)) {
		enter(worker, sleep);
		worked = true;
	}
	worked |= reap(worker);
	flush(worker);
	counter_add(&worker->counters.loops, 1);
	worker->looks++;
	if (worked)
		worker->only_spins = false;
	spin(worker);
}
