/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that knows a virtio PCI function by its registers only: it finds everything through
 * configuration space, as a driver does.
 */
#pragma once

#include "pci/pci_function.h"
#include "support/mock_controllers.h"
#include "support/mock_driver.h"
#include "test_device_type.h"
#include "virtio/pci_transport.h"

#include <linux/virtio_pci.h>

#define PCI_GUEST_BAR 0xc0100000u /* where firmware put the BAR */

struct pci_guest {
	struct test_device test;
	struct mock_msi msi;
	struct mock_doorbells doorbells;
	struct virtio_pci *transport;
	struct pci_function *function;
	/* Offsets in the BAR, as the capabilities say. */
	uint32_t common, isr, device, notify, table, pba;
	uint32_t notify_multiplier;
	uint32_t window; /* of the configuration access capability, in configuration space */
	uint32_t msix;   /* capability offset */
};

/* Makes the device and its transport, finds the capabilities, enables memory space. */
void pci_guest_init(struct pci_guest *guest);
void pci_guest_deinit(struct pci_guest *guest);

uint32_t pci_guest_config_read(struct pci_guest *guest, uint32_t offset, unsigned length);
void pci_guest_config_write(
	struct pci_guest *guest, uint32_t offset, unsigned length, uint32_t value);

/* Accesses to the BAR, past the doorbells: what exits to user space. */
uint64_t pci_guest_read(struct pci_guest *guest, uint32_t offset, unsigned length);
void pci_guest_write(struct pci_guest *guest, uint32_t offset, unsigned length, uint64_t value);

/* The same relative to the common structure, by VIRTIO_PCI_COMMON_* offsets. */
uint64_t pci_guest_common(struct pci_guest *guest, uint32_t reg, unsigned length);
void pci_guest_set_common(struct pci_guest *guest, uint32_t reg, unsigned length, uint64_t value);

/* Enables MSI-X and programs every vector with the message data 0x40 + vector. */
#define PCI_GUEST_MESSAGE(vector) (0x40u + (vector))
void pci_guest_enable_msix(struct pci_guest *guest);
void pci_guest_mask(struct pci_guest *guest, unsigned vector, bool masked);

/* ACKNOWLEDGE, DRIVER, features, FEATURES_OK; true where that stuck. */
bool pci_guest_negotiate(struct pci_guest *guest, uint64_t features);

/* Lays queue @queue out and enables it with vector @vector. The caller destroys the result. */
struct mock_queue *pci_guest_enable_queue(
	struct pci_guest *guest, unsigned queue, uint16_t size, uint16_t vector);

void pci_guest_driver_ok(struct pci_guest *guest);

/* The guest physical address of a queue's doorbell, from queue_notify_off. */
uint64_t pci_guest_doorbell(struct pci_guest *guest, unsigned queue);
