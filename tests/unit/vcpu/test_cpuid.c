/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables are read back as a guest does: APIC ids cut by the widths that the leaves state. The
 * supported tables are made up, with other numbers than the machine's wherever a rewrite must
 * happen.
 */
#include "vcpu/cpuid.h"

#include "util/checked.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

/* Two threads a core and 64 ids in the socket, as a real host would have. */
static const struct kvm_cpuid_entry2 intel[] = {
	{.function = 0, .eax = 0x20, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
	{.function = 1, .eax = 0x806f8, .ebx = 0x07400800, .ecx = 0x0000202b, .edx = 0x1f8bfbff},
	{.function = 4, .index = 0, .flags = INDEXED, .eax = 0xfc004121, .ebx = 0x02c0003f},
	{.function = 4, .index = 1, .flags = INDEXED, .eax = 0xfc004122, .ebx = 0x01c0003f},
	{.function = 4, .index = 2, .flags = INDEXED, .eax = 0xfc004143, .ebx = 0x03c0003f},
	{.function = 4, .index = 3, .flags = INDEXED, .eax = 0xfc1fc163, .ebx = 0x0380003f},
	{.function = 4, .index = 4, .flags = INDEXED},
	{.function = 5, .eax = 0x40, .ebx = 0x40},
	{.function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 7},
	{.function = 0xb,
		.index = 1,
		.flags = INDEXED,
		.eax = 7,
		.ebx = 64,
		.ecx = 0x201,
		.edx = 7},
	{.function = 0x1f,
		.index = 0,
		.flags = INDEXED,
		.eax = 1,
		.ebx = 2,
		.ecx = 0x100,
		.edx = 7},
	{.function = 0x80000000, .eax = 0x80000008},
	{.function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800},
	{.function = 0x80000008, .eax = 0x392e, .ecx = 0x703f},
	{.function = 0x40000000,
		.eax = 0x40000001,
		.ebx = 0x4b4d564b,
		.ecx = 0x564b4d56,
		.edx = 0x4d},
	{.function = 0x40000001, .eax = 0x01007efb},
};

static const struct kvm_cpuid_entry2 amd[] = {
	{.function = 0, .eax = 0x0d, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65},
	{.function = 1, .eax = 0xa20f10, .ebx = 0x05100800, .ecx = 0x00002003, .edx = 0x178bfbff},
	{.function = 0x80000000, .eax = 0x8000001e},
	{.function = 0x80000001, .ecx = 0x00400027, .edx = 0x2e500800},
	{.function = 0x80000008, .eax = 0x3030, .ecx = 0x400f},
	{.function = 0x8000000a, .eax = 1, .ebx = 8},
	{.function = 0x8000001d, .index = 0, .flags = INDEXED, .eax = 0x4121},
	{.function = 0x8000001d, .index = 1, .flags = INDEXED, .eax = 0x4122},
	{.function = 0x8000001d, .index = 2, .flags = INDEXED, .eax = 0x4143},
	{.function = 0x8000001d, .index = 3, .flags = INDEXED, .eax = 0x3c163},
	{.function = 0x8000001d, .index = 4, .flags = INDEXED},
	{.function = 0x8000001e, .eax = 5, .ebx = 0x102, .ecx = 0x101},
};

static struct kvm_cpuid2 *table(const struct kvm_cpuid_entry2 *entries, uint32_t count)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + count * sizeof(*entries));

	cr_assert_not_null(cpuid);
	cpuid->nent = count;
	memcpy(cpuid->entries, entries, count * sizeof(*entries));
	return cpuid;
}

static struct kvm_cpuid2 *build(bool is_amd, unsigned vcpus, unsigned index)
{
	struct kvm_cpuid2 *supported =
		is_amd ? table(amd, ARRAY_SIZE(amd)) : table(intel, ARRAY_SIZE(intel));
	const struct cpuid_options options = {.vcpus = vcpus, .tsc_deadline = true};
	struct kvm_cpuid2 *cpuid;

