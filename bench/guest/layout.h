/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants shared by the guest's assembly and C: segment selectors, vectors, gate numbers, fixed
 * addresses, and the offsets of the per-CPU block that assembly touches.
 */
#pragma once

#define MAX_CPUS 64

/* Segment selectors in the one GDT (boot.S). */
#define SEL_CODE32    0x08
#define SEL_CODE64    0x10
#define SEL_DATA      0x18
#define SEL_USER_DATA (0x20 | 3)
#define SEL_USER_CODE (0x28 | 3)
#define SEL_TSS       0x30 /* CPU n: SEL_TSS + 16 * n */

/* Interrupt vectors. */
#define VECTOR_QUEUE    0x30 /* first of IRQ_CELLS device vectors */
#define IRQ_CELLS       192
#define VECTOR_TIMER    0xf0
#define VECTOR_WAKE     0xf1
#define VECTOR_SPURIOUS 0xff

/* What ring 3 puts in eax before `hlt` (gate.S). Odd values, so that a stray #GP is recognised. */
#define GATE_WAIT 0x5a177e31
#define GATE_CALL 0x5a177e57

/* The application processors' 16-bit entry: SIPI vector 8. */
#define TRAMPOLINE 0x8000

/* struct cpu (cpu.h), one per CPU, reached by GS in both rings. */
#define CPU_EVENTS       0
#define CPU_TICKS        8
#define CPU_USER_STACK   16
#define CPU_KERNEL_STACK 24
#define CPU_ENTRY        32
#define CPU_SIZE         128

#define XAPIC_EOI   0xfee000b0
#define X2APIC_EOI  0x80b
#define MSR_EFER    0xc0000080
#define MSR_GS_BASE 0xc0000101
