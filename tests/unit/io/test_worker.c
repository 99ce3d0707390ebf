/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker with a source of the test's own: a counter that a producer raises, with the same
 * notification protocol as a virtqueue (ask for a kick, full barrier, look again).
 */
#include "fixture.h"
#include "util/error.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct mailbox {
	struct io_source source;
	int kick_fd;
	_Atomic uint64_t sent;      /* by the producer */
	_Atomic uint64_t received;  /* by the worker */
	_Atomic uint64_t published; /* by the worker, at flush */
	_Atomic bool want_kick;
	_Atomic bool quiet; /* for kick_for_ever() */
	/* The worker's; read by the test when it is detached. */
	unsigned nops; /* SQEs for each message */
	unsigned nops_left;
	struct __kernel_timespec delay; /* not 0: one SQE a message that takes so long */
	bool has_last_words;
	bool last_words; /* when stopped: one more process(), without SQEs, before it is drained */
	unsigned completions;
	unsigned flushes;
	unsigned stops;
	uint32_t last_tag;
};

static struct mailbox *mailbox_of(struct io_source *source)
{
	return container_of(source, struct mailbox, source);
}

static bool mailbox_poll(struct io_source *source)
{
	struct mailbox *box = mailbox_of(source);

	return box->nops_left || box->last_words ||
	       (!source->stopping && atomic_load(&box->sent) != atomic_load(&box->received));
}

static void send_nops(struct mailbox *box)
{
	while (box->nops_left) {
		struct io_uring_sqe *sqe = io_source_sqe(&box->source, box->nops_left);

		if (!sqe)
			return;
		if (box->delay.tv_nsec)
			io_uring_prep_timeout(sqe, &box->delay, 0, 0);
		else
			sqe->opcode = IORING_OP_NOP;
		box->nops_left--;
	}
}

static void mailbox_process(struct io_source *source)
{
	struct mailbox *box = mailbox_of(source);
	uint64_t sent = atomic_load(&box->sent);

	if (!source->stopping) {
		box->nops_left += box->nops * (unsigned)(sent - atomic_load(&box->received));
		atomic_store(&box->received, sent);
	}
	box->last_words = false;
	send_nops(box);
}

static void mailbox_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	struct mailbox *box = mailbox_of(source);

	(void)flags;
	cr_assert_eq(result, box->delay.tv_nsec ? -ETIME : 0);
	box->completions++;
	box->last_tag = tag;
}

static unsigned mailbox_flush(struct io_source *source)
{
	struct mailbox *box = mailbox_of(source);

	box->flushes++;
	atomic_store(&box->published,
		box->delay.tv_nsec ? box->completions : atomic_load(&box->received));
	return 0;
}

static bool mailbox_arm(struct io_source *source)
{
	struct mailbox *box = mailbox_of(source);

	atomic_store(&box->want_kick, true);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in post() */
	return mailbox_poll(source);
}

static void mailbox_disarm(struct io_source *source)
{
	atomic_store(&mailbox_of(source)->want_kick, false);
}

static void mailbox_stop(struct io_source *source)
{
	struct mailbox *box = mailbox_of(source);

	box->stops++;
	box->last_words = box->has_last_words;
}

static bool mailbox_drained(struct io_source *source)
{
	const struct mailbox *box = mailbox_of(source);

	return !box->nops_left && !box->last_words;
}

static const struct io_source_ops mailbox_ops = {
	.poll = mailbox_poll,
	.process = mailbox_process,
	.complete = mailbox_complete,
	.flush = mailbox_flush,
	.arm = mailbox_arm,
	.disarm = mailbox_disarm,
	.stop = mailbox_stop,
	.drained = mailbox_drained,
};

static void mailbox_init(struct mailbox *box, unsigned poll_us)
{
	memset(box, 0, sizeof(*box));
	box->kick_fd = fd_eventfd();
	cr_assert_geq(box->kick_fd, 0);
	io_source_init(&box->source, &mailbox_ops, box->kick_fd, poll_us);
}

