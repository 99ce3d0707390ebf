/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM from the PVH start information, allocation upwards from the end of the image to the end of
 * the RAM range that holds it, and pages above 4 GiB mapped when a device needs them. The static
 * tables in boot.S cover the first 4 GiB; a PML4 entry 0 covers 512 GiB, further entries get tables
 * of their own.
 */
#include "memory.h"

#include "cpu.h"
#include "finish.h"
#include "start_info.h"

#define LARGE_PAGE       0x200000ull
#define PAGE_TABLE_FLAGS 0x27ull /* present, writable, user, accessed */
#define PAGE_LARGE_FLAGS 0xe7ull /* and dirty, large */

extern char image_end[];
extern uint64_t boot_pml4[512];

void *memset(void *to, int value, size_t length);

static uint64_t next_free, end_of_ram, total, hole;

void memory_init(void)
{
	const struct start_info *info = start_info_get();
	const struct start_info_memory *map = (void *)info->memory_map;
	uint64_t image = (uint64_t)image_end;

	next_free = (image + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
	end_of_ram = next_free;
	if (info->version == 0 || info->memory_map_entries == 0)
		finish_fail("the VMM gave no PVH memory map");
	for (uint32_t i = 0; i < info->memory_map_entries; i++) {
		uint64_t end = map[i].address + map[i].size;

		if (end > hole && end < 1ull << 40)
			hole = end;
		if (map[i].type != 1)
			continue;
		total += map[i].size;
		if (map[i].address < image && end > end_of_ram && map[i].address < 1ull << 32)
			end_of_ram = end < 1ull << 32 ? end : 1ull << 32;
	}
	hole = ((hole < 1ull << 38 ? 1ull << 38 : hole) + (1ull << 30)) & ~(LARGE_PAGE - 1);
}

void *memory_allocate(size_t size, size_t alignment)
{
	uint64_t start = (next_free + alignment - 1) & ~(uint64_t)(alignment - 1);

	if (start > end_of_ram || size > end_of_ram - start)
		finish_fail("out of memory: %U bytes wanted, %U left; give the guest more RAM",
			(uint64_t)size, memory_available());
	next_free = start + size;
	memset((void *)start, 0, size);
	return (void *)start;
}

uint64_t memory_available(void)
{
	return end_of_ram - next_free;
}

uint64_t memory_total(void)
{
	return total;
}

uint64_t memory_hole(void)
{
	return hole;
}

static uint64_t set_entry_in_ring0(uint64_t entry, uint64_t value, uint64_t unused)
{
	(void)unused;
	*(volatile uint64_t *)entry = value;
	return 0;
}

/* The table that an entry points to; a new one when it is empty. */
static uint64_t *next_table(uint64_t *entry)
{
	if (!(*entry & 1)) {
		uint64_t table = (uint64_t)memory_allocate(4096, 4096);

		gate_call(set_entry_in_ring0, (uint64_t)entry, table | PAGE_TABLE_FLAGS, 0);
	}
	return (uint64_t *)(*(volatile uint64_t *)entry & 0x000ffffffffff000ull);
}

volatile void *memory_map_device(uint64_t address, uint64_t length)
{
	uint64_t page = address & ~(LARGE_PAGE - 1);

	if (length == 0 || length > 1ull << 30 || address >= 1ull << 46)
		finish_fail("cannot map %U bytes of device memory at %X", length, address);
	for (; page < address + length; page += LARGE_PAGE) {
		uint64_t *level3 = next_table(&boot_pml4[page >> 39 & 511]);
		uint64_t *level2 = next_table(&level3[page >> 30 & 511]);
		uint64_t *entry = &level2[page >> 21 & 511];

		if (!(*entry & 1))
			gate_call(set_entry_in_ring0, (uint64_t)entry, page | PAGE_LARGE_FLAGS, 0);
	}
	return (volatile void *)address;
}
