/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 64-bit boot protocol (Documentation/arch/x86/boot.rst). The file is a real-mode part, which
 * is not used but for its header, and the protected-mode part behind it, which unpacks the kernel
 * in place. Where it lies is the kernel's wish (pref_address); how much room it takes there while
 * it unpacks itself is init_size. A relocatable kernel that is loaded lower moves itself up to
 * pref_address, so a lower place would not save memory: too little memory is an error.
 */
#include "machine/boot_private.h"

#include "machine/layout.h"
#include "util/bytes.h"
#include "util/checked.h"
#include "util/error.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_OFFSET      0x1f1u /* of struct setup_header in the file and in boot_params */
#define HEADER_JUMP_LENGTH 0x201u /* a byte: the header ends at 0x202 plus its value */
#define HEADER_LIMIT       0x290u /* where boot_params goes on with something else */
#define SECTOR             512u
#define PROTOCOL_LEAST     0x20c  /* 2.12: xloadflags, with the 64-bit entry */
#define ENTRY_OFFSET       0x200u /* of the 64-bit entry in the protected-mode part */
#define ALIGNMENT_MOST     (1u << 30)

/* What is used of the header, checked. */
struct bzimage {
	uint64_t payload_offset, payload_size; /* the protected-mode part in the file */
	uint64_t gpa;                          /* where it goes */
	uint64_t span;                         /* the room that it needs there */
	uint64_t cmdline_limit;
	struct boot_initrd_limits initrd;
	size_t header_size;
};

static int damaged(const struct boot_job *job, const char *what)
{
	return error_set(job->error, -ENOEXEC,
		"--kernel %s: a bzImage with a damaged header (%s); is it the right file, and "
		"whole?",
		job->kernel.path, what);
}

static int check_protocol(const struct boot_job *job, const struct setup_header *header)
{
	if (!(header->loadflags & LOADED_HIGH))
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: a zImage; only bzImages can be started", job->kernel.path);
	if (header->version < PROTOCOL_LEAST)
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: boot protocol %u.%02u is too old, 2.12 (Linux 3.8) is needed",
			job->kernel.path, header->version >> 8, header->version & 0xff);
	if (!(header->xloadflags & XLF_KERNEL_64))
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: a 32-bit kernel without a 64-bit entry; use an x86-64 one",
			job->kernel.path);
	return 0;
}

/* The bounds of the protected-mode part; syssize counts 16-byte units, the last one rounded up. */
static int find_payload(
	const struct boot_job *job, const struct setup_header *header, struct bzimage *image)
{
	uint64_t sectors = header->setup_sects ? header->setup_sects : 4;
	uint64_t announced = (uint64_t)header->syssize * 16;

	image->payload_offset = (sectors + 1) * SECTOR;
	if (job->kernel.size < image->payload_offset ||
		announced > job->kernel.size - image->payload_offset + 15)
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: truncated: %" PRIu64 " bytes of %" PRIu64
			" are there; copy it again",
			job->kernel.path, job->kernel.size, image->payload_offset + announced);
	image->payload_size = job->kernel.size - image->payload_offset;
	if (image->payload_size <= ENTRY_OFFSET)
		return damaged(job, "nothing behind the setup code");
	return 0;
}

static int find_place(
	const struct boot_job *job, const struct setup_header *header, struct bzimage *image)
{
	uint64_t gpa = header->pref_address;
	uint64_t alignment = header->kernel_alignment;

	if (gpa > UINT32_MAX)
		return damaged(job, "the preferred address is beyond 4 GiB");
	if (header->relocatable_kernel) {
		if (!is_power_of_two(alignment) || alignment > ALIGNMENT_MOST)
			return damaged(job, "the alignment is no power of two");
		gpa = align_up(max_of(gpa, (uint64_t)LAYOUT_HIGH_START), alignment);
	}
	if (!header->init_size)
		return damaged(job, "the size to unpack to is 0");
	image->gpa = gpa;
	image->span = max_of((uint64_t)header->init_size, image->payload_size);
	return 0;
}

static int parse(const struct boot_job *job, struct bzimage *image)
{
	struct setup_header header;
	int code;

	if (job->head_size < HEADER_LIMIT)
		return damaged(job, "the file ends inside it");
	memcpy(&header, job->head + HEADER_OFFSET, sizeof(header));
	code = check_protocol(job, &header);
	if (!code)
		code = find_payload(job, &header, image);
	if (!code)
		code = find_place(job, &header, image);
	if (code)
		return code;
	image->cmdline_limit = header.cmdline_size;
	image->initrd.highest = header.initrd_addr_max;
	image->initrd.above_4g = header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
	/* Fields newer than this program are the kernel's own defaults and are handed on. */
	image->header_size =
		min_of(0x202u + job->head[HEADER_JUMP_LENGTH], HEADER_LIMIT) - HEADER_OFFSET;
	return 0;
}

int boot_load_bzimage(const struct boot_job *job, struct boot_result *result)
{
	struct bzimage image = {0};
	void *space = NULL;
	int code;

	if (job->options->protocol == BOOT_PROTOCOL_PVH)
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: a bzImage has no PVH entry; use the vmlinux it was made from",
			job->kernel.path);
	code = parse(job, &image);
	if (!code)
		code = boot_kernel_space(job, image.gpa, image.span, &space);
	if (code)
		return code;
	result->format = "bzImage";
	result->kernel_gpa = image.gpa;
	result->kernel_end = image.gpa + image.span;
	code = boot_read(job->error, &job->kernel, space, image.payload_size, image.payload_offset);
	if (!code)
		code = boot_load_initrd(job, &image.initrd, result);
	if (!code)
		code = boot_write_cmdline(job, image.cmdline_limit);
	if (code)
		return code;
	return boot_start_linux64(job, job->head + HEADER_OFFSET, image.header_size,
		image.gpa + ENTRY_OFFSET, result);
}
