/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The specification fixes no framing: header, data and status may share descriptors or be split
 * over many. So the chain is two byte streams, what the device reads and what it writes; the header
 * is the first 16 bytes of the one, the status the last byte of the other, and the data what is
 * left of the stream that the request type names.
 */
#include "io/blk_request.h"

#include "io/iov.h"
#include "util/bytes.h"

#include <errno.h>
#include <string.h>

#define DISCARD_ENTRY_BYTES 16u

/* struct virtio_blk_outhdr: type, a field without meaning here (ioprio), sector. */
static void read_header(
	const struct iovec *iov, unsigned count, uint32_t *ret_type, uint64_t *ret_sector)
{
	unsigned char header[BLK_HEADER_BYTES];

	if (likely(iov->iov_len >= sizeof(header)))
		memcpy(header, iov->iov_base, sizeof(header));
	else
		iov_gather(header, sizeof(header), iov, count);
	*ret_type = get_le32(header);
	*ret_sector = get_le64(header + 8);
}

/* Cuts the status byte off the end of the writable segments. */
static void take_status(struct iovec *writable, unsigned *count, struct blk_request *request)
{
	struct iovec *last = &writable[*count - 1];

	last->iov_len--;
	request->status = (uint8_t *)last->iov_base + last->iov_len;
	if (!last->iov_len)
		(*count)--;
}

static bool device_reads_data(uint32_t type)
{
	return type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
	       type == VIRTIO_BLK_T_WRITE_ZEROES || type == VIRTIO_BLK_T_SECURE_ERASE;
}

int blk_request_parse(struct virtqueue_chain *chain, struct blk_request *ret_request)
{
	struct iovec *readable = chain->iov;
	struct iovec *writable = chain->iov + chain->readable;
	unsigned readable_count = chain->readable, writable_count = chain->writable;

	/* The total is bounded by the ring's rules (4 GiB): a full one is cut by a byte. */
	if (!chain->writable_bytes)
		return -EPROTO;
	ret_request->written = (uint32_t)min_of(chain->writable_bytes, (uint64_t)UINT32_MAX);
	take_status(writable, &writable_count, ret_request);
	if (chain->readable_bytes < BLK_HEADER_BYTES)
		return -EBADMSG;
	read_header(readable, readable_count, &ret_request->type, &ret_request->sector);
	if (device_reads_data(ret_request->type)) {
		iov_consume(&readable, &readable_count, BLK_HEADER_BYTES);
		ret_request->data = readable;
		ret_request->data_count = readable_count;
		ret_request->data_bytes = chain->readable_bytes - BLK_HEADER_BYTES;
	} else {
		ret_request->data = writable;
		ret_request->data_count = writable_count;
		ret_request->data_bytes = chain->writable_bytes - 1;
	}
	return 0;
}

static bool range_valid(uint64_t sector, uint64_t sectors, const struct blk_limits *limits)
{
	uint64_t mask = limits->block_sectors - 1;

	return range_within(sector, sectors, limits->capacity) && !((sector | sectors) & mask);
}

static uint8_t check_transfer(const struct blk_request *request, const struct blk_limits *limits)
{
	if (request->data_bytes % 512 || request->data_count > limits->max_segments)
		return VIRTIO_BLK_S_IOERR;
	return range_valid(request->sector, request->data_bytes / 512, limits) ? VIRTIO_BLK_S_OK
	                                                                       : VIRTIO_BLK_S_IOERR;
}

uint8_t blk_request_check(const struct blk_request *request, const struct blk_limits *limits)
{
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		return check_transfer(request, limits);
	case VIRTIO_BLK_T_OUT:
		return limits->readonly ? VIRTIO_BLK_S_IOERR : check_transfer(request, limits);
	case VIRTIO_BLK_T_FLUSH:
	case VIRTIO_BLK_T_GET_ID:
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
		if (!limits->discard)
			return VIRTIO_BLK_S_UNSUPP;
		return limits->readonly ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (!limits->write_zeroes)
			return VIRTIO_BLK_S_UNSUPP;
		return limits->readonly ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* struct virtio_blk_discard_write_zeroes: sector, number of sectors, flags. */
static uint8_t read_range(const struct iovec *iov, unsigned count, uint32_t type,
	const struct blk_limits *limits, struct blk_range *ret_range)
{
	unsigned char entry[DISCARD_ENTRY_BYTES];
	uint32_t allowed =
		type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	uint32_t flags;

	iov_gather(entry, sizeof(entry), iov, count);
	ret_range->sector = get_le64(entry);
	ret_range->sectors = get_le32(entry + 8);
	flags = get_le32(entry + 12);
	ret_range->unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	if (flags & ~allowed)
		return VIRTIO_BLK_S_UNSUPP;
	if (ret_range->sectors > limits->max_range)
		return VIRTIO_BLK_S_IOERR;
	return range_valid(ret_range->sector, ret_range->sectors, limits) ? VIRTIO_BLK_S_OK
	                                                                  : VIRTIO_BLK_S_IOERR;
}

uint8_t blk_request_ranges(const struct blk_request *request, const struct blk_limits *limits,
	struct blk_range *ranges, unsigned *ret_count)
{
	uint64_t entries = request->data_bytes / DISCARD_ENTRY_BYTES;
	struct iovec *iov = request->data;
	unsigned count = request->data_count;

	if (!entries || request->data_bytes % DISCARD_ENTRY_BYTES || entries > limits->max_ranges)
		return VIRTIO_BLK_S_IOERR;
	for (unsigned i = 0; i < entries; i++) {
		uint8_t status = read_range(iov, count, request->type, limits, &ranges[i]);

		if (status != VIRTIO_BLK_S_OK)
			return status;
		iov_consume(&iov, &count, DISCARD_ENTRY_BYTES);
	}
	*ret_count = (unsigned)entries;
	return VIRTIO_BLK_S_OK;
}

size_t blk_request_fill(const struct blk_request *request, const void *from, size_t length)
{
	return iov_scatter(request->data, request->data_count, from, length);
}

uint8_t blk_request_status(int result)
{
	return result ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}
