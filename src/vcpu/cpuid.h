/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUID table of one vCPU, as a pure function of what KVM supports and of the machine's shape:
 * all vCPUs in one socket, one thread a core, APIC id = vCPU index. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_cpuid2;
struct kvm_cpuid_entry2;

/*
 * APIC ids 0 to 254. More would need 32-bit destinations in the I/O APIC, which the in-kernel chip
 * does not have, and stock guests would leave those CPUs off.
 */
#define CPUID_MAX_VCPUS 255

struct cpuid_options {
	unsigned vcpus;    /* in the machine, 1 to CPUID_MAX_VCPUS */
	bool tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
	bool nested;       /* let VMX or SVM through where KVM supports it */
};

/*
 * Builds the table of vCPU @index from KVM's supported one. *ret_cpuid is on the heap, owned by
 * the caller (free()). Returns 0, -EINVAL for a bad count or index, -E2BIG where the table would
 * exceed KVM's 256 entries, or -ENOMEM.
 */
int cpuid_build(const struct kvm_cpuid2 *supported, const struct cpuid_options *options,
	unsigned index, struct kvm_cpuid2 **ret_cpuid);

/* The entry of a leaf (@subleaf only where the leaf has any), or NULL. Inside @cpuid. */
const struct kvm_cpuid_entry2 *cpuid_find(
	const struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t subleaf);

/* How many low bits of the APIC id it takes to number @vcpus CPUs. */
unsigned cpuid_apic_id_bits(unsigned vcpus);

/* One feature that people know by name, in the words of /proc/cpuinfo. */
struct cpuid_feature {
	const char *name;
	uint32_t leaf, subleaf;
	uint8_t reg; /* 0 to 3: eax, ebx, ecx, edx */
	uint8_t bit;
};

/* The features worth telling people about; *ret_count entries, constant. */
const struct cpuid_feature *cpuid_feature_table(size_t *ret_count);

bool cpuid_has_feature(const struct kvm_cpuid2 *cpuid, const struct cpuid_feature *feature);
