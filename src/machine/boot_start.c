/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structures in low memory that a kernel starts from: boot_params with an identity map and a
 * GDT for the 64-bit entry of Linux, hvm_start_info with a GDT for PVH. All of them are written as
 * a whole, so that nothing that an earlier guest left there shows through.
 *
 * Layouts: struct boot_params of <asm/bootparam.h>; struct hvm_start_info of Xen's
 * public/arch-x86/hvm/start_info.h, version 1.
 */
#include "machine/boot_private.h"

#include "machine/layout.h"
#include "memory/guest_memory.h"
#include "util/checked.h"
#include "util/error.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#define LOADER_UNDEFINED 0xff /* type_of_loader: none that is registered */
#define BOOT_FLAG        0xaa55
#define HEADER_MAGIC     0x53726448 /* "HdrS" */
#define HEADER_OFFSET    0x1f1

/* Page table entries. */
#define PRESENT       0x001u
#define WRITABLE      0x002u
#define LARGE         0x080u
#define ENTRIES       512u
#define TABLE_BYTES   4096u
#define LARGE_BYTES   (2u << 20)
#define MAPPED_TABLES 4u /* page directories, of 1 GiB each */

/* Selectors; Linux asks for 0x10 and 0x18 (__BOOT_CS, __BOOT_DS). */
#define CODE_SELECTOR 0x10
#define DATA_SELECTOR 0x18
#define TASK_SELECTOR 0x20

#define DESCRIPTOR_CODE64 0x00af9b000000ffffu
#define DESCRIPTOR_CODE32 0x00cf9b000000ffffu
#define DESCRIPTOR_DATA   0x00cf93000000ffffu
#define DESCRIPTOR_TASK   0x00008b0000000067u

#define START_INFO_MAGIC   0x336ec578u
#define START_INFO_VERSION 1

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memory_map;
	uint32_t memory_map_count;
	uint32_t reserved;
};

struct start_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t cmdline;
	uint64_t reserved;
};