static void post(struct mailbox *box)
{
	atomic_fetch_add(&box->sent, 1);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in mailbox_arm() */
	if (atomic_load(&box->want_kick))
		fd_signal(box->kick_fd);
}

static void wait_published(struct mailbox *box)
{
	while (atomic_load(&box->published) != atomic_load(&box->sent))
		sched_yield();
}

static struct io_worker *worker;
static struct mailbox box;

static void setup(void)
{
	worker = test_worker("worker-test");
}

static void teardown(void)
{
	io_worker_destroy(worker);
}

TestSuite(worker, .init = setup, .fini = teardown, .timeout = 240);

/* ---- commands ---- */

struct where {
	int thread;
	unsigned calls;
};

static int note_thread(struct io_worker *at, void *argument)
{
	struct where *where = argument;

	where->thread = gettid();
	where->calls++;
	cr_assert_eq(at, worker);
	return 42;
}

static int nested_call(struct io_worker *at, void *argument)
{
	return io_worker_call(at, note_thread, argument) + 1;
}

Test(worker, call_runs_on_the_worker_s_thread)
{
	struct where where = {0};

	cr_assert_eq(io_worker_call(worker, note_thread, &where), 42);
	cr_assert_eq(where.thread, io_worker_thread_id(worker));
	cr_assert_neq(where.thread, gettid());
	cr_assert_eq(io_worker_call(worker, nested_call, &where), 43, "from the owner: at once");
	cr_assert_eq(where.calls, 2);
}

static int increment(struct io_worker *at, void *argument)
{
	(void)at;
	++*(unsigned *)argument;
	return 0;
}

static void *call_often(void *argument)
{
	for (unsigned i = 0; i < 2000; i++)
		io_worker_call(worker, increment, argument);
	return NULL;
}

Test(worker, calls_from_many_threads)
{
	pthread_t threads[4];
	unsigned calls = 0; /* touched by the worker alone */

	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, call_often, &calls), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(calls, 8000);
}

/* ---- sources ---- */

Test(worker, attached_source_is_looked_at_without_a_kick)
{
	mailbox_init(&box, 0);
	atomic_store(&box.sent, 3);
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	wait_published(&box);
	io_worker_detach(&box.source);
	cr_assert_null(box.source.worker);
	cr_assert_eq(box.stops, 1);
}

Test(worker, detached_source_is_left_alone)
{
	mailbox_init(&box, 0);
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	post(&box);
	wait_published(&box);
	io_worker_detach(&box.source);
	io_worker_detach(&box.source); /* not attached: nothing happens */
	post(&box);
	fd_signal(box.kick_fd);
	worker_wait_asleep(worker);
	cr_assert_eq(atomic_load(&box.published), 1);
}

Test(worker, detach_and_attach_again_many_times)
{
	mailbox_init(&box, 0);
	box.nops = 5;
	for (unsigned i = 1; i <= 500; i++) {
		cr_assert_eq(io_worker_attach(worker, &box.source), 0);
		post(&box);
		if (i % 2)
			wait_published(&box);
		io_worker_detach(&box.source);
		cr_assert_eq(box.source.in_flight, 0);
	}
	cr_assert_eq(box.completions, 5 * atomic_load(&box.received));
}

Test(worker, detach_finishes_what_was_taken)
{
	mailbox_init(&box, 0);
	box.nops = 100000; /* hundreds of times what the SQ holds */
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	post(&box);
	wait_published(&box); /* taken, and mostly still to be submitted */
	io_worker_detach(&box.source);
	cr_assert_eq(box.completions, 100000);
	cr_assert_eq(box.last_tag, 1);
	cr_assert_eq(box.source.in_flight, 0);
}

/* The worker must not go to sleep on what it has finished without the ring. */
Test(worker, detach_finishes_without_a_completion)
{
	for (unsigned i = 0; i < 100; i++) {
		mailbox_init(&box, 0);
		box.has_last_words = true;
		if (i % 2) {
			close(box.kick_fd);
			box.source.kick_fd = -1;
		}
		cr_assert_eq(io_worker_attach(worker, &box.source), 0);
		worker_wait_asleep(worker);
		io_worker_detach(&box.source);
		cr_assert_not(box.last_words);
	}
}

