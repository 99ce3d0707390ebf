/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual CPU and its thread. The thread runs the guest and hands what leaves the kernel to
 * the exit bus; everything else (stop, pause, the end of the guest) is a request to it or a report
 * from it.
 *
 * A request is never lost: vcpu.c explains the order of its writes. Functions without a note may be
 * called by any thread but the vCPU's own.
 */
#pragma once

#include "util/counter.h"
#include "util/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exit_bus;
struct guest_memory;
struct kvm;
struct kvm_cpuid2;
struct vcpu;

enum vcpu_boot_mode {
	VCPU_BOOT_WAIT,   /* a further CPU: waits for the guest's INIT and SIPI */
	VCPU_BOOT_LONG64, /* 64-bit Linux boot protocol: long mode, flat segments, paging on */
	VCPU_BOOT_PVH32,  /* PVH: 32-bit protected mode, flat segments, paging off */
	VCPU_BOOT_REAL16, /* real mode, all segments at 0 (tests) */
};

/*
 * Registers at the first instruction. Interrupts are off, the IDT is empty, general registers that
 * are not named here are 0. The descriptors behind the selectors and the page tables are the boot
 * loader's to write; here the hidden parts of the segment registers are set to match: flat 4 GiB
 * code (64-bit for LONG64, 32-bit for PVH32) and data.
 */
struct vcpu_boot_state {
	enum vcpu_boot_mode mode;
	uint64_t rip;
	uint64_t rsp;
	uint64_t rsi; /* LONG64: boot_params */
	uint64_t rbx; /* PVH32: start info */
	uint64_t cr3; /* LONG64 only: the top page table, identity-mapping what the guest needs */
	uint64_t gdt_base; /* LONG64 and PVH32, as are those that follow */
	uint16_t gdt_limit;
	uint16_t code_selector;
	uint16_t data_selector;
	uint16_t task_selector; /* a busy TSS of limit 0x67 at 0 */
};

/* Why a vCPU thread stopped running the guest by itself. */
enum vcpu_end_reason {
	VCPU_END_SHUTDOWN,     /* triple fault: on a PC, a reset */
	VCPU_END_POWER_OFF,    /* asked for through KVM (system event) */
	VCPU_END_RESET,        /* asked for through KVM (system event) */
	VCPU_END_CRASH,        /* the guest reported its crash through KVM */
	VCPU_END_CANNOT_RUN,   /* KVM cannot run what the guest executes */
	VCPU_END_HOST_FAILURE, /* KVM_RUN failed, or gave an exit that fastvmm does not know */
};

/* "triple fault", ... */
const char *vcpu_end_name(enum vcpu_end_reason reason);

struct vcpu_end {
	enum vcpu_end_reason reason;
	unsigned index;     /* of the vCPU */
	int code;           /* negative errno for the last two reasons, else 0 */
	struct error error; /* one line for the user; empty where there is nothing to explain */
};

/*
 * Called once by the vCPU's own thread, which ends when it returns. May call vcpu_request_stop() on
 * any vCPU; must not wait for one.
 */
typedef void (*vcpu_ended)(void *context, const struct vcpu_end *end);

/* Exits to user space. The kernel's own counts are in vcpu_kernel_stats(). */
enum vcpu_exit {
	VCPU_EXIT_PORT_READ,
	VCPU_EXIT_PORT_WRITE,
	VCPU_EXIT_MMIO_READ,
	VCPU_EXIT_MMIO_WRITE,
	VCPU_EXIT_INTERRUPTED, /* by a request, a signal, or the guest's own INIT */
	VCPU_EXIT_OTHER,
	VCPU_EXIT_COUNT,
};

/* "port_read", ...: names for the statistics document. */
const char *vcpu_exit_name(enum vcpu_exit exit);

/* Written by the vCPU thread, read by any. */
struct vcpu_counters {
	struct counter exits[VCPU_EXIT_COUNT];
	struct counter unclaimed_reads; /* accesses that no range of the bus claims */
	struct counter unclaimed_writes;
};

/* Counts that the kernel keeps of a vCPU, under the kernel's names. */
#define VCPU_KERNEL_STATS 14
extern const char *const vcpu_kernel_stat_names[VCPU_KERNEL_STATS];

/* The kernel does not count this. */
#define VCPU_STAT_UNKNOWN UINT64_MAX

struct vcpu_options {
	unsigned index;                    /* also the APIC id; 0 is the boot CPU */
	int cpu;                           /* host CPU to pin the thread to, or -1 */
	struct kvm *kvm;                   /* with its virtual machine; outlives the vCPU */
	const struct exit_bus *bus;        /* sealed before vcpu_start(); outlives the vCPU */
	const struct guest_memory *memory; /* for diagnosis; may be NULL */
	const struct kvm_cpuid2 *cpuid;    /* copied to the kernel; see cpuid_build() */
	vcpu_ended ended;
	void *ended_context;
};

/*
 * Makes the vCPU with its CPUID table, local APIC pins and first MSRs; no thread yet. Create vCPUs
 * in the order of their index. Returns 0 or negative errno, explained in @error. Main thread.
 */
int vcpu_create(const struct vcpu_options *options, struct vcpu **ret_vcpu, struct error *error);

/* Stops the thread and waits for it where that has not been done. Accepts NULL. Main thread. */
void vcpu_destroy(struct vcpu *vcpu);

/* Sets the registers, before vcpu_start(). 0 or negative errno with @error. Main thread. */
int vcpu_set_boot_state(
	struct vcpu *vcpu, const struct vcpu_boot_state *state, struct error *error);

/* Starts the thread, named "vcpuN". Once. 0 or negative errno, explained in @error. Main thread. */
int vcpu_start(struct vcpu *vcpu, struct error *error);

/* Asks the thread to leave the guest and end. Returns at once. Any thread, its own included. */
void vcpu_request_stop(struct vcpu *vcpu);

/* Waits until the thread has ended, and reaps it. Main thread. */
void vcpu_join(struct vcpu *vcpu);

/*
 * Asks the thread to leave the guest and wait. Returns at once, so that all vCPUs can be asked
 * before the first is waited for. Any thread, its own included.
 */
void vcpu_request_pause(struct vcpu *vcpu);

/*
 * Waits until the thread stands still: true where it is paused between two instructions (an I/O
 * instruction that was under way is finished), so that its state may be read or replaced through
 * vcpu_fd(); false where it has ended.
 */
bool vcpu_wait_paused(struct vcpu *vcpu);

/* Lets a paused thread, or one that is asked to pause, go on. */
void vcpu_resume(struct vcpu *vcpu);

/* Constant; owned by @vcpu. Any thread. */
const struct vcpu_counters *vcpu_counters(const struct vcpu *vcpu);

/* The kernel's vCPU, owned by @vcpu; its ioctls are allowed before start and while paused. */
int vcpu_fd(const struct vcpu *vcpu);

/*
 * Reads the kernel's counts, in the order of vcpu_kernel_stat_names; the vCPU runs on meanwhile. A
 * count that this kernel does not keep is VCPU_STAT_UNKNOWN; all of them where there is no
 * KVM_CAP_BINARY_STATS_FD. Any thread.
 */
void vcpu_kernel_stats(const struct vcpu *vcpu, uint64_t values[VCPU_KERNEL_STATS]);
