/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in the rings of a worker, and the channel of the engine that suits it. For users of disks
 * (io/blk_queue.c, io/blk_device.c); the engines themselves are behind io/disk.h.
 */
#pragma once

#include "io/disk.h"
#include "io/ring.h"

#include <stdbool.h>

struct guest_memory;
struct io_worker;

/* A disk's file in the rings of one worker; a zeroed one is in none. */
struct disk_files {
	struct ring_file file;
	struct ring_file polled; /* where reads and writes are polled for */
	bool has_file;
	bool has_polled;
};

/*
 * Brings the file of @disk into the rings of @worker that it needs, and makes those that are not
 * there. A polled ring that cannot be made ends the disk's polling; for the other ones that is a
 * negative errno. The file stays open until disk_files_remove(). Owner of @worker.
 */
int disk_files_add(struct io_worker *worker, struct disk *disk, struct disk_files *ret_files);
void disk_files_remove(
	struct io_worker *worker, const struct disk *disk, const struct disk_files *files);

/* ring_register_memory() for those rings; not for NVMe namespaces. Owner of @worker. */
int disk_files_register_memory(struct io_worker *worker, const struct disk *disk,
	const struct disk_files *files, const struct guest_memory *memory);

/*
 * A channel of the engine for @disk, whose requests go through @source's worker. @source and @files
 * stay until disk_channel_deinit(). Returns 0 or -ENOMEM. Any thread.
 */
int disk_channel_init(struct disk_channel *channel, struct disk *disk, struct io_source *source,
	const struct disk_files *files);

/*
 * Tells the channel's source which rings it uses: after io_source_init(), before
 * io_worker_attach(). Any thread.
 */
void disk_channel_use_sides(const struct disk_channel *channel);
