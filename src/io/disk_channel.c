/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which engine a disk takes and which rings of a worker that one needs:
 *
 *   files and block devices   the main ring; polled: IO_SIDE_POLLED
 *   NVMe namespaces           IO_SIDE_COMMAND; polled: IO_SIDE_COMMAND_POLLED
 *
 * And what the channels of all engines have in common.
 */
#include "io/disk_channel.h"

#include "io/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* ---- rings ---- */

/* Where the requests that are not polled go; the ring is open. */
static struct ring *ring_of(struct io_worker *worker, const struct disk *disk)
{
	return disk->nvme ? io_worker_side_ring(worker, IO_SIDE_COMMAND) : io_worker_ring(worker);
}

static enum io_side polled_side(const struct disk *disk)
{
	return disk->nvme ? IO_SIDE_COMMAND_POLLED : IO_SIDE_POLLED;
}

static void add_polled(struct io_worker *worker, struct disk *disk, struct disk_files *files)
{
	int result = io_worker_open_side(worker, polled_side(disk));

	if (result) {
		disk_stop_polling(disk, strerror(-result));
		return;
	}
	ring_add_file(io_worker_side_ring(worker, polled_side(disk)), disk->fd, &files->polled);
	files->has_polled = true;
}

int disk_files_add(struct io_worker *worker, struct disk *disk, struct disk_files *ret_files)
{
	int result = disk->nvme ? io_worker_open_side(worker, IO_SIDE_COMMAND) : 0;

	*ret_files = (struct disk_files){0};
	if (result)
		return result;
	ring_add_file(ring_of(worker, disk), disk->fd, &ret_files->file);
	ret_files->has_file = true;
	if (disk_is_polled(disk))
		add_polled(worker, disk, ret_files);
	return 0;
}

void disk_files_remove(
	struct io_worker *worker, const struct disk *disk, const struct disk_files *files)
{
	if (files->has_file)
		ring_remove_file(ring_of(worker, disk), &files->file);
	if (files->has_polled)
		ring_remove_file(io_worker_side_ring(worker, polled_side(disk)), &files->polled);
}

int disk_files_register_memory(struct io_worker *worker, const struct disk *disk,
	const struct disk_files *files, const struct guest_memory *memory)
{
	int result = ring_register_memory(ring_of(worker, disk), memory);

	if (!result && files->has_polled)
		result = ring_register_memory(
			io_worker_side_ring(worker, polled_side(disk)), memory);
	return result;
}

/* ---- channels ---- */

int disk_channel_init(struct disk_channel *channel, struct disk *disk, struct io_source *source,
	const struct disk_files *files)
{
	int result = disk->nvme ? disk_nvme_channel_init(channel, disk, source, &files->file)
	                        : disk_uring_channel_init(channel, disk, source, &files->file);

	if (!result && files->has_polled)
		disk_channel_poll(channel, &files->polled);
	return result;
}

void disk_channel_use_sides(const struct disk_channel *channel)
{
	if (channel->disk->nvme)
		io_source_use_side(channel->source, IO_SIDE_COMMAND);
	if (channel->can_poll)
		io_source_use_side(channel->source, polled_side(channel->disk));
}

int disk_channel_setup(struct disk_channel *channel, const struct disk_ops *ops, struct disk *disk,
	struct io_source *source, const struct ring_file *file)
{
	*channel = (struct disk_channel){.ops = ops, .disk = disk, .source = source};
	if (file) {
		channel->file_number = file->number;
		channel->file_flags = file->sqe_flags;
	}
	if (!disk->direct)
		return 0;
	/* Costs memory only once it is used. */
	channel->bounce = mmap(NULL, DISK_BOUNCE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (channel->bounce == MAP_FAILED) {
		channel->bounce = NULL;
		return -ENOMEM;
	}
	return 0;
}

void disk_channel_deinit(struct disk_channel *channel)
{
	if (channel->bounce)
		munmap(channel->bounce, DISK_BOUNCE);
	channel->bounce = NULL;
}

void disk_channel_poll(struct disk_channel *channel, const struct ring_file *file)
{
	channel->polled_file_number = file->number;
	channel->polled_file_flags = file->sqe_flags;
	channel->can_poll = true;
}

bool disk_take_bounce(struct disk_channel *channel, struct disk_request *request)
{
	if (channel->bounce_of && channel->bounce_of != request)
		return false;
	channel->bounce_of = request;
	return true;
}
