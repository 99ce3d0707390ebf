/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine. A request is carried by one SQE at a time: the first covers all of it, and
 * only what is left undone (a transfer longer than one SQE may be, or cut short by the kernel, an
 * interrupted call, a method that the file does not have, the flush that makes a range operation
 * durable) takes another. The state between two SQEs is in the disk_request, so nothing is ever
 * allocated.
 *
 * Single-segment transfers are READ and WRITE, which spare the kernel the import of an iovec;
 * buffers in registered memory take the FIXED opcodes. A durable write carries RWF_DSYNC, which
 * direct I/O turns into a FUA write where the device has it. Unaligned buffers on a direct disk go
 * through the channel's one aligned buffer, piece by piece; a second such request waits its turn.
 *
 * Reads and writes of a polled disk take the worker's polled ring. Where that refuses the file, the
 * disk is not polled any more, and the request starts again from where it was, on the main ring.
 */
#include "io/disk.h"
#include "io/iov.h"
#include "io/ring.h"
#include "io/worker.h"
#include "util/checked.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define RETRIES_MAX      100
#define LONE_BACKOFF_MAX 127u

/* ---- SQEs ---- */

static struct io_uring_sqe *new_sqe(
	struct disk_channel *channel, const struct disk_request *request)
{
	struct io_uring_sqe *sqe = io_source_sqe(channel->source, request->tag);

	if (likely(sqe)) {
		sqe->fd = channel->file_number;
		sqe->flags = channel->file_flags;
	}
	return sqe;
}

/* An SQE for a read or a write. What is tried again goes by the main ring, which can wait. */
static struct io_uring_sqe *transfer_sqe(struct disk_channel *channel, struct disk_request *request)
{
	struct io_uring_sqe *sqe;

	if (likely(!disk_takes_polled(channel, request)))
		return new_sqe(channel, request);
	sqe = io_source_side_sqe(channel->source, IO_SIDE_POLLED, request->tag);
	if (likely(sqe)) {
		sqe->fd = channel->polled_file_number;
		sqe->flags = channel->polled_file_flags;
		counter_add(&channel->polled, 1);
	}
	return sqe;
}

/* Where the request's SQE is. */
static const struct ring *ring_of(
	const struct disk_channel *channel, const struct disk_request *request)
{
	struct io_worker *worker = channel->source->worker;

	return unlikely(request->polled) ? io_worker_side_ring(worker, IO_SIDE_POLLED)
	                                 : io_worker_ring(worker);
}

/*
 * Writes into the page cache are copied from the guest's pages in one go, from registered ones page
 * by page, which is slower; everything else is faster with registered memory
 * (docs/decisions/fixed-buffers.md).
 */
static bool takes_fixed_buffers(
	const struct disk_channel *channel, const struct disk_request *request)
{
	return channel->fixed_buffers && (channel->disk->direct || request->op == DISK_READ);
}

static void fill_single(struct disk_channel *channel, struct io_uring_sqe *sqe,
	const struct disk_request *request, const struct iovec *iov)
{
	bool write = request->op == DISK_WRITE;
	int index = -1;

	sqe->opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
	sqe->addr = (uintptr_t)iov->iov_base;
	sqe->len = (uint32_t)min_of(iov->iov_len, (size_t)channel->disk->part_max);
	if (takes_fixed_buffers(channel, request))
		index = ring_buffer_index(ring_of(channel, request), iov->iov_base, sqe->len);
	if (index >= 0) {
		sqe->opcode = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
		sqe->buf_index = (uint16_t)index;
	}
}

/* The one registered piece that holds the first @segments, or -1. */
static int common_buffer(
	const struct disk_channel *channel, const struct disk_request *request, unsigned segments)
{
	const struct ring *ring = ring_of(channel, request);
	const struct iovec *iov = request->iov;
	int index;

	if (!takes_fixed_buffers(channel, request) || !ring->features.op_vectored_fixed)
		return -1;
	index = ring_buffer_index(ring, iov[0].iov_base, iov[0].iov_len);
	for (unsigned i = 1; i < segments && index >= 0; i++) {
		if (ring_buffer_index(ring, iov[i].iov_base, iov[i].iov_len) != index)
			return -1;
	}
	return index;
}

/* True where the segments are more than one SQE carries, and have to be cut for it. */
static bool exceeds_part(const struct disk_channel *channel, const struct disk_request *request)
{
	return unlikely(request->length - request->done > channel->disk->part_max) &&
	       request->iov_count > 1 && !request->bounced;
}

static void fill_vector(
	struct disk_channel *channel, struct io_uring_sqe *sqe, const struct disk_request *request)
{
	bool write = request->op == DISK_WRITE;
	unsigned segments = request->iov_count;
	int index;

