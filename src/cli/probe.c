/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather, judge, print. A KVM counts as working once a virtual machine with its interrupt chips
 * could be made, for capabilities alone do not show a processor that another hypervisor holds.
 */
#include "cli/probe.h"

#include "cli/options.h"
#include "cli/probe_facts.h"
#include "machine/layout.h"
#include "util/log.h"
#include "vcpu/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

static int try_kvm(struct probe_facts *facts)
{
	const struct kvm_vm_options options = {
		.identity_map_gpa = LAYOUT_IDENTITY_MAP,
		.tss_gpa = LAYOUT_TSS,
		.knobs.halt_poll_ns = -1,
	};
	int result = kvm_open(facts->kvm_path, &facts->kvm, &facts->kvm_error);

	if (!result)
		result = kvm_check(facts->kvm, &facts->kvm_error);
	if (!result)
		result = kvm_create_vm(facts->kvm, &options, &facts->kvm_error);
	return result;
}

/* The table that vCPU 0 would get; NULL stays where there is none. */
static void build_cpuid(struct probe_facts *facts)
{
	struct cpuid_options shape = {.vcpus = facts->vcpus};
	struct kvm_cpuid2 *supported;

	if (!facts->kvm || kvm_supported_cpuid(facts->kvm, &supported))
		return;
	shape.tsc_deadline = kvm_has(facts->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	if (cpuid_build(supported, &shape, 0, &facts->cpuid))
		facts->cpuid = NULL;
	free(supported);
}

static void gather(const struct options *options, struct probe_facts *facts)
{
	facts->kvm_path = options->machine.kvm_path ? options->machine.kvm_path : KVM_DEFAULT_PATH;
	facts->vcpus = options->machine.cpus;
	probe_host_gather(&facts->host);
	kvm_evidence_gather(&facts->evidence);
	facts->kvm_result = try_kvm(facts);
	build_cpuid(facts);
	ring_probe(&facts->ring);
}

int probe_run(const struct options *options)
{
	struct probe_facts facts = {0};
	struct probe_verdict verdict;
	struct probe_question question;

	gather(options, &facts);
	question = (struct probe_question){
		.kvm_result = facts.kvm_result,
		.kvm_text = facts.kvm_error.text,
		.kind = facts.kvm ? kvm_kind(facts.kvm) : KVM_KIND_SOFTWARE,
		.ring_result = facts.ring.error,
	};
	probe_judge(&question, &verdict);
	if (!options->probe_json)
		probe_print_text(&facts, &verdict);
	else if (probe_print_json(&facts, &verdict))
		log_error("probe: cannot write the report: %s", strerror(errno));
	free(facts.cpuid);
	kvm_destroy(facts.kvm);
	return verdict.level;
}
