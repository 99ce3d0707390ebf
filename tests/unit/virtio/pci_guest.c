/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_guest.h"

#include "pci/msix.h"
#include "util/bytes.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <stddef.h>
#include <string.h>

uint32_t pci_guest_config_read(struct pci_guest *guest, uint32_t offset, unsigned length)
{
	return pci_function_config_read(guest->function, offset, length);
}

void pci_guest_config_write(
	struct pci_guest *guest, uint32_t offset, unsigned length, uint32_t value)
{
	pci_function_config_write(guest->function, offset, length, value);
}

uint64_t pci_guest_read(struct pci_guest *guest, uint32_t offset, unsigned length)
{
	uint64_t value = 0;

	guest->function->ops->bar_read(guest->function, VIRTIO_PCI_BAR, offset, &value, length);
	return value;
}

void pci_guest_write(struct pci_guest *guest, uint32_t offset, unsigned length, uint64_t value)
{
	guest->function->ops->bar_write(guest->function, VIRTIO_PCI_BAR, offset, &value, length);
}

uint64_t pci_guest_common(struct pci_guest *guest, uint32_t reg, unsigned length)
{
	return pci_guest_read(guest, guest->common + reg, length);
}

void pci_guest_set_common(struct pci_guest *guest, uint32_t reg, unsigned length, uint64_t value)
{
	pci_guest_write(guest, guest->common + reg, length, value);
}

static void note_virtio_capability(struct pci_guest *guest, uint32_t at)
{
	uint32_t offset = pci_guest_config_read(guest, at + VIRTIO_PCI_CAP_OFFSET, 4);

	switch (pci_guest_config_read(guest, at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		guest->common = offset;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		guest->notify = offset;
		guest->notify_multiplier =
			pci_guest_config_read(guest, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		guest->isr = offset;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		guest->device = offset;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		guest->window = at;
		break;
	default:
		cr_assert_fail("an unknown virtio capability at 0x%x", at);
	}
}

static void find_capabilities(struct pci_guest *guest)
{
	uint32_t at = pci_guest_config_read(guest, PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; at && i < 16; i++) {
		switch (pci_guest_config_read(guest, at, 1)) {
		case PCI_CAP_ID_VNDR:
			note_virtio_capability(guest, at);
			break;
		case PCI_CAP_ID_MSIX:
			guest->msix = at;
			guest->table = pci_guest_config_read(guest, at + PCI_MSIX_TABLE, 4) & ~7u;
			guest->pba = pci_guest_config_read(guest, at + PCI_MSIX_PBA, 4) & ~7u;
			break;
		default:
			cr_assert_fail("an unknown capability at 0x%x", at);
		}
		at = pci_guest_config_read(guest, at + PCI_CAP_LIST_NEXT, 1);
	}
	cr_assert_eq(at, 0, "the list ends");
}

void pci_guest_init(struct pci_guest *guest)
{
	memset(guest, 0, sizeof(*guest));
	test_device_init(&guest->test);
	mock_msi_init(&guest->msi);
	mock_doorbells_init(&guest->doorbells);
	cr_assert_eq(virtio_pci_create(&guest->test.device, &guest->msi.controller,
			     &guest->doorbells.controller, &guest->transport),
		0);
	guest->function = virtio_pci_function(guest->transport);
	find_capabilities(guest);
	pci_function_place_bar(guest->function, VIRTIO_PCI_BAR, PCI_GUEST_BAR);
	pci_guest_config_write(guest, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void pci_guest_deinit(struct pci_guest *guest)
{
	virtio_pci_destroy(guest->transport);
	mock_msi_deinit(&guest->msi);
	mock_doorbells_deinit(&guest->doorbells);
	test_device_deinit(&guest->test);
}

void pci_guest_mask(struct pci_guest *guest, unsigned vector, bool masked)
{
	pci_guest_write(guest,
		guest->table + vector * MSIX_ENTRY_BYTES + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, masked);
}

void pci_guest_enable_msix(struct pci_guest *guest)
{
	uint32_t control = pci_guest_config_read(guest, guest->msix + PCI_MSIX_FLAGS, 2);

	for (unsigned i = 0; i <= (control & PCI_MSIX_FLAGS_QSIZE); i++) {
		uint32_t entry = guest->table + i * MSIX_ENTRY_BYTES;

		pci_guest_write(guest, entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4, 0xfee00000);
		pci_guest_write(guest, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 4, 0);
		pci_guest_write(guest, entry + PCI_MSIX_ENTRY_DATA, 4, PCI_GUEST_MESSAGE(i));
		pci_guest_mask(guest, i, false);
	}
	pci_guest_config_write(
		guest, guest->msix + PCI_MSIX_FLAGS, 2, control | PCI_MSIX_FLAGS_ENABLE);
}

bool pci_guest_negotiate(struct pci_guest *guest, uint64_t features)
{
	uint8_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;

	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_STATUS_ACKNOWLEDGE);
	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_STATUS, 1, status);
	for (unsigned half = 0; half < 2; half++) {
		pci_guest_set_common(guest, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		pci_guest_set_common(
			guest, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * half));
	}
	status |= VIRTIO_STATUS_FEATURES_OK;
	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_STATUS, 1, status);
	return pci_guest_common(guest, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_STATUS_FEATURES_OK;
}

static void set_address(struct pci_guest *guest, uint32_t reg, uint64_t address)
{
	pci_guest_set_common(guest, reg, 4, (uint32_t)address);
	pci_guest_set_common(guest, reg + 4, 4, address >> 32);
}

struct mock_queue *pci_guest_enable_queue(
	struct pci_guest *guest, unsigned queue, uint16_t size, uint16_t vector)
{
	const struct mock_queue_options options = {.size = size, .event_idx = true};
	struct mock_queue *ring = mock_queue_create(&guest->test.guest, &options);
	const struct virtqueue_layout *layout = mock_queue_layout(ring);

	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	set_address(guest, VIRTIO_PCI_COMMON_Q_DESCLO, layout->desc_gpa);
	set_address(guest, VIRTIO_PCI_COMMON_Q_AVAILLO, layout->driver_gpa);
	set_address(guest, VIRTIO_PCI_COMMON_Q_USEDLO, layout->device_gpa);
	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	return ring;
}

void pci_guest_driver_ok(struct pci_guest *guest)
{
	uint64_t status = pci_guest_common(guest, VIRTIO_PCI_COMMON_STATUS, 1);

	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_STATUS, 1, status | VIRTIO_STATUS_DRIVER_OK);
}

uint64_t pci_guest_doorbell(struct pci_guest *guest, unsigned queue)
{
	uint32_t bar = pci_guest_config_read(guest, PCI_BASE_ADDRESS_0, 4);

	pci_guest_set_common(guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	return bar + guest->notify +
	       pci_guest_common(guest, VIRTIO_PCI_COMMON_Q_NOFF, 2) * guest->notify_multiplier;
}
