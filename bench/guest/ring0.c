/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few functions that need ring 0. Each public function goes through the gate to a static one
 * that holds the privileged instructions; they stay tiny, since ring 0 may be interpreted.
 */
#include "ring0.h"

#include "cpu.h"

static uint64_t out_in_ring0(uint64_t port, uint64_t value, uint64_t width)
{
	if (width == 1)
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
	else if (width == 2)
		__asm__ volatile("outw %w0, %w1" : : "a"(value), "d"(port));
	else
		__asm__ volatile("outl %k0, %w1" : : "a"(value), "d"(port));
	return 0;
}

static uint64_t in_in_ring0(uint64_t port, uint64_t width, uint64_t unused)
{
	uint32_t value = 0;

	(void)unused;
	if (width == 1)
		__asm__ volatile("inb %w1, %b0" : "+a"(value) : "d"(port));
	else
		__asm__ volatile("inl %w1, %k0" : "=a"(value) : "d"(port));
	return value;
}

static uint64_t outs_in_ring0(uint64_t port, uint64_t data, uint64_t length)
{
	__asm__ volatile("rep outsb" : "+S"(data), "+c"(length) : "d"(port) : "memory");
	return 0;
}

static uint64_t config_read_in_ring0(uint64_t address, uint64_t b, uint64_t c)
{
	uint32_t value;

	(void)b;
	(void)c;
	__asm__ volatile("outl %0, %w1" : : "a"((uint32_t)address), "d"(0xcf8));
	__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(0xcfc));
	return value;
}

static uint64_t config_write_in_ring0(uint64_t address, uint64_t value, uint64_t c)
{
	(void)c;
	__asm__ volatile("outl %0, %w1" : : "a"((uint32_t)address), "d"(0xcf8));
	__asm__ volatile("outl %0, %w1" : : "a"((uint32_t)value), "d"(0xcfc));
	return 0;
}

static uint64_t msr_read_in_ring0(uint64_t msr, uint64_t b, uint64_t c)
{
	uint32_t low, high;

	(void)b;
	(void)c;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)msr));
	return (uint64_t)high << 32 | low;
}

static uint64_t msr_write_in_ring0(uint64_t msr, uint64_t value, uint64_t c)
{
	(void)c;
	__asm__ volatile("wrmsr"
			 :
			 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"((uint32_t)msr)
			 : "memory");
	return 0;
}

static uint64_t cpuid_in_ring0(uint64_t leaf, uint64_t subleaf, uint64_t registers)
{
	uint32_t *ret = (uint32_t *)registers;

	__asm__ volatile("cpuid"
			 : "=a"(ret[0]), "=b"(ret[1]), "=c"(ret[2]), "=d"(ret[3])
			 : "0"((uint32_t)leaf), "2"((uint32_t)subleaf));
	return 0;
}

static uint64_t cost_in_ring0(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t start = cpu_tsc();

	(void)a;
	(void)b;
	(void)c;
	__asm__ volatile(".rept 16; nop; .endr");
	return cpu_tsc() - start;
}

static uint64_t triple_fault_in_ring0(uint64_t a, uint64_t b, uint64_t c)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) empty = {0, 0};

	(void)a;
	(void)b;
	(void)c;
	__asm__ volatile("lidt %0; ud2" : : "m"(empty));
	return 0;
}

void port_out8(uint16_t port, uint8_t value)
{
	gate_call(out_in_ring0, port, value, 1);
}

void port_out16(uint16_t port, uint16_t value)
{
	gate_call(out_in_ring0, port, value, 2);
}

void port_out32(uint16_t port, uint32_t value)
{
	gate_call(out_in_ring0, port, value, 4);
}

uint8_t port_in8(uint16_t port)
{
	return (uint8_t)gate_call(in_in_ring0, port, 1, 0);
}

uint32_t port_in32(uint16_t port)
{
	return (uint32_t)gate_call(in_in_ring0, port, 4, 0);
}

void port_out_string(uint16_t port, const void *data, size_t length)
{
	gate_call(outs_in_ring0, port, (uint64_t)data, length);
}

uint32_t pci_config_read(uint32_t address)
{
	return (uint32_t)gate_call(config_read_in_ring0, address, 0, 0);
}

void pci_config_write(uint32_t address, uint32_t value)
{
	gate_call(config_write_in_ring0, address, value, 0);
}

uint64_t msr_read(uint32_t msr)
{
	return gate_call(msr_read_in_ring0, msr, 0, 0);
}

void msr_write(uint32_t msr, uint64_t value)
{
	gate_call(msr_write_in_ring0, msr, value, 0);
}

void cpuid_read(uint32_t leaf, uint32_t subleaf, uint32_t ret_registers[4])
{
	gate_call(cpuid_in_ring0, leaf, subleaf, (uint64_t)ret_registers);
}

uint64_t ring0_cost(void)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 3; i++) {
		uint64_t cost = gate_call(cost_in_ring0, 0, 0, 0);

		if (cost < best)
			best = cost;
	}
	return best;
}

void triple_fault(void)
{
	for (;;)
		gate_call(triple_fault_in_ring0, 0, 0, 0);
}
