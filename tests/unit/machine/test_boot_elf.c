/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels: by the PVH note, and by the 64-bit entry. */
#include "boot_fixture.h"

#include "machine/layout.h"
#include "util/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct elf_fixture image;
static struct boot_file_fixture kernel, initrd;
static struct guest_memory *memory;
static struct boot_options options;
static struct boot_result result;
static struct error error;

static void set_up(void)
{
	elf_default(&image);
	options = (struct boot_options){.cmdline = "test=1", .rsdp = 0xe0000};
}

static void tear_down(void)
{
	guest_memory_destroy(memory);
}

TestSuite(elf, .init = set_up, .fini = tear_down);

static int load_file(uint64_t size)
{
	options.kernel_path = kernel.path;
	guest_memory_destroy(memory);
	memory = fixture_memory(size);
	error = ERROR_INIT;
	return boot_load(memory, &options, &result, &error);
}

static int load(uint64_t size)
{
	elf_write(&image, &kernel);
	return load_file(size);
}

static void load_well(uint64_t size)
{
	int code = load(size);

	cr_assert_eq(code, 0, "%d: %s", code, error.text);
}

static const uint8_t *guest(uint64_t gpa, uint64_t length)
{
	const void *at = guest_memory_pointer(memory, gpa, length);

	cr_assert_not_null(at);
	return at;
}

static void check_segment(void)
{
	const uint8_t *at = guest(image.gpa, image.memory_size);

	for (size_t i = 0; i < image.file_size; i++)
		cr_assert_eq(at[i], PAYLOAD_BYTE(i), "byte %zu", i);
	for (size_t i = image.file_size; i < image.memory_size; i++)
		cr_assert_eq(at[i], 0, "byte %zu", i);
	cr_assert_eq(result.kernel_gpa, image.gpa);
	cr_assert_eq(result.kernel_end, image.gpa + image.memory_size);
}

Test(elf, vmlinux_starts_at_its_64_bit_entry)
{
	struct boot_params page;

	load_well(64 * MIB);
	cr_assert_str_eq(result.format, "ELF");
	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_LINUX64);
	cr_assert_eq(result.state.entry, image.entry);
	cr_assert_eq(result.state.argument, LAYOUT_BOOT_PARAMS);
	cr_assert_eq(result.state.cr3, LAYOUT_PAGE_TABLES);
	check_segment();
	memcpy(&page, guest(LAYOUT_BOOT_PARAMS, sizeof(page)), sizeof(page));
	cr_assert_eq(page.hdr.header, 0x53726448);
	cr_assert_eq(page.hdr.boot_flag, 0xaa55);
	cr_assert_eq(page.hdr.type_of_loader, 0xff);
	cr_assert_eq(page.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	cr_assert_eq(page.acpi_rsdp_addr, 0xe0000);
	cr_assert_eq(page.e820_entries, 5);
	cr_assert_str_eq((const char *)guest(LAYOUT_CMDLINE, 16), "test=1");
}

static void check_pvh(void)
{
	const uint8_t *info = guest(result.state.argument, 56);
	const uint64_t *gdt;

	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_PVH);
	cr_assert_str_eq(result.format, "ELF with PVH note");
	cr_assert_eq(result.state.entry, image.note_entry);
	cr_assert_eq(result.state.argument, LAYOUT_PVH_START_INFO);
	cr_assert_eq(get_le32(info), 0x336ec578);
	cr_assert_eq(get_le32(info + 4), 1, "version");
	cr_assert_eq(get_le32(info + 8), 0, "flags");
	cr_assert_eq(get_le64(info + 24), LAYOUT_CMDLINE);
	cr_assert_eq(get_le64(info + 32), 0xe0000, "RSDP");
	gdt = (const uint64_t *)(const void *)guest(
		result.state.gdt_base, result.state.gdt_limit + 1u);
	cr_assert_eq(gdt[result.state.code_selector / 8], 0x00cf9b000000ffff);
	cr_assert_eq(gdt[result.state.data_selector / 8], 0x00cf93000000ffff);
	cr_assert_eq(gdt[result.state.task_selector / 8], 0x00008b0000000067);
	check_segment();
}

