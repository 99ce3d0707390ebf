/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's backend: a file, a block device or an NVMe namespace's character device, opened and
 * locked, and the requests that an engine carries out on it.
 *
 * struct disk is what all queues share and, but for the atomics in it, constant after
 * disk_open(). A struct disk_channel is one queue's way to it, owned by that queue's worker. An
 * engine (io_uring, NVMe commands, or plain blocking calls) is a set of disk_ops on channels.
 * Whatever the engine and the host's file system, a request that succeeds has done exactly what it
 * says: the engines finish short transfers, retry what was interrupted, go through an aligned
 * buffer where O_DIRECT would refuse the guest's, and write zeros where the host cannot zero a
 * range.
 */
#pragma once

#include "util/counter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk_channel;
struct error;
struct io_source;
struct nvme_namespace;
struct ring_file;

#define DISK_SECTOR 512u

/* What the host's cache may keep: see docs; the names are those of --disk cache=. */
enum disk_cache {
	DISK_CACHE_NONE,      /* O_DIRECT where the file allows it; flush reaches the disk */
	DISK_CACHE_WRITEBACK, /* through the host's page cache; flush reaches the disk */
	DISK_CACHE_UNSAFE,    /* page cache, flush does nothing: data is lost if the host fails */
};

struct disk_options {
	const char *path;
	enum disk_cache cache;
	bool readonly;
	bool discard; /* give discarded ranges back to the host */
	bool iopoll;  /* poll for completions of reads and writes; for DISK_CACHE_NONE */
};

/*
 * How ranges are zeroed or dropped; an engine steps down where the host refuses. For the engine of
 * NVMe commands, all but the last are one: the command for it.
 */
enum disk_range_method {
	DISK_RANGE_URING_CMD, /* discard of a block device by io_uring command */
	DISK_RANGE_PUNCH,     /* fallocate(PUNCH_HOLE | KEEP_SIZE) */
	DISK_RANGE_ZERO,      /* fallocate(ZERO_RANGE | KEEP_SIZE) */
	DISK_RANGE_WRITE,     /* write zeros (a discard: do nothing) */
};

/* Read-only after disk_open() but for the atomics. */
struct disk {
	char *path;
	int fd;
	bool readonly;
	bool block_device;
	struct nvme_namespace *nvme; /* the file is that of a namespace; NULL: it is not */
	bool direct;                 /* O_DIRECT is on, or there is no cache to go past */
	bool discard;
	enum disk_cache cache;
	uint32_t logical_block;  /* bytes, 512 to 64 KiB; what requests must be multiples of */
	uint32_t physical_block; /* bytes, at least logical_block */
	uint32_t optimal_io;     /* bytes, 0: not known */
	uint32_t memory_align;   /* of buffers, where direct; else 1 */
	uint32_t length_align;   /* of each buffer's length, where direct; else 1 */
	uint32_t part_max;       /* bytes that one SQE, or NVMe command, carries at most */
	void *zeroes;          /* DISK_ZEROES bytes of zeros, aligned, of no memory of their own */
	_Atomic uint64_t size; /* bytes; disk_refresh_size() writes it, anyone reads it */
	_Atomic bool polled;   /* reads and writes go by a polled ring; disk_stop_polling() */
	/* enum disk_range_method; any worker steps them down, all see it sooner or later. */
	_Atomic int discard_method;
	_Atomic int unmap_method;
	_Atomic int zero_method;
};

#define DISK_ZEROES (1u << 20)

/*
 * part_max but for NVMe namespaces: more than a driver's requests usually are, a multiple of any
 * logical block, and little enough for a worker that copies it from the host's page cache at once
 * while its other sources wait.
 */
#define DISK_PART_MAX (2u << 20)

/*
 * Opens, checks and locks. Returns 0, or negative errno with a line in @error that names the
 * path: -ENOENT, -EISDIR, -EINVAL (nothing that can be a disk; size not a multiple of 512; options
 * that do not fit), -ENODATA (empty), -EACCES, -EROFS, -EBUSY (locked by another instance, or a
 * mounted block device), -ENOTSUP (the format of an NVMe namespace). Main thread; the caller
 * destroys the disk after its channels are gone.
 */
int disk_open(const struct disk_options *options, struct disk **ret_disk, struct error *error);

/* Unlocks and closes. Accepts NULL. */
void disk_close(struct disk *disk);

/* Looks at the size again. 0 or negative errno; *ret_changed tells whether it differs. */
int disk_refresh_size(struct disk *disk, bool *ret_changed);

static inline bool disk_is_polled(const struct disk *disk)
{
	return atomic_load_explicit(&disk->polled, memory_order_relaxed);
}

/* From now on the disk's requests are not polled. Says so once, and @why. Any thread. */
void disk_stop_polling(struct disk *disk, const char *why);

/* What a flush does, at once: waits. 0 or negative errno. Any thread. */
int disk_sync(const struct disk *disk);

static inline uint64_t disk_size(const struct disk *disk)
{
	return atomic_load_explicit(&disk->size, memory_order_relaxed);
}

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,        /* all writes that completed before are on stable storage */
	DISK_DISCARD,      /* the range's content is no longer needed */
	DISK_WRITE_ZEROES, /* the range reads back as zeros */
};

/*
 * One request. The caller sets the first block; offset and length are multiples of
 * logical_block and within the disk. The iovecs belong to the caller, stay until the request is
 * done, and are changed by the engine.
 */
struct disk_request {
	enum disk_op op;
	bool durable;    /* on stable storage before it completes (writes, zeroes, discards) */
	bool unmap;      /* WRITE_ZEROES: the range may be given back to the host */
	uint64_t offset; /* bytes */
	uint64_t length;
	struct iovec *iov; /* READ and WRITE: together exactly @length bytes */
	unsigned iov_count;
	uint32_t tag; /* of its SQEs */

