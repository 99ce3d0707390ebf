/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's life, its sources coming and going, and the commands by which other threads ask for
 * anything. Commands come on a lock-free stack: the sender pushes, then writes the eventfd; the
 * worker takes the whole stack at the start of a turn. The sender sleeps on a semaphore until its
 * answer. The loop itself is in worker_loop.c, the rings beside the main one are in worker_side.c.
 */
#include "io/worker_private.h"

#include "util/clock.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SQ_ENTRIES 256u
#define CQ_FACTOR  8u
#define CQ_RESERVE 64u /* CQEs left to kicks and commands */

static _Thread_local struct io_worker *current_worker;

const char *const io_worker_stat_names[IO_WORKER_STATS] = {
	"loops",
	"sleeps",
	"enters",
	"sqes",
	"cqes",
	"wakeups",
	"spins",
	"signals",
	"other_syscalls",
	"work",
	"contended",
};

/* ---- commands ---- */

/* In the order in which they were pushed. */
static struct command *take_commands(struct io_worker *worker)
{
	/* Acquire pairs with the release in push_command(): the command's fields are written. */
	struct command *list =
		atomic_exchange_explicit(&worker->commands, NULL, memory_order_acquire);
	struct command *in_order = NULL;

	while (list) {
		struct command *next = list->next;

		list->next = in_order;
		in_order = list;
		list = next;
	}
	return in_order;
}

void worker_run_commands(struct io_worker *worker)
{
	struct command *command = take_commands(worker);

	while (command) {
		struct command *next = command->next;

		command->result = command->function(worker, command->argument);
		sem_post(&command->done); /* the command is gone from here on */
		command = next;
	}
}

static void push_command(struct io_worker *worker, struct command *command)
{
	struct command *head = atomic_load_explicit(&worker->commands, memory_order_relaxed);

	do {
		command->next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&worker->commands, &head, command, memory_order_release, memory_order_relaxed));
	fd_signal(worker->command_fd);
}

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) && errno == EINTR)
		;
	sem_destroy(semaphore);
}

int io_worker_call(
	struct io_worker *worker, int (*function)(struct io_worker *, void *), void *argument)
{
	struct command command = {.function = function, .argument = argument};

	if (current_worker == worker)
		return function(worker, argument);
	sem_init(&command.done, 0, 0);
	push_command(worker, &command);
	wait_for(&command.done);
	return command.result;
}

/* ---- life ---- */

static int start_loop(struct io_worker *worker)
{
	int result = ring_enable(&worker->ring);

	if (result)
		return result;
	worker->thread_id = thread_id();
	worker->unarmed = 1; /* the command eventfd */
	worker->now = clock_ns();
	poll_trial_init(&worker->trial);
	return 0;
}

static void *worker_main(void *argument)
{
	struct io_worker *worker = argument;

	current_worker = worker;
	worker->start_result = start_loop(worker);
	sem_post(&worker->started);
	if (!worker->start_result) {
		while (!worker->exiting)
			worker_turn(worker);
	}
	worker_close_sides(worker);
	ring_deinit(&worker->ring);
	return NULL;
}

static void free_worker(struct io_worker *worker)
{
	if (worker->command_fd >= 0)
		close(worker->command_fd);
	sem_destroy(&worker->started);
	free(worker);
}

static int start_thread(struct io_worker *worker, struct error *error)
{
	int result = thread_start(&worker->thread, worker->name, worker->cpu, worker_main, worker);

	if (result) {
		ring_deinit(&worker->ring);
		return error_set(error, result, "cannot start I/O worker %s%s: %s", worker->name,
			worker->cpu >= 0 ? " on the CPU asked for" : "", strerror(-result));
	}
	while (sem_wait(&worker->started) && errno == EINTR)
		;
	if (worker->start_result) {
		pthread_join(worker->thread, NULL);
		return error_set(error, worker->start_result,
			"cannot enable the io_uring of worker %s: %s", worker->name,
			strerror(-worker->start_result));
	}
	return 0;
}

