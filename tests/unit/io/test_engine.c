/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine against the plain one: the same random stream of requests goes to both, on
 * two files with the same content, up to 16 at a time (each in a part of the disk of its own, so
 * that order does not matter). Results, what was read, and both files must be the same; and what
 * is read must be what a model in memory says.
 */
#include "fixture.h"
#include "io/disk_channel.h"
#include "io/iov.h"
#include "io/nvme_namespace.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define LANES      16u
#define LANE_BYTES (512u << 10)
#define DISK_BYTES (LANES * LANE_BYTES)
#define IOVS       8u
#define BUFFER     (LANE_BYTES + 4096)

/* ---- a source that carries out a set of requests ---- */

struct harness {
	struct io_source source;
	struct disk_channel channel;
	struct disk_request *requests;
	unsigned count;
	unsigned next; /* to be submitted for the first time */
	unsigned left; /* not done yet */
	bool waiting[LANES];
	bool retry;
	_Atomic bool full; /* a set is there and not done */
	sem_t done;
};

static struct harness *harness_of(struct io_source *source)
{
	return container_of(source, struct harness, source);
}

static void note(struct harness *harness, unsigned index, enum disk_progress progress)
{
	harness->waiting[index] = progress == DISK_WAIT;
	if (progress == DISK_DONE)
		harness->left--;
}

static bool harness_poll(struct io_source *source)
{
	struct harness *harness = harness_of(source);

	return atomic_load(&harness->full) && (harness->next < harness->count || harness->retry);
}

static void harness_process(struct io_source *source)
{
	struct harness *harness = harness_of(source);

	harness->retry = false;
	for (unsigned i = 0; i < harness->count; i++) {
		if (i < harness->next && !harness->waiting[i])
			continue;
		harness->next = i < harness->next ? harness->next : i + 1;
		note(harness, i,
			harness->channel.ops->submit(&harness->channel, &harness->requests[i]));
	}
}

static void harness_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	struct harness *harness = harness_of(source);

	(void)flags;
	note(harness, tag,
		harness->channel.ops->complete(&harness->channel, &harness->requests[tag], result));
	harness->retry = true;
}

static unsigned harness_flush(struct io_source *source)
{
	struct harness *harness = harness_of(source);

	if (atomic_load(&harness->full) && !harness->left) {
		atomic_store(&harness->full, false);
		sem_post(&harness->done);
	}
	return 0;
}

static bool harness_arm(struct io_source *source)
{
	return harness_poll(source);
}

static void harness_disarm(struct io_source *source)
{
	(void)source;
}

static const struct io_source_ops harness_ops = {
	.poll = harness_poll,
	.process = harness_process,
	.complete = harness_complete,
	.flush = harness_flush,
	.arm = harness_arm,
	.disarm = harness_disarm,
};

static int begin_set(struct io_worker *worker, void *argument)
{
	struct harness *harness = argument;

	(void)worker;
	harness->next = 0;
	harness->left = harness->count;
	harness->retry = false;
	memset(harness->waiting, 0, sizeof(harness->waiting));
	atomic_store(&harness->full, true);
	io_source_activate(&harness->source);
	return 0;
}

/* ---- one side: a file, a channel, buffers ---- */

struct side {
	struct image image;
	struct disk *disk;
	char *buffers; /* BUFFER bytes for each lane */
	struct disk_request requests[LANES];
	struct iovec iovs[LANES][IOVS];
	struct harness harness;      /* the io_uring side */
	struct disk_channel channel; /* the plain side */
};

static struct side uring, plain;
static struct io_worker *worker;
static struct ring_file file, polled_file;
static bool keep_discarded; /* what is discarded need not read as zeros: none of that */
static unsigned char model[DISK_BYTES];

static void open_side(struct side *side, enum disk_cache cache, bool iopoll)
{
	struct disk_options options = {.cache = cache, .discard = true, .iopoll = iopoll};
	struct error error = ERROR_INIT;

	image_init(&side->image, DISK_BYTES, 11);
	options.path = side->image.path;
	cr_assert_eq(disk_open(&options, &side->disk, &error), 0, "%s", error.text);
	side->buffers = aligned_alloc(4096, LANES * BUFFER);
}

