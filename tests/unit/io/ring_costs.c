/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures behind docs/decisions/kicks.md and io-nowait.md. Two questions, each answered by
 * interleaved rounds of all ways, of which the median counts:
 *
 * - What does it take a sleeping worker to be woken by an eventfd? A thread that writes it waits
 *   for each answer, so that the worker has gone to sleep again before most writes. CPU time is the
 *   worker's own; the time to the answer holds the scheduler's share, the same for every way.
 * - What does one read of a page that the host has cost, as a call of its own and through the ring?
 *
 * Usage: ring_costs [ROUNDS]
 */
#include "util/checked.h"
#include "util/clock.h"

#include <err.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KICKS      500u
#define READS      2000u
#define ROUNDS_MAX 1001u
#define BLOCK      4096u
#define FILE_BYTES (16u << 20)

static void make_ring(struct io_uring *ring)
{
	struct io_uring_params parameters = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};

	if (io_uring_queue_init_params(8, ring, &parameters))
		errx(1, "no io_uring with DEFER_TASKRUN here");
	io_uring_register_ring_fd(ring);
}

/* Submits, sleeps until there is a CQE, takes all of them. */
static void enter(struct io_uring *ring)
{
	io_uring_submit_and_wait(ring, 1);
	io_uring_cq_advance(ring, io_uring_cq_ready(ring));
}

/* ---- kicks ---- */

struct waiter {
	struct io_uring ring;
	int event_fd, epoll_fd;
	uint64_t count; /* where the eventfd is read */
	bool armed;
};

static void drain(struct waiter *waiter)
{
	if (read(waiter->event_fd, &waiter->count, sizeof(waiter->count)) < 0)
		err(1, "eventfd");
}

/* The eventfd is never read: each write is a CQE. */
static void wait_multishot(struct waiter *waiter)
{
	if (!waiter->armed)
		io_uring_prep_poll_multishot(
			io_uring_get_sqe(&waiter->ring), waiter->event_fd, POLLIN);
	waiter->armed = true;
	enter(&waiter->ring);
}

static void wait_poll_and_read(struct waiter *waiter)
{
	io_uring_prep_poll_add(io_uring_get_sqe(&waiter->ring), waiter->event_fd, POLLIN);
	enter(&waiter->ring);
	drain(waiter);
}

static void wait_ring_read(struct waiter *waiter)
{
	io_uring_prep_read(io_uring_get_sqe(&waiter->ring), waiter->event_fd, &waiter->count,
		sizeof(waiter->count), 0);
	enter(&waiter->ring);
}

/* As a VMM without io_uring does it; completions of a ring would need an eventfd of their own. */
static void wait_epoll_and_read(struct waiter *waiter)
{
	struct epoll_event event;

	epoll_wait(waiter->epoll_fd, &event, 1, -1);
	drain(waiter);
}

static const struct kick_way {
	const char *name;
	void (*wait)(struct waiter *waiter);
} kick_ways[] = {
	{"multishot poll, never read", wait_multishot},
	{"poll, then read(2)", wait_poll_and_read},
	{"READ in the ring", wait_ring_read},
	{"epoll_wait, then read(2)", wait_epoll_and_read},
};

struct kick_round {
	const struct kick_way *way;
	int event_fd;
	_Atomic unsigned answered; /* release by the worker pairs with the kicker's acquire */
	uint64_t cpu_ns;
};

static void *answer_kicks(void *argument)
{
	struct kick_round *round = argument;
	struct epoll_event event = {.events = EPOLLIN};
	struct waiter waiter = {.event_fd = round->event_fd};
	uint64_t begin;

	make_ring(&waiter.ring);
	waiter.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(waiter.epoll_fd, EPOLL_CTL_ADD, waiter.event_fd, &event);
	begin = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 1; i <= KICKS; i++) {
		round->way->wait(&waiter);
		atomic_store_explicit(&round->answered, i, memory_order_release);
	}
	round->cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
	close(waiter.epoll_fd);
	io_uring_queue_exit(&waiter.ring);
	return NULL;
}

/* Long enough for the worker to be asleep again, short enough for its core to be awake. */
static void pause_ns(uint64_t length)
{
	uint64_t begin = clock_ns();

	while (clock_ns() - begin < length)
		__builtin_ia32_pause();
}