int io_worker_create(
	const struct io_worker_options *options, struct io_worker **ret_worker, struct error *error)
{
	unsigned sq_entries = options->sq_entries ? options->sq_entries : SQ_ENTRIES;
	unsigned cq_entries = options->cq_entries ? options->cq_entries : sq_entries * CQ_FACTOR;
	struct io_worker *worker = aligned_alloc(CACHE_LINE, align_up(sizeof(*worker), CACHE_LINE));
	int result;

	if (!worker)
		return error_set(error, -ENOMEM, "out of memory for an I/O worker");
	memset(worker, 0, sizeof(*worker));
	snprintf(worker->name, sizeof(worker->name), "%s", options->name);
	worker->cpu = options->cpu;
	sem_init(&worker->started, 0, 0);
	worker->command_fd = fd_eventfd();
	if (worker->command_fd < 0)
		result = error_set(error, worker->command_fd, "cannot make an eventfd: %s",
			strerror(-worker->command_fd));
	else
		result = ring_init(&worker->ring, sq_entries, cq_entries, error);
	if (!result) {
		worker->in_flight_max = worker->ring.uring.cq.ring_entries -
		                        min_of(CQ_RESERVE, worker->ring.uring.cq.ring_entries / 2);
		result = start_thread(worker, error);
	}
	if (result) {
		free_worker(worker);
		return result;
	}
	*ret_worker = worker;
	return 0;
}

static int command_exit(struct io_worker *worker, void *argument)
{
	(void)argument;
	for (unsigned i = 1; i < worker->slots_end; i++)
		assert(!worker->slots[i]);
	worker->exiting = true;
	return 0;
}

void io_worker_destroy(struct io_worker *worker)
{
	if (!worker)
		return;
	io_worker_call(worker, command_exit, NULL);
	pthread_join(worker->thread, NULL);
	free_worker(worker);
}

int io_worker_thread_id(const struct io_worker *worker)
{
	return worker->thread_id;
}

const struct ring_features *io_worker_features(const struct io_worker *worker)
{
	return &worker->ring.features;
}

const struct io_worker_counters *io_worker_counters(const struct io_worker *worker)
{
	return &worker->counters;
}

void io_worker_stats(const struct io_worker *worker, uint64_t ret_values[IO_WORKER_STATS])
{
	const struct io_worker_counters *counters = &worker->counters;
	const struct counter *const order[IO_WORKER_STATS] = {
		&counters->loops,
		&counters->sleeps,
		&counters->enters,
		&counters->sqes,
		&counters->cqes,
		&counters->wakeups,
		&counters->spins,
		&counters->signals,
		&counters->other_syscalls,
		&counters->work,
		&counters->contended,
	};

	for (unsigned i = 0; i < IO_WORKER_STATS; i++)
		ret_values[i] = counter_read(order[i]);
}

/* ---- sources ---- */

static uint32_t poll_limit(unsigned poll_us)
{
	return min_of(poll_us, POLL_WINDOW_LIMIT_MAX_NS / 1000u) * 1000u;
}

void io_source_init(
	struct io_source *source, const struct io_source_ops *ops, int kick_fd, unsigned poll_us)
{
	*source = (struct io_source){.ops = ops, .kick_fd = kick_fd};
	poll_window_init(&source->avail_idle, poll_limit(poll_us));
	poll_window_init(&source->avail_busy, min_of(poll_limit(poll_us), BUSY_LIMIT_NS));
	poll_window_init(&source->completion, poll_limit(poll_us));
}

static int command_attach(struct io_worker *worker, void *argument)
{
	struct io_source *source = argument;
	unsigned slot = 1;

	while (slot <= IO_SOURCES_MAX && worker->slots[slot])
		slot++;
	if (slot > IO_SOURCES_MAX)
		return -ENOSPC;
	worker->slots[slot] = source;
	worker->slots_end = max_of(worker->slots_end, slot + 1);
	source->slot = (uint16_t)slot;
	source->worker = worker;
	source->stopping = false;
	source->kick_cancelled = false;
	worker->unarmed += source->kick_fd >= 0;
	worker_set_active(worker, source); /* whatever came before is seen without a kick */
	return 0;
}

int io_worker_attach(struct io_worker *worker, struct io_source *source)
{
	assert(!source->worker);
	return io_worker_call(worker, command_attach, source);
}

static int command_detach(struct io_worker *worker, void *argument)
{
	struct io_source *source = argument;

	source->stopping = true;
	worker->stopping++;
	if (source->kick_fd >= 0 && !source->kick_armed)
		worker->unarmed--; /* the poll that was still to be added */
	if (source->ops->stop)
		source->ops->stop(source);
	worker_set_active(worker, source);
	return 0;
}

void io_worker_detach(struct io_source *source)
{
	sem_t detached;

	if (!source->worker)
		return;
	assert(current_worker != source->worker);
	sem_init(&detached, 0, 0);
	source->detached = &detached;
	io_worker_call(source->worker, command_detach, source);
	wait_for(&detached);
}

void io_source_activate(struct io_source *source)
{
	worker_set_active(source->worker, source);
}

struct ring *io_worker_ring(struct io_worker *worker)
{
	return &worker->ring;
}

void io_source_count_syscalls(struct io_source *source, unsigned count)
{
	counter_add(&source->worker->counters.other_syscalls, count);
}
