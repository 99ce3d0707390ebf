/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that has something in flight in a further ring only: it sleeps, in its main ring, and
 * wakes up for what completes in the other. The source reads from an eventfd by the ring of large
 * SQEs, which takes any operation, each time that it is kicked.
 */
#include "fixture.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUNDS 200u

struct reader {
	struct io_source source;
	int kick_fd, data_fd;
	_Atomic unsigned wanted;
	unsigned started;
	uint64_t value;
	int32_t result;
	sem_t done;
};

static struct reader reader;
static struct io_worker *worker;

static bool reader_poll(struct io_source *source)
{
	(void)source;
	return atomic_load(&reader.wanted) != reader.started && !reader.source.stopping;
}

static void reader_process(struct io_source *source)
{
	struct io_uring_sqe *sqe = io_source_side_sqe(source, IO_SIDE_COMMAND, 7);
	const uint64_t *words = (const uint64_t *)sqe;

	cr_assert_not_null(sqe);
	for (unsigned i = 0; i < 128 / sizeof(*words); i++)
		cr_assert(words[i] == 0 || &words[i] == (const uint64_t *)&sqe->user_data);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = reader.data_fd;
	sqe->addr = (uintptr_t)&reader.value;
	sqe->len = sizeof(reader.value);
	memset(sqe + 1, 0xff, 64); /* what the next SQE in this place must not show */
	reader.started++;
}

static void reader_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	(void)source;
	(void)flags;
	cr_assert_eq(tag, 7);
	reader.result = result;
	sem_post(&reader.done);
}

static unsigned reader_flush(struct io_source *source)
{
	(void)source;
	return 0;
}

static bool reader_arm(struct io_source *source)
{
	return reader_poll(source);
}

static void reader_disarm(struct io_source *source)
{
	(void)source;
}

static const struct io_source_ops reader_ops = {
	.poll = reader_poll,
	.process = reader_process,
	.complete = reader_complete,
	.flush = reader_flush,
	.arm = reader_arm,
	.disarm = reader_disarm,
};

static int open_side(struct io_worker *of, void *argument)
{
	(void)argument;
	return io_worker_open_side(of, IO_SIDE_COMMAND);
}

static bool begin(unsigned poll_us)
{
	worker = test_worker("side");
	if (io_worker_call(worker, open_side, NULL)) {
		io_worker_destroy(worker);
		return false;
	}
	cr_assert_eq(io_worker_call(worker, open_side, NULL), 0, "twice is once");
	memset(&reader, 0, sizeof(reader));
	sem_init(&reader.done, 0, 0);
	reader.kick_fd = fd_eventfd();
	reader.data_fd = eventfd(0, EFD_CLOEXEC);
	io_source_init(&reader.source, &reader_ops, reader.kick_fd, poll_us);
	io_source_use_side(&reader.source, IO_SIDE_COMMAND);
	cr_assert_eq(io_worker_attach(worker, &reader.source), 0);
	return true;
}

static void end(void)
{
	io_worker_detach(&reader.source);
	io_worker_destroy(worker);
	close(reader.kick_fd);
	close(reader.data_fd);
}

static void ask(void)
{
	atomic_fetch_add(&reader.wanted, 1);
	fd_signal(reader.kick_fd);
}

static void expect_answer(void)
{
	while (sem_wait(&reader.done) && errno == EINTR)
		;
	cr_assert_eq(reader.result, (int32_t)sizeof(reader.value));
	cr_assert_eq(reader.value, 1);
}

TestSuite(worker_side, .timeout = 60);

#define need_side(poll_us)                                                                         \
	do {                                                                                       \
		if (!begin(poll_us))                                                               \
			cr_skip_test("this kernel has no large SQEs");                             \
	} while (0)

Test(worker_side, completions_end_the_sleep)
{
	need_side(0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		ask();
		if (round % 2)
			worker_wait_asleep(worker);
		fd_signal(reader.data_fd);
		expect_answer();
	}
	end();
}

Test(worker_side, and_are_found_by_a_worker_that_polls)
{
	need_side(100);
	for (unsigned round = 0; round < ROUNDS; round++) {
		ask();
		fd_signal(reader.data_fd);
		expect_answer();
	}
	end();
}

Test(worker_side, a_worker_that_waits_for_them_sleeps)
{
	uint64_t cqes;

	need_side(0);
	ask();
	worker_wait_asleep(worker);
	cqes = worker_stat(worker, "cqes");
	fd_signal(reader.data_fd);
	expect_answer();
	worker_wait_asleep(worker);
	cr_assert_geq(worker_stat(worker, "cqes"), cqes + 2, "the answer and the wake-up");
	end();
}

Test(worker_side, detaching_waits_for_what_is_in_flight)
{
	need_side(0);
	ask();
	worker_wait_asleep(worker);
	fd_signal(reader.data_fd);
	io_worker_detach(&reader.source);
	cr_assert_eq(sem_trywait(&reader.done), 0);
	end();
}
