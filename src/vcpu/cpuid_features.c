/* SPDX-License-Identifier: Apache-2.0 */
/* Names for the feature bits that decide how a guest does I/O, keeps time or copies memory. */
#include "vcpu/cpuid.h"

#include "util/checked.h"

#include <linux/kvm.h>

enum { EAX, EBX, ECX, EDX };

static const struct cpuid_feature features[] = {
	{"sse4_2", 0x1, 0, ECX, 20},
	{"cx16", 0x1, 0, ECX, 13},
	{"pcid", 0x1, 0, ECX, 17},
	{"x2apic", 0x1, 0, ECX, 21},
	{"tsc_deadline_timer", 0x1, 0, ECX, 24},
	{"aes", 0x1, 0, ECX, 25},
	{"xsave", 0x1, 0, ECX, 26},
	{"avx", 0x1, 0, ECX, 28},
	{"hypervisor", 0x1, 0, ECX, 31},
	{"vmx", 0x1, 0, ECX, 5},
	{"mtrr", 0x1, 0, EDX, 12},
	{"pat", 0x1, 0, EDX, 16},
	{"ht", 0x1, 0, EDX, 28},
	{"arat", 0x6, 0, EAX, 2},
	{"fsgsbase", 0x7, 0, EBX, 0},
	{"tsc_adjust", 0x7, 0, EBX, 1},
	{"avx2", 0x7, 0, EBX, 5},
	{"smep", 0x7, 0, EBX, 7},
	{"erms", 0x7, 0, EBX, 9},
	{"invpcid", 0x7, 0, EBX, 10},
	{"avx512f", 0x7, 0, EBX, 16},
	{"smap", 0x7, 0, EBX, 20},
	{"pku", 0x7, 0, ECX, 3},
	{"la57", 0x7, 0, ECX, 16},
	{"fsrm", 0x7, 0, EDX, 4},
	{"arch_capabilities", 0x7, 0, EDX, 29},
	{"xsaves", 0xd, 1, EAX, 3},
	{"nx", 0x80000001, 0, EDX, 20},
	{"pdpe1gb", 0x80000001, 0, EDX, 26},
	{"rdtscp", 0x80000001, 0, EDX, 27},
	{"lm", 0x80000001, 0, EDX, 29},
	{"svm", 0x80000001, 0, ECX, 2},
	{"topoext", 0x80000001, 0, ECX, 22},
	{"constant_tsc", 0x80000007, 0, EDX, 8},
	{"kvm_clock", 0x40000001, 0, EAX, 3},
	{"kvm_async_pf", 0x40000001, 0, EAX, 4},
	{"kvm_steal_time", 0x40000001, 0, EAX, 5},
	{"kvm_pv_eoi", 0x40000001, 0, EAX, 6},
	{"kvm_pv_unhalt", 0x40000001, 0, EAX, 7},
	{"kvm_pv_tlb_flush", 0x40000001, 0, EAX, 9},
	{"kvm_pv_send_ipi", 0x40000001, 0, EAX, 11},
	{"kvm_poll_control", 0x40000001, 0, EAX, 12},
	{"kvm_clock_stable", 0x40000001, 0, EAX, 24},
};

const struct cpuid_feature *cpuid_feature_table(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(features);
	return features;
}

bool cpuid_has_feature(const struct kvm_cpuid2 *cpuid, const struct cpuid_feature *feature)
{
	const struct kvm_cpuid_entry2 *entry = cpuid_find(cpuid, feature->leaf, feature->subleaf);
	uint32_t words[4];

	if (!entry)
		return false;
	words[EAX] = entry->eax;
	words[EBX] = entry->ebx;
	words[ECX] = entry->ecx;
	words[EDX] = entry->edx;
	return words[feature->reg & 3] >> feature->bit & 1;
}
