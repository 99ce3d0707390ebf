/* SPDX-License-Identifier: Apache-2.0 */
/* What `fastvmm probe` concludes from what it finds; its exit statuses are an interface. */
#include "cli/probe_facts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct probe_verdict judge(int kvm, const char *text, enum kvm_kind kind, int ring)
{
	const struct probe_question question = {
		.kvm_result = kvm, .kvm_text = text, .kind = kind, .ring_result = ring};
	struct probe_verdict verdict;

	probe_judge(&question, &verdict);
	return verdict;
}

#define expect(verdict, wanted_level, ...)                                                         \
	do {                                                                                       \
		const char *words[] = {__VA_ARGS__};                                               \
                                                                                                   \
		cr_expect_eq((verdict).level, wanted_level, "%s", (verdict).text);                 \
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)                      \
			cr_expect_not_null(strstr((verdict).text, words[i]), "\"%s\" in \"%s\"",   \
				words[i], (verdict).text);                                         \
		cr_expect_eq((verdict).text[strlen((verdict).text) - 1], '.', "not cut off");      \
	} while (0)

Test(probe, exit_statuses)
{
	cr_expect_eq(PROBE_RUNS_LINUX, 0);
	cr_expect_eq(PROBE_RUNS_NOTHING, 1);
	cr_expect_eq(PROBE_RUNS_BARE, 2);
}

Test(probe, hardware_kvm_runs_linux)
{
	struct probe_verdict vmx = judge(0, "", KVM_KIND_VMX, 0);
	struct probe_verdict svm = judge(0, "", KVM_KIND_SVM, 0);

	expect(vmx, PROBE_RUNS_LINUX, "directly", "VMX");
	expect(svm, PROBE_RUNS_LINUX, "directly", "SVM");
	cr_expect_null(strstr(vmx.text, "nested-host"));
}

Test(probe, software_only_kvm_runs_bare_guests)
{
	struct probe_verdict verdict = judge(0, "", KVM_KIND_SOFTWARE, 0);

	expect(verdict, PROBE_RUNS_BARE, "software-only (PVM)", "bare guests", "tools/nested-host",
		"VMX or SVM");
}

Test(probe, without_kvm_the_reason_is_given)
{
	struct probe_verdict verdict =
		judge(-EACCES, "/dev/kvm: permission denied", KVM_KIND_VMX, 0);

	expect(verdict, PROBE_RUNS_NOTHING, "cannot run guests", "/dev/kvm: permission denied",
		"tools/nested-host");
	verdict = judge(-ENOMEM, "", KVM_KIND_VMX, 0);
	expect(verdict, PROBE_RUNS_NOTHING, strerror(ENOMEM));
	verdict = judge(-ENOMEM, NULL, KVM_KIND_VMX, -EPERM);
	expect(verdict, PROBE_RUNS_NOTHING, strerror(ENOMEM));
}

Test(probe, without_io_uring_there_are_no_devices)
{
	struct probe_verdict verdict = judge(0, "", KVM_KIND_VMX, -EPERM);

	expect(verdict, PROBE_RUNS_NOTHING, "KVM works", "io_uring", strerror(EPERM),
		"kernel.io_uring_disabled");
}

Test(probe, longest_reason_fits)
{
	char text[ERROR_TEXT_MAX];
	struct probe_verdict verdict;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	verdict = judge(-EIO, text, KVM_KIND_VMX, 0);
	expect(verdict, PROBE_RUNS_NOTHING, text, "neither /dev/kvm nor root");
}
