/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest physical address space and the I/O ports of the machine, in one place.
 *
 *            0 - 0x0009fc00   RAM; boot structures while the kernel starts
 *   0x0009fc00 - 0x00100000   reserved: ACPI and MP tables
 *   0x00100000 - 0xc0000000   RAM (as far as it reaches)
 *   0xc0000000 - 0xe0000000   PCI memory window: all BARs
 *   0xe0000000 - 0xe0100000   ECAM, bus 0
 *   0xfec00000, 0xfee00000    IOAPIC, local APIC (in the kernel)
 *   0xfeffc000 - 0xff000000   KVM's identity map page and TSS (Intel hosts)
 *   0x100000000 -             the rest of RAM
 *
 * Macros of plain numbers only: dsdt.asl is compiled with this file in front of it.
 */
#pragma once

#define LAYOUT_EBDA_START 0x0009fc00u
#define LAYOUT_HIGH_START 0x00100000u

#define LAYOUT_LOW_RAM_END     0xc0000000u
#define LAYOUT_HIGH_RAM_GPA    0x100000000u
#define LAYOUT_PCI_WINDOW      0xc0000000u
#define LAYOUT_PCI_WINDOW_SIZE 0x20000000u
#define LAYOUT_PCI_WINDOW_LAST 0xdfffffffu
#define LAYOUT_ECAM            0xe0000000u
#define LAYOUT_ECAM_SIZE       0x00100000u
#define LAYOUT_IOAPIC          0xfec00000u
#define LAYOUT_LAPIC           0xfee00000u
#define LAYOUT_IDENTITY_MAP    0xfeffc000u
#define LAYOUT_TSS             0xfeffd000u

/* Boot structures, dead once the kernel runs. */
#define LAYOUT_BOOT_GDT       0x00000500u
#define LAYOUT_PVH_START_INFO 0x00006000u
#define LAYOUT_BOOT_PARAMS    0x00007000u
#define LAYOUT_PAGE_TABLES    0x00009000u
#define LAYOUT_CMDLINE        0x00020000u

/* Firmware tables. */
#define LAYOUT_ACPI         0x000e0000u
#define LAYOUT_ACPI_SIZE    0x00010000u
#define LAYOUT_MPTABLE      0x000f0000u
#define LAYOUT_MPTABLE_SIZE 0x00010000u

/* I/O ports. PM1a stands where QEMU's q35 puts it, so that bare guests power off alike. */
#define LAYOUT_PORT_I8042   0x60u
#define LAYOUT_PORT_CMOS    0x70u
#define LAYOUT_PORT_COM2    0x2f8u
#define LAYOUT_PORT_COM1    0x3f8u
#define LAYOUT_PORT_PVPANIC 0x505u
#define LAYOUT_PORT_PM1_EVT 0x600u
#define LAYOUT_PORT_PM1_CNT 0x604u
#define LAYOUT_PORT_PM_TMR  0x608u
#define LAYOUT_PORT_PCI     0xcf8u
#define LAYOUT_PORT_RESET   0xcf9u

/* ISA interrupts, which are also GSIs. */
#define LAYOUT_IRQ_COM2 3
#define LAYOUT_IRQ_COM1 4
#define LAYOUT_IRQ_RTC  8
#define LAYOUT_IRQ_SCI  9

#define LAYOUT_CPUS_MAX 255
