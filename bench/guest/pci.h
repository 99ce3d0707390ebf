/* SPDX-License-Identifier: Apache-2.0 */
/* PCI bus 0 by configuration mechanism 1. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pci_function {
	uint8_t device, function;
	uint16_t vendor_id, device_id;
};

/* Lists all functions on bus 0, at most `max`; returns how many. */
unsigned pci_scan(struct pci_function *ret_functions, unsigned max);

uint8_t pci_read8(const struct pci_function *function, uint8_t offset);
uint16_t pci_read16(const struct pci_function *function, uint8_t offset);
uint32_t pci_read32(const struct pci_function *function, uint8_t offset);
void pci_write16(const struct pci_function *function, uint8_t offset, uint16_t value);
void pci_write32(const struct pci_function *function, uint8_t offset, uint32_t value);

/* The next capability with this ID behind `after` (0: the first); 0 when there is none. */
uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after);

/*
 * Address and size of memory BAR `index` (0..5). A BAR that nobody has placed yet is placed in the
 * window that starts at `window` on the command line. False when it is not a memory BAR.
 */
bool pci_bar(const struct pci_function *function, unsigned index, uint64_t *ret_address,
	uint64_t *ret_size);

/* Where BARs without an address go (default 0xd0000000). */
void pci_set_window(uint64_t address);
