/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe commands of the NVM command set, as the kernel's passthrough takes them, and what the
 * controller's answers mean. Pure; any thread.
 */
#pragma once

#include <linux/nvme_ioctl.h>
#include <stdbool.h>
#include <stdint.h>

/* Where commands go. Offsets and lengths below are bytes, and multiples of the block. */
struct nvme_target {
	uint32_t nsid;
	unsigned block_shift; /* log2 of the logical block's bytes */
};

#define NVME_OPCODE_FLUSH 0x00

#define NVME_BLOCKS_MAX 65536u /* of one read, write or write zeroes: a 16-bit field */

/* The buffer of a deallocation, little-endian. */
struct nvme_range {
	uint32_t attributes;
	uint32_t blocks;
	uint64_t first;
};

/*
 * Each fills in @command, which is zeroed; it has no buffer yet. @length is at most NVME_BLOCKS_MAX
 * blocks. @fua: on stable storage before it completes.
 */
void nvme_command_transfer(struct nvme_uring_cmd *command, const struct nvme_target *target,
	bool write, bool fua, uint64_t offset, uint64_t length);
void nvme_command_flush(struct nvme_uring_cmd *command, const struct nvme_target *target);

/* @deallocate: the range may be unmapped where it then reads as zeros. */
void nvme_command_write_zeroes(struct nvme_uring_cmd *command, const struct nvme_target *target,
	bool fua, bool deallocate, uint64_t offset, uint64_t length);

/* @length is less than 2^32 blocks. @range, which stays until it completes, is the buffer. */
void nvme_command_deallocate(struct nvme_uring_cmd *command, const struct nvme_target *target,
	struct nvme_range *range, uint64_t offset, uint64_t length);

/*
 * The result of a passed-through command, which is 0, negative errno or an NVMe status, as 0 or
 * negative errno: -EOPNOTSUPP for what the controller does not know, -EAGAIN where it asks to be
 * asked again, -ENOSPC, -EROFS, -EBADE (reserved by another host), -EILSEQ (protection
 * information), -ENODATA (medium), else -EIO.
 */
int nvme_status_errno(int32_t result);
