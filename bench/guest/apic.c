/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xAPIC registers are memory at 0xfee00000 and are reached from ring 3 directly; x2APIC registers
 * are MSRs and go through the gate. Both kinds have the same register numbers (offset >> 4).
 */
#include "apic.h"

#include "cpu.h"
#include "finish.h"
#include "ring0.h"

#define MSR_APIC_BASE 0x1b
#define APIC_ENABLE   (1u << 11)
#define APIC_X2       (1u << 10)

enum apic_register {
	APIC_ID = 0x02,
	APIC_SPURIOUS = 0x0f,
	APIC_COMMAND = 0x30,
	APIC_COMMAND_HIGH = 0x31, /* xAPIC only */
	APIC_TIMER_VECTOR = 0x32,
	APIC_TIMER_START = 0x38,
	APIC_TIMER_DIVIDE = 0x3e,
};

static bool use_x2apic;

static volatile uint32_t *xapic_register(enum apic_register number)
{
	return (volatile uint32_t *)(0xfee00000ull + 16u * number);
}

static void write_register(enum apic_register number, uint32_t value)
{
	if (use_x2apic)
		msr_write(0x800u + number, value);
	else
		*xapic_register(number) = value;
}

void apic_init(bool x2apic)
{
	uint64_t base = msr_read(MSR_APIC_BASE) | APIC_ENABLE;

	use_x2apic = x2apic;
	if (x2apic)
		base |= APIC_X2;
	else if (base & APIC_X2)
		finish_fail(
			"the VMM hands over its APIC in x2APIC mode; do not ask for apic=xapic");
	msr_write(MSR_APIC_BASE, base);
	write_register(APIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
}

uint32_t apic_id(void)
{
	if (use_x2apic)
		return (uint32_t)msr_read(0x800u + APIC_ID);
	return *xapic_register(APIC_ID) >> 24;
}

static void send_command(uint32_t id, uint32_t command)
{
	if (use_x2apic) {
		msr_write(0x800u + APIC_COMMAND, (uint64_t)id << 32 | command);
		return;
	}
	*xapic_register(APIC_COMMAND_HIGH) = id << 24;
	*xapic_register(APIC_COMMAND) = command;
}

void apic_start_cpu(uint32_t id)
{
	send_command(id, 0x4500); /* INIT, assert */
	send_command(id, 0x4600 | TRAMPOLINE >> 12);
	send_command(id, 0x4600 | TRAMPOLINE >> 12);
}

void apic_send(uint32_t id, uint8_t vector)
{
	send_command(id, 0x4000u | vector);
}

void apic_timer(uint32_t ticks, bool periodic)
{
	write_register(APIC_TIMER_DIVIDE, 0xb); /* by 1 */
	write_register(APIC_TIMER_VECTOR, VECTOR_TIMER | (periodic ? 1u << 17 : 0));
	write_register(APIC_TIMER_START, ticks);
}