static void check_pvh_map(uint32_t count, uint64_t last_gpa, uint64_t last_end)
{
	const uint8_t *info = guest(result.state.argument, 56), *map;

	cr_assert_eq(get_le32(info + 48), count);
	map = guest(get_le64(info + 40), count * 24ull);
	cr_assert_eq(get_le64(map), 0);
	cr_assert_eq(get_le64(map + 8), 0x9fc00);
	cr_assert_eq(get_le32(map + 16), 1);
	map += (count - 1) * 24ull;
	cr_assert_eq(get_le64(map), last_gpa);
	cr_assert_eq(get_le64(map) + get_le64(map + 8), last_end);
}

Test(elf, note_means_pvh)
{
	image.with_note = 1;
	load_well(64 * MIB);
	check_pvh();
	check_pvh_map(5, 0xfeffc000, 0xff000000);
	cr_assert_eq(get_le32(guest(result.state.argument, 56) + 12), 0, "no module");
}

Test(elf, note_in_a_32_bit_file)
{
	image.with_note = 1;
	image.is_64 = 0;
	image.machine = EM_386;
	load_well(6 * GIB);
	check_pvh();
	check_pvh_map(6, 4 * GIB, 7 * GIB);
}

Test(elf, initrd_is_a_pvh_module)
{
	const uint8_t *info, *module;

	image.with_note = 1;
	fixture_file(&initrd, "0123456789", 10);
	options.initrd_path = initrd.path;
	load_well(64 * MIB);
	info = guest(result.state.argument, 56);
	cr_assert_eq(get_le32(info + 12), 1);
	module = guest(get_le64(info + 16), 32);
	cr_assert_eq(get_le64(module), 64 * MIB - 4096);
	cr_assert_eq(get_le64(module + 8), 10);
	cr_assert_eq(get_le64(module + 16), 0);
	cr_assert_eq(memcmp(guest(64 * MIB - 4096, 10), "0123456789", 10), 0);
}

Test(elf, protocol_can_be_chosen)
{
	image.with_note = 1;
	options.protocol = BOOT_PROTOCOL_LINUX64;
	load_well(64 * MIB);
	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_LINUX64);
	cr_assert_eq(result.state.entry, image.entry);
	image.with_note = 0;
	options.protocol = BOOT_PROTOCOL_PVH;
	cr_assert_eq(load(64 * MIB), -ENOEXEC);
	cr_assert(strstr(error.text, "PVH note"), "%s", error.text);
}

Test(elf, segment_is_cleared_behind_its_file_part)
{
	load_well(64 * MIB);
	memset(guest_memory_pointer(memory, image.gpa, image.memory_size), 0xaa, image.memory_size);
	cr_assert_eq(boot_load(memory, &options, &result, &error), 0);
	check_segment();
}

struct refusal {
	const char *what; /* part of the message */
	void (*spoil)(void);
};

static Elf64_Ehdr *header(void)
{
	return (Elf64_Ehdr *)(void *)image.bytes;
}

static Elf64_Phdr *segment(void)
{
	return (Elf64_Phdr *)(void *)(image.bytes + sizeof(Elf64_Ehdr)) + 1;
}

static void spoil_byte_order(void)
{
	image.bytes[EI_DATA] = ELFDATA2MSB;
}

static void spoil_class(void)
{
	image.bytes[EI_CLASS] = 7;
}

static void spoil_machine(void)
{
	header()->e_machine = EM_AARCH64;
}

static void spoil_machine_of_32_bit_file(void)
{
	image.bytes[EI_CLASS] = ELFCLASS32;
	header()->e_machine = EM_ARM;
}

static void spoil_entry_size(void)
{
	header()->e_phentsize = 1;
}

static void spoil_no_segments(void)
{
	header()->e_phnum = 0;
}

static void spoil_segment_count(void)
{
	header()->e_phnum = 65535;
}

static void spoil_table_offset(void)
{
	header()->e_phoff = UINT64_MAX - 10;
}

static void spoil_segment_offset(void)
{
	segment()->p_offset = UINT64_MAX - 100;
}

static void spoil_file_size(void)
{
	segment()->p_filesz = image.size;
}

static void spoil_memory_size(void)
{
	segment()->p_memsz = 1;
}

static void spoil_address_low(void)
{
	segment()->p_paddr = 0x7000;
	header()->e_entry = 0x7000;
}

static void spoil_address_beyond(void)
{
	segment()->p_paddr = 5 * GIB;
	header()->e_entry = 5 * GIB;
}

static void spoil_address_wrapping(void)
{
	segment()->p_paddr = UINT64_MAX - 0xfff;
	header()->e_entry = UINT64_MAX - 0xfff;
}

static void spoil_memory_size_huge(void)
{
	segment()->p_memsz = UINT64_MAX;
}

