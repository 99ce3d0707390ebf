/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF images: a vmlinux, or a bare guest. 32-bit and 64-bit files are read into one form of
 * program header; segments go to their physical addresses, and the rest of each is cleared.
 *
 * The Xen note PHYS32_ENTRY is an image's promise that it starts by PVH, whatever it is, so it wins
 * where it is found. Without one, a 64-bit file is taken for a Linux kernel, whose ELF entry is the
 * physical address of startup_64.
 */
#include "machine/boot_private.h"

#include "util/bytes.h"
#include "util/checked.h"
#include "util/error.h"
#include "util/fd.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SEGMENTS_MAX  64
#define NOTES_MAX     0x10000u /* bytes of one PT_NOTE segment; a vmlinux has about 500 */
#define PHYS32_ENTRY  18       /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NO_ENTRY      UINT64_MAX
#define CMDLINE_LIMIT 2047 /* of Linux on x86; an ELF does not say */

/* x86-64 Linux has taken an initrd anywhere below 4 GiB for ever; an ELF does not say. */
#define INITRD_HIGHEST UINT32_MAX

struct segment {
	uint32_t type;
	uint64_t offset, file_size; /* in the file */
	uint64_t gpa, memory_size;
	uint64_t alignment;
};

struct elf_image {
	bool is_64;
	uint64_t entry;     /* of the ELF header */
	uint64_t pvh_entry; /* of the note, or NO_ENTRY */
	uint64_t table;     /* the program headers in the file */
	unsigned count;     /* of segments */
	struct segment segments[SEGMENTS_MAX];
};

static int unusable(const struct boot_job *job, const char *what)
{
	return error_set(job->error, -ENOEXEC,
		"--kernel %s: an ELF file that cannot be started: %s", job->kernel.path, what);
}

static int read_header_64(const struct boot_job *job, struct elf_image *image)
{
	Elf64_Ehdr header;

	if (job->head_size < sizeof(header))
		return unusable(job, "truncated inside its header");
	memcpy(&header, job->head, sizeof(header));
	if (header.e_machine != EM_X86_64)
		return unusable(job, "it is for another processor than x86-64");
	if (header.e_phentsize != sizeof(Elf64_Phdr))
		return unusable(job, "damaged: program headers of an unknown size");
	image->entry = header.e_entry;
	image->table = header.e_phoff;
	image->count = header.e_phnum;
	return 0;
}

static int read_header_32(const struct boot_job *job, struct elf_image *image)
{
	Elf32_Ehdr header;

	if (job->head_size < sizeof(header))
		return unusable(job, "truncated inside its header");
	memcpy(&header, job->head, sizeof(header));
	if (header.e_machine != EM_386)
		return unusable(job, "it is for another processor than x86");
	if (header.e_phentsize != sizeof(Elf32_Phdr))
		return unusable(job, "damaged: program headers of an unknown size");
	image->entry = header.e_entry;
	image->table = header.e_phoff;
	image->count = header.e_phnum;
	return 0;
}

static int read_header(const struct boot_job *job, struct elf_image *image)
{
	if (job->head_size < EI_NIDENT || job->head[EI_DATA] != ELFDATA2LSB)
		return unusable(job, "not a little-endian file");
	image->is_64 = job->head[EI_CLASS] == ELFCLASS64;
	if (image->is_64)
		return read_header_64(job, image);
	if (job->head[EI_CLASS] == ELFCLASS32)
		return read_header_32(job, image);
	return unusable(job, "neither a 32-bit nor a 64-bit file");
}

static struct segment convert_64(const void *from)
{
	Elf64_Phdr header;

	memcpy(&header, from, sizeof(header));
	return (struct segment){.type = header.p_type,
		.offset = header.p_offset,
		.file_size = header.p_filesz,
		.gpa = header.p_paddr,
		.memory_size = header.p_memsz,
		.alignment = header.p_align};
}

static struct segment convert_32(const void *from)
{
	Elf32_Phdr header;

	memcpy(&header, from, sizeof(header));
	return (struct segment){.type = header.p_type,
		.offset = header.p_offset,
		.file_size = header.p_filesz,
		.gpa = header.p_paddr,
		.memory_size = header.p_memsz,
		.alignment = header.p_align};
}

static int read_segments(const struct boot_job *job, struct elf_image *image)
{
	uint8_t table[SEGMENTS_MAX * sizeof(Elf64_Phdr)];
	size_t entry = image->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	int code;

	if (!image->count || image->count > SEGMENTS_MAX)
		return unusable(job, image->count
					     ? "damaged: too many program headers"
					     : "it has no program headers; is it an object file?");
	if (!range_within(image->table, image->count * entry, job->kernel.size))
		return unusable(job, "truncated: its program headers lie beyond its end");
	code = boot_read(job->error, &job->kernel, table, image->count * entry, image->table);
	if (code)
		return code;
	for (unsigned i = 0; i < image->count; i++) {
		const uint8_t *at = table + i * entry;
		struct segment segment = image->is_64 ? convert_64(at) : convert_32(at);

		if (!range_within(segment.offset, segment.file_size, job->kernel.size))
			return unusable(job, "truncated: a segment lies beyond its end");
		if (segment.type == PT_LOAD && segment.file_size > segment.memory_size)
			return unusable(
				job, "damaged: a segment is longer in the file than in memory");
		image->segments[i] = segment;
	}
	return 0;
}

