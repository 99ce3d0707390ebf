/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The per-CPU block, barriers, the time stamp counter, and the gate into ring 0.
 * Everything here runs in ring 3 unless it says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/* One CPU. GS points to it in both rings; assembly knows the offsets of the first five fields. */
struct cpu {
	volatile uint64_t
		events; /* counts every interrupt on this CPU; written by its handlers alone */
	volatile uint64_t ticks; /* timer interrupts */
	uint64_t user_stack;     /* top of its ring-3 stack */
	uint64_t kernel_stack;   /* top of its ring-0 stack, as in its TSS */
	uint64_t entry;          /* C function it starts in ring 3 */
	uint32_t index;
	uint32_t apic_id;
	void (*volatile work)(
		void *argument); /* set by the boot CPU, cleared by this CPU when done */
	void *volatile argument;
	volatile bool online;
} __attribute__((aligned(CPU_SIZE)));

_Static_assert(sizeof(struct cpu) == CPU_SIZE, "assembly multiplies by CPU_SIZE");
_Static_assert(offsetof(struct cpu, entry) == CPU_ENTRY, "assembly reads it");

/* One device interrupt vector's count, on a cache line of its own. Written by its handler alone. */
struct irq_cell {
	volatile uint64_t count;
	uint64_t padding[7];
};

extern struct cpu cpu_table[MAX_CPUS];
extern struct irq_cell irq_cells[IRQ_CELLS];

static inline uint64_t cpu_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

/* Stores before are seen before stores after; on x86 only the compiler has to be told. */
static inline void cpu_store_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

/* Loads before are done before loads after; on x86 only the compiler has to be told. */
static inline void cpu_load_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

/* Orders a store before with a load after. */
static inline void cpu_full_barrier(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" ::: "memory", "cc");
}

/* True in ring 3. */
static inline bool cpu_in_user_mode(void)
{
	uint16_t cs;

	__asm__("movw %%cs, %0" : "=r"(cs));
	return (cs & 3) == 3;
}

/* Sleeps until the calling CPU's event counter is no longer `seen`; returns at once if so already.
 */
static inline void gate_wait(uint64_t seen)
{
	__asm__ volatile("hlt" : : "a"(GATE_WAIT), "S"(seen) : "memory", "cc");
}

typedef uint64_t (*ring0_fn)(uint64_t a, uint64_t b, uint64_t c);

/* Calls fn(a, b, c) in ring 0, with interrupts off; also from ring 0, then as a plain call. */
static inline uint64_t gate_call(ring0_fn fn, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t result = GATE_CALL;

	if (!cpu_in_user_mode())
		return fn(a, b, c);
	__asm__ volatile("hlt"
			 : "+a"(result), "+D"(fn), "+S"(a), "+d"(b), "+c"(c)
			 :
			 : "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}
