/* SPDX-License-Identifier: Apache-2.0 */
/* See guests.h. Addresses and ports are those of that header. */

#define GUEST_DATA   0x3000
#define GUEST_IDT    0x4000
#define GUEST_CODE   0x1000
#define DEVICE       0xd0000000
#define BELL         0xd0001000
#define NOWHERE      0xd0002000
#define RINGS        1000
#define LAPIC        0xfee00000
#define IOAPIC       0xfec00000

#define BEGIN(name) .balign 16; .globl guest_##name; guest_##name:
#define END(name)   .globl guest_##name##_end; guest_##name##_end:

	.section .rodata, "a", @progbits
	.code32

BEGIN(accesses)
	mov	$0x5a, %al
	out	%al, $0x10
	in	$0x11, %al
	mov	$DEVICE, %ebx
	mov	%al, (%ebx)
	mov	4(%ebx), %ecx
	mov	%ecx, GUEST_DATA
	in	$0x77, %eax
	mov	%eax, GUEST_DATA + 4
	mov	%eax, 0x2000(%ebx)
	/* A string of three words to one port: one exit or three, always three accesses. */
	cld
	movl	$0x22221111, GUEST_DATA + 8
	movl	$0x00003333, GUEST_DATA + 12
	mov	$GUEST_DATA + 8, %esi
	mov	$3, %ecx
	mov	$0x400, %edx
	rep outsw
	out	%al, $0xf4
	hlt
END(accesses)

BEGIN(doorbell)
	mov	$RINGS, %ecx
	mov	$BELL, %ebx
1:	movb	%cl, (%ebx)
	movw	%cx, (%ebx)
	movl	%ecx, (%ebx)
	dec	%ecx
	jnz	1b
	out	%al, $0xf4
	hlt
END(doorbell)

/* Writes a 32-bit interrupt gate for \vector, whose handler is \handler of guest_interrupts. */
.macro gate vector, handler
	mov	$GUEST_CODE + \handler - guest_interrupts, %eax
	mov	%ax, GUEST_IDT + \vector * 8
	movw	$0x10, GUEST_IDT + \vector * 8 + 2
	movw	$0x8e00, GUEST_IDT + \vector * 8 + 4
	shr	$16, %eax
	mov	%ax, GUEST_IDT + \vector * 8 + 6
.endm

/*
 * Handlers end without iret, which software-only KVMs do not know in this mode: they drop the frame
 * and go back to waiting. The interrupt is acknowledged before it is reported, so that a next one
 * finds the way free.
 */
.macro handler vector
	xor	%eax, %eax
	mov	%eax, LAPIC + 0xb0
	mov	$\vector, %al
	out	%al, $0x30
	add	$12, %esp
	jmp	wait
.endm

BEGIN(interrupts)
	gate	0x40, on_40
	gate	0x41, on_41
	gate	0x42, on_42
	movw	$0x43 * 8 - 1, GUEST_DATA
	movl	$GUEST_IDT, GUEST_DATA + 2
	lidtl	GUEST_DATA
	/* The PICs' pins are open after a reset, at vectors that belong to exceptions. */
	mov	$0xff, %al
	out	%al, $0x21
	out	%al, $0xa1
	/* Local APIC on, spurious vector 0xff; I/O APIC pin 4: vector 0x42, edge, unmasked. */
	movl	$0x1ff, LAPIC + 0xf0
	movl	$0x18, IOAPIC
	movl	$0x42, IOAPIC + 0x10
	out	%al, $0x31
wait:	sti
	hlt
	jmp	wait
on_40:	handler 0x40
on_41:	handler 0x41
on_42:	handler 0x42
END(interrupts)

BEGIN(spin)
	out	%al, $0x31
1:	jmp	1b
END(spin)

BEGIN(halt)
	out	%al, $0x31
1:	hlt
	jmp	1b
END(halt)

BEGIN(count_in)
	mov	$0x400, %edx
1:	in	%dx, %eax
	mov	%eax, GUEST_DATA
	jmp	1b
END(count_in)

BEGIN(breakpoint)
	int3
	hlt
END(breakpoint)

BEGIN(jump_away)
	mov	$NOWHERE, %eax
	jmp	*%eax
END(jump_away)

BEGIN(fault)
	ud2
	hlt
END(fault)

BEGIN(wake_ap)
	movl	$0x1ff, LAPIC + 0xf0
	movl	$0x01000000, LAPIC + 0x310
	movl	$0x00004500, LAPIC + 0x300
	movl	$0x01000000, LAPIC + 0x310
	movl	$0x00004608, LAPIC + 0x300
1:	hlt
	jmp	1b
END(wake_ap)

	.code16
BEGIN(ap)
	out	%al, $0x32
1:	hlt
	jmp	1b
END(ap)

	.code64
BEGIN(long64)
	mov	%rsi, GUEST_DATA
	out	%al, $0xf4
	hlt
END(long64)

	.section .note.GNU-stack, "", @progbits