/* The entry in one note segment of @size bytes at @notes, or NO_ENTRY. */
static uint64_t scan_notes(const uint8_t *notes, uint64_t size, uint64_t alignment)
{
	uint64_t at = 0;

	while (range_within(at, sizeof(Elf64_Nhdr), size)) {
		uint64_t name_size = get_le32(notes + at), value_size = get_le32(notes + at + 4);
		uint32_t type = get_le32(notes + at + 8);
		uint64_t name = at + sizeof(Elf64_Nhdr);
		uint64_t value = align_up(name + name_size, alignment);

		if (!range_within(value, value_size, size))
			return NO_ENTRY;
		if (type == PHYS32_ENTRY && name_size == 4 && !memcmp(notes + name, "Xen", 4) &&
			(value_size == 4 || value_size == 8))
			return get_le(notes + value, (unsigned)value_size);
		at = align_up(value + value_size, alignment);
	}
	return NO_ENTRY;
}

static int find_pvh_entry(const struct boot_job *job, struct elf_image *image)
{
	uint8_t notes[NOTES_MAX];

	image->pvh_entry = NO_ENTRY;
	for (unsigned i = 0; i < image->count && image->pvh_entry == NO_ENTRY; i++) {
		const struct segment *segment = &image->segments[i];
		int code;

		if (segment->type != PT_NOTE || segment->file_size > sizeof(notes))
			continue;
		code = boot_read(
			job->error, &job->kernel, notes, segment->file_size, segment->offset);
		if (code)
			return code;
		image->pvh_entry =
			scan_notes(notes, segment->file_size, segment->alignment == 8 ? 8 : 4);
	}
	return 0;
}

static int load_segment(
	const struct boot_job *job, const struct segment *segment, struct boot_result *result)
{
	uint8_t *space;
	void *start;
	int code = boot_kernel_space(job, segment->gpa, segment->memory_size, &start);

	if (!code)
		code = boot_read(
			job->error, &job->kernel, start, segment->file_size, segment->offset);
	if (code)
		return code;
	/* A guest that restarts has left its own bytes there. */
	space = start;
	memset(space + segment->file_size, 0, segment->memory_size - segment->file_size);
	result->kernel_gpa = min_of(result->kernel_gpa, segment->gpa);
	result->kernel_end = max_of(result->kernel_end, segment->gpa + segment->memory_size);
	return 0;
}

static int load_segments(
	const struct boot_job *job, const struct elf_image *image, struct boot_result *result)
{
	result->kernel_gpa = UINT64_MAX;
	for (unsigned i = 0; i < image->count; i++) {
		const struct segment *segment = &image->segments[i];
		int code = 0;

		if (segment->type == PT_LOAD && segment->memory_size)
			code = load_segment(job, segment, result);
		if (code)
			return code;
	}
	return result->kernel_end ? 0 : unusable(job, "it has nothing to load");
}

/* Which of the two ways to start; result->state.protocol and the entry. */
static int choose_entry(const struct boot_job *job, const struct elf_image *image,
	enum boot_protocol *ret_protocol, uint64_t *ret_entry)
{
	enum boot_protocol protocol = job->options->protocol;
	bool has_note = image->pvh_entry != NO_ENTRY;

	if (protocol == BOOT_PROTOCOL_AUTO)
		protocol = has_note ? BOOT_PROTOCOL_PVH : BOOT_PROTOCOL_LINUX64;
	if (protocol == BOOT_PROTOCOL_PVH && !has_note)
		return unusable(job, "it has no PVH note (XEN_ELFNOTE_PHYS32_ENTRY)");
	if (protocol == BOOT_PROTOCOL_LINUX64 && !image->is_64)
		return unusable(job, "a 32-bit file needs a PVH note (XEN_ELFNOTE_PHYS32_ENTRY)");
	*ret_protocol = protocol;
	*ret_entry = protocol == BOOT_PROTOCOL_PVH ? image->pvh_entry : image->entry;
	return 0;
}

static bool entry_is_loaded(const struct elf_image *image, uint64_t entry)
{
	for (unsigned i = 0; i < image->count; i++) {
		const struct segment *segment = &image->segments[i];

		if (segment->type == PT_LOAD && entry >= segment->gpa &&
			entry - segment->gpa < segment->memory_size)
			return true;
	}
	return false;
}

int boot_load_elf(const struct boot_job *job, struct boot_result *result)
{
	static const struct boot_initrd_limits limits = {.highest = INITRD_HIGHEST};
	struct elf_image image = {0};
	enum boot_protocol protocol = BOOT_PROTOCOL_AUTO;
	uint64_t entry = NO_ENTRY;
	int code;

	code = read_header(job, &image);
	if (!code)
		code = read_segments(job, &image);
	if (!code)
		code = find_pvh_entry(job, &image);
	if (!code)
		code = choose_entry(job, &image, &protocol, &entry);
	if (code)
		return code;
	if (!entry_is_loaded(&image, entry))
		return unusable(job, "its entry lies outside its segments; is it a kernel?");
	result->format = image.pvh_entry == NO_ENTRY ? "ELF" : "ELF with PVH note";
	code = load_segments(job, &image, result);
	if (!code)
		code = boot_load_initrd(job, &limits, result);
	if (!code)
		code = boot_write_cmdline(job, CMDLINE_LIMIT);
	if (code)
		return code;
	if (protocol == BOOT_PROTOCOL_PVH)
		return boot_start_pvh(job, entry, result);
	return boot_start_linux64(job, NULL, 0, entry, result);
}
