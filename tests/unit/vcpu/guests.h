/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of a few instructions (guests.S), each position-independent code between two symbols,
 * copied to GUEST_CODE. They run in flat 32-bit protected mode unless noted.
 */
#pragma once

#include <stdint.h>

#define GUEST_CODE    0x1000u
#define GUEST_DATA    0x3000u
#define GUEST_TABLES  0x5000u /* LONG64: three page tables */
#define GUEST_AP      0x8000u /* real-mode code of a further CPU */
#define GUEST_GDT     0x500u
#define GUEST_RAM     0x100000u
#define GUEST_DEVICE  0xd0000000u /* a page of MMIO that the tests answer */
#define GUEST_BELL    0xd0001000u /* a page with a doorbell */
#define GUEST_NOWHERE 0xd0002000u

#define PORT_OUT   0x10
#define PORT_IN    0x11
#define PORT_DWORD 0x400
#define PORT_IRQ   0x30 /* an interrupt handler writes the vector here */
#define PORT_READY 0x31
#define PORT_AP    0x32
#define PORT_NONE  0x77 /* nobody's */
#define PORT_DONE  0xf4

#define GUEST_BELL_RINGS 1000

#define GUEST(name) extern const uint8_t guest_##name[], guest_##name##_end[]

GUEST(accesses);   /* ports and MMIO, then PORT_DONE */
GUEST(doorbell);   /* GUEST_BELL_RINGS writes of each width to GUEST_BELL, then PORT_DONE */
GUEST(interrupts); /* handlers for vectors 0x40 to 0x42; IOAPIC pin 4 is 0x42; PORT_READY; halts */
GUEST(spin);       /* PORT_READY, then a loop of one instruction */
GUEST(halt);       /* PORT_READY, then halts with interrupts off */
GUEST(count_in);   /* reads PORT_DWORD for ever into GUEST_DATA */
GUEST(breakpoint); /* int3 with an empty IDT */
GUEST(jump_away);  /* jumps to GUEST_NOWHERE */
GUEST(fault);      /* an invalid instruction with an empty IDT: triple fault */
GUEST(long64);     /* 64-bit: stores rsi at GUEST_DATA, then PORT_DONE */
GUEST(wake_ap);    /* INIT and SIPI for APIC id 1 with GUEST_AP, then halts */
GUEST(ap);         /* real mode: PORT_AP, then halts */
