/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_fixture.h"

#include "machine/layout.h"
#include "util/checked.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEADER_OFFSET 0x1f1
#define SECTOR        512
#define NOTE_OFFSET   0x800
#define DATA_OFFSET   0x1000

void fixture_file(struct boot_file_fixture *file, const void *data, size_t size)
{
	file->fd = memfd_create("fixture", MFD_CLOEXEC);
	cr_assert_geq(file->fd, 0);
	cr_assert_eq(write(file->fd, data, size), (ssize_t)size);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

void fixture_sparse_file(struct boot_file_fixture *file, uint64_t size)
{
	fixture_file(file, "", 0);
	cr_assert_eq(ftruncate(file->fd, (off_t)size), 0);
}

struct guest_memory *fixture_memory(uint64_t size)
{
	struct guest_memory_range ranges[2] = {{.gpa = 0, .size = size}};
	struct guest_memory_options options = {0};
	struct guest_memory *memory = NULL;
	size_t count = 1;

	if (size > LAYOUT_LOW_RAM_END) {
		ranges[0].size = LAYOUT_LOW_RAM_END;
		ranges[1] = (struct guest_memory_range){
			.gpa = LAYOUT_HIGH_RAM_GPA, .size = size - LAYOUT_LOW_RAM_END};
		count = 2;
	}
	cr_assert_eq(guest_memory_create(ranges, count, &options, &memory, NULL), 0);
	return memory;
}

void bzimage_default(struct bzimage_fixture *image)
{
	*image = (struct bzimage_fixture){
		.header =
			{
				.setup_sects = 3,
				.boot_flag = 0xaa55,
				.jump = 0x6aeb, /* to 0x26c: the header's end */
				.header = 0x53726448,
				.version = 0x20f,
				.loadflags = LOADED_HIGH | CAN_USE_HEAP | KEEP_SEGMENTS,
				.code32_start = 0x100000,
				.initrd_addr_max = 0x7fffffff,
				.kernel_alignment = 0x200000,
				.relocatable_kernel = 1,
				.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
				.cmdline_size = 2047,
				.setup_data = 0xdead,
				.pref_address = 0x1000000,
				.init_size = 0x800000,
				.kernel_info_offset = 0x1234,
			},
		.payload_size = 10000,
	};
	image->header.syssize = (uint32_t)(image->payload_size + 15) / 16;
}

void bzimage_write(struct bzimage_fixture *image, struct boot_file_fixture *file)
{
	size_t setup =
		(image->header.setup_sects ? image->header.setup_sects : 4u) * SECTOR + SECTOR;

	image->size = min_of(setup + image->payload_size, sizeof(image->bytes));
	memset(image->bytes, 0xcc, setup); /* also where boot_params has its sentinel */
	memcpy(image->bytes + HEADER_OFFSET, &image->header, sizeof(image->header));
	for (size_t i = 0; setup + i < image->size; i++)
		image->bytes[setup + i] = PAYLOAD_BYTE(i);
	fixture_file(file, image->bytes, image->size);
}

void elf_default(struct elf_fixture *image)
{
	*image = (struct elf_fixture){
		.is_64 = 1,
		.machine = EM_X86_64,
		.entry = 2 * MIB + 0x10,
		.note_entry = 2 * MIB + 0x20,
		.gpa = 2 * MIB,
		.file_size = 5000,
		.memory_size = 3 * MIB,
		.size = DATA_OFFSET + 5000,
	};
}

static size_t build_note(uint8_t *at, uint64_t entry, bool is_64)
{
	static const uint8_t other[] = {
		4, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 'G', 'N', 'U', 0, 1, 2, 3, 0};
	Elf64_Nhdr note = {.n_namesz = 4, .n_descsz = is_64 ? 8 : 4, .n_type = 18};

	memcpy(at, other, sizeof(other));
	memcpy(at + sizeof(other), &note, sizeof(note));
	memcpy(at + sizeof(other) + 12, "Xen", 4);
	memcpy(at + sizeof(other) + 16, &entry, note.n_descsz);
	return sizeof(other) + 16 + note.n_descsz;
}

static void build_64(struct elf_fixture *image, size_t note_size)
{
	Elf64_Ehdr header = {.e_machine = image->machine,
		.e_entry = image->entry,
		.e_phoff = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2};
	Elf64_Phdr segments[2] = {
		{.p_type = note_size ? PT_NOTE : PT_NULL,
			.p_offset = NOTE_OFFSET,
			.p_filesz = note_size,
			.p_align = 4},
		{.p_type = PT_LOAD,
			.p_offset = DATA_OFFSET,
			.p_paddr = image->gpa,
			.p_vaddr = 0xffffffff80000000u + image->gpa,
			.p_filesz = image->file_size,
			.p_memsz = image->memory_size},
	};

	memcpy(header.e_ident, ELFMAG, SELFMAG);
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(image->bytes, &header, sizeof(header));
	memcpy(image->bytes + sizeof(header), segments, sizeof(segments));
}

static void build_32(struct elf_fixture *image, size_t note_size)
{
	Elf32_Ehdr header = {.e_machine = image->machine,
		.e_entry = (uint32_t)image->entry,
		.e_phoff = sizeof(header),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2};
	Elf32_Phdr segments[2] = {
		{.p_type = note_size ? PT_NOTE : PT_NULL,
			.p_offset = NOTE_OFFSET,
			.p_filesz = (uint32_t)note_size,
			.p_align = 4},
		{.p_type = PT_LOAD,
			.p_offset = DATA_OFFSET,
			.p_paddr = (uint32_t)image->gpa,
			.p_filesz = (uint32_t)image->file_size,
			.p_memsz = (uint32_t)image->memory_size},
	};

	memcpy(header.e_ident, ELFMAG, SELFMAG);
	header.e_ident[EI_CLASS] = ELFCLASS32;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(image->bytes, &header, sizeof(header));
	memcpy(image->bytes + sizeof(header), segments, sizeof(segments));
}

void elf_build(struct elf_fixture *image)
{
	size_t note_size = 0;

	memset(image->bytes, 0, sizeof(image->bytes));
	if (image->with_note)
		note_size = build_note(image->bytes + NOTE_OFFSET, image->note_entry, image->is_64);
	if (image->is_64)
		build_64(image, note_size);
	else
		build_32(image, note_size);
	for (size_t i = DATA_OFFSET; i < sizeof(image->bytes); i++)
		image->bytes[i] = PAYLOAD_BYTE(i - DATA_OFFSET);
}

void elf_write(struct elf_fixture *image, struct boot_file_fixture *file)
{
	elf_build(image);
	fixture_file(file, image->bytes, image->size);
}
