/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing, with every split of header, data and status over segments, and the checks. */
#include "io/blk_request.h"
#include "util/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define DATA 40u

static unsigned char readable[BLK_HEADER_BYTES + DATA], writable[DATA + 1];
static struct iovec iov[128];

static void put_header(uint32_t type, uint64_t sector)
{
	put_le32(readable, type);
	put_le32(readable + 4, 0xdeadbeef);
	put_le64(readable + 8, sector);
	for (unsigned i = 0; i < DATA; i++)
		readable[BLK_HEADER_BYTES + i] = (unsigned char)(i + 1);
}

/* Cuts @length bytes into segments: bit i of @cuts ends one behind byte i. */
static unsigned cut(struct iovec *to, unsigned char *bytes, unsigned length, uint64_t cuts)
{
	unsigned count = 0, start = 0;

	for (unsigned i = 0; i < length; i++) {
		if (i + 1 < length && !(cuts >> (i % 64) & 1))
			continue;
		to[count++] = (struct iovec){bytes + start, i + 1 - start};
		start = i + 1;
	}
	return count;
}

static struct virtqueue_chain chain_of(
	unsigned read_bytes, uint64_t read_cuts, unsigned write_bytes, uint64_t write_cuts)
{
	unsigned reads = cut(iov, readable, read_bytes, read_cuts);
	unsigned writes = cut(iov + reads, writable, write_bytes, write_cuts);

	return (struct virtqueue_chain){
		.iov = iov,
		.capacity = 128,
		.readable = reads,
		.writable = writes,
		.readable_bytes = read_bytes,
		.writable_bytes = write_bytes,
	};
}

/* All data segments in one string of bytes. */
static unsigned flatten(const struct blk_request *request, unsigned char *to)
{
	unsigned bytes = 0;

	for (unsigned i = 0; i < request->data_count; i++) {
		memcpy(to + bytes, request->data[i].iov_base, request->data[i].iov_len);
		bytes += (unsigned)request->data[i].iov_len;
	}
	return bytes;
}

static void check_write(uint64_t cuts)
{
	struct virtqueue_chain chain = chain_of(BLK_HEADER_BYTES + DATA, cuts, 1, 0);
	unsigned char data[DATA];
	struct blk_request request;

	cr_assert_eq(blk_request_parse(&chain, &request), 0);
	cr_assert_eq(request.type, VIRTIO_BLK_T_OUT);
	cr_assert_eq(request.sector, 0x123456789abcdeull);
	cr_assert_eq(request.status, writable);
	cr_assert_eq(request.written, 1);
	cr_assert_eq(request.data_bytes, DATA);
	cr_assert_eq(flatten(&request, data), DATA);
	cr_assert_eq(memcmp(data, readable + BLK_HEADER_BYTES, DATA), 0, "cuts %llx",
		(unsigned long long)cuts);
}

Test(blk_request, a_write_split_anywhere)
{
	uint64_t random = 88172645463325252ull;

	put_header(VIRTIO_BLK_T_OUT, 0x123456789abcdeull);
	check_write(0);
	check_write(~0ull); /* byte by byte */
	for (unsigned first = 0; first < BLK_HEADER_BYTES + DATA; first++) {
		for (unsigned second = first; second < BLK_HEADER_BYTES + DATA; second++)
			check_write(1ull << first | 1ull << second);
	}
	for (unsigned i = 0; i < 2000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		check_write(random);
	}
}

static void check_read(uint64_t read_cuts, uint64_t write_cuts)
{
	struct virtqueue_chain chain = chain_of(BLK_HEADER_BYTES, read_cuts, DATA + 1, write_cuts);
	struct blk_request request;
	unsigned char data[DATA];

	for (unsigned i = 0; i < sizeof(writable); i++)
		writable[i] = (unsigned char)(200 - i);
	cr_assert_eq(blk_request_parse(&chain, &request), 0);
	cr_assert_eq(request.type, VIRTIO_BLK_T_IN);
	cr_assert_eq(request.status, writable + DATA);
	cr_assert_eq(request.written, DATA + 1);
	cr_assert_eq(request.data_bytes, DATA);
	cr_assert_eq(flatten(&request, data), DATA);
	cr_assert_eq(memcmp(data, writable, DATA), 0);
}

