/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders of src/machine/boot_*.c share; nobody else includes it. Main thread. */
#pragma once

#include "machine/boot_image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_MAP_MAX 32 /* entries of the memory map: two for each region, and the fixed ones */

/* Types of the memory map, alike in e820 and in hvm_memmap_table_entry. */
#define BOOT_MAP_RAM      1
#define BOOT_MAP_RESERVED 2

struct boot_map_entry {
	uint64_t gpa;
	uint64_t size;
	uint32_t type;
};

struct boot_file {
	const char *option; /* "--kernel" */
	const char *path;
	int fd;
	uint64_t size; /* when it was opened */
};

/* One call of boot_load(). */
struct boot_job {
	const struct guest_memory *memory;
	const struct boot_options *options;
	struct boot_file kernel;
	const uint8_t *head; /* the first bytes of the kernel file */
	size_t head_size;    /* BOOT_HEAD_SIZE, or all of a smaller file */
	struct error *error;
};

#define BOOT_HEAD_SIZE 4096

/* What a loader found out about where an initrd may lie. */
struct boot_initrd_limits {
	uint64_t highest; /* last byte below 4 GiB that the initrd may take */
	bool above_4g;    /* may also lie above 4 GiB */
};

/* Fills @entries (BOOT_MAP_MAX of them), ascending; returns how many. */
size_t boot_memory_map(const struct guest_memory *memory, struct boot_map_entry *entries);

/*
 * The guest memory at [gpa, gpa + size), for the kernel. Returns 0; -ENOEXEC where the machine
 * never has memory there, or below 1 MiB; -ENOMEM where it could have; with an explanation.
 */
int boot_kernel_space(const struct boot_job *job, uint64_t gpa, uint64_t size, void **ret_space);

/* Reads part of a file straight to where it belongs. 0 or negative errno with an explanation. */
int boot_read(struct error *error, const struct boot_file *file, void *to, uint64_t size,
	uint64_t offset);

/*
 * Finds a place for the initrd that leaves [kernel_gpa, kernel_end) of @result free, reads it, and
 * fills initrd_gpa and initrd_size. Without an initrd, does nothing.
 */
int boot_load_initrd(const struct boot_job *job, const struct boot_initrd_limits *limits,
	struct boot_result *result);

/* Writes the command line, of at most @limit characters, to LAYOUT_CMDLINE. */
int boot_write_cmdline(const struct boot_job *job, uint64_t limit);

/* The loaders: the kernel, its initrd, the command line and the start structures. */
int boot_load_bzimage(const struct boot_job *job, struct boot_result *result);
int boot_load_elf(const struct boot_job *job, struct boot_result *result);

/*
 * The start structures. @header holds the bytes of the image from offset 0x1f1 on, @header_size of
 * them (0: none, as for an ELF). The kernel and the initrd are in @result; state is filled.
 */
int boot_start_linux64(const struct boot_job *job, const uint8_t *header, size_t header_size,
	uint64_t entry, struct boot_result *result);
int boot_start_pvh(const struct boot_job *job, uint64_t entry, struct boot_result *result);
