/* SPDX-License-Identifier: Apache-2.0 */
/* Kind detection and the names of instructions, without a /dev/kvm. */
#include "vcpu/kvm.h"
#include "vcpu/vcpu_internal.h"

#include <criterion/criterion.h>
#include <string.h>

Test(kind, follows_the_module_that_is_loaded)
{
	const struct kvm_evidence intel = {.cpu_vmx = true, .module_intel = true};
	const struct kvm_evidence amd = {.cpu_svm = true, .module_amd = true};
	const struct kvm_evidence pvm = {.module_pvm = true};
	const struct kvm_evidence pvm_on_vmx = {.cpu_vmx = true, .module_pvm = true};
	const struct kvm_evidence no_sysfs = {.cpu_svm = true};
	const struct kvm_evidence nothing = {0};

	cr_expect_eq(kvm_kind_judge(&intel), KVM_KIND_VMX);
	cr_expect_eq(kvm_kind_judge(&amd), KVM_KIND_SVM);
	cr_expect_eq(kvm_kind_judge(&pvm), KVM_KIND_SOFTWARE);
	cr_expect_eq(kvm_kind_judge(&pvm_on_vmx), KVM_KIND_SOFTWARE);
	cr_expect_eq(kvm_kind_judge(&no_sysfs), KVM_KIND_SVM);
	cr_expect_eq(kvm_kind_judge(&nothing), KVM_KIND_SOFTWARE);
}

#define expect_name(text, ...)                                                                     \
	do {                                                                                       \
		const uint8_t bytes[] = {__VA_ARGS__};                                             \
		const char *name = vcpu_instruction_name(bytes, sizeof(bytes));                    \
		const char *wanted = text;                                                         \
                                                                                                   \
		if (wanted)                                                                        \
			cr_expect_str_eq(name ? name : "(none)", wanted);                          \
		else                                                                               \
			cr_expect_null(name);                                                      \
	} while (0)

Test(instruction, names)
{
	expect_name("int3", 0xcc);
	expect_name("cmpxchg16b", 0x65, 0x48, 0x0f, 0xc7, 0x0e);
	expect_name("cmpxchg16b", 0xf0, 0x49, 0x0f, 0xc7, 0x08);
	expect_name("cmpxchg8b", 0xf0, 0x0f, 0xc7, 0x0f);
	expect_name("xrstor", 0x48, 0x0f, 0xae, 0x2f);
	expect_name("xsaves", 0x48, 0x0f, 0xc7, 0x2f);
	expect_name("xsetbv", 0x0f, 0x01, 0xd1);
	expect_name("rdrand", 0x48, 0x0f, 0xc7, 0xf0);
	expect_name("an AVX instruction", 0xc5, 0xf8, 0x77);
	expect_name(NULL, 0x90);
	expect_name(NULL, 0x0f, 0xae, 0xe8); /* lfence: the register form of the group */
	expect_name(NULL, 0x66, 0x66, 0x66); /* nothing but prefixes */
	expect_name(NULL, 0x48);
	expect_name(NULL, 0x0f, 0xc7); /* cut off */
	cr_expect_null(vcpu_instruction_name(NULL, 0));
}
