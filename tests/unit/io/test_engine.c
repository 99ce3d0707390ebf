/* SPDX-License-Identifier: Apache-2.0 */
/* The io_uring engine does what the plain one does: random streams to both, and single requests. */
#include "engine_pair.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Test(engine, random_streams_through_the_page_cache)
{
	engine_pair_begin(DISK_CACHE_WRITEBACK);
	engine_pair_stream(0x1234567, 300);
	engine_pair_end();
}

Test(engine, random_streams_with_direct_io)
{
	engine_pair_begin(DISK_CACHE_NONE);
	if (!pair.uring.disk->direct) {
		engine_pair_end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	engine_pair_stream(0x7654321, 150);
	cr_assert_gt(counter_read(&pair.set.channel.bounces), 0, "unaligned buffers were there");
	engine_pair_end();
}

/* Requests of more than one SQE carries, whole and ragged. */
Test(engine, random_streams_in_small_parts)
{
	engine_pair_begin(DISK_CACHE_WRITEBACK);
	pair.uring.disk->part_max = 16384;
	engine_pair_stream(0x2468ace, 100);
	engine_pair_end();
	engine_pair_begin(DISK_CACHE_NONE);
	pair.uring.disk->part_max = 16384;
	engine_pair_stream(0xeca8642, 100);
	engine_pair_end();
}

/* A file that may or may not be polled here: the streams are carried out in either case. */
Test(engine, random_streams_with_polling)
{
	engine_pair_begin_polled(-1);
	if (!pair.uring.disk->direct) {
		engine_pair_end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	engine_pair_stream(0x5151515, 150);
	cr_assert_gt(counter_read(&pair.set.channel.polled), 0);
	cr_assert_gt(counter_read(&pair.set.channel.bounces), 0);
	engine_pair_end();
}

/* A memfd cannot be polled. It stands in the polled ring for the disk: all goes to the disk. */
Test(engine, what_cannot_be_polled_is_done_without)
{
	int fd = memfd_create("unpollable", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, DISK_BYTES), 0);
	engine_pair_begin_polled(fd);
	if (!pair.uring.disk->direct) {
		engine_pair_end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	cr_assert(disk_is_polled(pair.uring.disk));
	engine_pair_stream(0x6161616, 50);
	cr_assert_not(disk_is_polled(pair.uring.disk));
	cr_assert_gt(counter_read(&pair.set.channel.polled), 0, "it was tried");
	cr_assert_leq(counter_read(&pair.set.channel.polled), LANES, "and not for long");
	engine_pair_end();
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
	engine_pair_begin(DISK_CACHE_WRITEBACK);
	set_methods(pair.uring.disk, DISK_RANGE_WRITE);
	set_methods(pair.plain.disk, DISK_RANGE_WRITE);
	engine_pair_stream(0xabcdef, 100);
	engine_pair_end();
}

/* Of long requests only the part under way is carried out; what is done in one part is done. */
Test(engine, requests_end_early_where_the_channel_is_being_stopped)
{
	const struct disk_request *request = &pair.uring.requests[0];
	uint64_t before;

	engine_pair_begin(DISK_CACHE_WRITEBACK);
	set_methods(pair.uring.disk, DISK_RANGE_WRITE);
	pair.uring.disk->part_max = 16384;
	pair.set.source.stopping = true;
	engine_pair_one(DISK_READ, 0, 16384);
	cr_assert_eq(request->result, 0);
	before = worker_stat(pair.worker, "sqes");
	engine_pair_one(DISK_READ, 0, LANE_BYTES);
	cr_assert_eq(request->result, -ECANCELED);
	engine_pair_one(DISK_WRITE_ZEROES, 0, DISK_ZEROES);
	cr_assert_eq(request->result, 0);
	engine_pair_one(DISK_WRITE_ZEROES, 0, 4 * DISK_ZEROES);
	cr_assert_eq(request->result, -ECANCELED);
	cr_assert_leq(worker_stat(pair.worker, "sqes"), before + 8,
		"three, not 33, and polls of commands");
	engine_pair_end();
}

Test(engine, reads_beyond_a_truncated_file_are_zeros)
{
	engine_pair_begin(DISK_CACHE_WRITEBACK);
	cr_assert_eq(ftruncate(pair.uring.image.fd, 10000), 0);
	cr_assert_eq(ftruncate(pair.plain.image.fd, 10000), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct engine_side *side = i ? &pair.plain : &pair.uring;

		memset(side->buffers, 0xaa, 8192);
	}
	engine_pair_one(DISK_READ, 8192, 8192);
	for (unsigned i = 0; i < 2; i++) {
		struct engine_side *side = i ? &pair.plain : &pair.uring;

		cr_assert_eq(side->requests[0].result, 0);
		cr_assert_eq(memcmp(side->buffers, pair.model + 8192, 1808), 0);
		for (unsigned at = 1808; at < 8192; at++)
			cr_assert_eq(side->buffers[at], 0);
	}
	engine_pair_end();
}

Test(engine, a_direct_read_across_the_end_too)
{
	engine_pair_begin(DISK_CACHE_NONE);
	cr_assert_eq(ftruncate(pair.uring.image.fd, 10000), 0);
	cr_assert_eq(ftruncate(pair.plain.image.fd, 10000), 0);
	memset(pair.uring.buffers, 0xaa, 8192);
	engine_pair_one(DISK_READ, 8192, 8192);
	cr_assert_eq(pair.uring.requests[0].result, 0);
	cr_assert_eq(memcmp(pair.uring.buffers, pair.model + 8192, 1808), 0);
	for (unsigned at = 1808; at < 8192; at++)
		cr_assert_eq(pair.uring.buffers[at], 0);
	engine_pair_end();
}

Test(engine, errors_come_through)
{
	engine_pair_begin(DISK_CACHE_WRITEBACK);
	/* Both files lose the right to be written to: every write gets -EBADF. */
	for (unsigned i = 0; i < 2; i++) {
		struct engine_side *side = i ? &pair.plain : &pair.uring;
		int fd = open(side->image.path, O_RDONLY | O_CLOEXEC);

		cr_assert_eq(dup2(fd, side->disk->fd), side->disk->fd);
		close(fd);
	}
	engine_pair_add_file();
	pair.set.channel.file_number = pair.file.number;
	engine_pair_one(DISK_WRITE, 0, 4096);
	cr_assert_eq(pair.uring.requests[0].result, -EBADF);
	cr_assert_eq(pair.plain.requests[0].result, -EBADF);
	engine_pair_one(DISK_WRITE_ZEROES, 0, 4096);
	cr_assert_eq(pair.uring.requests[0].result, -EBADF);
	cr_assert_eq(pair.plain.requests[0].result, -EBADF);
	engine_pair_one(DISK_READ, 4096, 4096);
	cr_assert_eq(pair.uring.requests[0].result, 0);
	engine_pair_end();
}

Test(engine, flush_of_an_unsafe_disk_does_nothing)
{
	uint64_t before;

	engine_pair_begin(DISK_CACHE_UNSAFE);
	before = worker_stat(pair.worker, "sqes");
	engine_pair_one(DISK_FLUSH, 0, 0);
	cr_assert_eq(pair.uring.requests[0].result, 0);
	cr_assert_leq(
		worker_stat(pair.worker, "sqes"), before + 1, "no more than the command's poll");
	engine_pair_end();
}

/* A file system without ZERO_RANGE: a memfd has PUNCH_HOLE alone. */
Test(engine, unsupported_zeroing_falls_back_to_writing)
{
	int fds[2];

	engine_pair_begin(DISK_CACHE_WRITEBACK);
	for (unsigned i = 0; i < 2; i++) {
		struct engine_side *side = i ? &pair.plain : &pair.uring;

		fds[i] = memfd_create("disk", MFD_CLOEXEC);
		cr_assert_eq(ftruncate(fds[i], DISK_BYTES), 0);
		cr_assert_eq(pwrite(fds[i], pair.model, MIB, 0), MIB);
		cr_assert_eq(dup2(fds[i], side->disk->fd), side->disk->fd);
	}
	engine_pair_add_file();
	pair.set.channel.file_number = pair.file.number;
	engine_pair_one(DISK_WRITE_ZEROES, 4096, 65536);
	for (unsigned i = 0; i < 2; i++) {
		struct engine_side *side = i ? &pair.plain : &pair.uring;
		char got[3 * 4096];

		cr_assert_eq(side->requests[0].result, 0);
		cr_assert_eq(atomic_load(&side->disk->zero_method), DISK_RANGE_WRITE);
		cr_assert_eq(pread(fds[i], got, sizeof(got), 0), (ssize_t)sizeof(got));
		cr_assert_eq(memcmp(got, pair.model, 4096), 0);
		for (unsigned at = 4096; at < sizeof(got); at++)
			cr_assert_eq(got[at], 0);
		close(fds[i]);
	}
	engine_pair_end();
}
