/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic kernels and initrds in memory files, and guest memory to load them into. */
#pragma once

#include "machine/boot_image.h"
#include "memory/guest_memory.h"
#include "util/error.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* A file that has no name but a path, and goes away with the process. */
struct boot_file_fixture {
	int fd;
	char path[40];
};

void fixture_file(struct boot_file_fixture *file, const void *data, size_t size);

/* A file of @size zero bytes that takes no memory. */
void fixture_sparse_file(struct boot_file_fixture *file, uint64_t size);

/* RAM of @size bytes, split around the hole below 4 GiB as the machine does it. */
struct guest_memory *fixture_memory(uint64_t size);

/*
 * A bzImage: `setup_sects` sectors of setup code behind the boot sector, with the header in it, and
 * a payload of `payload_size` bytes with a pattern in it.
 */
struct bzimage_fixture {
	struct setup_header header;
	size_t payload_size;
	uint8_t bytes[192 * 1024];
	size_t size;
};

#define PAYLOAD_BYTE(index) ((uint8_t)((index)*7 + 3))

/* A relocatable 2.15 kernel at 16 MiB with an init_size of 8 MiB; change header, then write. */
void bzimage_default(struct bzimage_fixture *image);
void bzimage_write(struct bzimage_fixture *image, struct boot_file_fixture *file);

/* A 64-bit or 32-bit ELF with one segment at 2 MiB and, if asked for, a PVH note. */
struct elf_fixture {
	int is_64;
	int with_note;
	uint16_t machine;
	uint64_t entry;
	uint64_t note_entry;
	uint64_t gpa;
	uint64_t file_size, memory_size; /* of the segment */
	uint8_t bytes[16 * 1024];
	size_t size;
};

void elf_default(struct elf_fixture *image);
void elf_build(struct elf_fixture *image);
void elf_write(struct elf_fixture *image, struct boot_file_fixture *file);
