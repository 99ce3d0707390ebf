/* SPDX-License-Identifier: Apache-2.0 */
/* The 64-bit boot protocol on synthetic kernels: what lies in guest memory, and where. */
#include "boot_fixture.h"

#include "machine/layout.h"
#include "util/checked.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct bzimage_fixture image;
static struct boot_file_fixture kernel, initrd;
static struct guest_memory *memory;
static struct boot_options options;
static struct boot_result result;
static struct error error;

static void set_up(void)
{
	bzimage_default(&image);
	options = (struct boot_options){.cmdline = "console=ttyS0 quiet", .rsdp = 0xe0000};
}

static void tear_down(void)
{
	guest_memory_destroy(memory);
}

TestSuite(bzimage, .init = set_up, .fini = tear_down);

static int load(uint64_t size)
{
	bzimage_write(&image, &kernel);
	options.kernel_path = kernel.path;
	guest_memory_destroy(memory);
	memory = fixture_memory(size);
	error = ERROR_INIT;
	return boot_load(memory, &options, &result, &error);
}

static void load_well(uint64_t size)
{
	int code = load(size);

	cr_assert_eq(code, 0, "%d: %s", code, error.text);
}

static const void *guest(uint64_t gpa, uint64_t length)
{
	const void *at = guest_memory_pointer(memory, gpa, length);

	cr_assert_not_null(at);
	return at;
}

static struct boot_params params(void)
{
	struct boot_params copy;

	cr_assert_eq(result.state.argument, LAYOUT_BOOT_PARAMS);
	memcpy(&copy, guest(result.state.argument, sizeof(copy)), sizeof(copy));
	return copy;
}

/* The initrd is made of this pattern, so that its first and last bytes tell where it lies. */
static void use_initrd(size_t size)
{
	static uint8_t bytes[1 << 20];

	cr_assert_leq(size, sizeof(bytes));
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 13 + 1);
	fixture_file(&initrd, bytes, size);
	options.initrd_path = initrd.path;
}

static void check_initrd_bytes(uint64_t gpa, size_t size)
{
	const uint8_t *at = guest(gpa, size);

	for (size_t i = 0; i < size; i++)
		cr_assert_eq(at[i], (uint8_t)(i * 13 + 1), "byte %zu", i);
}

Test(bzimage, payload_goes_to_the_preferred_address)
{
	const uint8_t *at;

	load_well(64 * MIB);
	cr_assert_str_eq(result.format, "bzImage");
	cr_assert_eq(result.kernel_gpa, 0x1000000);
	cr_assert_eq(result.kernel_end, 0x1800000);
	at = guest(0x1000000, image.payload_size);
	for (size_t i = 0; i < image.payload_size; i++)
		cr_assert_eq(at[i], PAYLOAD_BYTE(i), "byte %zu", i);
	cr_assert_eq(result.state.protocol, BOOT_PROTOCOL_LINUX64);
	cr_assert_eq(result.state.entry, 0x1000200);
}

Test(bzimage, no_setup_sectors_means_four)
{
	image.header.setup_sects = 0;
	load_well(64 * MIB);
	cr_assert_eq(*(const uint8_t *)guest(0x1000000, 1), PAYLOAD_BYTE(0));
}

Test(bzimage, header_is_handed_on_and_completed)
{
	struct boot_params page;

	load_well(64 * MIB);
	page = params();
	cr_assert_eq(page.hdr.header, 0x53726448);
	cr_assert_eq(page.hdr.boot_flag, 0xaa55);
	cr_assert_eq(page.hdr.version, 0x20f);
	cr_assert_eq(page.hdr.setup_sects, 3);
	cr_assert_eq(page.hdr.kernel_info_offset, 0x1234, "the header's last field");
	cr_assert_eq(page.hdr.type_of_loader, 0xff);
	cr_assert_eq(page.hdr.loadflags, LOADED_HIGH, "no heap, no kept segments");
	cr_assert_eq(page.hdr.setup_data, 0, "a pointer out of the file is not handed on");
	cr_assert_eq(page.hdr.code32_start, 0x1000000);
	cr_assert_eq(page.acpi_rsdp_addr, 0xe0000);
	cr_assert_eq(page.sentinel, 0, "only the header is copied");
	cr_assert_eq(page.hdr.ramdisk_size, 0);
}