static void spoil_entry(void)
{
	header()->e_entry = 0x100;
}

static void spoil_nothing_to_load(void)
{
	segment()->p_type = PT_NULL;
}

static const struct refusal refusals[] = {
	{"not a little-endian file", spoil_byte_order},
	{"neither a 32-bit nor a 64-bit", spoil_class},
	{"another processor than x86-64", spoil_machine},
	{"another processor than x86", spoil_machine_of_32_bit_file},
	{"program headers of an unknown size", spoil_entry_size},
	{"no program headers", spoil_no_segments},
	{"too many program headers", spoil_segment_count},
	{"program headers lie beyond its end", spoil_table_offset},
	{"a segment lies beyond its end", spoil_segment_offset},
	{"a segment lies beyond its end", spoil_file_size},
	{"longer in the file than in memory", spoil_memory_size},
	{"below 1 MiB", spoil_address_low},
	{"never has memory", spoil_address_beyond},
	{"never has memory", spoil_address_wrapping},
	{"never has memory", spoil_memory_size_huge},
	{"entry lies outside", spoil_entry},
	{"entry lies outside", spoil_nothing_to_load},
};

Test(elf, refuses_what_it_cannot_start)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		int code;

		elf_default(&image);
		elf_build(&image);
		refusals[i].spoil();
		fixture_file(&kernel, image.bytes, image.size);
		code = load_file(64 * MIB);
		cr_assert_eq(code, -ENOEXEC, "case %zu (%s): %d", i, refusals[i].what, code);
		cr_assert(strstr(error.text, refusals[i].what), "case %zu: %s", i, error.text);
		cr_assert(strstr(error.text, "--kernel"), "case %zu: %s", i, error.text);
		cr_assert(strstr(error.text, kernel.path), "case %zu: %s", i, error.text);
	}
}

Test(elf, refuses_a_32_bit_file_without_a_note)
{
	image.is_64 = 0;
	image.machine = EM_386;
	cr_assert_eq(load(64 * MIB), -ENOEXEC);
	cr_assert(strstr(error.text, "PVH note"), "%s", error.text);
}

Test(elf, refuses_a_note_whose_entry_is_not_loaded)
{
	image.with_note = 1;
	image.note_entry = 1;
	cr_assert_eq(load(64 * MIB), -ENOEXEC);
	cr_assert(strstr(error.text, "entry lies outside"), "%s", error.text);
}

Test(elf, a_damaged_note_is_no_note)
{
	image.with_note = 1;
	elf_build(&image);
	put_le32(image.bytes + 0x800, UINT32_MAX); /* the size of the first note's name */
	fixture_file(&kernel, image.bytes, image.size);
	cr_assert_eq(load_file(64 * MIB), 0, "%s", error.text);
	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_LINUX64);
	put_le32(image.bytes + 0x800, 4);
	put_le32(image.bytes + 0x804, UINT32_MAX - 2); /* the size of its value */
	fixture_file(&kernel, image.bytes, image.size);
	cr_assert_eq(load_file(64 * MIB), 0, "%s", error.text);
	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_LINUX64);
}

Test(elf, a_note_cut_off_by_its_segments_end_is_no_note)
{
	image.with_note = 1;
	elf_build(&image);
	segment()[-1].p_filesz -= 1;
	fixture_file(&kernel, image.bytes, image.size);
	cr_assert_eq(load_file(64 * MIB), 0, "%s", error.text);
	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_LINUX64);
}

Test(elf, refuses_truncated_files)
{
	elf_build(&image);
	for (size_t size = 4; size < image.size; size += size < 200 ? 1 : 97) {
		fixture_file(&kernel, image.bytes, size);
		cr_assert_eq(load_file(64 * MIB), -ENOEXEC, "%zu bytes: %s", size, error.text);
	}
}

Test(elf, too_little_memory)
{
	load_well(5 * MIB);
	cr_assert_eq(load(5 * MIB - 4096), -ENOMEM);
	cr_assert(strstr(error.text, "--memory"), "%s", error.text);
	cr_assert(strstr(error.text, "5 MiB"), "%s", error.text);
}

Test(elf, command_line_too_long)
{
	static char text[2049];

	memset(text, 'x', 2047);
	options.cmdline = text;
	load_well(64 * MIB);
	text[2047] = 'x';
	cr_assert_eq(load(64 * MIB), -E2BIG);
	cr_assert(strstr(error.text, "--cmdline: 2048 characters"), "%s", error.text);
}
