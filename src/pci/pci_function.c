/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration space is an array of bytes with a parallel array of write masks: a write changes
 * the bits that the mask allows, a read returns the bytes. Sizing a BAR needs no code: the mask of
 * its address register covers only the bits from the size up, so all ones come back as the size
 * mask (PCI Local Bus 3.0, section 6.2.5.1).
 *
 * After each write to the command register or a BAR, every BAR's decoding is recomputed from the
 * bytes, and the device is told of differences: an unmapping of the old place, then a mapping of
 * the new one. A BAR decodes nothing while memory space is disabled, at address 0, and where its
 * end would pass the end of the address space, which is what the all-ones of sizing look like.
 */
#include "pci/pci_function.h"

#include "util/bytes.h"
#include "util/checked.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define LEGACY_CONFIG_SIZE 256u /* capabilities live here; beyond is PCI Express only */
#define FIRST_CAPABILITY   0x40u
#define BAR_SIZE_LEAST     4096u

static uint32_t bar_register(unsigned bar)
{
	return PCI_BASE_ADDRESS_0 + 4 * bar;
}

void pci_function_init(struct pci_function *function, const struct pci_function_ops *ops,
	const struct pci_identity *identity)
{
	uint8_t *config = function->config;

	*function = (struct pci_function){.ops = ops, .capability_end = FIRST_CAPABILITY};
	put_le16(&config[PCI_VENDOR_ID], identity->vendor);
	put_le16(&config[PCI_DEVICE_ID], identity->device);
	put_le16(&config[PCI_SUBSYSTEM_VENDOR_ID], identity->subsystem_vendor);
	put_le16(&config[PCI_SUBSYSTEM_ID], identity->subsystem);
	config[PCI_REVISION_ID] = identity->revision;
	config[PCI_CLASS_PROG] = (uint8_t)identity->class_code;
	put_le16(&config[PCI_CLASS_DEVICE], (uint16_t)(identity->class_code >> 8));
	put_le16(&function->writable[PCI_COMMAND],
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_function_add_bar(
	struct pci_function *function, unsigned bar, uint64_t size, bool is_64, bool prefetchable)
{
	uint32_t at = bar_register(bar);
	uint64_t mask = ~(size - 1);

	assert(bar + is_64 < PCI_BAR_COUNT && !function->bars[bar].size);
	assert(is_power_of_two(size) && size >= BAR_SIZE_LEAST);
	assert(is_64 || size <= 1ull << 31);
	function->bars[bar] =
		(struct pci_bar){.size = size, .is_64 = is_64, .prefetchable = prefetchable};
	put_le32(&function->config[at],
		PCI_BASE_ADDRESS_SPACE_MEMORY |
			(is_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : PCI_BASE_ADDRESS_MEM_TYPE_32) |
			(prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
	put_le32(&function->writable[at], (uint32_t)mask);
	if (is_64)
		put_le32(&function->writable[at + 4], (uint32_t)(mask >> 32));
}

int pci_function_add_capability(struct pci_function *function, uint8_t id, const void *body,
	size_t length, const uint8_t *writable)
{
	uint32_t at = (uint32_t)align_up(function->capability_end, 4);
	uint8_t *config = function->config;

	assert(length >= 2);
	if (!range_within(at, length, LEGACY_CONFIG_SIZE))
		return -ENOSPC;
	memcpy(&config[at], body, length);
	if (writable)
		memcpy(&function->writable[at], writable, length);
	config[at] = id;
	config[at + PCI_CAP_LIST_NEXT] = 0;
	put_le16(&function->writable[at], 0);
	if (function->capability_last)
		config[function->capability_last + PCI_CAP_LIST_NEXT] = (uint8_t)at;
	else
		config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	put_le16(&config[PCI_STATUS], get_le16(&config[PCI_STATUS]) | PCI_STATUS_CAP_LIST);
	function->capability_last = (uint8_t)at;
	function->capability_end = (uint16_t)(at + length);
	return (int)at;
}

void pci_function_place_bar(struct pci_function *function, unsigned bar, uint64_t address)
{
	uint8_t *at = &function->config[bar_register(bar)];
	uint64_t size = function->bars[bar].size;

	assert(size && !(address & (size - 1)));
	put_le32(at, (uint32_t)address | (get_le32(at) & ~(uint32_t)PCI_BASE_ADDRESS_MEM_MASK));
	if (function->bars[bar].is_64)
		put_le32(at + 4, (uint32_t)(address >> 32));
}

/* Where the registers say that @bar is decoded; false for nowhere. */
static bool decoded_at(const struct pci_function *function, unsigned bar, uint64_t *ret_address)
{
	const struct pci_bar *info = &function->bars[bar];
	const uint8_t *at = &function->config[bar_register(bar)];
	uint64_t end = info->is_64 ? UINT64_MAX : UINT32_MAX;
	uint64_t address;

	if (!info->size || !(get_le16(&function->config[PCI_COMMAND]) & PCI_COMMAND_MEMORY))
		return false;
	address = get_le32(at) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
	if (info->is_64)
		address |= (uint64_t)get_le32(at + 4) << 32;
	/* The last byte of the address space is never ours: all ones come from sizing. */
	if (!address || address >= end - (info->size - 1))
		return false;
	*ret_address = address;
	return true;
}

static void tell_mapped(struct pci_function *function, unsigned bar, bool mapped)
{
	struct pci_bar *info = &function->bars[bar];

	info->mapped = mapped;
	if (function->ops->bar_mapped)
		function->ops->bar_mapped(function, bar, info->address, mapped);
}

static void update_decoding(struct pci_function *function)
{
	for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
		struct pci_bar *info = &function->bars[bar];
		uint64_t address = 0;
		bool mapped = decoded_at(function, bar, &address);

		if (mapped == info->mapped && (!mapped || address == info->address))
			continue;
		if (info->mapped)
			tell_mapped(function, bar, false);
		if (mapped) {
			info->address = address;
			tell_mapped(function, bar, true);
		}
	}
}

uint32_t pci_function_config_read(struct pci_function *function, uint32_t offset, unsigned length)
{
	if (length > sizeof(uint32_t) || !range_within(offset, length, PCI_CONFIG_SIZE))
		return UINT32_MAX;
	if (function->ops->config_read)
		function->ops->config_read(function, offset, length);
	return (uint32_t)get_le(&function->config[offset], length);
}

void pci_function_config_write(
	struct pci_function *function, uint32_t offset, unsigned length, uint32_t value)
{
	if (length > sizeof(value) || !range_within(offset, length, PCI_CONFIG_SIZE))
		return;
	for (unsigned i = 0; i < length; i++) {
		uint8_t mask = function->writable[offset + i];
		uint8_t *byte = &function->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | ((value >> 8 * i) & mask));
	}
	if (ranges_overlap(offset, length, PCI_COMMAND, 2) ||
		ranges_overlap(offset, length, PCI_BASE_ADDRESS_0, 4 * PCI_BAR_COUNT))
		update_decoding(function);
	if (function->ops->config_written)
		function->ops->config_written(function, offset, length);
}

int pci_function_find_bar(
	const struct pci_function *function, uint64_t gpa, unsigned length, uint64_t *ret_offset)
{
	for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
		const struct pci_bar *info = &function->bars[bar];

		if (!info->mapped || gpa < info->address ||
			!range_within(gpa - info->address, length, info->size))
			continue;
		*ret_offset = gpa - info->address;
		return (int)bar;
	}
	return -ENOENT;
}