static void close_side(struct side *side)
{
	disk_close(side->disk);
	free(side->buffers);
	image_deinit(&side->image);
}

static int add_disk(struct io_worker *to, void *argument)
{
	(void)argument;
	ring_add_file(io_worker_ring(to), uring.disk->fd, &file);
	return 0;
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

/* @substitute: what stands for the disk in the polled ring; -1: the disk itself. */
static void begin_with(enum disk_cache cache, bool iopoll, int substitute)
{
	int fd;

	open_side(&uring, cache, iopoll);
	open_side(&plain, cache, false);
	worker = test_worker("engine");
	io_worker_call(worker, add_disk, NULL);
	sem_init(&uring.harness.done, 0, 0);
	io_source_init(&uring.harness.source, &harness_ops, -1, 0);
	cr_assert_eq(disk_uring_channel_init(
			     &uring.harness.channel, uring.disk, &uring.harness.source, &file),
		0);
	if (iopoll) {
		fd = substitute < 0 ? uring.disk->fd : substitute;
		cr_assert_eq(io_worker_call(worker, add_polled, &fd), 0);
		io_source_use_side(&uring.harness.source, IO_SIDE_POLLED);
		disk_channel_poll(&uring.harness.channel, &polled_file);
	}
	cr_assert_eq(disk_sync_channel_init(&plain.channel, plain.disk), 0);
	cr_assert_eq(io_worker_attach(worker, &uring.harness.source), 0);
	image_pattern(model, 0, sizeof(model), 11);
}

static void begin(enum disk_cache cache)
{
	begin_with(cache, false, -1);
}

static void end(void)
{
	io_worker_detach(&uring.harness.source);
	io_worker_destroy(worker);
	disk_channel_deinit(&uring.harness.channel);
	disk_channel_deinit(&plain.channel);
	close_side(&uring);
	close_side(&plain);
}

static void run_both(unsigned count)
{
	uring.harness.requests = uring.requests;
	uring.harness.count = count;
	io_worker_call(worker, begin_set, &uring.harness);
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(
			plain.channel.ops->submit(&plain.channel, &plain.requests[i]), DISK_DONE);
	while (sem_wait(&uring.harness.done))
		;
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

	return op == DISK_DISCARD && keep_discarded ? DISK_WRITE_ZEROES : op;
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
	uring.requests[lane] = plain.requests[lane] = request;
	for (size_t i = 0; i < BUFFER; i += 8) {
		uint64_t value = random_next(rng);

		memcpy(uring.buffers + lane * BUFFER + i, &value, 8);
		memcpy(plain.buffers + lane * BUFFER + i, &value, 8);
	}
	if (request.op > DISK_WRITE)
		return;
	uring.requests[lane].iov = uring.iovs[lane];
	plain.requests[lane].iov = plain.iovs[lane];
	uring.requests[lane].iov_count = cut(uring.iovs[lane],
		uring.buffers + lane * BUFFER + shift, request.length, ragged, &split_seed);
	plain.requests[lane].iov_count = cut(plain.iovs[lane],
		plain.buffers + lane * BUFFER + shift, request.length, ragged, &other_seed);
}

/* What the model says, before the engines change the requests. */
struct expectation {
	enum disk_op op;
	bool discard;
	uint64_t offset, length;
	const char *data;
};

static struct expectation expect(unsigned lane)
{
	const struct disk_request *request = &uring.requests[lane];

	return (struct expectation){
		.op = request->op,
		.offset = request->offset,
		.length = request->length,
		.data = request->iov_count ? request->iov[0].iov_base : NULL,
	};
}

static void check(unsigned lane, const struct expectation *want)
{
	unsigned char *at = model + want->offset;

	cr_assert_eq(uring.requests[lane].result, 0, "%s", strerror(-uring.requests[lane].result));
	cr_assert_eq(plain.requests[lane].result, 0);
	cr_assert_eq(memcmp(uring.buffers + lane * BUFFER, plain.buffers + lane * BUFFER, BUFFER),
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

static void check_file(const struct side *side)
{
	unsigned char *got = malloc(DISK_BYTES);

	cr_assert_eq(pread(side->image.fd, got, DISK_BYTES, 0), (ssize_t)DISK_BYTES);
	cr_assert_eq(memcmp(got, model, DISK_BYTES), 0);
	free(got);
}

static void run_stream(uint64_t seed, unsigned rounds)
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
	ioctl(uring.image.fd, BLKFLSBUF); /* of a block device: what was cached is stale */
	check_file(&uring);
	check_file(&plain);
}

Test(engine, random_streams_through_the_page_cache)
{
	begin(DISK_CACHE_WRITEBACK);
	run_stream(0x1234567, 300);
	end();
}

Test(engine, random_streams_with_direct_io)
{
	begin(DISK_CACHE_NONE);
	if (!uring.disk->direct) {
		end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	run_stream(0x7654321, 150);
	cr_assert_gt(
		counter_read(&uring.harness.channel.bounces), 0, "unaligned buffers were there");
	end();
}

/* Requests of more than one SQE carries, whole and ragged. */
Test(engine, random_streams_in_small_parts)
{
	begin(DISK_CACHE_WRITEBACK);
	uring.disk->part_max = 16384;
	run_stream(0x2468ace, 100);
	end();
	begin(DISK_CACHE_NONE);
	uring.disk->part_max = 16384;
	run_stream(0xeca8642, 100);
	end();
}

/* A file that may or may not be polled here: the streams are carried out in either case. */
Test(engine, random_streams_with_polling)
{
	begin_with(DISK_CACHE_NONE, true, -1);
	if (!uring.disk->direct) {
		end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	run_stream(0x5151515, 150);
	cr_assert_gt(counter_read(&uring.harness.channel.polled), 0);
	cr_assert_gt(counter_read(&uring.harness.channel.bounces), 0);
	end();
}

/* A memfd cannot be polled. It stands in the polled ring for the disk: all goes to the disk. */
Test(engine, what_cannot_be_polled_is_done_without)
{
	int fd = memfd_create("unpollable", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, DISK_BYTES), 0);
	begin_with(DISK_CACHE_NONE, true, fd);
	if (!uring.disk->direct) {
		end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	cr_assert(disk_is_polled(uring.disk));
	run_stream(0x6161616, 50);
	cr_assert_not(disk_is_polled(uring.disk));
	cr_assert_gt(counter_read(&uring.harness.channel.polled), 0, "it was tried");
	cr_assert_leq(counter_read(&uring.harness.channel.polled), LANES, "and not for long");
	end();
	close(fd);
}

/* Every method that stands below what this file system has. */
static void set_methods(struct disk *disk, enum disk_range_method method)
{
	atomic_store(&disk->unmap_method, method);
	atomic_store(&disk->zero_method, method);
}

Test(engine, zeros_written_where_nothing_else_works)
{
	begin(DISK_CACHE_WRITEBACK);
	set_methods(uring.disk, DISK_RANGE_WRITE);
	set_methods(plain.disk, DISK_RANGE_WRITE);
	run_stream(0xabcdef, 100);
	end();
}

static void one(enum disk_op op, uint64_t offset, uint64_t length)
{
	uring.requests[0] = plain.requests[0] =
		(struct disk_request){.op = op, .offset = offset, .length = length};
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = i ? &plain : &uring;

		side->iovs[0][0] = (struct iovec){side->buffers, length};
		side->requests[0].iov = side->iovs[0];
		side->requests[0].iov_count = length ? 1 : 0;
	}
	run_both(1);
}

/* Of long requests only the part under way is carried out; what is done in one part is done. */
Test(engine, requests_end_early_where_the_channel_is_being_stopped)
{
	const struct disk_request *request = &uring.requests[0];
	uint64_t before;

	begin(DISK_CACHE_WRITEBACK);
	set_methods(uring.disk, DISK_RANGE_WRITE);
	uring.disk->part_max = 16384;
	uring.harness.source.stopping = true;
	one(DISK_READ, 0, 16384);
	cr_assert_eq(request->result, 0);
	before = worker_stat(worker, "sqes");
	one(DISK_READ, 0, LANE_BYTES);
	cr_assert_eq(request->result, -ECANCELED);
	one(DISK_WRITE_ZEROES, 0, DISK_ZEROES);
	cr_assert_eq(request->result, 0);
	one(DISK_WRITE_ZEROES, 0, 4 * DISK_ZEROES);
	cr_assert_eq(request->result, -ECANCELED);
	cr_assert_leq(
		worker_stat(worker, "sqes"), before + 8, "three, not 33, and polls of commands");
	end();
}

Test(engine, reads_beyond_a_truncated_file_are_zeros)
{
	begin(DISK_CACHE_WRITEBACK);
	cr_assert_eq(ftruncate(uring.image.fd, 10000), 0);
	cr_assert_eq(ftruncate(plain.image.fd, 10000), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = i ? &plain : &uring;

		memset(side->buffers, 0xaa, 8192);
	}
	one(DISK_READ, 8192, 8192);
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = i ? &plain : &uring;

		cr_assert_eq(side->requests[0].result, 0);
		cr_assert_eq(memcmp(side->buffers, model + 8192, 1808), 0);
		for (unsigned at = 1808; at < 8192; at++)
			cr_assert_eq(side->buffers[at], 0);
	}
	end();
}

Test(engine, a_direct_read_across_the_end_too)
{
	begin(DISK_CACHE_NONE);
	cr_assert_eq(ftruncate(uring.image.fd, 10000), 0);
	cr_assert_eq(ftruncate(plain.image.fd, 10000), 0);
	memset(uring.buffers, 0xaa, 8192);
	one(DISK_READ, 8192, 8192);
	cr_assert_eq(uring.requests[0].result, 0);
	cr_assert_eq(memcmp(uring.buffers, model + 8192, 1808), 0);
	for (unsigned at = 1808; at < 8192; at++)
		cr_assert_eq(uring.buffers[at], 0);
	end();
}

Test(engine, errors_come_through)
{
	begin(DISK_CACHE_WRITEBACK);
	/* Both files lose the right to be written to: every write gets -EBADF. */
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = i ? &plain : &uring;
		int fd = open(side->image.path, O_RDONLY | O_CLOEXEC);

		cr_assert_eq(dup2(fd, side->disk->fd), side->disk->fd);
		close(fd);
	}
	io_worker_call(worker, add_disk, NULL);
	uring.harness.channel.file_number = file.number;
	one(DISK_WRITE, 0, 4096);
	cr_assert_eq(uring.requests[0].result, -EBADF);
	cr_assert_eq(plain.requests[0].result, -EBADF);
	one(DISK_WRITE_ZEROES, 0, 4096);
	cr_assert_eq(uring.requests[0].result, -EBADF);
	cr_assert_eq(plain.requests[0].result, -EBADF);
	one(DISK_READ, 4096, 4096);
	cr_assert_eq(uring.requests[0].result, 0);
	end();
}

Test(engine, flush_of_an_unsafe_disk_does_nothing)
{
	uint64_t before;

	begin(DISK_CACHE_UNSAFE);
	before = worker_stat(worker, "sqes");
	one(DISK_FLUSH, 0, 0);
	cr_assert_eq(uring.requests[0].result, 0);
	cr_assert_leq(worker_stat(worker, "sqes"), before + 1, "no more than the command's poll");
	end();
}

/* A file system without ZERO_RANGE: a memfd has PUNCH_HOLE alone. */
Test(engine, unsupported_zeroing_falls_back_to_writing)
{
	int fds[2];

	begin(DISK_CACHE_WRITEBACK);
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = i ? &plain : &uring;

		fds[i] = memfd_create("disk", MFD_CLOEXEC);
		cr_assert_eq(ftruncate(fds[i], DISK_BYTES), 0);
		cr_assert_eq(pwrite(fds[i], model, MIB, 0), MIB);
		cr_assert_eq(dup2(fds[i], side->disk->fd), side->disk->fd);
	}
	io_worker_call(worker, add_disk, NULL);
	uring.harness.channel.file_number = file.number;
	one(DISK_WRITE_ZEROES, 4096, 65536);
	for (unsigned i = 0; i < 2; i++) {
		struct side *side = i ? &plain : &uring;
		char got[3 * 4096];

		cr_assert_eq(side->requests[0].result, 0);
		cr_assert_eq(atomic_load(&side->disk->zero_method), DISK_RANGE_WRITE);
		cr_assert_eq(pread(fds[i], got, sizeof(got), 0), (ssize_t)sizeof(got));
		cr_assert_eq(memcmp(got, model, 4096), 0);
		for (unsigned at = 4096; at < sizeof(got); at++)
			cr_assert_eq(got[at], 0);
		close(fds[i]);
	}
	end();
}