Test(blk_request, a_read_split_anywhere)
{
	put_header(VIRTIO_BLK_T_IN, 7);
	for (unsigned i = 0; i < BLK_HEADER_BYTES; i++) {
		for (unsigned j = 0; j <= DATA; j++) {
			check_read(1ull << i, 1ull << j);
			check_read(~0ull, 1ull << j);
		}
		check_read(1ull << i, ~0ull);
	}
}

Test(blk_request, no_data_at_all)
{
	struct virtqueue_chain chain = chain_of(BLK_HEADER_BYTES, 0, 1, 0);
	struct blk_request request;

	put_header(VIRTIO_BLK_T_FLUSH, 0);
	cr_assert_eq(blk_request_parse(&chain, &request), 0);
	cr_assert_eq(request.data_count, 0);
	cr_assert_eq(request.data_bytes, 0);
	cr_assert_eq(request.status, writable);
}

Test(blk_request, without_status_there_is_no_answer)
{
	struct virtqueue_chain chain = chain_of(BLK_HEADER_BYTES + DATA, 0, 0, 0);
	struct blk_request request;

	put_header(VIRTIO_BLK_T_OUT, 0);
	cr_assert_eq(blk_request_parse(&chain, &request), -EPROTO);
}

Test(blk_request, a_short_header_can_be_answered)
{
	for (unsigned bytes = 0; bytes < BLK_HEADER_BYTES; bytes++) {
		struct virtqueue_chain chain = chain_of(bytes, ~0ull, DATA, 0);
		struct blk_request request;

		cr_assert_eq(blk_request_parse(&chain, &request), -EBADMSG);
		cr_assert_eq(request.status, writable + DATA - 1);
		cr_assert_eq(request.written, DATA);
	}
}

/* ---- checks ---- */

static const struct blk_limits limits = {
	.capacity = 1000,
	.block_sectors = 1,
	.max_segments = 8,
	.max_ranges = 4,
	.max_range = 100,
	.discard = true,
	.write_zeroes = true,
};

static uint8_t check(uint32_t type, uint64_t sector, uint64_t bytes)
{
	struct blk_request request = {
		.type = type, .sector = sector, .data_bytes = bytes, .data_count = 1};

	return blk_request_check(&request, &limits);
}

