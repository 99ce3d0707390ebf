/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plain engine: blocking system calls, one request at a time, in straight lines. It is the
 * fallback for whoever has no io_uring at hand, and the oracle that the io_uring engine is tested
 * against; so it shares nothing with that one but the helpers of disk.c. On a direct disk all data
 * goes through the aligned buffer.
 */
#include "io/disk.h"
#include "io/iov.h"
#include "util/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One transfer of the request's front. Returns bytes or negative errno. */
static ssize_t transfer_once(struct disk_channel *channel, struct disk_request *request)
{
	bool write = request->op == DISK_WRITE;
	off_t offset = (off_t)(request->offset + request->done);
	unsigned count = min_of(request->iov_count, (unsigned)IOV_MAX);
	size_t part = min_of(request->length - request->done, (uint64_t)DISK_BOUNCE);
	int fd = channel->disk->fd;
	ssize_t moved;

	if (!channel->bounce) {
		moved = write ? pwritev(fd, request->iov, (int)count, offset)
		              : preadv(fd, request->iov, (int)count, offset);
		return moved < 0 ? -errno : moved;
	}
	if (write)
		iov_gather(channel->bounce, part, request->iov, request->iov_count);
	moved = write ? pwrite(fd, channel->bounce, part, offset)
	              : pread(fd, channel->bounce, part, offset);
	if (moved < 0)
		return -errno;
	if (!write)
		iov_scatter(request->iov, request->iov_count, channel->bounce, (size_t)moved);
	counter_add(&channel->bounces, 1);
	return moved;
}

static int transfer(struct disk_channel *channel, struct disk_request *request)
{
	while (request->done < request->length) {
		ssize_t moved = transfer_once(channel, request);

		if (moved == -EINTR)
			continue;
		if (moved < 0)
			return (int)moved;
		if (moved == 0 && request->op == DISK_WRITE)
			return -ENOSPC;
		if (moved == 0) {
			/* The file got shorter than the disk: what is missing reads as zeros. */
			iov_zero(request->iov, request->iov_count);
			return 0;
		}
		iov_consume(&request->iov, &request->iov_count, (size_t)moved);
		request->done += (uint64_t)moved;
	}
	return 0;
}

static int write_zeroes(struct disk_channel *channel, const struct disk_request *request)
{
	uint64_t done = 0;

	while (done < request->length) {
		size_t part = min_of(request->length - done, (uint64_t)DISK_ZEROES);
		ssize_t moved = pwrite(channel->disk->fd, channel->disk->zeroes, part,
			(off_t)(request->offset + done));

		if (moved < 0 && errno != EINTR)
			return -errno;
		if (moved == 0)
			return -ENOSPC;
		if (moved > 0)
			done += (uint64_t)moved;
	}
	return 0;
}

static int range_once(struct disk_channel *channel, const struct disk_request *request)
{
	uint64_t range[2] = {request->offset, request->length};
	int fd = channel->disk->fd;

	if (request->method == DISK_RANGE_WRITE)
		return request->op == DISK_DISCARD ? 0 : write_zeroes(channel, request);
	if (request->method == DISK_RANGE_URING_CMD)
		return ioctl(fd, BLKDISCARD, range) ? -errno : 0;
	return fallocate(fd, disk_range_fallocate_mode(request->method), (off_t)request->offset,
		       (off_t)request->length)
	               ? -errno
	               : 0;
}

static int range(struct disk_channel *channel, struct disk_request *request)
{
	int result;

	if (!request->length)
		return 0;
	request->method = (uint8_t)disk_range_first(channel->disk, request);
	do {
		result = range_once(channel, request);
	} while (result == -EINTR || disk_range_step_down(channel->disk, request, result));
	return result;
}

static int flush(const struct disk_channel *channel)
{
	if (channel->disk->cache == DISK_CACHE_UNSAFE)
		return 0;
	return disk_sync(channel->disk);
}

static int run(struct disk_channel *channel, struct disk_request *request)
{
	int result;

	switch (request->op) {
	case DISK_READ:
		return transfer(channel, request);
	case DISK_WRITE:
		result = transfer(channel, request);
		break;
	case DISK_FLUSH:
		return flush(channel);
	default:
		result = range(channel, request);
		break;
	}
	return result || !request->durable ? result : flush(channel);
}

static enum disk_progress sync_submit(struct disk_channel *channel, struct disk_request *request)
{
	request->done = 0;
	request->result = run(channel, request);
	return DISK_DONE;
}

static const struct disk_ops disk_sync_ops = {
	.name = "sync",
	.submit = sync_submit,
};

int disk_sync_channel_init(struct disk_channel *channel, struct disk *disk)
{
	return disk_channel_setup(channel, &disk_sync_ops, disk, NULL, NULL);
}