static void *kick_for_ever(void *argument)
{
	const struct mailbox *of = argument;

	while (!atomic_load(&of->quiet))
		fd_signal(of->kick_fd);
	return NULL;
}

/* A kick may come at the moment at which its poll is cancelled. */
Test(worker, detach_while_kicks_pour_in)
{
	pthread_t kicker;

	mailbox_init(&box, 0);
	cr_assert_eq(pthread_create(&kicker, NULL, kick_for_ever, &box), 0);
	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(io_worker_attach(worker, &box.source), 0);
		io_worker_detach(&box.source);
	}
	atomic_store(&box.quiet, true);
	pthread_join(kicker, NULL);
}

Test(worker, detach_takes_one_cancellation)
{
	uint64_t before;

	mailbox_init(&box, 0);
	before = worker_stat(worker, "sqes");
	for (unsigned i = 0; i < 100; i++) {
		cr_assert_eq(io_worker_attach(worker, &box.source), 0);
		worker_wait_asleep(worker);
		io_worker_detach(&box.source);
	}
	worker_wait_asleep(worker);
	/* The first is the poll of the command eventfd. */
	cr_assert_leq(worker_stat(worker, "sqes") - before, 1 + 100 * 2, "a poll, a cancellation");
}

Test(worker, a_full_sq_starves_nobody)
{
	static struct mailbox greedy, modest;

	mailbox_init(&greedy, 50);
	mailbox_init(&modest, 50);
	greedy.nops = 100000;
	modest.nops = 1;
	cr_assert_eq(io_worker_attach(worker, &greedy.source), 0);
	cr_assert_eq(io_worker_attach(worker, &modest.source), 0);
	post(&greedy);
	for (unsigned i = 0; i < 50; i++) {
		post(&modest);
		wait_published(&modest);
	}
	io_worker_detach(&modest.source);
	io_worker_detach(&greedy.source);
	cr_assert_eq(modest.completions, 50);
	cr_assert_eq(greedy.completions, 100000);
}

Test(worker, as_many_sources_as_promised)
{
	static struct mailbox boxes[IO_SOURCES_MAX + 1];

	for (unsigned i = 0; i < IO_SOURCES_MAX + 1; i++) {
		memset(&boxes[i], 0, sizeof(boxes[i]));
		boxes[i].kick_fd = -1;
		io_source_init(&boxes[i].source, &mailbox_ops, -1, 0);
	}
	for (unsigned i = 0; i < IO_SOURCES_MAX; i++)
		cr_assert_eq(io_worker_attach(worker, &boxes[i].source), 0);
	cr_assert_eq(io_worker_attach(worker, &boxes[IO_SOURCES_MAX].source), -ENOSPC);
	for (unsigned i = 0; i < IO_SOURCES_MAX; i++)
		io_worker_detach(&boxes[i].source);
	cr_assert_eq(io_worker_attach(worker, &boxes[IO_SOURCES_MAX].source), 0);
	io_worker_detach(&boxes[IO_SOURCES_MAX].source);
}

Test(worker, many_sources_with_kicks)
{
	static struct mailbox boxes[300]; /* more kick polls than the SQ holds at once */

	for (unsigned i = 0; i < 300; i++) {
		mailbox_init(&boxes[i], 0);
		cr_assert_eq(io_worker_attach(worker, &boxes[i].source), 0);
	}
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 300; i++)
			post(&boxes[i]);
		for (unsigned i = 0; i < 300; i++)
			wait_published(&boxes[i]);
	}
	for (unsigned i = 0; i < 300; i++)
		io_worker_detach(&boxes[i].source);
}

/* ---- idling ---- */

