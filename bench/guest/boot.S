/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the PVH entry (32 bits, no paging) to C in ring 3, in as few ring-0 instructions as
 * possible: on a software-only KVM each of them is interpreted, at about half a microsecond. So the
 * page tables and the GDT are data in the image, the IDT is filled in by C from ring 3, and a CPU's
 * own set-up is its GS base, its task register and an iretq. Application processors join at
 * `join_long_mode`.
 */
#include "layout.h"

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18				/* name size, description size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad pvh_entry

	.section .text.boot, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	movl %ebx, start_info_address
	xorl %esi, %esi				/* 0: the boot processor */
	lgdt gdt_pointer

/* 32-bit protected mode, flat, no paging; esi: 0 for the boot processor, 1 for any other. */
	.globl join_long_mode
join_long_mode:
	movl $0x20, %eax			/* CR4.PAE */
	movl %eax, %cr4
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $0x100, %eax			/* EFER.LME */
	xorl %edx, %edx
	wrmsr
	movl $0x80000033, %eax			/* PG, NE, ET, MP, PE */
	movl %eax, %cr0
	ljmp $SEL_CODE64, $long_mode

	.code64
long_mode:
	movl $SEL_DATA, %eax
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	lidt idt_pointer
	xorl %ebx, %ebx
	testl %esi, %esi
	jnz 1f
	/* The boot processor's TSS descriptor; C fills in the others'. */
	movl $tss_table, %eax
	movw %ax, gdt + SEL_TSS + 2
	shrl $16, %eax
	movb %al, gdt + SEL_TSS + 4
	movb %ah, gdt + SEL_TSS + 7
	movb $0xff, %al				/* mask both PICs before interrupts are on */
	outb %al, $0x21
	outb %al, $0xa1
	jmp 2f
1:	movl $1, %eax				/* which CPU: by its APIC ID */
	cpuid
	shrl $24, %ebx
	movzbl cpu_of_apic_id(%rbx), %ebx
2:	movl %ebx, %edi				/* edi: CPU number, the argument of the C entry */
	shll $4, %ebx
	leal SEL_TSS(%rbx), %eax
	ltr %ax
	shll $3, %ebx				/* CPU_SIZE is 128 */
	leaq cpu_table(%rbx), %rbx
	movl $MSR_GS_BASE, %ecx
	movl %ebx, %eax
	xorl %edx, %edx
	wrmsr
	movq CPU_KERNEL_STACK(%rbx), %rsp
	pushq $SEL_USER_DATA
	pushq CPU_USER_STACK(%rbx)
	pushq $0x202				/* IF */
	pushq $SEL_USER_CODE
	pushq CPU_ENTRY(%rbx)
	iretq

/* Copied to TRAMPOLINE by C. Real mode, CS = TRAMPOLINE >> 4, the other segments zero. */
	.code16
	.globl trampoline_start, trampoline_end
trampoline_start:
	cli
	lgdtl TRAMPOLINE + (trampoline_gdt_pointer - trampoline_start)
	movl $0x11, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $trampoline32
	.balign 8
trampoline_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:

	.code32
trampoline32:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %ss
	movl $1, %esi
	jmp join_long_mode

	.section .data.boot, "aw"
	.balign 4096
boot_pml4:
	.globl boot_pml4
	.quad boot_pdpt + 0x27
	.fill 511, 8, 0
boot_pdpt:
	.globl boot_pdpt
	.quad boot_pd + 0x27, boot_pd + 0x1027, boot_pd + 0x2027, boot_pd + 0x3027
	.fill 508, 8, 0
boot_pd:					/* 0 to 4 GiB, identical, by 2 MiB pages, ring 3 may */
	.set page, 0
	.rept 2048
	.quad page + 0xe7			/* present, writable, user, accessed, dirty, large */
	.set page, page + 0x200000
	.endr

	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff		/* SEL_CODE32 */
	.quad 0x00af9b000000ffff		/* SEL_CODE64 */
	.quad 0x00cf93000000ffff		/* SEL_DATA */
	.quad 0x00cff3000000ffff		/* SEL_USER_DATA */
	.quad 0x00affb000000ffff		/* SEL_USER_CODE */
	.rept MAX_CPUS				/* available 64-bit TSS, 104 bytes, base to be filled in */
	.quad 0x0000890000000067, 0
	.endr
gdt_end:
	.balign 8
	.globl gdt_pointer
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
	.balign 8
idt_pointer:
	.word 256 * 16 - 1
	.quad idt
	.globl start_info_address
start_info_address:
	.long 0

	.section .note.GNU-stack, "", @progbits