struct start_memory {
	uint64_t gpa;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* What is written at LAYOUT_PVH_START_INFO. */
struct start_page {
	struct start_info info;
	struct start_module initrd;
	struct start_memory map[BOOT_MAP_MAX];
};

_Static_assert(sizeof(struct start_info) == 56, "hvm_start_info, version 1");
_Static_assert(sizeof(struct start_module) == 32, "hvm_modlist_entry");
_Static_assert(sizeof(struct start_memory) == 24, "hvm_memmap_table_entry");
_Static_assert(LAYOUT_PVH_START_INFO + sizeof(struct start_page) <= LAYOUT_BOOT_PARAMS, "room");
_Static_assert(LAYOUT_BOOT_PARAMS + sizeof(struct boot_params) <= LAYOUT_PAGE_TABLES, "room");
_Static_assert(BOOT_MAP_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the map fits boot_params");

/* boot_load() has made sure that everything below 1 MiB is RAM. */
static void put(const struct boot_job *job, uint64_t gpa, const void *data, size_t size)
{
	memcpy(guest_memory_pointer(job->memory, gpa, size), data, size);
}

static void put_gdt(const struct boot_job *job, bool long_mode, struct boot_state *state)
{
	const uint64_t gdt[] = {
		0,
		0,
		long_mode ? DESCRIPTOR_CODE64 : DESCRIPTOR_CODE32,
		DESCRIPTOR_DATA,
		DESCRIPTOR_TASK,
	};

	put(job, LAYOUT_BOOT_GDT, gdt, sizeof(gdt));
	state->gdt_base = LAYOUT_BOOT_GDT;
	state->gdt_limit = sizeof(gdt) - 1;
	state->code_selector = CODE_SELECTOR;
	state->data_selector = DATA_SELECTOR;
	state->task_selector = TASK_SELECTOR;
}

/* PML4, PDPT and four page directories, one after the other: 4 GiB mapped to themselves. */
static void put_page_tables(const struct boot_job *job)
{
	uint64_t table[ENTRIES] = {0};
	uint64_t pdpt = LAYOUT_PAGE_TABLES + TABLE_BYTES, directory = pdpt + TABLE_BYTES;

	table[0] = pdpt | PRESENT | WRITABLE;
	put(job, LAYOUT_PAGE_TABLES, table, sizeof(table));
	for (uint64_t i = 0; i < MAPPED_TABLES; i++)
		table[i] = (directory + i * TABLE_BYTES) | PRESENT | WRITABLE;
	put(job, pdpt, table, sizeof(table));
	for (uint64_t i = 0; i < MAPPED_TABLES; i++) {
		for (uint64_t j = 0; j < ENTRIES; j++)
			table[j] = (i * ENTRIES + j) * LARGE_BYTES | PRESENT | WRITABLE | LARGE;
		put(job, directory + i * TABLE_BYTES, table, sizeof(table));
	}
}

static void fill_e820(const struct boot_job *job, struct boot_params *params)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	size_t count = boot_memory_map(job->memory, map);

	for (size_t i = 0; i < count; i++)
		params->e820_table[i] = (struct boot_e820_entry){
			.addr = map[i].gpa, .size = map[i].size, .type = map[i].type};
	params->e820_entries = (uint8_t)count;
}

int boot_start_linux64(const struct boot_job *job, const uint8_t *header, size_t header_size,
	uint64_t entry, struct boot_result *result)
{
	struct boot_params params = {0};
	struct setup_header *hdr = &params.hdr;

	if (header_size)
		memcpy((uint8_t *)&params + HEADER_OFFSET, header, header_size);
	hdr->boot_flag = BOOT_FLAG;
	hdr->header = HEADER_MAGIC;
	hdr->type_of_loader = LOADER_UNDEFINED;
	hdr->loadflags = LOADED_HIGH; /* no KEEP_SEGMENTS, no heap: those are for 16-bit code */
	hdr->cmd_line_ptr = LAYOUT_CMDLINE;
	hdr->setup_data = 0;
	hdr->code32_start = (uint32_t)result->kernel_gpa;
	hdr->ramdisk_image = (uint32_t)result->initrd_gpa;
	hdr->ramdisk_size = (uint32_t)result->initrd_size;
	params.ext_ramdisk_image = (uint32_t)(result->initrd_gpa >> 32);
	params.ext_ramdisk_size = (uint32_t)(result->initrd_size >> 32);
	params.acpi_rsdp_addr = job->options->rsdp;
	fill_e820(job, &params);
	put(job, LAYOUT_BOOT_PARAMS, &params, sizeof(params));
	put_page_tables(job);
	put_gdt(job, true, &result->state);
	result->state.protocol = BOOT_PROTOCOL_LINUX64;
	result->state.entry = entry;
	result->state.argument = LAYOUT_BOOT_PARAMS;
	result->state.cr3 = LAYOUT_PAGE_TABLES;
	return 0;
}

int boot_start_pvh(const struct boot_job *job, uint64_t entry, struct boot_result *result)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	size_t count = boot_memory_map(job->memory, map);
	struct start_page page = {0};

	page.info = (struct start_info){
		.magic = START_INFO_MAGIC,
		.version = START_INFO_VERSION,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = job->options->rsdp,
		.memory_map = LAYOUT_PVH_START_INFO + offsetof(struct start_page, map),
		.memory_map_count = (uint32_t)count,
	};
	for (size_t i = 0; i < count; i++)
		page.map[i] = (struct start_memory){
			.gpa = map[i].gpa, .size = map[i].size, .type = map[i].type};
	if (result->initrd_size) {
		page.info.module_count = 1;
		page.info.modules = LAYOUT_PVH_START_INFO + offsetof(struct start_page, initrd);
		page.initrd.gpa = result->initrd_gpa;
		page.initrd.size = result->initrd_size;
	}
	put(job, LAYOUT_PVH_START_INFO, &page, sizeof(page));
	put_gdt(job, false, &result->state);
	result->state.protocol = BOOT_PROTOCOL_PVH;
	result->state.entry = entry;
	result->state.argument = LAYOUT_PVH_START_INFO;
	return 0;
}
