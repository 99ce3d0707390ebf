/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IDT is plain memory that ring 3 may write, so it is built there, at full speed; until
 * traps_init has run, any fault ends the guest. An exception that is not the gate ends the run with
 * a report.
 */
#include "traps.h"

#include <stdint.h>

#include "cpu.h"
#include "finish.h"

struct idt_entry {
	uint16_t offset_low;
	uint16_t selector;
	uint16_t flags;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

struct fault_frame {
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

extern const uint64_t fault_stubs[32];
extern char irq_stubs_xapic[], irq_timer_xapic[], irq_wake_xapic[];
extern char irq_stubs_x2apic[], irq_timer_x2apic[], irq_wake_x2apic[];
extern char irq_spurious[];

struct idt_entry idt[256] __attribute__((aligned(4096)));
struct irq_cell irq_cells[IRQ_CELLS] __attribute__((aligned(64)));

void traps_fault(const struct fault_frame *frame);

void traps_fault(const struct fault_frame *frame)
{
	uint64_t address;

	__asm__ volatile("movq %%cr2, %0" : "=r"(address));
	finish_fail("exception %U error %X at %X ring %U cr2 %X", frame->vector, frame->error,
		frame->rip, frame->cs & 3, address);
}

static void set_entry(unsigned vector, uint64_t handler)
{
	idt[vector] = (struct idt_entry){
		.offset_low = (uint16_t)handler,
		.selector = SEL_CODE64,
		.flags =
			0x8e00, /* present interrupt gate, ring 0: ring 3 comes in by faults only */
		.offset_middle = (uint16_t)(handler >> 16),
		.offset_high = (uint32_t)(handler >> 32),
	};
}

void traps_init(bool x2apic)
{
	const char *stubs = x2apic ? irq_stubs_x2apic : irq_stubs_xapic;

	for (unsigned i = 0; i < 32; i++)
		set_entry(i, fault_stubs[i]);
	for (unsigned i = 0; i < IRQ_CELLS; i++)
		set_entry(VECTOR_QUEUE + i, (uint64_t)(stubs + 64 * i));
	set_entry(VECTOR_TIMER, (uint64_t)(x2apic ? irq_timer_x2apic : irq_timer_xapic));
	set_entry(VECTOR_WAKE, (uint64_t)(x2apic ? irq_wake_x2apic : irq_wake_xapic));
	set_entry(VECTOR_SPURIOUS, (uint64_t)irq_spurious);
}
