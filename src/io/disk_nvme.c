/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of a disk on an NVMe namespace: requests become NVMe commands, which io_uring passes
 * through to the controller (IORING_OP_URING_CMD) past the block layer. Commands travel in a ring
 * of the worker's with large SQEs; reads and writes of a polled disk in a second one of that kind.
 *
 * A request is carried by one command at a time. A command does all or nothing, so what it covers
 * follows from the request: as much of the rest as the namespace's bounds allow. The next one
 * continues where it ended; where it failed for a reason that passes, the same one goes out again.
 *
 * The kernel hands the guest's pages to the controller as they are, and copies where a segment does
 * not begin and end with a page. Segments in more pieces than one command may have go through the
 * channel's aligned buffer, piece by piece. The list of ranges for a deallocation is put there too.
 *
 * A guest has no part in a command but its place and length, which have been checked against the
 * disk by then; what kinds of command there are, this file says.
 */
#include "io/disk.h"
#include "io/iov.h"
#include "io/nvme_namespace.h"
#include "io/ring.h"
#include "io/worker.h"
#include "util/checked.h"

#include <errno.h>
#include <string.h>

#define RETRIES_MAX 100
#define PAGE        4096u

static struct nvme_uring_cmd *new_command(
	struct disk_channel *channel, const struct disk_request *request, uint32_t kind)
{
	enum io_side side = request->polled ? IO_SIDE_COMMAND_POLLED : IO_SIDE_COMMAND;
	struct io_uring_sqe *sqe = io_source_side_sqe(channel->source, side, request->tag);

	if (unlikely(!sqe))
		return NULL;
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->cmd_op = kind;
	sqe->fd = request->polled ? channel->polled_file_number : channel->file_number;
	sqe->flags = request->polled ? channel->polled_file_flags : channel->file_flags;
	counter_add(&channel->polled, request->polled);
	return (struct nvme_uring_cmd *)sqe->cmd;
}

static uint64_t left_of(const struct disk_request *request)
{
	return request->length - request->done;
}

/* ---- reads and writes ---- */

/* What the request's next, or present, command transfers. */
static uint32_t part_of(const struct disk_channel *channel, const struct disk_request *request)
{
	uint64_t part = min_of(left_of(request), (uint64_t)channel->disk->nvme->bytes_max);

	return (uint32_t)(request->bounced ? min_of(part, (uint64_t)DISK_BOUNCE) : part);
}

/* True where the front of the segments touches more pages than one command may. */
static bool is_ragged(
	const struct nvme_namespace *nvme, const struct disk_request *request, size_t part)
{
	size_t pages = 0;

	for (unsigned i = 0; i < request->iov_count && part; i++) {
		size_t length = min_of(request->iov[i].iov_len, part);
		size_t shift = (uintptr_t)request->iov[i].iov_base % PAGE;

		pages += (shift + length + PAGE - 1) / PAGE;
		part -= length;
	}
	return pages > nvme->pages_max;
}

static void fill_buffer(struct disk_channel *channel, struct nvme_uring_cmd *command,
	struct disk_request *request, uint32_t part)
{
	command->addr = (uintptr_t)request->iov->iov_base;
	command->data_len = part;
	if (unlikely(request->bounced)) {
		if (request->op == DISK_WRITE)
			iov_gather(channel->bounce, part, request->iov, request->iov_count);
		command->addr = (uintptr_t)channel->bounce;
		counter_add(&channel->bounces, 1);
	}
}

static enum disk_progress submit_transfer(
	struct disk_channel *channel, struct disk_request *request)
{
	const struct nvme_namespace *nvme = channel->disk->nvme;
	uint32_t part = part_of(channel, request);
	bool write = request->op == DISK_WRITE;
	struct nvme_uring_cmd *command;
	unsigned segments;

	if (unlikely(!part))
		return disk_finish(channel, request, 0);
	if (!request->bounced && request->iov_count > 1)
		request->bounced = is_ragged(nvme, request, part);
	if (unlikely(request->bounced) && !disk_take_bounce(channel, request))
		return DISK_WAIT;
	part = part_of(channel, request);
	segments = request->bounced ? 1 : iov_cut(request->iov, request->iov_count, part);
	disk_takes_polled(channel, request);
	command = new_command(
		channel, request, segments > 1 ? NVME_URING_CMD_IO_VEC : NVME_URING_CMD_IO);
	if (unlikely(!command))
		return DISK_WAIT;
	nvme_command_transfer(command, &nvme->target, write, write && request->durable,
		request->offset + request->done, part);
	if (segments > 1) {
		command->addr = (uintptr_t)request->iov;
		command->data_len = segments;
	} else {
		fill_buffer(channel, command, request, part);
	}
	return DISK_STARTED;
}

static enum disk_progress transferred(struct disk_channel *channel, struct disk_request *request)
{
	uint32_t part = part_of(channel, request);

	if (unlikely(request->bounced) && request->op == DISK_READ)
		iov_scatter(request->iov, request->iov_count, channel->bounce, part);
	if (likely(part == left_of(request)))
		return disk_finish(channel, request, 0);
	if (unlikely(channel->source->stopping))
		return disk_finish(channel, request, -ECANCELED);
	/* What the segments lack of what is left is what iov_cut() took from one of them. */
	iov_uncut(request->iov, request->iov_count, part,
		left_of(request) - iov_bytes(request->iov, request->iov_count));
	iov_consume(&request->iov, &request->iov_count, part);
	request->done += part;
	request->retries = 0;
	return submit_transfer(channel, request);
}

