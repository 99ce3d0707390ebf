/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A modern virtio device on PCI: its register windows, feature negotiation, MSI-X. Registers are
 * accessed from ring 3. One CPU (the boot CPU) sets devices up; queues are handed to their CPUs
 * afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pci.h"

/* virtio 1.2, 4.1.4.3; little-endian. Naturally aligned, so plain volatile accesses have the right
 * width. */
struct virtio_common {
	uint32_t device_feature_select;
	uint32_t device_feature;
	uint32_t driver_feature_select;
	uint32_t driver_feature;
	uint16_t config_msix_vector;
	uint16_t num_queues;
	uint8_t device_status;
	uint8_t config_generation;
	uint16_t queue_select;
	uint16_t queue_size;
	uint16_t queue_msix_vector;
	uint16_t queue_enable;
	uint16_t queue_notify_off;
	uint32_t queue_desc_low, queue_desc_high;
	uint32_t queue_driver_low, queue_driver_high;
	uint32_t queue_device_low, queue_device_high;
	uint16_t queue_notify_data;
	uint16_t queue_reset;
};

struct virtio_msix_entry {
	uint32_t address_low, address_high, data, control;
};

struct virtio_device {
	struct pci_function pci;
	uint16_t type;         /* 1 network, 2 block, ... */
	uint16_t num_queues;   /* as the device says */
	uint16_t msix_entries; /* 0: no MSI-X */
	uint8_t msix_capability;
	uint64_t offered, features; /* feature bits offered by the device, and agreed on */
	volatile struct virtio_common *common;
	uint32_t common_length;
	volatile uint8_t *notify;
	uint32_t notify_length, notify_multiplier;
	volatile uint8_t *isr;
	volatile uint8_t *config;
	uint32_t config_length;
	volatile struct virtio_msix_entry *msix;
	unsigned config_cell; /* irq_cells index of the configuration vector */
};

/* Finds all modern virtio devices of the type (0: of any); returns how many are in ret_devices. */
unsigned virtio_pci_find(uint16_t type, struct virtio_device *ret_devices, unsigned max);

/* Resets the device and waits until it says so. False after 5 seconds without. */
bool virtio_pci_reset(struct virtio_device *device);

/*
 * Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK. `wanted` is cut down to what is offered. Ends
 * the run with a failure when VERSION_1 is missing or the device refuses. device->features is what
 * was agreed on.
 */
void virtio_pci_negotiate(struct virtio_device *device, uint64_t wanted);

/* DRIVER_OK. */
void virtio_pci_start(struct virtio_device *device);

/* True when the device says DEVICE_NEEDS_RESET. */
bool virtio_pci_broken(const struct virtio_device *device);

/*
 * Enables MSI-X: entry 0 for the configuration (to the boot CPU), entry 1 + q for queue q, bound
 * later by virtio_pci_route. Ends the run with a failure when the device has too few entries.
 */
void virtio_pci_enable_msix(struct virtio_device *device, unsigned queues);

/* Sends queue q's interrupt to a CPU; returns the irq_cells index. Before DRIVER_OK, or while
 * masked. */
unsigned virtio_pci_route(struct virtio_device *device, unsigned queue, unsigned cpu);

/* A fresh irq_cells index (a vector). Ends the run with a failure when there are none left. */
unsigned virtio_pci_new_cell(void);

static inline uint8_t virtio_pci_status(const struct virtio_device *device)
{
	return device->common->device_status;
}

/* Device configuration fields, byte offsets as in the device's own section of the specification. */
uint8_t virtio_config8(const struct virtio_device *device, uint32_t offset);
uint16_t virtio_config16(const struct virtio_device *device, uint32_t offset);
uint32_t virtio_config32(const struct virtio_device *device, uint32_t offset);
uint64_t virtio_config64(const struct virtio_device *device, uint32_t offset);
