/* SPDX-License-Identifier: Apache-2.0 */
/* The interrupt descriptor table. */
#pragma once

#include <stdbool.h>

/* Fills in the IDT: gate, faults, and the device, timer and wake stubs for the given kind of APIC.
 */
void traps_init(bool x2apic);
