/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the image formats have in common: opening the files, telling one format from another by
 * the first bytes, and placing the initrd.
 *
 * The kernel file may change or shrink while it is read: its size is taken once, headers are
 * parsed from one copy, and a read that ends early is an error like any other.
 */
#include "machine/boot_image.h"

#include "machine/boot_private.h"
#include "machine/layout.h"
#include "memory/guest_memory.h"
#include "util/bytes.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/fd.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE_BYTES 4096u
#define FOUR_GIB   0x100000000u

/* The command line may reach up to the EBDA, but no kernel takes even this much. */
#define CMDLINE_ROOM 0x10000u

static int open_file(
	const char *option, const char *path, struct boot_file *ret_file, struct error *error)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	int code;

	if (fd < 0 || fstat(fd, &status)) {
		code = -errno;
		return error_set(error, code, "%s %s: %s; name a file that exists and is readable",
			option, path, strerror(-code));
	}
	if (!S_ISREG(status.st_mode))
		return error_set(error, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL,
			"%s %s: this is %s; name a regular file", option, path,
			S_ISDIR(status.st_mode) ? "a directory" : "not a regular file");
	if (status.st_size <= 0)
		return error_set(error, -ENOEXEC, "%s %s: the file is empty", option, path);
	*ret_file = (struct boot_file){.option = option,
		.path = path,
		.fd = take_fd(&fd),
		.size = (uint64_t)status.st_size};
	return 0;
}

int boot_read(
	struct error *error, const struct boot_file *file, void *to, uint64_t size, uint64_t offset)
{
	int result = fd_pread_full(file->fd, to, size, (off_t)offset);

	if (result == -ENODATA)
		return error_set(error, -EIO,
			"%s %s: the file ended early; is something writing to it?", file->option,
			file->path);
	if (result)
		return error_set(error, result, "%s %s: cannot read it: %s", file->option,
			file->path, strerror(-result));
	return 0;
}

static void add_entry(
	struct boot_map_entry *entries, size_t *count, uint64_t gpa, uint64_t end, uint32_t type)
{
	size_t at = *count;

	if (gpa >= end || *count == BOOT_MAP_MAX)
		return;
	while (at && entries[at - 1].gpa > gpa) {
		entries[at] = entries[at - 1];
		at--;
	}
	entries[at] = (struct boot_map_entry){.gpa = gpa, .size = end - gpa, .type = type};
	*count += 1;
}

size_t boot_memory_map(const struct guest_memory *memory, struct boot_map_entry *entries)
{
	size_t count = 0;

	for (size_t i = 0; i < guest_memory_region_count(memory); i++) {
		const struct guest_memory_region *region = guest_memory_region(memory, i);
		uint64_t start = region->gpa, end = region->gpa + region->size;

		if (start < LAYOUT_EBDA_START)
			add_entry(entries, &count, start, min_of(end, (uint64_t)LAYOUT_EBDA_START),
				BOOT_MAP_RAM);
		add_entry(entries, &count, max_of(start, (uint64_t)LAYOUT_HIGH_START), end,
			BOOT_MAP_RAM);
	}
	add_entry(entries, &count, LAYOUT_EBDA_START, LAYOUT_HIGH_START, BOOT_MAP_RESERVED);
	add_entry(entries, &count, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE, BOOT_MAP_RESERVED);
	/* The identity map page and, behind it, the three pages of the TSS. */
	add_entry(entries, &count, LAYOUT_IDENTITY_MAP, LAYOUT_TSS + 3 * PAGE_BYTES,
		BOOT_MAP_RESERVED);
	return count;
}

/* RAM from 0 to the first hole. */
static uint64_t low_ram_end(const struct guest_memory *memory)
{
	const struct guest_memory_region *region = guest_memory_region(memory, 0);

	return region->gpa == 0 ? region->size : 0;
}

int boot_kernel_space(const struct boot_job *job, uint64_t gpa, uint64_t size, void **ret_space)
{
	const char *path = job->kernel.path;
	uint64_t ram = low_ram_end(job->memory);

	if (gpa < LAYOUT_HIGH_START)
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: it wants to be loaded at 0x%" PRIx64
			", below 1 MiB, where the start structures lie",
			path, gpa);
	if (!range_within(gpa, size, LAYOUT_LOW_RAM_END))
		return error_set(job->error, -ENOEXEC,
			"--kernel %s: it wants %" PRIu64 " bytes at 0x%" PRIx64
			", where this machine never has memory",
			path, size, gpa);
	if (!range_within(gpa, size, ram))
		return error_set(job->error, -ENOMEM,
			"--memory: too little for kernel %s, which takes memory up to %" PRIu64
			" MiB to start; ask for more than that",
			path, (gpa + size + 0xfffff) >> 20);
	*ret_space = guest_memory_pointer(job->memory, gpa, size);
	return 0;
}

/* The highest page-aligned place for @size bytes in [least, end), or 0. */
static uint64_t place_below(uint64_t least, uint64_t end, uint64_t size)
{
	if (end < least || size > end - least)
		return 0;
	end = align_down(end - size, PAGE_BYTES);
	return end >= least ? end : 0;
}

