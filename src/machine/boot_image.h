/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a kernel, its initrd and the structures that it starts from into guest memory:
 *
 *   bzImage          by the 64-bit boot protocol (Documentation/arch/x86/boot.rst, 2.12 or later)
 *   ELF with a note  by the PVH start protocol (XEN_ELFNOTE_PHYS32_ENTRY; bare guests and vmlinux)
 *   ELF without      as a 64-bit Linux vmlinux, started at its entry with boot_params
 *
 * Everything in the files is hostile: sizes and addresses are checked against the file and against
 * guest memory before use. File contents are read straight into guest memory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct guest_memory;

enum boot_protocol {
	BOOT_PROTOCOL_AUTO,    /* what the image is; of an ELF with a PVH note: PVH */
	BOOT_PROTOCOL_LINUX64, /* 64-bit entry with boot_params */
	BOOT_PROTOCOL_PVH,     /* 32-bit entry with hvm_start_info */
};

struct boot_options {
	const char *kernel_path;
	const char *initrd_path; /* NULL: none */
	const char *cmdline;     /* NULL: empty */
	enum boot_protocol protocol;
	uint64_t rsdp; /* guest address of the ACPI RSDP, 0: no ACPI */
};

/*
 * How the boot processor starts. The caller puts it into the registers:
 *
 * LINUX64: paging with the identity map at cr3 (2 MiB pages over the first 4 GiB), EFER LME and
 *   LMA, CR0 PE and PG (with ET, NE), CR4 PAE; CS = code_selector (64-bit code), DS, ES, SS, FS,
 *   GS = data_selector, GDT at gdt_base/gdt_limit, all of them matching the descriptors in the
 *   GDT; RFLAGS 2, interrupts off; RSI = boot_params.
 * PVH: 32-bit protected mode without paging, CR0 PE (with ET), flat 4 GiB segments, CS =
 *   code_selector (32-bit code), the rest data_selector; TR a 32-bit busy TSS of limit 0x67 at 0;
 *   RFLAGS 2; EBX = start_info.
 * All other general registers are 0, IDT limit 0.
 */
struct boot_state {
	enum boot_protocol protocol; /* LINUX64 or PVH */
	uint64_t entry;              /* RIP */
	uint64_t argument;           /* LINUX64: RSI; PVH: EBX */
	uint64_t cr3;                /* LINUX64 only */
	uint64_t gdt_base;
	uint16_t gdt_limit;
	uint16_t code_selector;
	uint16_t data_selector;
	uint16_t task_selector; /* PVH only */
};

struct boot_result {
	struct boot_state state;
	const char *format; /* "bzImage", "ELF", "ELF with PVH note": static text for the log */
	uint64_t kernel_gpa, kernel_end;  /* what the kernel occupies when it starts */
	uint64_t initrd_gpa, initrd_size; /* 0, 0: none */
};

/*
 * Loads according to @options. May be called again for a restart: it overwrites all that a guest
 * may have left where it loads, and nothing else. Main thread, while no vCPU runs.
 * Returns 0; -ENOENT, -EACCES, ... for a file that cannot be read; -ENOEXEC for a kernel that is
 * not one this machine can start; -ENOMEM where guest memory is too small; -E2BIG for a command
 * line beyond the kernel's limit; each with an explanation in @error.
 */
int boot_load(const struct guest_memory *memory, const struct boot_options *options,
	struct boot_result *ret_result, struct error *error);
