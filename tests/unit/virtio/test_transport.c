/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI function's identity, its capabilities, and the registers of the common structure. */
#include "pci_guest.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>

static struct pci_guest guest;

static void setup(void)
{
	pci_guest_init(&guest);
}

static void teardown(void)
{
	pci_guest_deinit(&guest);
}

TestSuite(transport, .init = setup, .fini = teardown);

static const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX;

Test(transport, identity)
{
	cr_expect_eq(pci_guest_config_read(&guest, PCI_VENDOR_ID, 4),
		0x1af4 | (0x1040u + VIRTIO_ID_BLOCK) << 16);
	cr_expect_eq(pci_guest_config_read(&guest, PCI_REVISION_ID, 1), 1);
	cr_expect_eq(pci_guest_config_read(&guest, PCI_CLASS_REVISION, 4) >> 8, 0x018000);
	cr_expect_eq(pci_guest_config_read(&guest, PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
	cr_expect_geq(pci_guest_config_read(&guest, PCI_SUBSYSTEM_ID, 2), 0x40);
	cr_expect_eq(pci_guest_config_read(&guest, PCI_INTERRUPT_PIN, 1), 0);
	cr_expect_eq(virtio_pci_device(guest.transport), &guest.test.device);
}

static uint32_t structure_length(uint32_t type)
{
	uint32_t at = pci_guest_config_read(&guest, PCI_CAPABILITY_LIST, 1);

	while (at) {
		if (pci_guest_config_read(&guest, at, 1) == PCI_CAP_ID_VNDR &&
			pci_guest_config_read(&guest, at + VIRTIO_PCI_CAP_CFG_TYPE, 1) == type) {
			cr_expect_eq(pci_guest_config_read(&guest, at + VIRTIO_PCI_CAP_BAR, 1),
				VIRTIO_PCI_BAR);
			cr_expect_geq(
				pci_guest_config_read(&guest, at + VIRTIO_PCI_CAP_LEN, 1), 16);
			return pci_guest_config_read(&guest, at + VIRTIO_PCI_CAP_LENGTH, 4);
		}
		at = pci_guest_config_read(&guest, at + PCI_CAP_LIST_NEXT, 1);
	}
	return 0;
}

Test(transport, capabilities_describe_structures_inside_the_bar)
{
	cr_expect_geq(structure_length(VIRTIO_PCI_CAP_COMMON_CFG), VIRTIO_PCI_COMMON_Q_RESET + 2);
	cr_expect_geq(structure_length(VIRTIO_PCI_CAP_DEVICE_CFG), TEST_DEVICE_CONFIG);
	cr_expect_geq(structure_length(VIRTIO_PCI_CAP_ISR_CFG), 1);
	cr_expect_geq(structure_length(VIRTIO_PCI_CAP_NOTIFY_CFG), 4 * TEST_DEVICE_QUEUES);
	cr_expect_eq(guest.notify_multiplier, 4);
	cr_expect_eq(guest.common % 4, 0);
	cr_expect_eq(guest.device % 4, 0);
	cr_expect_neq(guest.window, 0);
	cr_expect_eq(pci_guest_config_read(&guest, guest.msix + PCI_MSIX_FLAGS, 2),
		TEST_DEVICE_QUEUES, "a vector a queue and one more");
	pci_guest_config_write(&guest, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	cr_expect_eq(pci_guest_config_read(&guest, PCI_BASE_ADDRESS_0, 4),
		(uint32_t)-VIRTIO_PCI_BAR_SIZE);
}

Test(transport, device_features_in_halves)
{
	uint64_t offered = guest.test.device.features_offered;

	for (uint32_t half = 0; half < 2; half++) {
		pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_DFSELECT, 4), half);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_DF, 4),
			(uint32_t)(offered >> 32 * half));
	}
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_DF, 4), 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_DFSELECT, 4, UINT32_MAX);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_DF, 4), 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_DF, 4, 7); /* read-only */
	cr_expect_eq(guest.test.device.features_offered, offered);
}

Test(transport, driver_features_in_halves)
{
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_GF, 4, 0x12345678);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_GF, 4, 0x9abcdef0);
	cr_expect_eq(virtio_device_features(&guest.test.device), 0x123456789abcdef0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_GF, 4), 0x9abcdef0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_GF, 4), 0);
	cr_expect_eq(virtio_device_features(&guest.test.device), 0x123456789abcdef0);
}

Test(transport, features_that_were_not_offered_are_refused)
{
	cr_expect_not(pci_guest_negotiate(&guest, features | 1ull << TEST_FEATURE_MISSING));
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	cr_expect_not(pci_guest_negotiate(&guest, 0), "no VERSION_1");
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	cr_expect(pci_guest_negotiate(&guest, features));
}

Test(transport, constants)
{
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_NUMQ, 2), TEST_DEVICE_QUEUES);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_NUMQ, 2, 99);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_NUMQ, 2), TEST_DEVICE_QUEUES);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++) {
		pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2), i);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 2),
			TEST_DEVICE_QUEUE_SIZE);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_NOFF, 2), i);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2),
			VIRTIO_MSI_NO_VECTOR);
	}
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}

Test(transport, a_queue_that_does_not_exist)
{
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, TEST_DEVICE_QUEUES);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
}

Test(transport, queue_addresses_by_halves_and_at_once)
{
	struct virtio_queue_registers registers;

	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x1);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x200002000);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x3000);
	virtio_device_queue_registers(&guest.test.device, 2, &registers);
	cr_expect_eq(registers.desc_gpa, 0x100001000);
	cr_expect_eq(registers.driver_gpa, 0x200002000);
	cr_expect_eq(registers.device_gpa, 0x3000);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x100001000);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_AVAILHI, 4), 2);
	virtio_device_queue_registers(&guest.test.device, 1, &registers);
	cr_expect_eq(registers.desc_gpa, 0, "the other queues are untouched");
}

