/* SPDX-License-Identifier: Apache-2.0 */
/* Privileged instructions as functions, callable from either ring. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void port_out8(uint16_t port, uint8_t value);
void port_out16(uint16_t port, uint16_t value);
void port_out32(uint16_t port, uint32_t value);
uint8_t port_in8(uint16_t port);
uint32_t port_in32(uint16_t port);

/* Writes `length` bytes to one port, in one string instruction. */
void port_out_string(uint16_t port, const void *data, size_t length);

/* pci_config_*: configuration mechanism 1; address is the value for port 0xcf8 (dword aligned). */
uint32_t pci_config_read(uint32_t address);
void pci_config_write(uint32_t address, uint32_t value);

uint64_t msr_read(uint32_t msr);
void msr_write(uint32_t msr, uint64_t value);

/* ret_registers: eax, ebx, ecx, edx. Ring 0, where every KVM shows its own CPUID. */
void cpuid_read(uint32_t leaf, uint32_t subleaf, uint32_t ret_registers[4]);

/* Time stamp counter ticks that 16 trivial instructions take in ring 0, best of three. */
uint64_t ring0_cost(void);

/* Never returns: loads an empty IDT and faults. */
void triple_fault(void) __attribute__((noreturn));