	cr_assert_eq(cpuid_build(supported, &options, index, &cpuid), 0);
	free(supported);
	return cpuid;
}

static const struct kvm_cpuid_entry2 *leaf(
	const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *entry = cpuid_find(cpuid, function, index);

	cr_assert_not_null(entry, "leaf %x.%x", function, index);
	return entry;
}

/* ceil(log2(n)), written another way than the code's. */
static unsigned order(unsigned n)
{
	return n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0;
}

static unsigned counts[] = {1, 2, 3, 8, 64, 255};

ParameterizedTestParameters(cpuid, topology_leaves)
{
	return cr_make_param_array(unsigned, counts, ARRAY_SIZE(counts));
}

static void check_levels(
	const struct kvm_cpuid2 *cpuid, uint32_t function, unsigned vcpus, unsigned id)
{
	const struct kvm_cpuid_entry2 *thread = leaf(cpuid, function, 0);
	const struct kvm_cpuid_entry2 *core = leaf(cpuid, function, 1);
	const struct kvm_cpuid_entry2 *end = leaf(cpuid, function, 2);

	cr_assert_eq(thread->ecx, 0x100);
	cr_assert_eq(thread->eax, 0, "one thread a core: no bits");
	cr_assert_eq(thread->ebx, 1);
	cr_assert_eq(core->ecx, 0x201);
	cr_assert_eq(core->ebx, vcpus);
	cr_assert_eq(core->eax, order(vcpus));
	cr_assert_eq(id >> core->eax, 0, "all in socket 0");
	cr_assert_eq(end->ecx, 2, "type 0 ends the list");
	cr_assert_eq(end->ebx, 0);
	cr_assert_eq(thread->edx, id);
	cr_assert_eq(core->edx, id);
	cr_assert_eq(end->edx, id);
	cr_assert_null(cpuid_find(cpuid, function, 3));
}

ParameterizedTest(unsigned *vcpus, cpuid, topology_leaves)
{
	for (unsigned id = 0; id < *vcpus; id++) {
		struct kvm_cpuid2 *cpuid = build(false, *vcpus, id);
		const struct kvm_cpuid_entry2 *features = leaf(cpuid, 1, 0);

		check_levels(cpuid, 0xb, *vcpus, id);
		check_levels(cpuid, 0x1f, *vcpus, id);
		cr_assert_eq(features->ebx >> 24, id);
		cr_assert_eq(features->ebx >> 8 & 0xff, 8, "the cache line size stays");
		cr_assert_eq(features->edx >> 28 & 1, *vcpus > 1);
		cr_assert_eq(features->ebx >> 16 & 0xff, min_of(1u << order(*vcpus), 255u));
		free(cpuid);
	}
}

ParameterizedTestParameters(cpuid, intel_caches)
{
	return cr_make_param_array(unsigned, counts, ARRAY_SIZE(counts));
}

ParameterizedTest(unsigned *vcpus, cpuid, intel_caches)
{
	struct kvm_cpuid2 *cpuid = build(false, *vcpus, *vcpus - 1);

	for (unsigned i = 0; i < 4; i++) {
		uint32_t eax = leaf(cpuid, 4, i)->eax;
		unsigned sharing = (eax >> 14 & 0xfff) + 1, cores = (eax >> 26) + 1;

		cr_expect_eq(sharing, i < 3 ? 1u : 1u << order(*vcpus), "cache %u", i);
		cr_expect_eq(cores, min_of(1u << order(*vcpus), 64u));
		cr_expect_eq(eax & 0x3fff, intel[2 + i].eax & 0x3fff, "type and level stay");
		cr_expect_eq(leaf(cpuid, 4, i)->ebx, intel[2 + i].ebx, "size stays");
	}
	cr_expect_eq(leaf(cpuid, 4, 4)->eax, 0, "the list still ends");
	cr_expect_eq(leaf(cpuid, 0x80000008, 0)->ecx, 0, "AMD's fields are empty on Intel");
	cr_expect_eq(leaf(cpuid, 0x80000008, 0)->eax, 0x392e);
	free(cpuid);
}

