/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables (ACPI 6.3): RSDP, XSDT, FADT, FACS, DSDT, MADT and MCFG. What they say about
 * addresses, ports and interrupts comes from machine/layout.h. The DSDT is compiled from dsdt.asl
 * when fastvmm is built.
 */
#pragma once

#include <stdint.h>

struct error;
struct guest_memory;

struct acpi_config {
	unsigned cpu_count; /* APIC ids 0 to cpu_count - 1, all enabled */
};

/*
 * Writes the tables into [LAYOUT_ACPI, LAYOUT_ACPI + LAYOUT_ACPI_SIZE). May be called again for a
 * restart. *ret_rsdp is the guest address of the RSDP (LAYOUT_ACPI). Main thread, while no vCPU
 * runs. Returns 0; -ENOSPC where there are too many CPUs for the space; -EFAULT where the space is
 * not RAM; with an explanation in @error.
 */
int acpi_build(const struct guest_memory *memory, const struct acpi_config *config,
	uint64_t *ret_rsdp, struct error *error);
