/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm: what the host offers, the virtual machine itself, its interrupt chips and its memory
 * slots. All functions belong to the main thread, before vCPUs start; the accessors at the end
 * read constants and may be called by any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct guest_memory;
struct kvm;
struct kvm_cpuid2;

#define KVM_DEFAULT_PATH "/dev/kvm"

/* Which vendor module stands behind /dev/kvm. */
enum kvm_kind {
	KVM_KIND_VMX,      /* Intel VT-x */
	KVM_KIND_SVM,      /* AMD-V */
	KVM_KIND_SOFTWARE, /* no hardware assist (PVM): stock kernels are interpreted and fail */
};

/* What kind detection looks at; gathered by kvm_evidence_gather(), judged by kvm_kind_judge(). */
struct kvm_evidence {
	bool cpu_vmx, cpu_svm;                     /* /proc/cpuinfo flags */
	bool module_intel, module_amd, module_pvm; /* /sys/module/kvm_* */
};

void kvm_evidence_gather(struct kvm_evidence *ret_evidence);
enum kvm_kind kvm_kind_judge(const struct kvm_evidence *evidence);

/* "VMX (Intel, hardware)", "SVM (AMD, hardware)", "software-only (PVM)". */
const char *kvm_kind_name(enum kvm_kind kind);

/* One KVM capability that fastvmm uses. */
struct kvm_capability {
	int number;          /* KVM_CAP_* */
	const char *name;    /* as the kernel writes it, without the KVM_CAP_ */
	const char *purpose; /* what fastvmm does with it */
	bool required;
};

/* The table of them all; *ret_count entries, constant. */
const struct kvm_capability *kvm_capability_table(size_t *ret_count);

/*
 * Opens @path (KVM_DEFAULT_PATH where NULL) and reads the API version and capabilities; makes no
 * virtual machine. Returns 0; -ENOENT, -EACCES, -ENOTTY (not a KVM device), -EPROTO (an API
 * version other than 12) or another negative errno, each explained in @error.
 */
int kvm_open(const char *path, struct kvm **ret_kvm, struct error *error);

/* 0, or -EOPNOTSUPP with the missing required capabilities named in @error. */
int kvm_check(const struct kvm *kvm, struct error *error);

/* What a machine may have otherwise than the host's default. */
struct kvm_knobs {
	/* How long a halted vCPU is polled in the kernel, ns; negative: the host's default. */
	int64_t halt_poll_ns;
	/* The guest keeps its CPU when it executes HLT, or PAUSE in a loop. */
	bool no_hlt_exits;
	bool no_pause_exits;
};

struct kvm_vm_options {
	uint64_t identity_map_gpa; /* one page outside RAM, for KVM's own use */
	uint64_t tss_gpa;          /* three pages outside RAM, for KVM's own use */
	struct kvm_knobs knobs;
};

/*
 * Makes the virtual machine with its interrupt chips (PIC, I/O APIC, local APICs) and PIT in the
 * kernel. kvm_check() has passed. Returns 0 or negative errno, explained in @error.
 */
int kvm_create_vm(struct kvm *kvm, const struct kvm_vm_options *options, struct error *error);

/*
 * Makes every region of @memory a memory slot (slot i is region i). @memory outlives @kvm's vCPUs.
 * Returns 0 or negative errno, explained in @error.
 */
int kvm_map_memory(struct kvm *kvm, const struct guest_memory *memory, struct error *error);

/* Closes the virtual machine and the device; vCPUs have been destroyed before. Accepts NULL. */
void kvm_destroy(struct kvm *kvm);

/* KVM_GET_SUPPORTED_CPUID, on the heap, owned by the caller (free()). 0 or negative errno. */
int kvm_supported_cpuid(const struct kvm *kvm, struct kvm_cpuid2 **ret_cpuid);

/* The value of a capability of the table above (0: not there). */
int kvm_has(const struct kvm *kvm, int capability);

enum kvm_kind kvm_kind(const struct kvm *kvm);
/* The most vCPUs that KVM allows, and how many it recommends (the host's CPUs). */
unsigned kvm_max_vcpus(const struct kvm *kvm);
unsigned kvm_recommended_vcpus(const struct kvm *kvm);
/* Interrupt routes (lines and MSI messages together). */
unsigned kvm_max_routes(const struct kvm *kvm);

/* File descriptors, owned by @kvm; the second is -1 before kvm_create_vm(). */
int kvm_device_fd(const struct kvm *kvm);
int kvm_vm_fd(const struct kvm *kvm);

/* One line for people: "KVM API 12, software-only (PVM), up to 1024 vCPUs". Cut to @size. */
void kvm_describe(const struct kvm *kvm, char *text, size_t size);
