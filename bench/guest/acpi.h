/* SPDX-License-Identifier: Apache-2.0 */
/* The one thing wanted of ACPI: which CPUs there are. */
#pragma once

#include <stdint.h>

/* The APIC IDs of the enabled CPUs in the MADT, at most `max`; 0 when there is no MADT. */
unsigned acpi_cpus(uint32_t *ret_ids, unsigned max);
