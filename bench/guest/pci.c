/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration space by ports 0xcf8 and 0xcfc, dwords only; smaller reads are cut out of a dword.
 * Firmware normally has placed the BARs; where none ran (a bare VMM, qboot), they are placed here,
 * upwards in a window below 4 GiB.
 */
#include "pci.h"

#include "finish.h"
#include "ring0.h"

static uint64_t window = 0xd0000000;

static uint32_t config_address(const struct pci_function *f, uint8_t offset)
{
	return 1u << 31 | (uint32_t)f->device << 11 | (uint32_t)f->function << 8 | (offset & 0xfcu);
}

uint32_t pci_read32(const struct pci_function *f, uint8_t offset)
{
	return pci_config_read(config_address(f, offset));
}

uint16_t pci_read16(const struct pci_function *f, uint8_t offset)
{
	return (uint16_t)(pci_read32(f, offset) >> 8 * (offset & 2));
}

uint8_t pci_read8(const struct pci_function *f, uint8_t offset)
{
	return (uint8_t)(pci_read32(f, offset) >> 8 * (offset & 3));
}

void pci_write32(const struct pci_function *f, uint8_t offset, uint32_t value)
{
	pci_config_write(config_address(f, offset), value);
}

void pci_write16(const struct pci_function *f, uint8_t offset, uint16_t value)
{
	uint32_t shift = 8 * (offset & 2u);
	uint32_t old = pci_read32(f, offset);

	if ((offset & 0xfc) == 4)
		old &= 0xffff; /* command and status: a one written to status clears it */
	pci_write32(f, offset, (old & ~(0xffffu << shift)) | (uint32_t)value << shift);
}

unsigned pci_scan(struct pci_function *ret_functions, unsigned max)
{
	unsigned count = 0;

	for (unsigned device = 0; device < 32; device++) {
		unsigned functions = 1;

		for (unsigned function = 0; function < functions && count < max; function++) {
			struct pci_function f = {
				.device = (uint8_t)device, .function = (uint8_t)function};
			uint32_t id = pci_read32(&f, 0);

			if (id == 0xffffffff || (id & 0xffff) == 0)
				continue;
			f.vendor_id = (uint16_t)id;
			f.device_id = (uint16_t)(id >> 16);
			ret_functions[count++] = f;
			if (function == 0 && pci_read8(&f, 0x0e) & 0x80)
				functions = 8;
		}
	}
	return count;
}

uint8_t pci_capability(const struct pci_function *f, uint8_t id, uint8_t after)
{
	uint8_t at;

	if (after == 0 && !(pci_read16(f, 6) & 0x10))
		return 0;
	at = pci_read8(f, after ? after + 1 : 0x34);
	for (unsigned bound = 48; at >= 0x40 && bound; bound--) {
		uint32_t header = pci_read32(f, at);

		if ((header & 0xff) == id)
			return at;
		at = (uint8_t)(header >> 8);
	}
	return 0;
}

void pci_set_window(uint64_t address)
{
	window = address;
}

/* Writes all ones to see the size, then puts the old value back. */
static uint32_t probe_bar(const struct pci_function *f, uint8_t offset, uint32_t old)
{
	uint32_t mask;

	pci_write32(f, offset, 0xffffffff);
	mask = pci_read32(f, offset);
	pci_write32(f, offset, old);
	return mask;
}

static uint64_t place_bar(const struct pci_function *f, uint8_t offset, uint64_t size, bool wide)
{
	uint64_t address = (window + size - 1) & ~(size - 1);

	if (address + size > 0xfec00000)
		finish_fail(
			"no room for a BAR of %U bytes below the I/O APIC; set pci-window=", size);
	pci_write32(f, offset, (uint32_t)address);
	if (wide)
		pci_write32(f, offset + 4, 0);
	window = address + size;
	return address;
}

bool pci_bar(
	const struct pci_function *f, unsigned index, uint64_t *ret_address, uint64_t *ret_size)
{
	uint8_t offset = (uint8_t)(0x10 + 4 * index);
	uint32_t low = pci_read32(f, offset), high = 0;
	bool wide = (low & 6) == 4;
	uint64_t mask;

	if (index > 5 || low & 1 || (wide && index == 5))
		return false;
	pci_write16(f, 4,
		(uint16_t)(pci_read16(f, 4) & ~2u)); /* not decoded while the size is probed */
	mask = 0xffffffff00000000ull | (probe_bar(f, offset, low) & ~0xfu);
	if (wide) {
		high = pci_read32(f, offset + 4);
		mask = (mask & 0xffffffff) | (uint64_t)probe_bar(f, offset + 4, high) << 32;
	}
	if ((mask & 0xfffffff0) == 0 && (!wide || mask == 0))
		return false;
	*ret_size = ~mask + 1;
	*ret_address = (uint64_t)high << 32 | (low & ~0xfu);
	if (*ret_address == 0)
		*ret_address = place_bar(f, offset, *ret_size, wide);
	return true;
}
