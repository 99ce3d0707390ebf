/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's supported table says what the processor and KVM can do together; what it cannot know is the
 * machine: how many CPUs there are and which one is asking. So the table is copied and the leaves
 * about topology are rewritten, for Intel's and AMD's ways of telling it alike (a guest looks at
 * those of its vendor and ignores the others). Shape: one socket, one thread a core, APIC id = vCPU
 * index; first and second level caches private to a core, the third shared by all.
 *
 * Further: what depends on the in-kernel local APIC (x2APIC, TSC deadline) is switched on, what
 * fastvmm does not stand behind (nested virtualisation unless asked for, MONITOR) off.
 * References: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; Linux
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "vcpu/cpuid.h"

#include "util/checked.h"
#include "util/cleanup.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#define ENTRIES_MAX 256u

#define LEAF_TOPOLOGY      0x0bu
#define LEAF_TOPOLOGY_V2   0x1fu
#define LEAF_KVM_SIGNATURE KVM_CPUID_SIGNATURE
#define LEAF_KVM_FEATURES  KVM_CPUID_FEATURES

/* Topology leaves, ecx[15:8]. */
#define LEVEL_THREAD 1u
#define LEVEL_CORE   2u

#define BIT(n) (1u << (n))

/* What the leaf-rewriting functions work on. */
struct build {
	const struct cpuid_options *options;
	uint32_t apic_id;
	unsigned id_bits;         /* of an APIC id within the socket */
	struct kvm_cpuid2 *cpuid; /* room for ENTRIES_MAX */
};

const struct kvm_cpuid_entry2 *cpuid_find(
	const struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		bool indexed = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (entry->function == leaf && (!indexed || entry->index == subleaf))
			return entry;
	}
	return NULL;
}

unsigned cpuid_apic_id_bits(unsigned vcpus)
{
	unsigned bits = 0;

	while ((1u << bits) < vcpus)
		bits++;
	return bits;
}

static struct kvm_cpuid_entry2 *find(struct build *build, uint32_t leaf, uint32_t subleaf)
{
	return (struct kvm_cpuid_entry2 *)cpuid_find(build->cpuid, leaf, subleaf);
}

/* A zeroed entry at the end of the table, or NULL where it is full. */
static struct kvm_cpuid_entry2 *append(struct build *build, uint32_t leaf)
{
	struct kvm_cpuid2 *cpuid = build->cpuid;
	struct kvm_cpuid_entry2 *entry;

	if (cpuid->nent >= ENTRIES_MAX)
		return NULL;
	entry = &cpuid->entries[cpuid->nent++];
	*entry = (struct kvm_cpuid_entry2){.function = leaf};
	return entry;
}

static void drop_leaf(struct build *build, uint32_t leaf)
{
	struct kvm_cpuid2 *cpuid = build->cpuid;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != leaf)
			cpuid->entries[kept++] = cpuid->entries[i];
	}
	cpuid->nent = kept;
}

static void set_bit(uint32_t *word, unsigned bit, bool on)
{
	*word = on ? *word | BIT(bit) : *word & ~BIT(bit);
}

/* Replaces bits [low, low + width) by @value, cut to what fits (saturated, as both vendors say). */
static void set_field(uint32_t *word, unsigned low, unsigned width, uint32_t value)
{
	uint32_t most = BIT(width) - 1;

	*word = (*word & ~(most << low)) | min_of(value, most) << low;
}

/* Leaf 0: at least up to the topology leaf, for it is how guests learn 32-bit APIC ids. */
static int raise_basic_limit(struct build *build)
{
	struct kvm_cpuid_entry2 *entry = find(build, 0, 0);

	if (!entry)
		return -EINVAL;
	entry->eax = max_of(entry->eax, LEAF_TOPOLOGY);
	return 0;
}

static int rewrite_features(struct build *build)
{
	struct kvm_cpuid_entry2 *entry = find(build, 1, 0);
	unsigned vcpus = build->options->vcpus;

	if (!entry)
		return -EINVAL;
	/* ebx: initial APIC id, and how many ids the socket reserves (a power of two). */
	set_field(&entry->ebx, 24, 8, build->apic_id);
	set_field(&entry->ebx, 16, 8, BIT(build->id_bits));
	set_bit(&entry->edx, 28, vcpus > 1); /* HTT: the field above is valid */
	set_bit(&entry->ecx, 21, true);      /* x2APIC */
	set_bit(&entry->ecx, 24, build->options->tsc_deadline);
	set_bit(&entry->ecx, 31, true); /* hypervisor */
	set_bit(&entry->ecx, 3, false); /* MONITOR */
	if (!build->options->nested)
		set_bit(&entry->ecx, 5, false); /* VMX */
	drop_leaf(build, 5);
	return 0;
}

/* Leaf 4 (Intel) and 0x8000001d (AMD) describe one cache a subleaf, with the same fields. */
static void rewrite_caches(struct build *build, uint32_t leaf)
{
	for (uint32_t i = 0; i < build->cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &build->cpuid->entries[i];
		unsigned type = entry->eax & 0x1f, level = entry->eax >> 5 & 7;

		if (entry->function != leaf || !type)
			continue;
		set_field(&entry->eax, 14, 12, level >= 3 ? BIT(build->id_bits) - 1 : 0);
		/* Core ids in the socket; AMD reserves the field. */
		set_field(&entry->eax, 26, 6, leaf == 4 ? BIT(build->id_bits) - 1 : 0);
	}
}

