/* SPDX-License-Identifier: Apache-2.0 */
/* Time from the time stamp counter, read in ring 3. */
#pragma once

#include <stdint.h>

/* Finds the frequency (README.md lists the sources in order). Boot CPU, once. */
void clock_init(void);

/* Ticks a second, and where that was learnt: "kvmclock", "cpuid-15", ... */
uint64_t clock_frequency(void);
const char *clock_source(void);

uint64_t clock_to_ns(uint64_t ticks);
uint64_t clock_to_ticks(uint64_t ns);
