/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_pair.h"

#include "util/error.h"

#include <criterion/criterion.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct engine_pair pair;
static struct ring_file polled_file;

void engine_side_open(struct engine_side *side, enum disk_cache cache, bool iopoll)
{
	struct disk_options options = {.cache = cache, .discard = true, .iopoll = iopoll};
	struct error error = ERROR_INIT;

	image_init(&side->image, DISK_BYTES, 11);
	options.path = side->image.path;
	cr_assert_eq(disk_open(&options, &side->disk, &error), 0, "%s", error.text);
	side->buffers = aligned_alloc(4096, LANES * BUFFER);
}

void engine_side_close(struct engine_side *side)
{
	disk_close(side->disk);
	free(side->buffers);
	image_deinit(&side->image);
}

static int add_disk(struct io_worker *to, void *argument)
{
	(void)argument;
	ring_add_file(io_worker_ring(to), pair.uring.disk->fd, &pair.file);
	return 0;
}

void engine_pair_add_file(void)
{
	io_worker_call(pair.worker, add_disk, NULL);
}

/* Opens the polled ring, with the file of @argument in it. */
static int add_polled(struct io_worker *to, void *argument)
{
	int result = io_worker_open_side(to, IO_SIDE_POLLED);

	if (!result)
		ring_add_file(
			io_worker_side_ring(to, IO_SIDE_POLLED), *(int *)argument, &polled_file);
	return result;
}

static void use_polled(int fd)
{
	cr_assert_eq(io_worker_call(pair.worker, add_polled, &fd), 0);
	io_source_use_side(&pair.set.source, IO_SIDE_POLLED);
	disk_channel_poll(&pair.set.channel, &polled_file);
}

static void begin_with(enum disk_cache cache, bool iopoll, int substitute)
{
	engine_side_open(&pair.uring, cache, iopoll);
	engine_side_open(&pair.plain, cache, false);
	pair.worker = test_worker("engine");
	engine_pair_add_file();
	request_set_init(&pair.set);
	cr_assert_eq(disk_uring_channel_init(
			     &pair.set.channel, pair.uring.disk, &pair.set.source, &pair.file),
		0);
	if (iopoll)
		use_polled(substitute < 0 ? pair.uring.disk->fd : substitute);
	cr_assert_eq(disk_sync_channel_init(&pair.channel, pair.plain.disk), 0);
	cr_assert_eq(io_worker_attach(pair.worker, &pair.set.source), 0);
	image_pattern(pair.model, 0, sizeof(pair.model), 11);
}

void engine_pair_begin(enum disk_cache cache)
{
	begin_with(cache, false, -1);
}

void engine_pair_begin_polled(int substitute)
{
	begin_with(DISK_CACHE_NONE, true, substitute);
}

void engine_pair_end(void)
{
	io_worker_detach(&pair.set.source);
	io_worker_destroy(pair.worker);
	disk_channel_deinit(&pair.set.channel);
	disk_channel_deinit(&pair.channel);
	engine_side_close(&pair.uring);
	engine_side_close(&pair.plain);
}

static void run_both(unsigned count)
{
	request_set_run(&pair.set, pair.worker, pair.uring.requests, count);
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(pair.channel.ops->submit(&pair.channel, &pair.plain.requests[i]),
			DISK_DONE);
}

void engine_pair_one(enum disk_op op, uint64_t offset, uint64_t length)
{
	struct engine_side *sides[] = {&pair.uring, &pair.plain};

	for (unsigned i = 0; i < 2; i++) {
		sides[i]->iovs[0][0] = (struct iovec){sides[i]->buffers, length};
		sides[i]->requests[0] = (struct disk_request){
			.op = op,
			.offset = offset,
			.length = length,
			.iov = sides[i]->iovs[0],
			.iov_count = length ? 1 : 0,
		};
	}
	run_both(1);
}

/* ---- random requests ---- */

/* Cuts @length bytes at @buffer into 1 to IOVS segments, at any byte where @ragged. */
static unsigned cut(struct iovec *iov, char *buffer, size_t length, bool ragged, uint64_t *rng)
{
	unsigned count = 0;

	while (length && count < IOVS - 1) {
		size_t part = 1 + random_below(rng, length);

		if (!ragged)
			part = (part + 511) / 512 * 512;
		part = part < length ? part : length;
		iov[count++] = (struct iovec){buffer, part};
		buffer += part;
		length -= part;
	}
	if (length)
		iov[count++] = (struct iovec){buffer, length};
	return count;
}