	if (exceeds_part(channel, request))
		segments = iov_cut(request->iov, segments, channel->disk->part_max);
	index = common_buffer(channel, request, segments);
	sqe->opcode = write ? IORING_OP_WRITEV : IORING_OP_READV;
	sqe->addr = (uintptr_t)request->iov;
	sqe->len = segments;
	if (index >= 0) {
		sqe->opcode = write ? URING_OP_WRITEV_FIXED : URING_OP_READV_FIXED;
		sqe->buf_index = (uint16_t)index;
	}
}

/* ---- reads and writes ---- */

static struct iovec bounce_part(struct disk_channel *channel, const struct disk_request *request)
{
	struct iovec part = {
		.iov_base = channel->bounce,
		.iov_len = min_of(request->length - request->done, (uint64_t)DISK_BOUNCE),
	};

	if (request->op == DISK_WRITE)
		iov_gather(channel->bounce, part.iov_len, request->iov, request->iov_count);
	counter_add(&channel->bounces, 1);
	return part;
}

/*
 * A lone read of a page that the host has costs less as a plain call that may not block than by way
 * of the ring, which would be entered for it alone: it is one system call either way. Where the
 * page is not there the ring takes over, and the next tries become rarer. The figures are in
 * docs/decisions/io-nowait.md.
 */
static ssize_t read_lone(struct disk_channel *channel, struct disk_request *request)
{
	ssize_t bytes;

	if (channel->lone_skip) {
		channel->lone_skip--;
		return -EAGAIN;
	}
	bytes = preadv2(channel->disk->fd, request->iov, (int)request->iov_count,
		(off_t)request->offset, RWF_NOWAIT);
	io_source_count_syscalls(channel->source, 1);
	if (likely(bytes > 0)) {
		channel->lone_backoff = 0;
		return bytes;
	}
	channel->lone_backoff = (uint8_t)min_of(2u * channel->lone_backoff + 1, LONE_BACKOFF_MAX);
	channel->lone_skip = channel->lone_backoff;
	return -EAGAIN;
}

static enum disk_progress submit_transfer(
	struct disk_channel *channel, struct disk_request *request)
{
	struct io_uring_sqe *sqe;
	struct iovec part;

	if (unlikely(request->done == request->length))
		return disk_finish(channel, request, 0);
	if (unlikely(request->bounced) && !disk_take_bounce(channel, request))
		return DISK_WAIT;
	sqe = transfer_sqe(channel, request);
	if (unlikely(!sqe))
		return DISK_WAIT;
	sqe->off = request->offset + request->done;
	if (request->op == DISK_WRITE && request->durable)
		sqe->rw_flags = RWF_DSYNC;
	if (unlikely(request->bounced)) {
		part = bounce_part(channel, request);
		fill_single(channel, sqe, request, &part);
	} else if (likely(request->iov_count == 1)) {
		fill_single(channel, sqe, request, request->iov);
	} else {
		fill_vector(channel, sqe, request);
	}
	return DISK_STARTED;
}

/* The file ends here: QEMU and every other VMM pads reads with zeros and refuses writes. */
static enum disk_progress end_of_file(struct disk_channel *channel, struct disk_request *request)
{
	if (request->op == DISK_WRITE)
		return disk_finish(channel, request, -ENOSPC);
	iov_zero(request->iov, request->iov_count);
	return disk_finish(channel, request, 0);
}

/* The segments become what is left behind the first @bytes. */
static void consume(struct disk_channel *channel, struct disk_request *request, size_t bytes)
{
	size_t left = request->length - request->done;

	if (exceeds_part(channel, request))
		iov_uncut(request->iov, request->iov_count, channel->disk->part_max,
			left - iov_bytes(request->iov, request->iov_count));
	iov_consume(&request->iov, &request->iov_count, bytes);
	request->done += bytes;
}

static enum disk_progress transferred(
	struct disk_channel *channel, struct disk_request *request, size_t bytes)
{
	if (request->bounced && request->op == DISK_READ)
		iov_scatter(request->iov, request->iov_count, channel->bounce, bytes);
	if (likely(request->done + bytes >= request->length))
		return disk_finish(channel, request, 0);
	if (unlikely(channel->source->stopping))
		return disk_finish(channel, request, -ECANCELED);
	consume(channel, request, bytes);
	request->retries = 0;
	/* A direct read ends within a sector only at the end of the file; it cannot go on there. */
	if (!bytes || (channel->disk->direct && bytes % channel->disk->length_align))
		return end_of_file(channel, request);
	request->bounced = request->bounced || disk_needs_bounce(channel->disk, request);
	return submit_transfer(channel, request);
}

static enum disk_progress transfer_failed(
	struct disk_channel *channel, struct disk_request *request, int error)
{
	if (!request->polled || error != -EOPNOTSUPP)
		return disk_finish(channel, request, error);
	disk_stop_polling(channel->disk, "its file system or driver cannot be polled");
	return submit_transfer(channel, request);
}

/* ---- flush, discard, write zeroes ---- */

static enum disk_progress submit_flush(struct disk_channel *channel, struct disk_request *request)
{
	struct io_uring_sqe *sqe;

