/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that enters ring 0 after boot. Three kinds of entry:
 *
 * - The gate. Ring 3 executes `hlt`, which faults (#GP) into gate_entry; eax says what is wanted.
 *   GATE_WAIT: sleep until this CPU's event counter differs from rsi. It is compared with
 *   interrupts off and `sti; hlt` is one unit to the processor, so an interrupt that comes before
 *   the sleep either has changed the counter already or ends the sleep: no wake-up is lost.
 *   GATE_CALL: call the function rdi with the arguments rsi, rdx, rcx in ring 0.
 *   (`int n` and port access from ring 3 do not work on a software-only KVM; this works
 *   everywhere.)
 * - Device, timer and wake vectors: count, end of interrupt, return. Four instructions with the
 *   xAPIC, because each costs half a microsecond where ring 0 is interpreted. GS is the same in
 *   both rings.
 * - Any other exception: report and power off.
 */
#include "layout.h"

	.text
	.globl gate_entry
gate_entry:					/* stack: error code, rip, cs, rflags, rsp, ss */
	cmpl $GATE_WAIT, %eax
	jne 1f
	cmpq %rsi, %gs:CPU_EVENTS
	jne 2f
	sti
	hlt
2:	addq $8, %rsp
	incq (%rsp)				/* past the hlt of ring 3 */
	iretq
1:	cmpl $GATE_CALL, %eax
	jne fault_13
	movq 8(%rsp), %r11
	cmpb $0xf4, (%r11)
	jne fault_13
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	call *%rax
	jmp 2b

	.macro fault_stub vector, has_error
fault_\vector:
	.if \has_error == 0
	pushq $0
	.endif
	pushq $\vector
	jmp fault_common
	.endm

	.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31
	fault_stub \vector, 0
	.endr
	.irp vector, 8, 10, 11, 12, 13, 14, 17, 21, 29, 30
	fault_stub \vector, 1
	.endr

fault_common:
	movq %rsp, %rdi				/* struct fault_frame */
	andq $-16, %rsp
	call traps_fault
1:	cli
	hlt
	jmp 1b

	.macro eoi_xapic			/* movl $0, XAPIC_EOI: 32-bit address, not sign-extended */
	.byte 0x67, 0xc7, 0x04, 0x25
	.long XAPIC_EOI, 0
	.endm

	.macro eoi_x2apic
	pushq %rax
	pushq %rcx
	pushq %rdx
	movl $X2APIC_EOI, %ecx
	xorl %eax, %eax
	xorl %edx, %edx
	wrmsr
	popq %rdx
	popq %rcx
	popq %rax
	.endm

	.macro irq_stubs kind
	.balign 64
	.globl irq_stubs_\kind, irq_timer_\kind, irq_wake_\kind
irq_stubs_\kind:
	.set cell, 0
	.rept IRQ_CELLS
	.balign 64
	incq %gs:CPU_EVENTS
	incq irq_cells + cell
	eoi_\kind
	iretq
	.set cell, cell + 64
	.endr
	.balign 64
irq_timer_\kind:
	incq %gs:CPU_TICKS
irq_wake_\kind:
	incq %gs:CPU_EVENTS
	eoi_\kind
	iretq
	.endm

	irq_stubs xapic
	irq_stubs x2apic

	.globl irq_spurious
irq_spurious:
	iretq

	.section .rodata
	.balign 8
	.globl fault_stubs
fault_stubs:					/* 13 is the gate */
	.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
	.quad fault_\vector
	.endr
	.quad gate_entry
	.irp vector, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	.quad fault_\vector
	.endr

	.section .note.GNU-stack, "", @progbits
