/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine beside the plain one, on two files with the same content: the same requests
 * go to both, up to 16 at a time, and what is read must be what a model in memory says. One pair a
 * process.
 */
#pragma once

#include "fixture.h"
#include "request_set.h"

#include <sys/uio.h>

#define LANES      REQUEST_SET_MAX
#define LANE_BYTES (512u << 10)
#define DISK_BYTES (LANES * LANE_BYTES)
#define IOVS       8u
#define BUFFER     (LANE_BYTES + 4096)

struct engine_side {
	struct image image;
	struct disk *disk;
	char *buffers; /* BUFFER bytes for each lane */
	struct disk_request requests[LANES];
	struct iovec iovs[LANES][IOVS];
};

struct engine_pair {
	struct engine_side uring, plain;
	struct request_set set;      /* of the io_uring side */
	struct disk_channel channel; /* of the plain side */
	struct io_worker *worker;
	struct ring_file file;
	bool keep_discarded; /* what is discarded need not read as zeros: none of that */
	unsigned char model[DISK_BYTES];
};

extern struct engine_pair pair;

/* Two images and their disks, an attached channel on each. */
void engine_pair_begin(enum disk_cache cache);

/* The same with iopoll=on. @substitute: what stands for the disk in the polled ring; -1: the disk.
 */
void engine_pair_begin_polled(int substitute);
void engine_pair_end(void);

/* For disks that are not images: a side's image and disk; the worker's file of the io_uring side.
 */
void engine_side_open(struct engine_side *side, enum disk_cache cache, bool iopoll);
void engine_side_close(struct engine_side *side);
void engine_pair_add_file(void);

/* One request of @length bytes from the beginning of each side's buffers. */
void engine_pair_one(enum disk_op op, uint64_t offset, uint64_t length);

/*
 * @rounds sets of random requests, each request in a part of the disk of its own, so that order
 * does not matter. Results, what was read and both files must be the same in the end.
 */
void engine_pair_stream(uint64_t seed, unsigned rounds);