	/* The engine's; the caller clears `started` for each new request. */
	uint64_t done;
	uint16_t retries;
	uint8_t method; /* enum disk_range_method in use */
	bool syncing;   /* durable: the data is written, the flush is under way */
	bool started;
	bool bounced; /* goes through the channel's aligned buffer */
	bool polled;  /* its SQE is in the polled ring */
	int result;   /* once done: 0 or negative errno */
};

enum disk_progress {
	DISK_DONE,    /* request->result holds */
	DISK_STARTED, /* the SQE is prepared: complete() follows */
	DISK_WAIT,    /* no SQE or no bounce buffer now: submit again after other completions */
};

struct disk_ops {
	const char *name;
	/* Starts a request, or goes on with one for which complete() returned DISK_WAIT. */
	enum disk_progress (*submit)(struct disk_channel *channel, struct disk_request *request);
	/*
	 * Takes the result of the SQE: DISK_DONE, DISK_STARTED (the next part is under way), or
	 * DISK_WAIT (the caller submits it again, later). Never called on the sync engine.
	 */
	enum disk_progress (*complete)(
		struct disk_channel *channel, struct disk_request *request, int32_t result);
};

/* Owned by one worker thread. */
struct disk_channel {
	const struct disk_ops *ops;
	struct disk *disk;
	/* Gives SQEs; while it is stopping, requests end, undone, with the part under way. NULL for
	 * the sync engine. */
	struct io_source *source;
	int file_number; /* as an SQE names it: see struct ring_file */
	uint8_t file_flags;
	uint8_t polled_file_flags; /* and in the polled ring */
	int polled_file_number;
	bool can_poll;      /* the source has a polled ring */
	bool fixed_buffers; /* use registered guest memory where the ring has it */
	bool lone;          /* the caller's hint: one request, and nothing in flight */
	uint8_t lone_skip;  /* of the next lone reads, this many take the ring */
	uint8_t lone_backoff;
	char *bounce;                   /* DISK_BOUNCE bytes, where the disk is direct */
	struct disk_request *bounce_of; /* who uses it */
	struct counter bounces;         /* times that it was used; readable by anyone */
	struct counter polled;          /* SQEs that took the polled ring; the same */
};

#define DISK_BOUNCE (256u << 10)

/*
 * A channel whose requests go through @source's worker by io_uring, on @file. Both stay until
 * disk_channel_deinit(). Returns 0 or -ENOMEM. Any thread, before the source is attached.
 */
int disk_uring_channel_init(struct disk_channel *channel, struct disk *disk,
	struct io_source *source, const struct ring_file *file);

/*
 * For both: reads and writes go by the ring that @source has for IO_SIDE_POLLED or, on a namespace,
 * IO_SIDE_COMMAND_POLLED, as long as the disk is polled; @file is the disk's in that ring. Any
 * thread, before the source is attached.
 */
void disk_channel_poll(struct disk_channel *channel, const struct ring_file *file);

/*
 * A channel for a disk on an NVMe namespace: its commands go by the ring that @source has for
 * IO_SIDE_COMMAND, on @file in that ring. The rest as above.
 */
int disk_nvme_channel_init(struct disk_channel *channel, struct disk *disk,
	struct io_source *source, const struct ring_file *file);

/* A channel whose submit() blocks and always returns DISK_DONE. Returns 0 or -ENOMEM. */
int disk_sync_channel_init(struct disk_channel *channel, struct disk *disk);

/* For the engines: their init; the sync one has no @source and no @file. 0 or -ENOMEM. */
int disk_channel_setup(struct disk_channel *channel, const struct disk_ops *ops, struct disk *disk,
	struct io_source *source, const struct ring_file *file);

/* No request may be under way. Accepts a zeroed channel. */
void disk_channel_deinit(struct disk_channel *channel);

/*
 * For the engines: whether O_DIRECT would refuse these buffers; the file system's answer to a range
 * operation, translated.
 */
bool disk_needs_bounce(const struct disk *disk, const struct disk_request *request);

/* True where the channel's aligned buffer is the request's now; its end gives it back. */
bool disk_take_bounce(struct disk_channel *channel, struct disk_request *request);

/* A request's first submit(): the engine's own fields, but for `method`. */
static inline void disk_begin(struct disk_request *request)
{
	request->started = true;
	request->done = 0;
	request->retries = 0;
	request->syncing = false;
	request->bounced = false;
	request->polled = false;
}

/* Ends the request. Returns DISK_DONE. */
static inline enum disk_progress disk_finish(
	struct disk_channel *channel, struct disk_request *request, int result)
{
	if (channel->bounce_of == request)
		channel->bounce_of = NULL;
	request->result = result;
	return DISK_DONE;
}

/*
 * True where the next SQE of a read or write is to take the polled ring. What is tried again takes
 * the other one, which can wait.
 */
static inline bool disk_takes_polled(struct disk_channel *channel, struct disk_request *request)
{
	request->polled = channel->can_poll && disk_is_polled(channel->disk) && !request->retries;
	return request->polled;
}

/* The method to begin with for a DISCARD or WRITE_ZEROES request. */
enum disk_range_method disk_range_first(struct disk *disk, const struct disk_request *request);

/*
 * True where @error means "not supported here", after stepping the disk's and the request's
 * method down: the caller tries again with request->method.
 */
bool disk_range_step_down(struct disk *disk, struct disk_request *request, int error);

/* The mode argument of fallocate() for PUNCH and ZERO. */
int disk_range_fallocate_mode(enum disk_range_method method);