/* Below 4 GiB above the kernel, else between 1 MiB and the kernel, else above 4 GiB. */
static uint64_t place_initrd(const struct guest_memory *memory, uint64_t size,
	const struct boot_initrd_limits *limits, const struct boot_result *kernel)
{
	uint64_t end = min_of(low_ram_end(memory), limits->highest + 1);
	uint64_t gpa =
		place_below(max_of(kernel->kernel_end, (uint64_t)LAYOUT_HIGH_START), end, size);

	if (!gpa)
		gpa = place_below(LAYOUT_HIGH_START, min_of(end, kernel->kernel_gpa), size);
	if (gpa || !limits->above_4g)
		return gpa;
	for (size_t i = guest_memory_region_count(memory); i-- > 0 && !gpa;) {
		const struct guest_memory_region *region = guest_memory_region(memory, i);

		if (region->gpa >= FOUR_GIB)
			gpa = place_below(region->gpa, region->gpa + region->size, size);
	}
	return gpa;
}

static void close_file(struct boot_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
}

int boot_load_initrd(const struct boot_job *job, const struct boot_initrd_limits *limits,
	struct boot_result *result)
{
	auto_call(close_file) struct boot_file file = {.fd = -1};
	uint64_t gpa;
	int code;

	if (!job->options->initrd_path)
		return 0;
	code = open_file("--initrd", job->options->initrd_path, &file, job->error);
	if (code)
		return code;
	gpa = place_initrd(job->memory, file.size, limits, result);
	if (!gpa)
		return error_set(job->error, -ENOMEM,
			"--initrd %s: its %" PRIu64 " MiB do not fit beside the kernel in %" PRIu64
			" MiB of guest memory (the kernel takes an initrd up to 0x%" PRIx64
			"%s); raise --memory or use a smaller initrd",
			file.path, (file.size + 0xfffff) >> 20,
			guest_memory_size(job->memory) >> 20, limits->highest,
			limits->above_4g ? " and above 4 GiB" : "");
	code = boot_read(
		job->error, &file, guest_memory_pointer(job->memory, gpa, file.size), file.size, 0);
	if (code)
		return code;
	result->initrd_gpa = gpa;
	result->initrd_size = file.size;
	return 0;
}

int boot_write_cmdline(const struct boot_job *job, uint64_t limit)
{
	const char *cmdline = job->options->cmdline ? job->options->cmdline : "";
	size_t length = strlen(cmdline);

	limit = min_of(limit, (uint64_t)CMDLINE_ROOM - 1);
	if (length > limit)
		return error_set(job->error, -E2BIG,
			"--cmdline: %zu characters are more than this kernel takes (%" PRIu64
			"); shorten it",
			length, limit);
	return guest_memory_write(job->memory, LAYOUT_CMDLINE, cmdline, length + 1);
}

static bool head_has(const struct boot_job *job, size_t offset, const char *magic, size_t length)
{
	return range_within(offset, length, job->head_size) &&
	       !memcmp(job->head + offset, magic, length);
}

#define HEAD_HAS(job, offset, magic) head_has(job, offset, magic, sizeof(magic) - 1)

/* What people hand over by mistake, and what to do about it. */
static const char *describe_stranger(const struct boot_job *job)
{
	if (HEAD_HAS(job, 0, "\x1f\x8b"))
		return "it is compressed with gzip; unpack it (gunzip), or use the bzImage";
	if (HEAD_HAS(job, 0,
		    "\xfd"
		    "7zXZ"))
		return "it is compressed with xz; unpack it (unxz), or use the bzImage";
	if (HEAD_HAS(job, 0, "\x28\xb5\x2f\xfd"))
		return "it is compressed with zstd; unpack it (unzstd), or use the bzImage";
	if (HEAD_HAS(job, 0, "BZh"))
		return "it is compressed with bzip2; unpack it (bunzip2), or use the bzImage";
	if (HEAD_HAS(job, 56, "ARM\x64"))
		return "it is a kernel for arm64; this machine is x86-64";
	if (HEAD_HAS(job, 56, "RSC\x05"))
		return "it is a kernel for RISC-V; this machine is x86-64";
	if (HEAD_HAS(job, 0, "070701") || HEAD_HAS(job, 0, "070702"))
		return "it is a cpio archive; is it the initrd?";
	if (HEAD_HAS(job, 0, "MZ"))
		return "it is an EFI program without a Linux boot header; use the kernel inside it";
	return "not a kernel; name a bzImage (vmlinuz) or an ELF vmlinux";
}

static int load_by_format(const struct boot_job *job, struct boot_result *result)
{
	if (HEAD_HAS(job, 0, ELFMAG))
		return boot_load_elf(job, result);
	if (HEAD_HAS(job, 0x202, "HdrS") && HEAD_HAS(job, 0x1fe, "\x55\xaa"))
		return boot_load_bzimage(job, result);
	return error_set(
		job->error, -ENOEXEC, "--kernel %s: %s", job->kernel.path, describe_stranger(job));
}

int boot_load(const struct guest_memory *memory, const struct boot_options *options,
	struct boot_result *ret_result, struct error *error)
{
	auto_call(close_file) struct boot_file kernel = {.fd = -1};
	uint8_t head[BOOT_HEAD_SIZE];
	struct boot_result result = {0};
	struct boot_job job = {.memory = memory, .options = options, .head = head, .error = error};
	int code;

	/* The start structures lie below 1 MiB, and a kernel needs some memory above it. */
	if (low_ram_end(memory) <= LAYOUT_HIGH_START)
		return error_set(error, -ENOMEM, "--memory: too little to start any kernel");
	code = open_file("--kernel", options->kernel_path, &kernel, error);
	if (code)
		return code;
	job.kernel = kernel;
	job.head_size = (size_t)min_of(kernel.size, (uint64_t)sizeof(head));
	code = boot_read(error, &kernel, head, job.head_size, 0);
	if (!code)
		code = load_by_format(&job, &result);
	if (!code)
		*ret_result = result;
	return code;
}