ParameterizedTestParameters(cpuid, amd_leaves)
{
	return cr_make_param_array(unsigned, counts, ARRAY_SIZE(counts));
}

ParameterizedTest(unsigned *vcpus, cpuid, amd_leaves)
{
	for (unsigned id = 0; id < *vcpus; id++) {
		struct kvm_cpuid2 *cpuid = build(true, *vcpus, id);
		const struct kvm_cpuid_entry2 *ids = leaf(cpuid, 0x8000001e, 0);
		uint32_t sizes = leaf(cpuid, 0x80000008, 0)->ecx;

		cr_assert_eq(ids->eax, id);
		cr_assert_eq(ids->ebx & 0xff, id);
		cr_assert_eq(ids->ebx >> 8 & 0xff, 0, "one thread a core");
		cr_assert_eq(ids->ecx, 0, "one node");
		cr_assert_eq((sizes & 0xff) + 1, *vcpus);
		cr_assert_eq(sizes >> 12 & 0xf, order(*vcpus));
		cr_assert_eq(leaf(cpuid, 0x80000001, 0)->ecx >> 1 & 1, *vcpus > 1);
		for (unsigned i = 0; i < 4; i++)
			cr_assert_eq((leaf(cpuid, 0x8000001d, i)->eax >> 14 & 0xfff) + 1,
				i < 3 ? 1u : 1u << order(*vcpus));
		/* This processor had no leaf 0xb; x2APIC ids need it. */
		cr_assert_geq(leaf(cpuid, 0, 0)->eax, 0xb);
		check_levels(cpuid, 0xb, *vcpus, id);
		cr_assert_null(cpuid_find(cpuid, 0x1f, 0));
		free(cpuid);
	}
}

Test(cpuid, apic_features_are_on_and_unsupported_ones_off)
{
	struct kvm_cpuid2 *supported = table(intel, ARRAY_SIZE(intel)), *cpuid;
	struct cpuid_options options = {.vcpus = 1, .tsc_deadline = false};
	uint32_t ecx;

	cr_assert_eq(cpuid_build(supported, &options, 0, &cpuid), 0);
	ecx = leaf(cpuid, 1, 0)->ecx;
	cr_expect(ecx >> 31 & 1, "hypervisor");
	cr_expect(ecx >> 21 & 1, "x2APIC");
	cr_expect_not(ecx >> 24 & 1, "TSC deadline");
	cr_expect_not(ecx >> 3 & 1, "MONITOR");
	cr_expect_not(ecx >> 5 & 1, "VMX");
	cr_expect(ecx >> 13 & 1, "cx16 stays");
	cr_expect_null(cpuid_find(cpuid, 5, 0));
	free(cpuid);
	options.tsc_deadline = options.nested = true;
	cr_assert_eq(cpuid_build(supported, &options, 0, &cpuid), 0);
	ecx = leaf(cpuid, 1, 0)->ecx;
	cr_expect(ecx >> 24 & 1, "TSC deadline");
	cr_expect(ecx >> 5 & 1, "VMX");
	free(cpuid);
	free(supported);
}

Test(cpuid, svm_goes_with_its_leaf)
{
	struct kvm_cpuid2 *supported = table(amd, ARRAY_SIZE(amd)), *cpuid;
	struct cpuid_options options = {.vcpus = 1};

	cr_assert_eq(cpuid_build(supported, &options, 0, &cpuid), 0);
	cr_expect_not(leaf(cpuid, 0x80000001, 0)->ecx >> 2 & 1);
	cr_expect_null(cpuid_find(cpuid, 0x8000000a, 0));
	free(cpuid);
	options.nested = true;
	cr_assert_eq(cpuid_build(supported, &options, 0, &cpuid), 0);
	cr_expect(leaf(cpuid, 0x80000001, 0)->ecx >> 2 & 1);
	cr_expect_not_null(cpuid_find(cpuid, 0x8000000a, 0));
	free(cpuid);
	free(supported);
}

