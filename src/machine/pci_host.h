/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI host bridge: bus 0, reached by configuration mechanism #1 (ports 0xcf8 to 0xcff) and by
 * ECAM, and the memory window that all BARs live in (PCI Local Bus 3.0, section 3.2.2.3.2; PCI
 * Express Base 4.0, section 7.2.2).
 *
 * The handlers have the form that the exit bus calls: an offset from the start of the range, and
 * @length bytes (1, 2, 4 or 8) at @data. They run on vCPU threads; functions are added by the main
 * thread before those start and stay until they have ended.
 */
#pragma once

#include <stdint.h>

struct error;
struct pci_function;
struct pci_host;

/*
 * Makes a bus with only the host bridge itself on it (00:00.0). @window and @window_size bound
 * the BARs. Returns 0 or -ENOMEM. The caller destroys it after the vCPUs have ended.
 */
int pci_host_create(uint64_t window, uint64_t window_size, struct pci_host **ret_host);

/* Accepts NULL. The functions belong to whoever added them. */
void pci_host_destroy(struct pci_host *host);

/*
 * Puts @function into the next free place and assigns its BARs. Devices get a slot each while
 * there are slots, then further functions of the slots. Returns 0, or -ENOSPC with an explanation.
 */
int pci_host_add(struct pci_host *host, struct pci_function *function, struct error *error);

/* Ports 0xcf8 to 0xcff; @context is the pci_host. */
void pci_host_port_read(void *context, uint64_t offset, void *data, unsigned length);
void pci_host_port_write(void *context, uint64_t offset, const void *data, unsigned length);

/* The ECAM of bus 0: 32 slots of 8 functions of 4 KiB. */
void pci_host_ecam_read(void *context, uint64_t offset, void *data, unsigned length);
void pci_host_ecam_write(void *context, uint64_t offset, const void *data, unsigned length);

/* The memory window. */
void pci_host_window_read(void *context, uint64_t offset, void *data, unsigned length);
void pci_host_window_write(void *context, uint64_t offset, const void *data, unsigned length);