Test(transport, odd_widths)
{
	/* queue_select by bytes */
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 1, 3);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2), 3);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT + 1, 1, 1);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2), 0x103);
	/* select and size of that queue at once, in register order */
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 4, 1 | 16u << 16);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 4), 1 | 16u << 16);
	cr_expect_eq(guest.test.device.queues[1].size, 16);
	/* status and generation, number of queues and all in one read */
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_NUMQ, 8),
		TEST_DEVICE_QUEUES | 1ull << 32 | 16ull << 48);
	/* across the end */
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_RESET, 8), 0);
	cr_expect_eq(pci_guest_common(&guest, 0x200, 4), 0);
	pci_guest_set_common(&guest, 0x200, 8, UINT64_MAX);
	/* a misaligned write of half a register and half of the next */
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO + 2, 4, 0xaabbccdd);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0xaabbccdd0000);
}

Test(transport, device_configuration)
{
	cr_expect_eq(pci_guest_read(&guest, guest.device, 1), 0x10);
	cr_expect_eq(pci_guest_read(&guest, guest.device + 4, 4), 0x17161514);
	cr_expect_eq(pci_guest_read(&guest, guest.device + 8, 8), 0x1b1a1918);
	pci_guest_write(&guest, guest.device, 2, 0xbeef);
	cr_expect_eq(pci_guest_read(&guest, guest.device, 4), 0x1312beef);
	pci_guest_write(&guest, guest.device + 4, 2, 0xbeef);
	cr_expect_eq(pci_guest_read(&guest, guest.device + 4, 2), 0x1514);
}

Test(transport, config_generation)
{
	uint64_t before = pci_guest_common(&guest, VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	for (unsigned i = 1; i <= 300; i++) {
		virtio_device_config_changed(&guest.test.device);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_CFGGENERATION, 1),
			(before + i) & 0xff);
	}
}

Test(transport, unused_parts_of_the_bar_read_as_zero)
{
	cr_expect_eq(pci_guest_read(&guest, guest.notify, 4), 0);
	cr_expect_eq(pci_guest_read(&guest, VIRTIO_PCI_BAR_SIZE - 8, 8), 0);
	pci_guest_write(&guest, VIRTIO_PCI_BAR_SIZE - 8, 8, UINT64_MAX);
	pci_guest_write(&guest, guest.isr, 1, 0xff);
	pci_guest_write(&guest, guest.pba, 8, UINT64_MAX);
	cr_expect_eq(pci_guest_read(&guest, guest.pba, 8), 0);
}

/* ---- the window in configuration space ---- */

static void aim(uint8_t bar, uint32_t offset, uint32_t length)
{
	pci_guest_config_write(&guest, guest.window + VIRTIO_PCI_CAP_BAR, 1, bar);
	pci_guest_config_write(&guest, guest.window + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	pci_guest_config_write(&guest, guest.window + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

static uint32_t window_data(void)
{
	return guest.window + (uint32_t)sizeof(struct virtio_pci_cap);
}

Test(transport, the_window_reads_and_writes_the_bar)
{
	aim(0, guest.device + 4, 4);
	cr_expect_eq(pci_guest_config_read(&guest, window_data(), 4), 0x17161514);
	aim(0, guest.common + VIRTIO_PCI_COMMON_NUMQ, 2);
	cr_expect_eq(pci_guest_config_read(&guest, window_data(), 2), TEST_DEVICE_QUEUES);
	aim(0, guest.common + VIRTIO_PCI_COMMON_STATUS, 1);
	pci_guest_config_write(&guest, window_data(), 1, VIRTIO_STATUS_ACKNOWLEDGE);
	cr_expect_eq(virtio_device_status(&guest.test.device), VIRTIO_STATUS_ACKNOWLEDGE);
	cr_expect_eq(pci_guest_config_read(&guest, window_data(), 1), VIRTIO_STATUS_ACKNOWLEDGE);
	aim(0, guest.device, 4);
	pci_guest_config_write(&guest, window_data(), 4, 0xcafef00d);
	cr_expect_eq(pci_guest_read(&guest, guest.device, 4), 0xcafef00d);
}

Test(transport, the_window_works_with_the_bar_unmapped)
{
	pci_guest_config_write(&guest, PCI_COMMAND, 2, 0);
	aim(0, guest.device, 4);
	cr_expect_eq(pci_guest_config_read(&guest, window_data(), 4), 0x13121110);
}

Test(transport, a_window_that_points_nowhere_does_nothing)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, length;
	} cases[] = {
		{1, 0, 4},
		{0, VIRTIO_PCI_BAR_SIZE, 4},
		{0, VIRTIO_PCI_BAR_SIZE - 2, 4},
		{0, UINT32_MAX, 4},
		{0, 0x2000, 0},
		{0, 0x2000, 3},
		{0, 0x2000, 8},
		{0, 0x2000, UINT32_MAX},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		aim(cases[i].bar, cases[i].offset, cases[i].length);
		pci_guest_config_write(&guest, window_data(), 4, 0x5a5a5a5a);
		cr_expect_eq(pci_guest_config_read(&guest, window_data(), 4), 0x5a5a5a5a,
			"plain bytes, case %zu", i);
	}
	cr_expect_eq(pci_guest_read(&guest, guest.device, 4), 0x13121110);
	cr_expect_eq(virtio_device_status(&guest.test.device), 0);
}
