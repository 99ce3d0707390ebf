/* SPDX-License-Identifier: Apache-2.0 */
/* The pvpanic port (QEMU0001): one byte by which a guest kernel tells that it has panicked. */
#pragma once

#include <stdint.h>

#define PVPANIC_PANICKED     0x01u /* the guest has panicked */
#define PVPANIC_CRASH_LOADED 0x02u /* it has, and now runs its own crash kernel */

struct pvpanic {
	/* Called on the vCPU thread with the PVPANIC_ bits; must not block. */
	void (*event)(void *context, unsigned events);
	void *context;
};

/* Port handlers; @context is the struct pvpanic, which must not change while vCPUs run. */
void pvpanic_read(void *context, uint64_t offset, void *data, unsigned length);
void pvpanic_write(void *context, uint64_t offset, const void *data, unsigned length);