	if (channel->disk->cache == DISK_CACHE_UNSAFE)
		return disk_finish(channel, request, 0);
	sqe = new_sqe(channel, request);
	if (!sqe)
		return DISK_WAIT;
	sqe->opcode = IORING_OP_FSYNC;
	sqe->fsync_flags = IORING_FSYNC_DATASYNC;
	return DISK_STARTED;
}

static void fill_range(
	struct disk_channel *channel, struct io_uring_sqe *sqe, const struct disk_request *request)
{
	switch (request->method) {
	case DISK_RANGE_URING_CMD:
		sqe->opcode = IORING_OP_URING_CMD;
		sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
		sqe->addr = request->offset;
		sqe->addr3 = request->length;
		break;
	case DISK_RANGE_WRITE:
		sqe->opcode = IORING_OP_WRITE;
		sqe->off = request->offset + request->done;
		sqe->addr = (uintptr_t)channel->disk->zeroes;
		sqe->len = (uint32_t)min_of(request->length - request->done, (uint64_t)DISK_ZEROES);
		break;
	default:
		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->off = request->offset;
		sqe->addr = request->length;
		sqe->len = (uint32_t)disk_range_fallocate_mode(request->method);
		break;
	}
}

static enum disk_progress range_done(struct disk_channel *channel, struct disk_request *request)
{
	if (!request->durable)
		return disk_finish(channel, request, 0);
	request->syncing = true;
	return submit_flush(channel, request);
}

static enum disk_progress submit_range(struct disk_channel *channel, struct disk_request *request)
{
	struct io_uring_sqe *sqe;

	if (request->syncing)
		return submit_flush(channel, request);
	if (request->done == request->length)
		return range_done(channel, request);
	if (request->op == DISK_DISCARD && request->method == DISK_RANGE_WRITE)
		return range_done(channel, request); /* a host that cannot discard keeps the data */
	sqe = new_sqe(channel, request);
	if (!sqe)
		return DISK_WAIT;
	fill_range(channel, sqe, request);
	return DISK_STARTED;
}

static enum disk_progress range_completed(
	struct disk_channel *channel, struct disk_request *request, int32_t result)
{
	if (result < 0) {
		if (!disk_range_step_down(channel->disk, request, result))
			return disk_finish(channel, request, result);
	} else if (request->method != DISK_RANGE_WRITE) {
		request->done = request->length;
	} else if (result == 0) {
		return disk_finish(channel, request, -ENOSPC);
	} else {
		request->done += (uint32_t)result;
	}
	if (unlikely(channel->source->stopping) && request->done < request->length)
		return disk_finish(channel, request, -ECANCELED);
	return submit_range(channel, request);
}

/* ---- the engine ---- */

static enum disk_progress resume(struct disk_channel *channel, struct disk_request *request)
{
	switch (request->op) {
	case DISK_READ:
	case DISK_WRITE:
		return submit_transfer(channel, request);
	case DISK_FLUSH:
		return submit_flush(channel, request);
	default:
		return submit_range(channel, request);
	}
}

static enum disk_progress start_lone(struct disk_channel *channel, struct disk_request *request)
{
	ssize_t bytes = read_lone(channel, request);

	return bytes < 0 ? submit_transfer(channel, request)
	                 : transferred(channel, request, (size_t)bytes);
}

static enum disk_progress uring_submit(struct disk_channel *channel, struct disk_request *request)
{
	if (!request->started) {
		disk_begin(request);
		if (likely(request->op <= DISK_WRITE))
			request->bounced = disk_needs_bounce(channel->disk, request);
		else if (request->op != DISK_FLUSH)
			request->method = (uint8_t)disk_range_first(channel->disk, request);
		if (channel->lone && request->op == DISK_READ && !channel->disk->direct &&
			request->length && request->length <= channel->disk->part_max)
			return start_lone(channel, request);
	}
	return resume(channel, request);
}

static enum disk_progress uring_complete(
	struct disk_channel *channel, struct disk_request *request, int32_t result)
{
	if (unlikely(result == -EINTR || result == -EAGAIN)) {
		if (++request->retries > RETRIES_MAX)
			return disk_finish(channel, request, result);
		return DISK_WAIT; /* the next turn, not this one: give the host a moment */
	}
	if (likely(request->op <= DISK_WRITE)) {
		if (unlikely(result < 0))
			return transfer_failed(channel, request, result);
		return transferred(channel, request, (size_t)result);
	}
	if (request->op == DISK_FLUSH || request->syncing)
		return disk_finish(channel, request, result < 0 ? result : 0);
	return range_completed(channel, request, result);
}

static const struct disk_ops disk_uring_ops = {
	.name = "io_uring",
	.submit = uring_submit,
	.complete = uring_complete,
};

int disk_uring_channel_init(struct disk_channel *channel, struct disk *disk,
	struct io_source *source, const struct ring_file *file)
{
	return disk_channel_setup(channel, &disk_uring_ops, disk, source, file);
}
