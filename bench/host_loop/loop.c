/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM could reach if it cost nothing: the same requests, from the same file, with nobody
 * between. One thread fills the ring up to its depth, submits with one call, reaps all that has
 * completed, and puts new requests where the completed ones were. It blocks only where nothing has
 * completed. The clock is read once a turn, as the bare guest does, so latencies are comparable:
 * submission to reaping.
 */
#include "loop.h"

#include "../guest/random.h"
#include "measure.h"
#include "pacer.h"
#include "util/cleanup.h"
#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <poll.h>

#define KICK UINT64_MAX /* a CQE's user data; others are slots */

struct loop {
	const struct options *options;
	struct io_uring ring;
	bool ring_made;
	int fd;
	uint8_t *buffers;
	size_t buffers_size;
	uint64_t *submitted_at; /* per slot */
	uint64_t blocks, cursor;
	struct random random;
	unsigned in_flight;
	struct pacer *pacer; /* NULL: as many as go */
	struct measure measure;
	struct loop_result *result;
};

static int file_size(int fd, uint64_t *ret_size)
{
	struct stat status;

	if (fstat(fd, &status))
		return -errno;
	if (!S_ISBLK(status.st_mode)) {
		*ret_size = (uint64_t)status.st_size;
		return 0;
	}
	return ioctl(fd, BLKGETSIZE64, ret_size) ? -errno : 0;
}

static int open_file(struct loop *loop)
{
	const struct options *options = loop->options;
	uint64_t size;
	int result;

	loop->fd = open(options->path, (options->write ? O_RDWR : O_RDONLY) | O_CLOEXEC |
					       (options->direct ? O_DIRECT : 0));
	if (loop->fd < 0)
		return measure_fail("cannot open", options->path, -errno);
	result = file_size(loop->fd, &size);
	if (result)
		return measure_fail("cannot find the size of", options->path, result);
	if (options->size && options->size < size)
		size = options->size;
	loop->blocks = size / options->block;
	loop->result->size = size;
	return loop->blocks ? 0 : measure_fail("smaller than one block:", options->path, -EINVAL);
}

/* A quarter page between buffers would share lines, so each starts on a page of its own. */
static size_t stride(const struct options *options)
{
	return ((size_t)options->block + 4095) & ~(size_t)4095;
}