/* ---- flush, discard, write zeroes ---- */

static enum disk_progress submit_flush(struct disk_channel *channel, struct disk_request *request)
{
	struct nvme_uring_cmd *command;

	/* The kernel may count a flush among the writes, which a read-only file does not allow. */
	if (channel->disk->cache == DISK_CACHE_UNSAFE || channel->disk->readonly)
		return disk_finish(channel, request, 0);
	command = new_command(channel, request, NVME_URING_CMD_IO);
	if (!command)
		return DISK_WAIT;
	nvme_command_flush(command, &channel->disk->nvme->target);
	return DISK_STARTED;
}

/* What the next, or present, command of a discard or write zeroes covers. */
static uint64_t range_part_of(
	const struct disk_channel *channel, const struct disk_request *request)
{
	const struct nvme_namespace *nvme = channel->disk->nvme;
	uint64_t zeroes;

	if (request->op == DISK_DISCARD)
		return min_of(left_of(request), nvme->discard_max);
	if (request->method != DISK_RANGE_WRITE)
		return min_of(left_of(request), nvme->zeroes_max);
	zeroes = min_of(nvme->bytes_max, DISK_ZEROES);
	return min_of(left_of(request), zeroes);
}

static void fill_range(struct disk_channel *channel, struct nvme_uring_cmd *command,
	const struct disk_request *request)
{
	const struct nvme_namespace *nvme = channel->disk->nvme;
	uint64_t offset = request->offset + request->done;
	uint64_t part = range_part_of(channel, request);
	bool unmap = request->unmap && channel->disk->discard && nvme->zeroes_deallocate;

	if (request->op == DISK_DISCARD) {
		nvme_command_deallocate(
			command, &nvme->target, (struct nvme_range *)channel->bounce, offset, part);
	} else if (request->method != DISK_RANGE_WRITE) {
		nvme_command_write_zeroes(
			command, &nvme->target, request->durable, unmap, offset, part);
	} else {
		nvme_command_transfer(command, &nvme->target, true, request->durable, offset, part);
		command->addr = (uintptr_t)channel->disk->zeroes;
		command->data_len = (uint32_t)part;
	}
}

/* Zeroes are durable by themselves; a deallocation is by the flush after it. */
static enum disk_progress range_done(struct disk_channel *channel, struct disk_request *request)
{
	if (!request->durable || request->op != DISK_DISCARD || !request->done)
		return disk_finish(channel, request, 0);
	request->syncing = true;
	return submit_flush(channel, request);
}

static enum disk_progress submit_range(struct disk_channel *channel, struct disk_request *request)
{
	struct nvme_uring_cmd *command;

	if (request->syncing)
		return submit_flush(channel, request);
	if (!left_of(request))
		return range_done(channel, request);
	if (request->op == DISK_DISCARD) {
		if (request->method == DISK_RANGE_WRITE)
			return range_done(channel, request); /* the data stays */
		if (!disk_take_bounce(channel, request))
			return DISK_WAIT;
	}
	command = new_command(channel, request, NVME_URING_CMD_IO);
	if (!command)
		return DISK_WAIT;
	fill_range(channel, command, request);
	return DISK_STARTED;
}

static enum disk_progress range_completed(
	struct disk_channel *channel, struct disk_request *request, int result)
{
	if (result && !disk_range_step_down(channel->disk, request, result))
		return disk_finish(channel, request, result);
	if (!result)
		request->done += range_part_of(channel, request);
	request->retries = 0;
	if (unlikely(channel->source->stopping) && left_of(request))
		return disk_finish(channel, request, -ECANCELED);
	return submit_range(channel, request);
}

/* ---- the engine ---- */

static enum disk_progress nvme_submit(struct disk_channel *channel, struct disk_request *request)
{
	if (!request->started) {
		disk_begin(request);
		if (request->op > DISK_FLUSH)
			request->method = (uint8_t)disk_range_first(channel->disk, request);
	}
	if (likely(request->op <= DISK_WRITE))
		return submit_transfer(channel, request);
	return request->op == DISK_FLUSH ? submit_flush(channel, request)
	                                 : submit_range(channel, request);
}

static enum disk_progress nvme_complete(
	struct disk_channel *channel, struct disk_request *request, int32_t result)
{
	int error = nvme_status_errno(result);

	if (unlikely(error == -EINTR || error == -EAGAIN)) {
		if (++request->retries > RETRIES_MAX)
			return disk_finish(channel, request, -EIO);
		return DISK_WAIT;
	}
	/* Not the controller but the kernel does not know how to poll for commands. */
	if (unlikely(request->polled && result == -EOPNOTSUPP)) {
		disk_stop_polling(channel->disk, "its driver cannot be polled for commands");
		return submit_transfer(channel, request);
	}
	if (request->op > DISK_FLUSH && !request->syncing)
		return range_completed(channel, request, error);
	if (unlikely(error) || request->op >= DISK_FLUSH)
		return disk_finish(channel, request, error);
	return transferred(channel, request);
}

static const struct disk_ops disk_nvme_ops = {
	.name = "nvme",
	.submit = nvme_submit,
	.complete = nvme_complete,
};

int disk_nvme_channel_init(struct disk_channel *channel, struct disk *disk,
	struct io_source *source, const struct ring_file *file)
{
	return disk_channel_setup(channel, &disk_nvme_ops, disk, source, file);
}