Test(bzimage, bytes_behind_the_header_are_not_copied)
{
	struct boot_params page;

	image.header.jump = 0x00eb; /* the header ends at 0x202 */
	load_well(64 * MIB);
	page = params();
	cr_assert_eq(page.hdr.kernel_info_offset, 0);
	cr_assert_eq(page.hdr.header, 0x53726448, "what the kernel checks is there all the same");
	image.header.jump =
		(uint16_t)0xffeb; /* it claims to reach over what follows in boot_params */
	load_well(64 * MIB);
	page = params();
	cr_assert_eq(page.e820_entries, 5);
	cr_assert_eq(page.edd_mbr_sig_buffer[0], 0);
	cr_assert_eq(page.e820_table[0].addr, 0);
}

Test(bzimage, command_line)
{
	struct boot_params page;

	load_well(64 * MIB);
	page = params();
	cr_assert_eq(page.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	cr_assert_eq(page.ext_cmd_line_ptr, 0);
	cr_assert_str_eq(guest(LAYOUT_CMDLINE, 64), "console=ttyS0 quiet");
	options.cmdline = NULL;
	load_well(64 * MIB);
	cr_assert_str_eq(guest(LAYOUT_CMDLINE, 64), "");
}

Test(bzimage, command_line_up_to_the_kernels_limit)
{
	char text[40];

	image.header.cmdline_size = 31;
	memset(text, 'a', sizeof(text));
	text[31] = 0;
	options.cmdline = text;
	load_well(64 * MIB);
	cr_assert_str_eq(guest(LAYOUT_CMDLINE, 64), text);
	text[31] = 'a';
	text[32] = 0;
	cr_assert_eq(load(64 * MIB), -E2BIG);
	cr_assert(strstr(error.text, "--cmdline: 32 characters"), "%s", error.text);
	cr_assert(strstr(error.text, "(31)"), "%s", error.text);
}

struct expected {
	uint64_t gpa, end;
	uint32_t type;
};

static void check_e820(const struct expected *expected, size_t count)
{
	struct boot_params page = params();

	cr_assert_eq(page.e820_entries, count);
	for (size_t i = 0; i < count; i++) {
		cr_assert_eq(page.e820_table[i].addr, expected[i].gpa, "entry %zu: %llx", i,
			(unsigned long long)page.e820_table[i].addr);
		cr_assert_eq(page.e820_table[i].addr + page.e820_table[i].size, expected[i].end,
			"entry %zu", i);
		cr_assert_eq(page.e820_table[i].type, expected[i].type, "entry %zu", i);
	}
}

Test(bzimage, memory_map_of_small_memory)
{
	static const struct expected expected[] = {
		{0, 0x9fc00, 1},
		{0x9fc00, 0x100000, 2},
		{0x100000, 64 * MIB, 1},
		{0xe0000000, 0xe0100000, 2},
		{0xfeffc000, 0xff000000, 2},
	};

	load_well(64 * MIB);
	check_e820(expected, ARRAY_SIZE(expected));
}

Test(bzimage, memory_map_up_to_the_hole)
{
	static const struct expected expected[] = {
		{0, 0x9fc00, 1},
		{0x9fc00, 0x100000, 2},
		{0x100000, 0xc0000000, 1},
		{0xe0000000, 0xe0100000, 2},
		{0xfeffc000, 0xff000000, 2},
	};

	load_well(3 * GIB);
	check_e820(expected, ARRAY_SIZE(expected));
}

Test(bzimage, memory_map_beyond_4_gib)
{
	static const struct expected expected[] = {
		{0, 0x9fc00, 1},
		{0x9fc00, 0x100000, 2},
		{0x100000, 0xc0000000, 1},
		{0xe0000000, 0xe0100000, 2},
		{0xfeffc000, 0xff000000, 2},
		{4 * GIB, 7 * GIB, 1},
	};

	load_well(6 * GIB);
	check_e820(expected, ARRAY_SIZE(expected));
}

/* Walks the tables as the processor would; 2 MiB pages. */
static uint64_t translate(uint64_t address)
{
	const uint64_t *table = guest(result.state.cr3, 4096);
	uint64_t entry = table[address >> 39 & 511];

	cr_assert_eq(entry & 3, 3);
	table = guest(entry & ~0xfffull, 4096);
	entry = table[address >> 30 & 511];
	cr_assert_eq(entry & 3, 3);
	cr_assert_eq(entry & 0x80, 0, "not every host has 1 GiB pages");
	table = guest(entry & ~0xfffull, 4096);
	entry = table[address >> 21 & 511];
	cr_assert_eq(entry & 0x83, 0x83);
	return (entry & ~0x1fffffull) | (address & 0x1fffff);
}

Test(bzimage, everything_below_4_gib_is_mapped_to_itself)
{
	load_well(64 * MIB);
	for (uint64_t address = 0; address < 4 * GIB; address += 2 * MIB)
		cr_assert_eq(translate(address + 0x1234), address + 0x1234);
	cr_assert_eq(result.state.cr3 % 4096, 0);
}

Test(bzimage, segments_are_those_that_the_protocol_asks_for)
{
	const uint64_t *gdt;

	load_well(64 * MIB);
	cr_assert_eq(result.state.code_selector, 0x10);
	cr_assert_eq(result.state.data_selector, 0x18);
	cr_assert_eq(result.state.gdt_base, LAYOUT_BOOT_GDT);
	cr_assert_geq(result.state.gdt_limit, 0x1f);
	gdt = guest(result.state.gdt_base, result.state.gdt_limit + 1u);
	cr_assert_eq(gdt[0], 0);
	cr_assert_eq(gdt[2], 0x00af9b000000ffff, "64-bit code, execute and read");
	cr_assert_eq(gdt[3], 0x00cf93000000ffff, "data, read and write, 4 GiB");
}

Test(bzimage, initrd_goes_to_the_top_of_memory)
{
	struct boot_params page;

	use_initrd(100000);
	load_well(64 * MIB);
	cr_assert_eq(result.initrd_size, 100000);
	cr_assert_eq(result.initrd_gpa, (64 * MIB - 100000) & ~0xfffull);
	check_initrd_bytes(result.initrd_gpa, 100000);
	page = params();
	cr_assert_eq(page.hdr.ramdisk_image, result.initrd_gpa);
	cr_assert_eq(page.hdr.ramdisk_size, 100000);
	cr_assert_eq(page.ext_ramdisk_image, 0);
	cr_assert_eq(page.ext_ramdisk_size, 0);
}

Test(bzimage, initrd_stays_below_the_kernels_limit)
{
	use_initrd(8192);
	image.header.initrd_addr_max = 48 * MIB - 1;
	load_well(64 * MIB);
	cr_assert_eq(result.initrd_gpa, 48 * MIB - 8192, "its last byte is the limit");
	image.header.initrd_addr_max = 48 * MIB - 2;
	load_well(64 * MIB);
	cr_assert_eq(result.initrd_gpa, 48 * MIB - 12288);
	image.header.initrd_addr_max = UINT32_MAX;
	load_well(6 * GIB);
	cr_assert_eq(result.initrd_gpa, 3 * GIB - 8192, "below the PCI hole");
}

Test(bzimage, initrd_fills_the_room_above_the_kernel_exactly)
{
	use_initrd(1 << 20);
	load_well(25 * MIB); /* the kernel ends at 24 MiB */
	cr_assert_eq(result.initrd_gpa, 24 * MIB);
	check_initrd_bytes(24 * MIB, 1 << 20);
}

Test(bzimage, initrd_goes_below_the_kernel_where_there_is_no_room_above)
{
	use_initrd(1 << 20);
	load_well(25 * MIB - 4096);
	cr_assert_eq(result.initrd_gpa, 15 * MIB);
	check_initrd_bytes(15 * MIB, 1 << 20);
	cr_assert_eq(*(const uint8_t *)guest(16 * MIB, 1), PAYLOAD_BYTE(0), "the kernel is whole");
}

Test(bzimage, initrd_goes_above_4_gib_where_the_kernel_takes_it)
{
	struct boot_params page;

	use_initrd(8192);
	image.header.initrd_addr_max = 0xfffff; /* nowhere below 4 GiB */
	load_well(6 * GIB);
	cr_assert_eq(result.initrd_gpa, 7 * GIB - 8192);
	check_initrd_bytes(result.initrd_gpa, 8192);
	page = params();
	cr_assert_eq(page.hdr.ramdisk_image, (uint32_t)result.initrd_gpa);
	cr_assert_eq(page.ext_ramdisk_image, 1);
	cr_assert_eq(page.hdr.ramdisk_size, 8192);
}

Test(bzimage, initrd_stays_below_4_gib_where_the_kernel_cannot_reach_higher)
{
	use_initrd(8192);
	image.header.initrd_addr_max = 0xfffff;
	image.header.xloadflags = XLF_KERNEL_64;
	cr_assert_eq(load(6 * GIB), -ENOMEM);
	cr_assert(strstr(error.text, "--initrd"), "%s", error.text);
	cr_assert_null(strstr(error.text, "above 4 GiB"), "%s", error.text);
}

Test(bzimage, initrd_too_large)
{
	fixture_sparse_file(&initrd, 100 * MIB);
	options.initrd_path = initrd.path;
	cr_assert_eq(load(64 * MIB), -ENOMEM);
	cr_assert(strstr(error.text, "--initrd"), "%s", error.text);
	cr_assert(strstr(error.text, "100 MiB do not fit"), "%s", error.text);
	cr_assert(strstr(error.text, "--memory"), "%s", error.text);
	guest_memory_destroy(memory);
	memory = NULL;
	fixture_sparse_file(&initrd, 1ull << 62);
	options.initrd_path = initrd.path;
	cr_assert_eq(load(64 * MIB), -ENOMEM, "sizes near the end of the number range");
}

Test(bzimage, place_is_aligned_and_never_below_1_mib)
{
	image.header.pref_address = 0x1000001;
	load_well(64 * MIB);
	cr_assert_eq(result.kernel_gpa, 0x1200000);
	image.header.pref_address = 0;
	load_well(64 * MIB);
	cr_assert_eq(result.kernel_gpa, 0x200000);
	image.header.kernel_alignment = 4096;
	load_well(64 * MIB);
	cr_assert_eq(result.kernel_gpa, 0x100000);
}

Test(bzimage, a_kernel_that_cannot_move_goes_where_it_says)
{
	image.header.relocatable_kernel = 0;
	image.header.kernel_alignment = 0;
	image.header.pref_address = 0x1234000;
	load_well(64 * MIB);
	cr_assert_eq(result.kernel_gpa, 0x1234000);
	cr_assert_eq(result.state.entry, 0x1234200);
}

Test(bzimage, memory_down_to_what_the_kernel_needs)
{
	load_well(24 * MIB);
	cr_assert_eq(load(24 * MIB - 4096), -ENOMEM);
	cr_assert(strstr(error.text, "--memory"), "%s", error.text);
	cr_assert(strstr(error.text, "24 MiB"), "%s", error.text);
	image.header.init_size++;
	cr_assert_eq(load(24 * MIB), -ENOMEM, "one byte too little");
}

Test(bzimage, a_payload_longer_than_init_size_counts)
{
	image.header.init_size = 4096;
	load_well(64 * MIB);
	cr_assert_eq(result.kernel_end, 0x1000000 + image.payload_size);
}

/* What follows the announced size (a signature) is loaded as well; the last unit may be short. */
Test(bzimage, announced_size_may_be_rounded_up)
{
	image.payload_size = 9999;
	image.header.syssize = 625; /* 10000 bytes */
	load_well(64 * MIB);
	image.header.syssize = 100;
	load_well(64 * MIB);
	cr_assert_eq(*(const uint8_t *)guest(0x1000000 + 9998, 1), PAYLOAD_BYTE(9998));
}

Test(bzimage, loading_again_forgets_the_guest)
{
	struct boot_params page;

	use_initrd(4096);
	load_well(64 * MIB);
	memset(guest_memory_pointer(memory, 0, 0xa0000), 0xff, 0xa0000);
	memset(guest_memory_pointer(memory, 16 * MIB, 8 * MIB), 0xff, 8 * MIB);
	options.initrd_path = NULL;
	cr_assert_eq(boot_load(memory, &options, &result, &error), 0, "%s", error.text);
	page = params();
	cr_assert_eq(page.hdr.ramdisk_size, 0);
	cr_assert_eq(page.e820_entries, 5);
	cr_assert_eq(page.e820_table[5].size, 0);
	cr_assert_eq(translate(0x12345678), 0x12345678);
	cr_assert_eq(*(const uint8_t *)guest(0x1000000, 1), PAYLOAD_BYTE(0));
	cr_assert_str_eq(guest(LAYOUT_CMDLINE, 64), "console=ttyS0 quiet");
}
