/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MSI-X capability of a PCI function (PCI Local Bus 3.0, section 6.8.2): its structure in
 * configuration space, the vector table and the pending bit array inside a BAR, and the binding
 * of eventfds ("sources") to vectors. The model is described at the top of msix.c.
 *
 * Threads: msix_init() and msix_deinit() on the main thread; all else from any vCPU thread, the
 * object has a lock of its own. It is a leaf: under it only msi_ops are called. Whoever signals a
 * source needs nothing from here.
 */
#pragma once

#include "pci/msi.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct pci_function;

#define MSIX_VECTORS_MAX 2048 /* by the capability's 11-bit table size */
#define MSIX_NO_VECTOR   0xffff
#define MSIX_ENTRY_BYTES 16
/* Bytes that the pending bit array of @vectors takes: whole 64-bit words. */
#define MSIX_PBA_BYTES(vectors) (((vectors) + 63u) / 64u * 8u)

struct msix_vector;
struct msix_source;

/* Where things are; constant once initialised. */
struct msix_layout {
	unsigned vectors;      /* 1 to MSIX_VECTORS_MAX */
	unsigned bar;          /* holds the table and the pending bit array */
	uint32_t table_offset; /* within the BAR, a multiple of 8; vectors * MSIX_ENTRY_BYTES bytes
	                        */
	uint32_t pba_offset;   /* the same; MSIX_PBA_BYTES(vectors) bytes */
};

/* Embedded in the function's device; fields are private to msix.c. */
struct msix {
	struct pci_function *function;
	const struct msi_controller *controller;
	struct msix_layout layout;
	uint16_t capability; /* offset in configuration space */
	unsigned source_count;
	pthread_mutex_t lock;        /* guards all below */
	bool enabled;                /* the capability's enable bit */
	bool function_masked;        /* its function mask bit */
	struct msix_vector *vectors; /* owned, layout.vectors of them */
	struct msix_source *sources; /* owned, source_count of them */
};

/*
 * Adds the capability to @function, all vectors masked, no source bound. @eventfds are the
 * @source_count sources, named by their index from now on; the numbers are copied, the eventfds
 * stay the caller's and must outlive @msix, as must @function and @controller.
 * Returns 0, -EINVAL for a layout that breaks the rules above, -ENOSPC, -ENOMEM.
 */
int msix_init(struct msix *msix, struct pci_function *function,
	const struct msi_controller *controller, const struct msix_layout *layout,
	const int *eventfds, unsigned source_count);

/* Unbinds all and gives the routes back. Accepts a zeroed object. */
void msix_deinit(struct msix *msix);

/*
 * Sends the signals of source @source to @vector from now on, away from the vector that it may be
 * bound to; MSIX_NO_VECTOR unbinds. Signals left over from a time without a vector are dropped,
 * those that wait behind a masked vector move along. Any number of sources may share a vector.
 * Returns 0; -EINVAL for a vector that does not exist; what msi_ops answered. After a failure the
 * source is unbound.
 */
int msix_bind(struct msix *msix, unsigned source, uint16_t vector);

/* The vector of @source, or MSIX_NO_VECTOR. */
uint16_t msix_bound_vector(struct msix *msix, unsigned source);

/* The state of the capability's enable bit. */
bool msix_enabled(struct msix *msix);

/*
 * The function's config_written hook passes every write on; those that do not touch the
 * capability's message control are ignored. Under the host bridge's lock.
 */
void msix_config_written(struct msix *msix, uint32_t offset, unsigned length);

/*
 * Accesses inside the table and the pending bit array, @offset from the start of each. Reads take
 * any length and see zeros beyond the end. Table writes are whole, aligned 4 or 8 byte units
 * (section 6.8.2: others are undefined, here ignored); the pending bits cannot be written.
 */
void msix_table_read(struct msix *msix, uint32_t offset, void *data, unsigned length);
void msix_table_write(struct msix *msix, uint32_t offset, const void *data, unsigned length);
void msix_pba_read(struct msix *msix, uint32_t offset, void *data, unsigned length);