static void check_idle(unsigned poll_us)
{
	uint64_t before[IO_WORKER_STATS], after[IO_WORKER_STATS];
	struct itimerspec timer = {.it_value.tv_nsec = 200000000};
	int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t expirations;

	mailbox_init(&box, poll_us);
	box.nops = 1;
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	for (unsigned i = 0; i < 1000; i++) {
		post(&box);
		wait_published(&box);
	}
	worker_wait_asleep(worker);
	io_worker_stats(worker, before);
	/* Time in which a worker that wakes up by itself would be seen to. */
	cr_assert_eq(timerfd_settime(timer_fd, 0, &timer, NULL), 0);
	cr_assert_eq(read(timer_fd, &expirations, sizeof(expirations)), 8);
	io_worker_stats(worker, after);
	cr_assert_eq(memcmp(before, after, sizeof(before)), 0, "an idle worker does nothing");
	io_worker_detach(&box.source);
}

Test(worker, idle_without_polling)
{
	check_idle(0);
}

Test(worker, idle_with_polling)
{
	check_idle(1000);
}

Test(worker, no_spinning_where_polling_is_off)
{
	mailbox_init(&box, 0);
	box.nops = 1;
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	for (unsigned i = 0; i < 2000; i++) {
		post(&box);
		wait_published(&box);
	}
	cr_assert_eq(worker_stat(worker, "spins"), 0);
	cr_assert_geq(worker_stat(worker, "sleeps"), 1000);
	io_worker_detach(&box.source);
}

Test(worker, polling_replaces_kicks)
{
	uint64_t wakeups;

	mailbox_init(&box, 100000);
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	/* Without polling each message takes a wake-up; on a crowded host most still do. */
	do {
		wakeups = worker_stat(worker, "wakeups");
		for (unsigned i = 0; i < 1000; i++) {
			post(&box);
			wait_published(&box);
		}
	} while (worker_stat(worker, "wakeups") - wakeups >= 1000);
	cr_assert_gt(worker_stat(worker, "spins"), 0);
	io_worker_detach(&box.source);
}

/*
 * A driver that waits for each answer of a slow host does not come back before it: the worker
 * submits and sleeps in one system call. Where the host is so crowded that the driver is late with
 * its next message, a wake-up comes in between, so it is tried until it was quiet.
 */
Test(worker, one_system_call_a_request_where_nothing_else_can_come)
{
	const unsigned messages = 100;
	uint64_t enters;

	mailbox_init(&box, 100);
	box.nops = 1;
	box.delay.tv_nsec = 2000000;
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	do {
		enters = worker_stat(worker, "enters");
		for (unsigned i = 0; i < messages; i++) {
			post(&box);
			wait_published(&box);
		}
		enters = worker_stat(worker, "enters") - enters;
		cr_assert_geq(enters, messages - 1, "an answer without its request");
	} while (enters > messages + messages / 4);
	io_worker_detach(&box.source);
}

/* ---- lost wake-ups ---- */

static void stress(unsigned poll_us, unsigned rounds)
{
	uint64_t rng = 99;

	mailbox_init(&box, poll_us);
	box.nops = 1;
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned delay = (unsigned)random_below(&rng, 2000);

		/* From at once to about when the worker goes to sleep: every interleaving. */
		for (unsigned j = 0; j < delay; j++)
			__builtin_ia32_pause();
		post(&box);
		wait_published(&box); /* for ever, where a wake-up is lost */
	}
	io_worker_detach(&box.source);
	cr_assert_eq(box.completions, rounds);
}

Test(worker, no_kick_is_lost_without_polling)
{
	stress(0, 10000);
}

Test(worker, no_kick_is_lost_with_polling)
{
	stress(20, 10000);
}

/* A kick is a hint: spurious ones, and a full eventfd, do no harm. */
Test(worker, spurious_kicks)
{
	mailbox_init(&box, 0);
	cr_assert_eq(io_worker_attach(worker, &box.source), 0);
	for (unsigned i = 0; i < 20000; i++)
		fd_signal(box.kick_fd);
	post(&box);
	wait_published(&box);
	io_worker_detach(&box.source);
	cr_assert_eq(atomic_load(&box.received), 1);
}