Test(cpuid, kvm_signature_is_there)
{
	for (unsigned is_amd = 0; is_amd < 2; is_amd++) { /* with the leaves, and without */
		struct kvm_cpuid2 *cpuid = build(is_amd, 1, 0);
		const struct kvm_cpuid_entry2 *signature = leaf(cpuid, 0x40000000, 0);
		char text[13] = "";

		memcpy(text, &signature->ebx, 4);
		memcpy(text + 4, &signature->ecx, 4);
		memcpy(text + 8, &signature->edx, 4);
		cr_expect_str_eq(text, "KVMKVMKVM");
		cr_expect_eq(signature->eax, 0x40000001);
		cr_expect_eq(leaf(cpuid, 0x40000001, 0)->eax, is_amd ? 0x9u : 0x01007efbu);
		free(cpuid);
	}
}

Test(cpuid, no_leaf_is_doubled)
{
	struct kvm_cpuid2 *cpuid = build(false, 8, 3);

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *a = &cpuid->entries[i];

		for (uint32_t j = i + 1; j < cpuid->nent; j++) {
			const struct kvm_cpuid_entry2 *b = &cpuid->entries[j];

			cr_assert_not(a->function == b->function && a->index == b->index,
				"leaf %x.%x", a->function, a->index);
		}
	}
	free(cpuid);
}

Test(cpuid, bad_shapes_are_refused)
{
	struct kvm_cpuid2 *supported = table(intel, ARRAY_SIZE(intel)), *cpuid = NULL;
	struct kvm_cpuid2 *empty = table(intel, 0);
	struct cpuid_options options = {.vcpus = 0};

	cr_expect_eq(cpuid_build(supported, &options, 0, &cpuid), -EINVAL);
	options.vcpus = CPUID_MAX_VCPUS + 1;
	cr_expect_eq(cpuid_build(supported, &options, 0, &cpuid), -EINVAL);
	options.vcpus = 4;
	cr_expect_eq(cpuid_build(supported, &options, 4, &cpuid), -EINVAL);
	cr_expect_eq(cpuid_build(empty, &options, 0, &cpuid), -EINVAL);
	cr_expect_null(cpuid);
	free(supported);
	free(empty);
}

Test(cpuid, full_table_is_refused)
{
	struct kvm_cpuid2 *full = calloc(1, sizeof(*full) + 256 * sizeof(full->entries[0]));
	struct cpuid_options options = {.vcpus = 4};
	struct kvm_cpuid2 *cpuid = NULL;

	cr_assert_not_null(full);
	memcpy(full->entries, amd, sizeof(amd));
	for (unsigned i = ARRAY_SIZE(amd); i < 256; i++)
		full->entries[i].function = 0x90000000 + i;
	full->nent = 256;
	cr_expect_eq(cpuid_build(full, &options, 0, &cpuid), -E2BIG);
	cr_expect_null(cpuid);
	free(full);
}

Test(cpuid, features_are_read_from_the_right_register)
{
	struct kvm_cpuid2 *cpuid = build(false, 2, 0);
	size_t count;
	const struct cpuid_feature *features = cpuid_feature_table(&count);
	unsigned seen = 0;

	for (size_t i = 0; i < count; i++) {
		bool has = cpuid_has_feature(cpuid, &features[i]);

		if (!strcmp(features[i].name, "x2apic") || !strcmp(features[i].name, "ht") ||
			!strcmp(features[i].name, "lm") || !strcmp(features[i].name, "kvm_clock")) {
			cr_expect(has, "%s", features[i].name);
			seen++;
		}
		if (!strcmp(features[i].name, "svm") || !strcmp(features[i].name, "avx2"))
			cr_expect_not(has, "%s", features[i].name);
	}
	cr_expect_eq(seen, 4);
	free(cpuid);
}
