/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers are those of the NVM Express base and NVM command set specifications, revision 2.0. */
#include "io/nvme_command.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>

enum opcode {
	OPCODE_WRITE = 0x01,
	OPCODE_READ = 0x02,
	OPCODE_WRITE_ZEROES = 0x08,
	OPCODE_DATASET_MANAGEMENT = 0x09,
};

/* cdw12 of reads, writes and write zeroes; below it the number of blocks less one. */
#define FORCE_UNIT_ACCESS (1u << 30)
#define DEALLOCATE        (1u << 25)

/* cdw11 of dataset management. */
#define ATTRIBUTE_DEALLOCATE (1u << 2)

/* A status: type and code, then bits that say how to go on. */
#define STATUS_CODE     0x07ff
#define STATUS_NO_RETRY 0x4000

static void fill_range(struct nvme_uring_cmd *command, const struct nvme_target *target,
	uint64_t offset, uint64_t length)
{
	uint64_t first = offset >> target->block_shift;

	command->nsid = target->nsid;
	command->cdw10 = (uint32_t)first;
	command->cdw11 = (uint32_t)(first >> 32);
	command->cdw12 = (uint32_t)((length >> target->block_shift) - 1);
}

void nvme_command_transfer(struct nvme_uring_cmd *command, const struct nvme_target *target,
	bool write, bool fua, uint64_t offset, uint64_t length)
{
	command->opcode = write ? OPCODE_WRITE : OPCODE_READ;
	fill_range(command, target, offset, length);
	command->cdw12 |= fua ? FORCE_UNIT_ACCESS : 0;
}

void nvme_command_flush(struct nvme_uring_cmd *command, const struct nvme_target *target)
{
	command->opcode = NVME_OPCODE_FLUSH;
	command->nsid = target->nsid;
}

void nvme_command_write_zeroes(struct nvme_uring_cmd *command, const struct nvme_target *target,
	bool fua, bool deallocate, uint64_t offset, uint64_t length)
{
	command->opcode = OPCODE_WRITE_ZEROES;
	fill_range(command, target, offset, length);
	command->cdw12 |= fua ? FORCE_UNIT_ACCESS : 0;
	command->cdw12 |= deallocate ? DEALLOCATE : 0;
}

void nvme_command_deallocate(struct nvme_uring_cmd *command, const struct nvme_target *target,
	struct nvme_range *range, uint64_t offset, uint64_t length)
{
	*range = (struct nvme_range){
		.blocks = htole32((uint32_t)(length >> target->block_shift)),
		.first = htole64(offset >> target->block_shift),
	};
	command->opcode = OPCODE_DATASET_MANAGEMENT;
	command->nsid = target->nsid;
	command->addr = (uintptr_t)range;
	command->data_len = sizeof(*range);
	command->cdw10 = 0; /* ranges less one */
	command->cdw11 = ATTRIBUTE_DEALLOCATE;
}

static const struct {
	uint16_t status;
	int error;
} meanings[] = {
	{0x000, 0}, {0x001, -EOPNOTSUPP}, /* invalid opcode */
	{0x002, -EOPNOTSUPP},             /* invalid field */
	{0x007, -EAGAIN},                 /* aborted: by an abort command, */
	{0x008, -EAGAIN},                 /* as its queue was deleted */
	{0x00b, -ENODEV},                 /* invalid namespace */
	{0x020, -EROFS},                  /* namespace is write protected */
	{0x021, -EAGAIN},                 /* interrupted */
	{0x081, -ENOSPC},                 /* capacity exceeded */
	{0x082, -EAGAIN},                 /* namespace not ready */
	{0x083, -EBADE},                  /* reservation conflict */
	{0x182, -EROFS},                  /* write to a read-only range */
	{0x280, -ENODATA},                /* write fault */
	{0x281, -ENODATA},                /* unrecovered read error */
	{0x282, -EILSEQ},                 /* guard, */
	{0x283, -EILSEQ},                 /* application tag, */
	{0x284, -EILSEQ},                 /* reference tag check */
	{0x285, -ENODATA},                /* compare failure */
	{0x286, -EACCES},                 /* access denied */
	{0x287, -ENODATA},                /* deallocated or unwritten block */
};

int nvme_status_errno(int32_t result)
{
	if (result <= 0)
		return result;
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		if (meanings[i].status != (result & STATUS_CODE))
			continue;
		if (meanings[i].error == -EAGAIN && (result & STATUS_NO_RETRY))
			return -EIO;
		return meanings[i].error;
	}
	return -EIO;
}
