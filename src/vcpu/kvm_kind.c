/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM does not say which vendor module serves it, so it is inferred: one module can be active at a
 * time, /sys/module shows those that are loaded or built in, and VMX or SVM needs the processor's
 * flag as well. A KVM that works on a processor with neither flag is a software-only one.
 */
#include "vcpu/kvm.h"

#include "util/cleanup.h"

#include <string.h>
#include <unistd.h>

/* Looks for a whole word in the flags line of the first processor. */
static bool line_has_word(const char *line, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = strstr(line, word); at; at = strstr(at + length, word)) {
		if (at > line && at[-1] == ' ' && (at[length] == ' ' || at[length] == '\n'))
			return true;
	}
	return false;
}

static void gather_cpu_flags(struct kvm_evidence *evidence)
{
	auto_file FILE *file = fopen("/proc/cpuinfo", "re");
	auto_free char *line = NULL;
	size_t size = 0;

	if (!file)
		return;
	while (getline(&line, &size, file) >= 0) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		evidence->cpu_vmx = line_has_word(line, "vmx");
		evidence->cpu_svm = line_has_word(line, "svm");
		return;
	}
}

void kvm_evidence_gather(struct kvm_evidence *ret_evidence)
{
	struct kvm_evidence evidence = {
		.module_intel = access("/sys/module/kvm_intel", F_OK) == 0,
		.module_amd = access("/sys/module/kvm_amd", F_OK) == 0,
		.module_pvm = access("/sys/module/kvm_pvm", F_OK) == 0,
	};

	gather_cpu_flags(&evidence);
	*ret_evidence = evidence;
}

enum kvm_kind kvm_kind_judge(const struct kvm_evidence *evidence)
{
	bool hardware_module = evidence->module_intel || evidence->module_amd;

	/* A processor with VMX may still run kvm_pvm: then the vendor's own module is not there. */
	if (evidence->module_pvm && !hardware_module)
		return KVM_KIND_SOFTWARE;
	if (evidence->cpu_vmx)
		return KVM_KIND_VMX;
	if (evidence->cpu_svm)
		return KVM_KIND_SVM;
	return KVM_KIND_SOFTWARE;
}

const char *kvm_kind_name(enum kvm_kind kind)
{
	switch (kind) {
	case KVM_KIND_VMX:
		return "VMX (Intel, hardware)";
	case KVM_KIND_SVM:
		return "SVM (AMD, hardware)";
	case KVM_KIND_SOFTWARE:
		return "software-only (PVM)";
	}
	return "unknown";
}
