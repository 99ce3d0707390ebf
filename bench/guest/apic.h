/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC of the calling CPU, as x2APIC or as xAPIC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Enables the calling CPU's APIC; every CPU calls it once, all with the same `x2apic`. */
void apic_init(bool x2apic);

/* The calling CPU's APIC ID. */
uint32_t apic_id(void);

/* INIT, then two SIPIs with the trampoline's vector. */
void apic_start_cpu(uint32_t apic_id);

/* A fixed interrupt to another CPU. */
void apic_send(uint32_t apic_id, uint8_t vector);

/* Starts the calling CPU's timer: VECTOR_TIMER every (or once after) `ticks` bus ticks; 0 stops it.
 */
void apic_timer(uint32_t ticks, bool periodic);