/* ---- on an NVMe namespace that may be written over: tests/linux has one ---- */

static struct disk_files nvme_files;

static int add_nvme(struct io_worker *to, void *argument)
{
	(void)argument;
	return disk_files_add(to, uring.disk, &nvme_files);
}

static int remove_nvme(struct io_worker *from, void *argument)
{
	(void)argument;
	disk_files_remove(from, uring.disk, &nvme_files);
	return 0;
}

/* The character device as the disk, the block device as the test's own way to it. */
static void open_namespace(const char *name, bool iopoll)
{
	char path[64];
	struct disk_options options = {.path = path, .discard = true, .iopoll = iopoll};
	struct error error = ERROR_INIT;

	image_pattern(model, 0, sizeof(model), 11);
	snprintf(path, sizeof(path), "/dev/ng%s", name); /* first: refuses what is in use */
	cr_assert_eq(disk_open(&options, &uring.disk, &error), 0, "%s", error.text);
	snprintf(path, sizeof(path), "/dev/nvme%s", name);
	uring.image.fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(uring.image.fd, 0);
	cr_assert_eq(pwrite(uring.image.fd, model, DISK_BYTES, 0), (ssize_t)DISK_BYTES);
	cr_assert_eq(fsync(uring.image.fd), 0);
	uring.buffers = aligned_alloc(4096, LANES * BUFFER);
}

