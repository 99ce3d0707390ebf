/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three questions in the order in which they stop a guest: does KVM work, does io_uring, and can
 * this kind of KVM run a stock kernel.
 */
#include "cli/probe_facts.h"

#include <stdio.h>
#include <string.h>

#define ELSEWHERE                                                                                  \
	"tools/nested-host COMMAND runs it in a disposable software-emulated host, which needs "   \
	"neither /dev/kvm nor root"

static void set(struct probe_verdict *verdict, enum probe_level level, const char *what,
	const char *why, const char *advice)
{
	verdict->level = level;
	snprintf(verdict->text, sizeof(verdict->text), "%s%s%s. %s.", what, why ? ": " : "",
		why ? why : "", advice);
}

static const char *ring_reason(int result)
{
	/* The kernel says EPERM for a sysctl or seccomp, ENOSYS for a kernel without it. */
	static char text[96];

	snprintf(text, sizeof(text), "io_uring is not available (%s)", strerror(-result));
	return text;
}

void probe_judge(const struct probe_question *question, struct probe_verdict *ret_verdict)
{
	if (question->kvm_result)
		set(ret_verdict, PROBE_RUNS_NOTHING, "This host cannot run guests",
			question->kvm_text && question->kvm_text[0]
				? question->kvm_text
				: strerror(-question->kvm_result),
			ELSEWHERE);
	else if (question->ring_result)
		set(ret_verdict, PROBE_RUNS_NOTHING,
			"KVM works, but disks and network cannot be served",
			ring_reason(question->ring_result),
			"See the sysctl kernel.io_uring_disabled and the container's seccomp "
			"profile, or use Linux 5.13 or newer");
	else if (question->kind == KVM_KIND_SOFTWARE)
		set(ret_verdict, PROBE_RUNS_BARE,
			"This host's KVM is software-only (PVM): bare guests, such as the "
			"benchmark's, run natively, but stock Linux kernels are interpreted and "
			"fail",
			NULL, "For Linux guests use a host with VMX or SVM; here, " ELSEWHERE);
	else
		set(ret_verdict, PROBE_RUNS_LINUX, "This host runs Linux guests directly", NULL,
			question->kind == KVM_KIND_VMX ? "KVM uses VMX" : "KVM uses SVM");
}
