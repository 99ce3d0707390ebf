/* SPDX-License-Identifier: Apache-2.0 */
/* More CPUs: started on demand, then given one piece of work at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Brings up CPUs until `count` run (the boot CPU included; 0: all there are) and returns how many
 * run. Ends the run with a failure when there are too few. Boot CPU, after traps_init and
 * apic_init.
 */
unsigned smp_start(unsigned count, bool x2apic);

/* Runs work(argument(cpu)) on CPUs 0..count-1 at once, this one included; returns when all are
 * done. */
void smp_run(unsigned count, void (*work)(void *argument), void *arguments[]);

/* Waits in ring 3 until `count` CPUs are in the same barrier. For use inside smp_run. */
void smp_barrier(unsigned count);
