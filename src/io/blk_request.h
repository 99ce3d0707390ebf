/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-blk request in a descriptor chain (virtio 1.2, section 5.2.6): where header, data and
 * status are, whatever the split over descriptors, and whether the request is one that the disk can
 * carry out. Pure functions on a validated chain; any thread.
 */
#pragma once

#include "virtio/virtqueue.h"

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLK_HEADER_BYTES 16u

struct blk_request {
	uint32_t type;      /* VIRTIO_BLK_T_*, as the driver wrote it */
	uint64_t sector;    /* of 512 bytes */
	uint8_t *status;    /* in guest memory: the last writable byte of the chain */
	struct iovec *data; /* within the chain's iovecs, trimmed to the data */
	unsigned data_count;
	uint64_t data_bytes;
	uint32_t written; /* what the used entry says: all writable bytes, status included */
};

/*
 * Finds the parts of @chain and copies the header out, once. The chain's iovecs are trimmed in
 * place. The data is what the device reads, after the header, for OUT, DISCARD, WRITE_ZEROES and
 * SECURE_ERASE; what it writes, before the status byte, for all other types.
 * Returns 0; -EPROTO where there is no status byte to answer with; -EBADMSG where there is one but
 * the header is short (only ->status and ->written are set then).
 */
int blk_request_parse(struct virtqueue_chain *chain, struct blk_request *ret_request);

/* What a request is checked against; constant but for capacity, which may grow. */
struct blk_limits {
	uint64_t capacity;      /* sectors */
	uint32_t block_sectors; /* sectors of a logical block: requests are multiples of it */
	uint32_t max_segments;  /* data segments of a transfer */
	uint32_t max_ranges;    /* of one DISCARD or WRITE_ZEROES */
	uint32_t max_range;     /* sectors of one range of DISCARD and WRITE_ZEROES */
	bool readonly;
	bool discard; /* feature accepted by the driver */
	bool write_zeroes;
};

/* One range of DISCARD or WRITE_ZEROES, validated. */
struct blk_range {
	uint64_t sector;
	uint32_t sectors;
	bool unmap;
};

/*
 * Checks type, sector range, alignment and write protection. Returns VIRTIO_BLK_S_OK, IOERR or
 * UNSUPP; for DISCARD and WRITE_ZEROES the ranges are not looked at here.
 */
uint8_t blk_request_check(const struct blk_request *request, const struct blk_limits *limits);

/*
 * Copies the ranges of a DISCARD or WRITE_ZEROES out of guest memory, once, and checks them.
 * @ranges has room for limits->max_ranges. Returns VIRTIO_BLK_S_OK with *ret_count ranges, IOERR
 * or UNSUPP (unknown flags, or unmap in a discard; section 5.2.6.2). The data's iovecs are
 * consumed.
 */
uint8_t blk_request_ranges(const struct blk_request *request, const struct blk_limits *limits,
	struct blk_range *ranges, unsigned *ret_count);

/* Copies @length bytes into the data segments, cut to their size. Returns how many were copied. */
size_t blk_request_fill(const struct blk_request *request, const void *from, size_t length);

/* The status byte for the result of a disk_request (0 or negative errno). */
uint8_t blk_request_status(int result);