static void stream_on_namespace(const char *name, bool iopoll)
{
	open_namespace(name, iopoll);
	open_side(&plain, DISK_CACHE_WRITEBACK, false);
	keep_discarded = true;
	worker = test_worker("engine");
	cr_assert_eq(io_worker_call(worker, add_nvme, NULL), 0);
	sem_init(&uring.harness.done, 0, 0);
	io_source_init(&uring.harness.source, &harness_ops, -1, 0);
	cr_assert_eq(disk_channel_init(&uring.harness.channel, uring.disk, &uring.harness.source,
			     &nvme_files),
		0);
	disk_channel_use_sides(&uring.harness.channel);
	cr_assert_eq(disk_sync_channel_init(&plain.channel, plain.disk), 0);
	cr_assert_eq(io_worker_attach(worker, &uring.harness.source), 0);
	run_stream(0x7171717 + iopoll, 30);
	/* Commands so short that most requests take several, and most vectors are ragged. */
	uring.disk->nvme->pages_max = 4;
	uring.disk->nvme->bytes_max = 3 * 4096;
	run_stream(0x1717171 + iopoll, 40);
	cr_assert_gt(counter_read(&uring.harness.channel.bounces), 0, "ragged vectors were there");
	cr_assert_eq(counter_read(&uring.harness.channel.polled) > 0, iopoll);
	io_worker_detach(&uring.harness.source);
	io_worker_call(worker, remove_nvme, NULL);
	io_worker_destroy(worker);
	disk_channel_deinit(&uring.harness.channel);
	disk_channel_deinit(&plain.channel);
	disk_close(uring.disk);
	close(uring.image.fd);
	free(uring.buffers);
	close_side(&plain);
}

Test(engine_nvme, random_streams)
{
	const char *name = getenv("FASTVMM_NVME");

	if (!name)
		cr_skip_test("FASTVMM_NVME names no NVMe namespace to write over");
	stream_on_namespace(name, false);
}

Test(engine_nvme, random_streams_with_polling)
{
	const char *name = getenv("FASTVMM_NVME");

	if (!name)
		cr_skip_test("FASTVMM_NVME names no NVMe namespace to write over");
	stream_on_namespace(name, true);
}