static int add_topology_level(struct build *build, uint32_t leaf, uint32_t index, uint32_t shift,
	uint32_t logical, uint32_t level)
{
	struct kvm_cpuid_entry2 *entry = append(build, leaf);

	if (!entry)
		return -E2BIG;
	entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	entry->index = index;
	entry->eax = shift;
	entry->ebx = logical;
	entry->ecx = index | level << 8;
	entry->edx = build->apic_id;
	return 0;
}

static int rewrite_topology(struct build *build, uint32_t leaf)
{
	int result;

	drop_leaf(build, leaf);
	result = add_topology_level(build, leaf, 0, 0, 1, LEVEL_THREAD);
	if (!result)
		result = add_topology_level(
			build, leaf, 1, build->id_bits, build->options->vcpus, LEVEL_CORE);
	/* The end of the list; edx holds the id there as well. */
	return result ? result : add_topology_level(build, leaf, 2, 0, 0, 0);
}

/* AMD's leaves; Intel processors have none of these bits. */
static void rewrite_extended(struct build *build, bool amd)
{
	struct kvm_cpuid_entry2 *features = find(build, 0x80000001, 0);
	struct kvm_cpuid_entry2 *sizes = find(build, 0x80000008, 0);
	struct kvm_cpuid_entry2 *ids = find(build, 0x8000001e, 0);
	unsigned vcpus = build->options->vcpus;

	if (features && amd) {
		set_bit(&features->ecx, 1, vcpus > 1); /* CmpLegacy: no two threads share a core */
		if (!build->options->nested)
			set_bit(&features->ecx, 2, false); /* SVM */
	}
	if (sizes) {
		/* NC, the number of cores less one, and how many APIC id bits tell them apart. */
		set_field(&sizes->ecx, 0, 8, amd ? vcpus - 1 : 0);
		set_field(&sizes->ecx, 12, 4, amd ? build->id_bits : 0);
	}
	if (ids) {
		ids->eax = build->apic_id;
		ids->ebx = min_of(build->apic_id, 0xffu); /* core id; threads a core less one = 0 */
		ids->ecx = 0;                             /* node 0, one node a socket */
		ids->edx = 0;
	}
	if (!build->options->nested)
		drop_leaf(build, 0x8000000a); /* SVM's own leaf */
}

/* Old kernels do not list KVM's own leaves; the signature is what guests look for first. */
static int complete_hypervisor(struct build *build)
{
	struct kvm_cpuid_entry2 *entry = find(build, LEAF_KVM_SIGNATURE, 0);

	if (!entry)
		entry = append(build, LEAF_KVM_SIGNATURE);
	if (!entry)
		return -E2BIG;
	entry->eax = max_of(entry->eax, (uint32_t)LEAF_KVM_FEATURES);
	memcpy(&entry->ebx, "KVMK", 4);
	memcpy(&entry->ecx, "VMKV", 4);
	memcpy(&entry->edx, "M\0\0", 4);
	entry = find(build, LEAF_KVM_FEATURES, 0);
	if (entry)
		return 0;
	entry = append(build, LEAF_KVM_FEATURES);
	if (!entry)
		return -E2BIG;
	entry->eax = BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2);
	return 0;
}

static bool is_amd(struct build *build)
{
	const struct kvm_cpuid_entry2 *entry = find(build, 0, 0);

	/* "AuthenticAMD" and "HygonGenuine", by the first four letters. */
	return entry && (!memcmp(&entry->ebx, "Auth", 4) || !memcmp(&entry->ebx, "Hygo", 4));
}

/* By leaf and subleaf: guests do not care, people do. */
static int compare_entries(const void *a, const void *b)
{
	const struct kvm_cpuid_entry2 *first = a, *second = b;

	if (first->function != second->function)
		return first->function < second->function ? -1 : 1;
	return first->index < second->index ? -1 : first->index > second->index;
}

static int rewrite(struct build *build)
{
	const struct kvm_cpuid_entry2 *basic;
	int result = raise_basic_limit(build);

	if (!result)
		result = rewrite_features(build);
	if (result)
		return result;
	rewrite_caches(build, 4);
	rewrite_caches(build, 0x8000001d);
	rewrite_extended(build, is_amd(build));
	result = rewrite_topology(build, LEAF_TOPOLOGY);
	basic = find(build, 0, 0);
	if (!result && basic->eax >= LEAF_TOPOLOGY_V2)
		result = rewrite_topology(build, LEAF_TOPOLOGY_V2);
	return result ? result : complete_hypervisor(build);
}

int cpuid_build(const struct kvm_cpuid2 *supported, const struct cpuid_options *options,
	unsigned index, struct kvm_cpuid2 **ret_cpuid)
{
	auto_free struct kvm_cpuid2 *cpuid = NULL;
	struct build build = {.options = options, .apic_id = index};
	int result;

	if (!options->vcpus || options->vcpus > CPUID_MAX_VCPUS || index >= options->vcpus)
		return -EINVAL;
	if (supported->nent > ENTRIES_MAX)
		return -E2BIG;
	cpuid = calloc(1, sizeof(*cpuid) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = supported->nent;
	memcpy(cpuid->entries, supported->entries, supported->nent * sizeof(cpuid->entries[0]));
	build.id_bits = cpuid_apic_id_bits(options->vcpus);
	build.cpuid = cpuid;
	result = rewrite(&build);
	if (result)
		return result;
	qsort(cpuid->entries, cpuid->nent, sizeof(cpuid->entries[0]), compare_entries);
	*ret_cpuid = take_pointer(cpuid);
	return 0;
}