static void kick_round(const struct kick_way *way, double *ret_cpu, double *ret_answer)
{
	struct kick_round round = {.way = way, .event_fd = eventfd(0, EFD_CLOEXEC)};
	uint64_t waited = 0, one = 1;
	pthread_t worker;

	if (pthread_create(&worker, NULL, answer_kicks, &round))
		errx(1, "no thread");
	for (unsigned i = 1; i <= KICKS; i++) {
		uint64_t begin;

		pause_ns(20000);
		begin = clock_ns();
		if (write(round.event_fd, &one, sizeof(one)) < 0)
			err(1, "eventfd");
		while (atomic_load_explicit(&round.answered, memory_order_acquire) < i)
			__builtin_ia32_pause();
		waited += clock_ns() - begin;
	}
	pthread_join(worker, NULL);
	close(round.event_fd);
	*ret_cpu = (double)round.cpu_ns / KICKS;
	*ret_answer = (double)waited / KICKS;
}

/* ---- lone reads ---- */

struct reader {
	struct io_uring ring;
	int fd;
	uint8_t buffer[BLOCK];
	uint64_t random;
};

static off_t next_offset(struct reader *reader)
{
	reader->random = reader->random * 6364136223846793005u + 1442695040888963407u;
	return (off_t)((reader->random >> 33) % (FILE_BYTES / BLOCK) * BLOCK);
}

static void read_nowait(struct reader *reader)
{
	const struct iovec iov = {reader->buffer, BLOCK};

	if (preadv2(reader->fd, &iov, 1, next_offset(reader), RWF_NOWAIT) != BLOCK)
		errx(1, "a page of the file left the cache");
}

static void read_ring(struct reader *reader)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&reader->ring);

	io_uring_prep_read(sqe, 0, reader->buffer, BLOCK, (uint64_t)next_offset(reader));
	sqe->flags |= IOSQE_FIXED_FILE;
	enter(&reader->ring);
}

static const struct read_way {
	const char *name;
	void (*read)(struct reader *reader);
} read_ways[] = {
	{"preadv2, RWF_NOWAIT", read_nowait},
	{"READ in the ring", read_ring},
};

static double read_round(struct reader *reader, const struct read_way *way)
{
	uint64_t begin = clock_ns();

	for (unsigned i = 0; i < READS; i++)
		way->read(reader);
	return (double)(clock_ns() - begin) / READS;
}

static void reader_init(struct reader *reader)
{
	char path[] = "/var/tmp/ring_costs.XXXXXX";

	*reader = (struct reader){.fd = mkostemp(path, O_CLOEXEC), .random = 1};
	if (reader->fd < 0)
		err(1, "%s", path);
	unlink(path);
	for (unsigned at = 0; at < FILE_BYTES; at += BLOCK) {
		if (pwrite(reader->fd, reader->buffer, BLOCK, at) != BLOCK)
			err(1, "/var/tmp");
	}
	make_ring(&reader->ring);
	io_uring_register_files(&reader->ring, &reader->fd, 1);
}

/* ---- report ---- */

static int compare(const void *a, const void *b)
{
	const double *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static void report_kicks(unsigned rounds)
{
	static double cpu[ARRAY_SIZE(kick_ways)][ROUNDS_MAX];
	static double answer[ARRAY_SIZE(kick_ways)][ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(kick_ways); j++)
			kick_round(&kick_ways[j], &cpu[j][i], &answer[j][i]);
	}
	for (size_t j = 0; j < ARRAY_SIZE(kick_ways); j++)
		printf("kick: %-28s %6.0f ns of the worker's CPU, %6.0f ns to the answer\n",
			kick_ways[j].name, median(cpu[j], rounds), median(answer[j], rounds));
}

static void report_reads(unsigned rounds)
{
	static double cost[ARRAY_SIZE(read_ways)][ROUNDS_MAX];
	static struct reader reader;

	reader_init(&reader);
	for (unsigned i = 0; i < rounds; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(read_ways); j++)
			cost[j][i] = read_round(&reader, &read_ways[j]);
	}
	for (size_t j = 0; j < ARRAY_SIZE(read_ways); j++)
		printf("read of a cached 4 KiB page: %-20s %6.0f ns\n", read_ways[j].name,
			median(cost[j], rounds));
	io_uring_queue_exit(&reader.ring);
	close(reader.fd);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 51;

	if (!rounds || rounds > ROUNDS_MAX)
		errx(2, "usage: ring_costs [ROUNDS], 1 to %u", ROUNDS_MAX);
	report_kicks(rounds);
	report_reads(rounds);
	return 0;
}
