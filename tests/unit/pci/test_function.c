/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space: header, write masks, BAR sizing, decoding and moving, capabilities. */
#include "pci/pci_function.h"

#include "util/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define EVENTS_MAX 16

/* Records what the function tells its device. */
struct recorder {
	struct pci_function function;
	unsigned count;
	struct {
		unsigned bar;
		uint64_t address;
		bool mapped;
	} events[EVENTS_MAX];
	unsigned reads, writes;
};

static struct recorder recorder;

static void no_read(
	struct pci_function *function, unsigned bar, uint64_t offset, void *data, unsigned length)
{
	(void)function, (void)bar, (void)offset;
	memset(data, 0, length);
}

static void no_write(struct pci_function *function, unsigned bar, uint64_t offset, const void *data,
	unsigned length)
{
	(void)function, (void)bar, (void)offset, (void)data, (void)length;
}

static void record_mapped(
	struct pci_function *function, unsigned bar, uint64_t address, bool mapped)
{
	(void)function;
	cr_assert_lt(recorder.count, EVENTS_MAX);
	recorder.events[recorder.count].bar = bar;
	recorder.events[recorder.count].address = address;
	recorder.events[recorder.count++].mapped = mapped;
}

static void refresh(struct pci_function *function, uint32_t offset, unsigned length)
{
	(void)offset, (void)length;
	recorder.reads++;
	function->config[0xf0] = 0x5a; /* a byte that is made up on reading */
}

static void written(struct pci_function *function, uint32_t offset, unsigned length)
{
	(void)function, (void)offset, (void)length;
	recorder.writes++;
}

static const struct pci_function_ops ops = {
	.bar_read = no_read,
	.bar_write = no_write,
	.bar_mapped = record_mapped,
	.config_read = refresh,
	.config_written = written,
};

static struct pci_function *make(void)
{
	static const struct pci_identity identity = {
		.vendor = 0x1af4,
		.device = 0x1042,
		.subsystem_vendor = 0x1234,
		.subsystem = 0x5678,
		.revision = 1,
		.class_code = 0x018002,
	};

	memset(&recorder, 0, sizeof(recorder));
	pci_function_init(&recorder.function, &ops, &identity);
	return &recorder.function;
}

static uint32_t rd(unsigned offset, unsigned length)
{
	return pci_function_config_read(&recorder.function, offset, length);
}

static void wr(unsigned offset, unsigned length, uint32_t value)
{
	pci_function_config_write(&recorder.function, offset, length, value);
}

static void expect_event(unsigned index, unsigned bar, uint64_t address, bool mapped)
{
	cr_assert_gt(recorder.count, index);
	cr_expect_eq(recorder.events[index].bar, bar);
	cr_expect_eq(recorder.events[index].address, address);
	cr_expect_eq(recorder.events[index].mapped, mapped);
}