static int make_buffers(struct loop *loop)
{
	const struct options *options = loop->options;
	struct iovec all;
	int result;

	loop->buffers_size = stride(options) * options->depth;
	loop->buffers = mmap(NULL, loop->buffers_size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (loop->buffers == MAP_FAILED) {
		loop->buffers = NULL;
		return measure_fail("cannot allocate", "buffers", -errno);
	}
	loop->submitted_at = calloc(options->depth, sizeof(*loop->submitted_at));
	if (!loop->submitted_at)
		return -ENOMEM;
	for (size_t i = 0; i < loop->buffers_size / 8; i++)
		((uint64_t *)loop->buffers)[i] = random_next(&loop->random);
	if (!options->fixed_buffers)
		return 0;
	all = (struct iovec){loop->buffers, loop->buffers_size};
	result = io_uring_register_buffers(&loop->ring, &all, 1);
	return result ? measure_fail("cannot register",
				"buffers (see ulimit -l; fixed-buffers=0 does without)", result)
	              : 0;
}

static uint64_t next_offset(struct loop *loop)
{
	if (loop->options->random)
		return random_below(&loop->random, loop->blocks) * loop->options->block;
	if (loop->cursor == loop->blocks)
		loop->cursor = 0;
	return loop->cursor++ * loop->options->block;
}

/* @since: from when its latency counts. */
static void prepare(struct loop *loop, unsigned slot, uint64_t since)
{
	const struct options *options = loop->options;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
	uint8_t *buffer = loop->buffers + stride(options) * slot;
	uint64_t offset = next_offset(loop);

	if (options->fixed_buffers && options->write)
		io_uring_prep_write_fixed(sqe, 0, buffer, options->block, offset, 0);
	else if (options->fixed_buffers)
		io_uring_prep_read_fixed(sqe, 0, buffer, options->block, offset, 0);
	else if (options->write)
		io_uring_prep_write(sqe, 0, buffer, options->block, offset);
	else
		io_uring_prep_read(sqe, 0, buffer, options->block, offset);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = slot;
	loop->submitted_at[slot] = since;
	loop->in_flight++;
}

static int complete(struct loop *loop, const struct io_uring_cqe *cqe, uint64_t now)
{
	if (cqe->res != (int)loop->options->block) {
		int result = cqe->res < 0 ? cqe->res : -EIO;

		return measure_fail(
			"a request failed or was short on", loop->options->path, result);
	}
	loop->in_flight--;
	loop->result->total++;
	if (now < loop->measure.from || now >= loop->measure.to)
		return 0;
	loop->result->ios++;
	histogram_add(&loop->result->latency, now - loop->submitted_at[cqe->user_data]);
	return 0;
}

static void watch_kicks(struct loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	io_uring_prep_poll_multishot(sqe, loop->pacer->kick_fd, POLLIN);
	sqe->user_data = KICK;
}

/* While the time lasts, a completed request's slot gets the next one; at a rate the pacer has it.
 */
static int take(struct loop *loop, const struct io_uring_cqe *cqe, uint64_t now)
{
	int result;

	if (cqe->user_data == KICK) {
		if (!(cqe->flags & IORING_CQE_F_MORE))
			watch_kicks(loop);
		return 0;
	}
	result = complete(loop, cqe, now);
	if (!result && !loop->pacer && now < loop->measure.to)
		prepare(loop, (unsigned)cqe->user_data, now);
	return result;
}

static int reap(struct loop *loop)
{
	uint64_t now = clock_ns();
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	int result = 0;

	io_uring_for_each_cqe(&loop->ring, head, cqe)
	{
		result = take(loop, cqe, now);
		count++;
		if (result)
			break;
	}
	io_uring_cq_advance(&loop->ring, count);
	return result;
}

static int turn(struct loop *loop)
{
	/* Waiting for one is free where submission itself has completed some. */
	int result = io_uring_submit_and_wait(&loop->ring, 1);

	if (result < 0 && result != -EINTR)
		return measure_fail("cannot submit to", loop->options->path, result);
	loop->measure.enters++;
	measure_tick(&loop->measure);
	return reap(loop);
}

static int run(struct loop *loop)
{
	uint64_t start = clock_ns();
	int result = 0;

	for (unsigned slot = 0; slot < loop->options->depth; slot++)
		prepare(loop, slot, start);
	while (!result && loop->in_flight)
		result = turn(loop);
	return result;
}

/* ---- at a rate ---- */

/* One batch of what there is, to its end; or one sleep, where there is nothing. */
static int rated_batch(struct loop *loop)
{
	unsigned count = min_of(pacer_look(loop->pacer), loop->options->depth);
	int result;

	for (unsigned slot = 0; slot < count; slot++)
		prepare(loop, slot, pacer_take(loop->pacer));
	do {
		result = turn(loop);
	} while (!result && loop->in_flight);
	pacer_complete(loop->pacer);
	return result;
}

static int run_rated(struct loop *loop)
{
	const struct options *options = loop->options;
	struct pacer pacer;
	int result = pacer_start(&pacer, options->rate, options->depth, loop->measure.to);

	if (result)
		return result;
	loop->pacer = &pacer;
	watch_kicks(loop);
	while (!result && !pacer_is_over(&pacer))
		result = rated_batch(loop);
	pacer_stop(&pacer);
	return result;
}

static int measured_run(struct loop *loop)
{
	int result;

	measure_start(&loop->measure, loop->options);
	result = loop->options->rate ? run_rated(loop) : run(loop);
	measure_tick(&loop->measure);
	loop->result->measured_ns = loop->options->time_ns;
	loop->result->cpu_ns = loop->measure.cpu_ns;
	loop->result->enters = loop->measure.enters_measured;
	return result;
}

static void loop_deinit(struct loop *loop)
{
	if (loop->ring_made)
		io_uring_queue_exit(&loop->ring);
	if (loop->buffers)
		munmap(loop->buffers, loop->buffers_size);
	free(loop->submitted_at);
	if (loop->fd >= 0)
		close(loop->fd);
}

int loop_run(const struct options *options, struct loop_result *ret_result)
{
	auto_free struct loop_result *measured = calloc(1, sizeof(*measured));
	struct loop loop = {.options = options, .fd = -1, .result = measured};
	int result;

	if (!measured)
		return -ENOMEM;
	random_init(&loop.random, options->seed * 1000);
	result = open_file(&loop);
	if (!result)
		/* At a rate there is the poll for kicks too. */
		result = measure_ring(
			&loop.ring, options->depth + (options->rate != 0), &loop.fd, 1);
	loop.ring_made = !result;
	if (!result)
		result = make_buffers(&loop);
	if (!result)
		result = measured_run(&loop);
	loop_deinit(&loop);
	if (!result)
		*ret_result = *measured;
	return result;
}
