/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the PCI transport: its state, and the common configuration structure's registers
 * (pci_registers.c) on one side, the function around them (pci_transport.c) on the other.
 */
#pragma once

#include "pci/doorbell_ops.h"
#include "pci/msix.h"
#include "pci/pci_function.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct virtio_device;

/* Of the common configuration structure with queue_reset, section 4.1.4.3. */
#define VIRTIO_PCI_COMMON_BYTES 60u

/* A queue's place to be kicked. Under the transport's lock but for the counter. */
struct virtio_pci_doorbell {
	bool attached;
	uint64_t gpa; /* while attached */
	_Atomic uint64_t
		exits; /* kicks that came through user space; any vCPU adds, any thread reads */
};

struct virtio_pci {
	struct pci_function function; /* config[] is under the host bridge's lock */
	struct virtio_device *device;
	const struct doorbell_controller *doorbell_controller;
	struct msix msix; /* sources: queue i is i, configuration is queue_count */
	uint16_t pci_cfg; /* offset of the configuration access capability */

	pthread_mutex_t lock; /* guards all below; see pci_transport.h for the order */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	bool mapped;
	bool master; /* as the command register has it */
	bool doorbell_failure_logged;
	uint64_t bar_address;                  /* while mapped */
	struct virtio_pci_doorbell *doorbells; /* owned, one per queue */
};

/*
 * Accesses to the common configuration structure: any length at any offset; bytes beyond its end
 * read as 0. A write to a part of a register leaves the rest of it as it was. Lock held.
 */
void virtio_pci_common_read(
	struct virtio_pci *transport, uint64_t offset, void *data, unsigned length);
void virtio_pci_common_write(
	struct virtio_pci *transport, uint64_t offset, const void *data, unsigned length);

/* Brings the doorbell of @queue in line with whether it is enabled and the BAR mapped. Lock held.
 */
void virtio_pci_settle_doorbell(struct virtio_pci *transport, unsigned queue);