Test(pci_function, header_is_filled_and_read_only)
{
	make();
	wr(0, 4, 0xffffffff);
	wr(8, 4, 0xffffffff);
	wr(0x2c, 4, 0xffffffff);
	cr_expect_eq(rd(PCI_VENDOR_ID, 2), 0x1af4);
	cr_expect_eq(rd(PCI_DEVICE_ID, 2), 0x1042);
	cr_expect_eq(rd(PCI_CLASS_REVISION, 4), 0x01800201);
	cr_expect_eq(rd(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x56781234);
	cr_expect_eq(rd(PCI_HEADER_TYPE, 1), 0);
	cr_expect_eq(rd(PCI_INTERRUPT_PIN, 1), 0);
	cr_expect_eq(rd(PCI_CAPABILITY_LIST, 1), 0);
	cr_expect_eq(rd(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, 0);
}

Test(pci_function, command_register_keeps_its_bits_only)
{
	make();
	wr(PCI_COMMAND, 2, 0xffff);
	cr_expect_eq(rd(PCI_COMMAND, 2),
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	wr(PCI_COMMAND + 1, 1, 0); /* a byte alone */
	cr_expect_eq(rd(PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	wr(PCI_INTERRUPT_LINE, 1, 0x0b);
	cr_expect_eq(rd(PCI_INTERRUPT_LINE, 1), 0x0b);
}

Test(pci_function, accesses_beyond_the_end_do_nothing)
{
	make();
	wr(PCI_CONFIG_SIZE - 2, 4, 0);
	cr_expect_eq(rd(PCI_CONFIG_SIZE - 2, 4), UINT32_MAX);
	cr_expect_eq(rd(UINT32_MAX, 4), UINT32_MAX);
	cr_expect_eq(rd(PCI_CONFIG_SIZE - 4, 4), 0);
	cr_expect_eq(recorder.writes, 0);
}

Test(pci_function, sizing_shows_the_size_and_the_kind)
{
	struct pci_function *function = make();

	pci_function_add_bar(function, 0, 0x8000, false, false);
	pci_function_add_bar(function, 2, 0x200000000, true, true);
	wr(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	cr_expect_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xffff8000);
	wr(PCI_BASE_ADDRESS_2, 4, 0xffffffff);
	wr(PCI_BASE_ADDRESS_3, 4, 0xffffffff);
	cr_expect_eq(rd(PCI_BASE_ADDRESS_2, 4),
		PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	cr_expect_eq(rd(PCI_BASE_ADDRESS_3, 4), 0xfffffffe);
	wr(PCI_BASE_ADDRESS_1, 4, 0xffffffff); /* not there */
	cr_expect_eq(rd(PCI_BASE_ADDRESS_1, 4), 0);
	wr(PCI_ROM_ADDRESS, 4, 0xffffffff);
	cr_expect_eq(rd(PCI_ROM_ADDRESS, 4), 0);
	cr_expect_eq(recorder.count, 0);
}

Test(pci_function, memory_enable_maps_and_unmaps)
{
	struct pci_function *function = make();
	uint64_t offset = 0;

	pci_function_add_bar(function, 0, 0x8000, false, false);
	pci_function_place_bar(function, 0, 0xc0010000);
	cr_expect_eq(rd(PCI_BASE_ADDRESS_0, 4), 0xc0010000);
	cr_expect_eq(pci_function_find_bar(function, 0xc0010000, 4, &offset), -ENOENT);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	expect_event(0, 0, 0xc0010000, true);
	cr_expect_eq(pci_function_find_bar(function, 0xc0017ffc, 4, &offset), 0);
	cr_expect_eq(offset, 0x7ffc);
	cr_expect_eq(pci_function_find_bar(function, 0xc0017ffd, 4, &offset), -ENOENT);
	cr_expect_eq(pci_function_find_bar(function, 0xc000ffff, 4, &offset), -ENOENT);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER); /* no change */
	cr_expect_eq(recorder.count, 1);
	wr(PCI_COMMAND, 2, 0);
	expect_event(1, 0, 0xc0010000, false);
	cr_expect_eq(recorder.count, 2);
}

Test(pci_function, a_move_while_mapped_is_an_unmapping_and_a_mapping)
{
	struct pci_function *function = make();
	uint64_t offset;

	pci_function_add_bar(function, 0, 0x8000, false, false);
	pci_function_place_bar(function, 0, 0xc0010000);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	wr(PCI_BASE_ADDRESS_0, 4, 0xd0007fff); /* low bits belong to the size */
	cr_assert_eq(recorder.count, 3);
	expect_event(1, 0, 0xc0010000, false);
	expect_event(2, 0, 0xd0000000, true);
	cr_expect_eq(pci_function_find_bar(function, 0xc0010000, 1, &offset), -ENOENT);
	cr_expect_eq(pci_function_find_bar(function, 0xd0000000, 1, &offset), 0);
	wr(PCI_BASE_ADDRESS_0, 4, 0xd0000000); /* the same: nothing happens */
	cr_expect_eq(recorder.count, 3);
}

Test(pci_function, sizing_while_mapped_decodes_nowhere)
{
	struct pci_function *function = make();

	pci_function_add_bar(function, 0, 0x8000, false, false);
	pci_function_place_bar(function, 0, 0xc0010000);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	wr(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	cr_assert_eq(recorder.count, 2);
	expect_event(1, 0, 0xc0010000, false);
	wr(PCI_BASE_ADDRESS_0, 4, 0);
	cr_expect_eq(recorder.count, 2);
	wr(PCI_BASE_ADDRESS_0, 4, 0xc0010000);
	expect_event(2, 0, 0xc0010000, true);
}

Test(pci_function, a_64_bit_bar_moves_by_halves)
{
	struct pci_function *function = make();

	pci_function_add_bar(function, 4, 0x10000, true, false);
	pci_function_place_bar(function, 4, 0x1c0000000);
	cr_expect_eq(rd(PCI_BASE_ADDRESS_4, 4), 0xc0000000 | PCI_BASE_ADDRESS_MEM_TYPE_64);
	cr_expect_eq(rd(PCI_BASE_ADDRESS_5, 4), 1);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	expect_event(0, 4, 0x1c0000000, true);
	wr(PCI_BASE_ADDRESS_5, 4, 2);
	expect_event(1, 4, 0x1c0000000, false);
	expect_event(2, 4, 0x2c0000000, true);
	wr(PCI_BASE_ADDRESS_5, 4, 0xffffffff);
	wr(PCI_BASE_ADDRESS_4, 4, 0xffffffff); /* ends with the address space: nowhere */
	expect_event(recorder.count - 1, 4, 0xffffffffc0000000, false);
}

Test(pci_function, capabilities_form_a_list)
{
	struct pci_function *function = make();
	uint8_t body[20] = {[2] = 0xaa, [3] = 0xbb, [19] = 0xcc};
	uint8_t mask[20] = {[0] = 0xff, [1] = 0xff, [3] = 0x0f};
	int first, second;

	first = pci_function_add_capability(function, PCI_CAP_ID_VNDR, body, 18, mask);
	second = pci_function_add_capability(function, PCI_CAP_ID_MSIX, body, 20, NULL);
	cr_assert_eq(first, 0x40);
	cr_assert_eq(second, 0x54); /* aligned to 4 */
	cr_expect_eq(rd(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, PCI_STATUS_CAP_LIST);
	cr_expect_eq(rd(PCI_CAPABILITY_LIST, 1), 0x40);
	cr_expect_eq(rd(0x40, 2), 0x5400 | PCI_CAP_ID_VNDR);
	cr_expect_eq(rd(0x54, 2), PCI_CAP_ID_MSIX);
	wr(0x40, 4, 0); /* the two header bytes stay, whatever the mask says */
	cr_expect_eq(rd(0x40, 4), 0xb0aa5400 | PCI_CAP_ID_VNDR);
	wr(0x54, 4, 0);
	cr_expect_eq(rd(0x54, 4), 0xbbaa0000 | PCI_CAP_ID_MSIX);
}

Test(pci_function, capabilities_end_with_the_legacy_space)
{
	struct pci_function *function = make();
	uint8_t body[128] = {0};

	cr_expect_eq(pci_function_add_capability(function, 9, body, 128, NULL), 0x40);
	cr_expect_eq(pci_function_add_capability(function, 9, body, 65, NULL), -ENOSPC);
	cr_expect_eq(rd(0x41, 1), 0, "a refused capability leaves the list alone");
	cr_expect_eq(pci_function_add_capability(function, 9, body, 64, NULL), 0xc0);
	cr_expect_eq(pci_function_add_capability(function, 9, body, 2, NULL), -ENOSPC);
}

Test(pci_function, hooks_see_each_access)
{
	make();
	cr_expect_eq(rd(0xf0, 1), 0x5a, "refreshed before it is read");
	cr_expect_eq(recorder.reads, 1);
	wr(0x10, 4, 0);
	cr_expect_eq(recorder.writes, 1);
}
