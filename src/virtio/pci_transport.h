/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over PCI (virtio 1.2, section 4.1), modern only: no legacy registers, no INTx. It makes
 * a PCI function out of a virtio_device: one 32-bit memory BAR with the common, ISR, device and
 * notification structures, the MSI-X table and the pending bit array, and the capability that
 * reaches all of them through configuration space.
 *
 * The queues' kick_fds hang on doorbells (ioeventfds) and their call_fds, like the device's
 * config_call_fd, on MSI-X vectors; neither kicks nor interrupts pass through this code, so that
 * workers and vCPUs never meet here.
 *
 * Threads and locks: accesses come from vCPU threads through the pci_function's ops. Lock order:
 * host bridge, transport, device, MSI-X, what the controllers lock. Workers take none of them.
 */
#pragma once

#include "pci/doorbell_ops.h"
#include "pci/msi.h"

#include <stdint.h>

struct pci_function;
struct virtio_device;
struct virtio_pci;

/* The one BAR, 32-bit, not prefetchable. The machine places it with pci_function_place_bar(). */
#define VIRTIO_PCI_BAR      0
#define VIRTIO_PCI_BAR_SIZE 0x8000u

/*
 * Makes the function for @device: vendor 0x1af4, device 0x1040 + type, one MSI-X vector per queue
 * and one for configuration changes. @device, initialised and with its features final, is
 * borrowed, as are both controllers; all must outlive the transport.
 * Returns 0, -EINVAL, -ENOMEM or -ENOSPC. Main thread, before vCPUs run.
 */
int virtio_pci_create(struct virtio_device *device, const struct msi_controller *msi,
	const struct doorbell_controller *doorbells, struct virtio_pci **ret_transport);

/*
 * Resets the device (queues are stopped), takes doorbells and vectors down, frees the transport;
 * the device stays. Accepts NULL. Main thread, after the vCPUs have stopped.
 */
void virtio_pci_destroy(struct virtio_pci *transport);

/* What the host bridge places on its bus. Lives as long as the transport. Any thread. */
struct pci_function *virtio_pci_function(struct virtio_pci *transport);

/* The device given at creation. Any thread. */
struct virtio_device *virtio_pci_device(struct virtio_pci *transport);

/*
 * Writes to the doorbell of queue @queue that reached user space, where each costs an exit; they
 * kick all the same. Stays 0 while the doorbells work. Any thread.
 */
uint64_t virtio_pci_notify_exits(const struct virtio_pci *transport, unsigned queue);
