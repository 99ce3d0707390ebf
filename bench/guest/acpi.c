/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSDP (from the PVH start information, else searched for in the BIOS area) -> XSDT or RSDT ->
 * MADT. Tables must lie below 4 GiB, where all is mapped; lengths are checked, checksums are the
 * VMM's affair.
 */
#include "acpi.h"

#include <stdbool.h>
#include <stddef.h>

#include "start_info.h"
#include "text.h"

struct rsdp {
	char signature[8];
	uint8_t checksum, oem[6], revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
} __attribute__((packed));

struct table {
	char signature[4];
	uint32_t length;
	uint8_t rest[28];
} __attribute__((packed));

static bool is_rsdp(uint64_t address)
{
	return text_equal_n((const char *)address, 8, "RSD PTR ");
}

static const struct rsdp *find_rsdp(void)
{
	uint64_t address = start_info_get()->rsdp;

	if (address && address < 1ull << 32)
		return is_rsdp(address) ? (const struct rsdp *)address : NULL;
	for (address = 0xe0000; address < 0x100000; address += 16) {
		if (is_rsdp(address))
			return (const struct rsdp *)address;
	}
	return NULL;
}

static const struct table *find_madt(const struct rsdp *rsdp)
{
	bool wide = rsdp->revision >= 2 && rsdp->xsdt;
	const struct table *root = (const struct table *)(wide ? rsdp->xsdt : rsdp->rsdt);
	const uint8_t *entry = (const uint8_t *)(root + 1);
	unsigned width = wide ? 8 : 4;

	if ((uint64_t)root == 0 || (uint64_t)root >> 32)
		return NULL;
	for (unsigned i = 0; i < (root->length - sizeof(*root)) / width; i++, entry += width) {
		uint64_t address = 0;

		for (unsigned b = 0; b < width; b++)
			address |= (uint64_t)entry[b] << (8 * b);
		if (address && address < 1ull << 32 &&
			text_equal_n((const char *)address, 4, "APIC"))
			return (const struct table *)address;
	}
	return NULL;
}

static uint32_t read32(const uint8_t *bytes)
{
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

unsigned acpi_cpus(uint32_t *ret_ids, unsigned max)
{
	const struct rsdp *rsdp = find_rsdp();
	const struct table *madt = rsdp ? find_madt(rsdp) : NULL;
	const uint8_t *bytes = (const uint8_t *)madt;
	unsigned count = 0;

	if (!madt)
		return 0;
	for (uint32_t at = 44; at + 8 <= madt->length && count < max; at += bytes[at + 1]) {
		if (bytes[at + 1] < 2)
			break;
		if (bytes[at] == 0 && read32(bytes + at + 4) & 1) /* local APIC */
			ret_ids[count++] = bytes[at + 3];
		if (bytes[at] == 9 && at + 16 <= madt->length && read32(bytes + at + 8) & 1)
			ret_ids[count++] = read32(bytes + at + 4);
	}
	return count;
}
