/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PCI function: 4 KiB of configuration space with write masks, BARs, a capability list.
 * Devices embed it and answer accesses to their BARs; the host bridge (src/machine/pci_host)
 * places it on a bus and forwards configuration and memory accesses.
 *
 * Threads: all calls after the machine has started come from vCPU threads. Configuration accesses
 * and pci_function_find_bar() are serialised by the host bridge's lock (shared for the latter is
 * enough). BAR accesses (ops->bar_read and bar_write) are made without it: they are concurrent, the
 * device locks for itself, inside the host bridge's lock where both are held.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pci_function;

#define PCI_CONFIG_SIZE 4096
#define PCI_BAR_COUNT   6

struct pci_function_ops {
	/* A load or store of 1, 2, 4 or 8 bytes inside BAR @bar. */
	void (*bar_read)(struct pci_function *function, unsigned bar, uint64_t offset, void *data,
		unsigned length);
	void (*bar_write)(struct pci_function *function, unsigned bar, uint64_t offset,
		const void *data, unsigned length);
	/*
	 * May be NULL. BAR @bar is decoded at @address from now on, or, with @mapped false, no
	 * longer. A move is an unmapping and a mapping.
	 */
	void (*bar_mapped)(
		struct pci_function *function, unsigned bar, uint64_t address, bool mapped);
	/*
	 * May be NULL. Gives capabilities with side effects the chance to refresh (before a read)
	 * or act (after a write) on their bytes in config[].
	 */
	void (*config_read)(struct pci_function *function, uint32_t offset, unsigned length);
	void (*config_written)(struct pci_function *function, uint32_t offset, unsigned length);
};

struct pci_bar {
	uint64_t size;    /* 0: not there; else a power of two, at least 4096 */
	uint64_t address; /* where it is decoded, while mapped */
	bool is_64;       /* takes this BAR and the next */
	bool prefetchable;
	bool mapped;
};

/* Public so that it can be embedded; fields are private to src/pci but for config[] and bars[]. */
struct pci_function {
	const struct pci_function_ops *ops;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change */
	struct pci_bar bars[PCI_BAR_COUNT];
	uint16_t capability_end; /* first free byte for a further capability */
	uint8_t capability_last; /* offset of the last one added, 0: none */
};

struct pci_identity {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: class, subclass, programming interface */
};

/* Fills the standard header (PCI Local Bus 3.0, section 6.1). Main thread. */
void pci_function_init(struct pci_function *function, const struct pci_function_ops *ops,
	const struct pci_identity *identity);

/* Declares a memory BAR. @size is a power of two of at least 4096. Main thread. */
void pci_function_add_bar(
	struct pci_function *function, unsigned bar, uint64_t size, bool is_64, bool prefetchable);

/*
 * Appends a capability with id @id and @length bytes in all (the two header bytes included, whose
 * content in @body is ignored); @writable (may be NULL: read-only) is its write mask. Returns its
 * offset in configuration space, or -ENOSPC. Main thread.
 */
int pci_function_add_capability(struct pci_function *function, uint8_t id, const void *body,
	size_t length, const uint8_t *writable);

/*
 * Sets a BAR's address register as firmware would, before the guest runs; decoding starts when the
 * guest (or the host bridge) sets the command register's memory bit. Main thread.
 */
void pci_function_place_bar(struct pci_function *function, unsigned bar, uint64_t address);

/* A configuration access: 1, 2 or 4 bytes, naturally aligned or split by the caller. */
uint32_t pci_function_config_read(struct pci_function *function, uint32_t offset, unsigned length);
void pci_function_config_write(
	struct pci_function *function, uint32_t offset, unsigned length, uint32_t value);

/* The mapped BAR that decodes [gpa, gpa + length), and the offset in it; -ENOENT for none. */
int pci_function_find_bar(
	const struct pci_function *function, uint64_t gpa, unsigned length, uint64_t *ret_offset);