Test(blk_request, sector_range)
{
	cr_assert_eq(check(VIRTIO_BLK_T_IN, 0, 512000), VIRTIO_BLK_S_OK);
	cr_assert_eq(check(VIRTIO_BLK_T_IN, 999, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(check(VIRTIO_BLK_T_IN, 999, 1024), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_IN, 1000, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_OUT, 0, 512512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_OUT, 5, 0), VIRTIO_BLK_S_OK, "nothing at a valid place");
}

Test(blk_request, sums_do_not_wrap)
{
	cr_assert_eq(check(VIRTIO_BLK_T_IN, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_IN, UINT64_MAX, 1024), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_OUT, UINT64_MAX / 512 + 1, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_OUT, UINT64_MAX - 7, 4096), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, lengths_are_whole_blocks)
{
	struct blk_limits large = limits;
	struct blk_request request = {
		.type = VIRTIO_BLK_T_IN, .sector = 8, .data_bytes = 4096, .data_count = 1};

	cr_assert_eq(check(VIRTIO_BLK_T_IN, 0, 100), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(check(VIRTIO_BLK_T_IN, 0, 513), VIRTIO_BLK_S_IOERR);
	large.block_sectors = 8;
	cr_assert_eq(blk_request_check(&request, &large), VIRTIO_BLK_S_OK);
	request.sector = 9;
	cr_assert_eq(blk_request_check(&request, &large), VIRTIO_BLK_S_IOERR);
	request.sector = 8;
	request.data_bytes = 512;
	cr_assert_eq(blk_request_check(&request, &large), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, more_segments_than_offered)
{
	struct blk_request request = {
		.type = VIRTIO_BLK_T_IN, .data_bytes = 512, .data_count = limits.max_segments};

	cr_assert_eq(blk_request_check(&request, &limits), VIRTIO_BLK_S_OK);
	request.data_count++;
	cr_assert_eq(blk_request_check(&request, &limits), VIRTIO_BLK_S_IOERR);
}

Test(blk_request, types)
{
	cr_assert_eq(check(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(check(VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	cr_assert_eq(check(VIRTIO_BLK_T_SECURE_ERASE, 0, 16), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(check(2, 0, 512), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(check(VIRTIO_BLK_T_OUT | 0x80000000u, 0, 512), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(check(UINT32_MAX, 0, 512), VIRTIO_BLK_S_UNSUPP);
}

Test(blk_request, a_readonly_disk_is_not_written)
{
	struct blk_limits readonly = limits;
	struct blk_request request = {.data_bytes = 512, .data_count = 1};

	readonly.readonly = true;
	request.type = VIRTIO_BLK_T_OUT;
	cr_assert_eq(blk_request_check(&request, &readonly), VIRTIO_BLK_S_IOERR);
	request.type = VIRTIO_BLK_T_DISCARD;
	cr_assert_eq(blk_request_check(&request, &readonly), VIRTIO_BLK_S_IOERR);
	request.type = VIRTIO_BLK_T_WRITE_ZEROES;
	cr_assert_eq(blk_request_check(&request, &readonly), VIRTIO_BLK_S_IOERR);
	request.type = VIRTIO_BLK_T_IN;
	cr_assert_eq(blk_request_check(&request, &readonly), VIRTIO_BLK_S_OK);
}

Test(blk_request, features_that_were_not_accepted)
{
	struct blk_limits without = limits;
	struct blk_request request = {.type = VIRTIO_BLK_T_DISCARD, .data_bytes = 16};

	without.discard = without.write_zeroes = false;
	cr_assert_eq(blk_request_check(&request, &without), VIRTIO_BLK_S_UNSUPP);
	request.type = VIRTIO_BLK_T_WRITE_ZEROES;
	cr_assert_eq(blk_request_check(&request, &without), VIRTIO_BLK_S_UNSUPP);
}

/* ---- ranges ---- */

static unsigned char entries[16 * 6];
static struct blk_range ranges[4];
static unsigned range_count;

static void put_range(unsigned index, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	put_le64(entries + 16 * index, sector);
	put_le32(entries + 16 * index + 8, sectors);
	put_le32(entries + 16 * index + 12, flags);
}

static uint8_t read_ranges(uint32_t type, unsigned bytes, uint64_t cuts)
{
	struct blk_request request = {.type = type, .data = iov, .data_bytes = bytes};

	request.data_count = cut(iov, entries, bytes, cuts);
	range_count = 99;
	return blk_request_ranges(&request, &limits, ranges, &range_count);
}

Test(blk_request, ranges_split_anywhere)
{
	put_range(0, 1, 2, 0);
	put_range(1, 900, 100, 1);
	put_range(2, 0, 0, 0);
	for (unsigned cuts = 0; cuts < 48; cuts++) {
		cr_assert_eq(
			read_ranges(VIRTIO_BLK_T_WRITE_ZEROES, 48, 1ull << cuts), VIRTIO_BLK_S_OK);
		cr_assert_eq(range_count, 3);
		cr_assert_eq(ranges[0].sector, 1);
		cr_assert_eq(ranges[0].sectors, 2);
		cr_assert(!ranges[0].unmap && ranges[1].unmap);
		cr_assert_eq(ranges[1].sector, 900);
		cr_assert_eq(ranges[2].sectors, 0);
	}
}

Test(blk_request, bad_ranges)
{
	put_range(0, 1, 2, 1);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 16, 0), VIRTIO_BLK_S_UNSUPP, "unmap");
	put_range(0, 1, 2, 2);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_WRITE_ZEROES, 16, 0), VIRTIO_BLK_S_UNSUPP, "flags");
	put_range(0, 1, 101, 0);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 16, 0), VIRTIO_BLK_S_IOERR, "too long");
	put_range(0, 950, 51, 0);
	cr_assert_eq(
		read_ranges(VIRTIO_BLK_T_DISCARD, 16, 0), VIRTIO_BLK_S_IOERR, "beyond the end");
	put_range(0, UINT64_MAX, 2, 0);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 16, 0), VIRTIO_BLK_S_IOERR, "wraps");
	put_range(0, 0, 1, 0);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 15, 0), VIRTIO_BLK_S_IOERR, "cut short");
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 0, 0), VIRTIO_BLK_S_IOERR, "none");
	for (unsigned i = 0; i < 5; i++)
		put_range(i, i, 1, 0);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 64, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(read_ranges(VIRTIO_BLK_T_DISCARD, 80, 0), VIRTIO_BLK_S_IOERR, "too many");
}

Test(blk_request, results_become_status_bytes)
{
	cr_assert_eq(blk_request_status(0), VIRTIO_BLK_S_OK);
	cr_assert_eq(blk_request_status(-ENOSPC), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(blk_request_status(-EIO), VIRTIO_BLK_S_IOERR);
}