static enum disk_op random_op(uint64_t *rng)
{
	static const enum disk_op ops[] = {DISK_READ, DISK_READ, DISK_READ, DISK_WRITE, DISK_WRITE,
		DISK_WRITE, DISK_WRITE_ZEROES, DISK_DISCARD, DISK_FLUSH};
	enum disk_op op = ops[random_below(rng, sizeof(ops) / sizeof(ops[0]))];

	return op == DISK_DISCARD && pair.keep_discarded ? DISK_WRITE_ZEROES : op;
}

static void make_request(unsigned lane, uint64_t *rng)
{
	uint64_t first = random_below(rng, LANE_BYTES / 512), sectors;
	bool misaligned = random_below(rng, 3) == 0, ragged = random_below(rng, 3) == 0;
	size_t shift = misaligned ? random_below(rng, 4096) : 0;
	uint64_t split_seed = random_next(rng) | 1, other_seed = split_seed;
	struct disk_request request = {.op = random_op(rng), .tag = lane};

	sectors = random_below(rng, random_below(rng, 8) ? 16 : LANE_BYTES / 512 - first) + 1;
	if (first + sectors > LANE_BYTES / 512)
		sectors = LANE_BYTES / 512 - first;
	request.durable = random_below(rng, 8) == 0;
	request.unmap = random_below(rng, 2);
	request.offset = lane * LANE_BYTES + first * 512;
	request.length = request.op == DISK_FLUSH ? 0 : sectors * 512;
	pair.uring.requests[lane] = pair.plain.requests[lane] = request;
	for (size_t i = 0; i < BUFFER; i += 8) {
		uint64_t value = random_next(rng);

		memcpy(pair.uring.buffers + lane * BUFFER + i, &value, 8);
		memcpy(pair.plain.buffers + lane * BUFFER + i, &value, 8);
	}
	if (request.op > DISK_WRITE)
		return;
	pair.uring.requests[lane].iov = pair.uring.iovs[lane];
	pair.plain.requests[lane].iov = pair.plain.iovs[lane];
	pair.uring.requests[lane].iov_count = cut(pair.uring.iovs[lane],
		pair.uring.buffers + lane * BUFFER + shift, request.length, ragged, &split_seed);
	pair.plain.requests[lane].iov_count = cut(pair.plain.iovs[lane],
		pair.plain.buffers + lane * BUFFER + shift, request.length, ragged, &other_seed);
}

/* What the model says, before the engines change the requests. */
struct expectation {
	enum disk_op op;
	uint64_t offset, length;
	const char *data;
};

static struct expectation expect(unsigned lane)
{
	const struct disk_request *request = &pair.uring.requests[lane];

	return (struct expectation){
		.op = request->op,
		.offset = request->offset,
		.length = request->length,
		.data = request->iov_count ? request->iov[0].iov_base : NULL,
	};
}

static void check(unsigned lane, const struct expectation *want)
{
	unsigned char *at = pair.model + want->offset;

	cr_assert_eq(pair.uring.requests[lane].result, 0, "%s",
		strerror(-pair.uring.requests[lane].result));
	cr_assert_eq(pair.plain.requests[lane].result, 0);
	cr_assert_eq(memcmp(pair.uring.buffers + lane * BUFFER, pair.plain.buffers + lane * BUFFER,
			     BUFFER),
		0, "buffers differ after op %d", want->op);
	if (want->op == DISK_READ)
		cr_assert_eq(memcmp(want->data, at, want->length), 0, "wrong data at %llu",
			(unsigned long long)want->offset);
	else if (want->op == DISK_WRITE)
		memcpy(at, want->data, want->length);
	else if (want->op == DISK_WRITE_ZEROES)
		memset(at, 0, want->length);
	else if (want->op == DISK_DISCARD) /* undefined in general; a punched file reads zeros */
		memset(at, 0, want->length);
}

static void check_file(const struct engine_side *side)
{
	unsigned char *got = malloc(DISK_BYTES);

	cr_assert_eq(pread(side->image.fd, got, DISK_BYTES, 0), (ssize_t)DISK_BYTES);
	cr_assert_eq(memcmp(got, pair.model, DISK_BYTES), 0);
	free(got);
}

void engine_pair_stream(uint64_t seed, unsigned rounds)
{
	struct expectation wants[LANES];
	uint64_t rng = seed;

	for (unsigned round = 0; round < rounds; round++) {
		unsigned count = 1 + (unsigned)random_below(&rng, LANES);

		for (unsigned lane = 0; lane < count; lane++) {
			make_request(lane, &rng);
			wants[lane] = expect(lane);
		}
		run_both(count);
		for (unsigned lane = 0; lane < count; lane++)
			check(lane, &wants[lane]);
	}
	ioctl(pair.uring.image.fd, BLKFLSBUF); /* of a block device: what was cached is stale */
	check_file(&pair.uring);
	check_file(&pair.plain);
}
