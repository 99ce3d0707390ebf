/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table (Intel MultiProcessor Specification 1.4), for kernels without ACPI. */
#pragma once

struct error;
struct guest_memory;

/*
 * Writes the floating pointer to LAYOUT_MPTABLE and the configuration table behind it. CPUs have
 * the APIC ids 0 to @cpu_count - 1; those beyond 254 cannot be named in an MP table and are left
 * out. May be called again for a restart. Main thread, while no vCPU runs.
 * Returns 0, or -EFAULT, with an explanation in @error, where the space is not RAM.
 */
int mptable_build(const struct guest_memory *memory, unsigned cpu_count, struct error *error);
