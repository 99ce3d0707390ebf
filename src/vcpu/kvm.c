/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a virtual machine has three steps, so that `fastvmm probe` can stop after the first:
 * open the device and read every capability once (they are constants of the running kernel), check
 * that none that is needed is missing, create the virtual machine. The interrupt chips come before
 * any vCPU, for KVM gives a local APIC only to vCPUs created after them.
 */
#include "vcpu/kvm.h"

#include "memory/guest_memory.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define CPUID_ENTRIES_MAX 256u

static const struct kvm_capability capability_table[] = {
	{KVM_CAP_USER_MEMORY, "USER_MEMORY", "guest RAM out of this process's memory", true},
	{KVM_CAP_IRQCHIP, "IRQCHIP", "interrupt controllers in the kernel", true},
	{KVM_CAP_PIT2, "PIT2", "interval timer in the kernel", true},
	{KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING", "MSI routes", true},
	{KVM_CAP_IRQFD, "IRQFD", "interrupts by eventfd", true},
	{KVM_CAP_IOEVENTFD, "IOEVENTFD", "queue kicks by eventfd", true},
	{KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", "stopping vCPUs without lost requests", true},
	{KVM_CAP_EXT_CPUID, "EXT_CPUID", "the guest's CPUID table", true},
	{KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR", "place for KVM's task state (Intel)", true},
	{KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR",
		"place for KVM's page table (Intel)", true},
	{KVM_CAP_NR_VCPUS, "NR_VCPUS", "recommended number of vCPUs", false},
	{KVM_CAP_MAX_VCPUS, "MAX_VCPUS", "greatest number of vCPUs", false},
	{KVM_CAP_NR_MEMSLOTS, "NR_MEMSLOTS", "memory slots", false},
	{KVM_CAP_IOEVENTFD_ANY_LENGTH, "IOEVENTFD_ANY_LENGTH",
		"kicks without decoding the instruction", false},
	{KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER", "cheap guest timers", false},
	{KVM_CAP_HALT_POLL, "HALT_POLL", "halt polling set per machine", false},
	{KVM_CAP_X86_DISABLE_EXITS, "X86_DISABLE_EXITS", "HLT and PAUSE without exits", false},
	{KVM_CAP_BINARY_STATS_FD, "BINARY_STATS_FD", "the kernel's own exit counts", false},
	{KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK", "guest clock kept over a migration", false},
};

/* Constant once built; vm_fd from kvm_create_vm() on. */
struct kvm {
	int device_fd;
	int vm_fd;
	int api_version;
	enum kvm_kind kind;
	int values[ARRAY_SIZE(capability_table)];
};

const struct kvm_capability *kvm_capability_table(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(capability_table);
	return capability_table;
}

static int open_error(const char *path, int code, struct error *error)
{
	switch (code) {
	case -ENOENT:
		return error_set(error, code,
			"%s: no such device: load KVM (modprobe kvm_intel, kvm_amd or "
			"kvm_pvm), or enable virtualisation in the firmware or the cloud "
			"instance",
			path);
	case -EACCES:
	case -EPERM:
		return error_set(error, code,
			"%s: permission denied: run as a member of the group that owns it (usually "
			"\"kvm\"), or as root",
			path);
	case -ENODEV:
	case -ENXIO:
		return error_set(
			error, code, "%s: no KVM behind this device: load its module", path);
	default:
		return error_set(error, code, "%s: cannot open: %s", path, strerror(-code));
	}
}

static int check_version(int fd, const char *path, struct error *error)
{
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return error_set(error, -ENOTTY, "%s: not a KVM device", path);
	if (version != KVM_API_VERSION)
		return error_set(error, -EPROTO, "%s: KVM API version %d, but fastvmm needs %d",
			path, version, KVM_API_VERSION);
	return version;
}

int kvm_open(const char *path, struct kvm **ret_kvm, struct error *error)
{
	auto_free struct kvm *kvm = calloc(1, sizeof(*kvm));
	struct kvm_evidence evidence;
	auto_fd int fd = -1;
	int version;

	if (!path)
		path = KVM_DEFAULT_PATH;
	if (!kvm)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return open_error(path, -errno, error);
	version = check_version(fd, path, error);
	if (version < 0)
		return version;
	for (size_t i = 0; i < ARRAY_SIZE(capability_table); i++) {
		int value = ioctl(fd, KVM_CHECK_EXTENSION, capability_table[i].number);

		kvm->values[i] = max_of(value, 0);
	}
	kvm_evidence_gather(&evidence);
	kvm->kind = kvm_kind_judge(&evidence);
	kvm->api_version = version;
	kvm->device_fd = take_fd(&fd);
	kvm->vm_fd = -1;
	*ret_kvm = take_pointer(kvm);
	return 0;
}

int kvm_check(const struct kvm *kvm, struct error *error)
{
	char missing[ERROR_TEXT_MAX / 2] = "";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(capability_table); i++) {
		const struct kvm_capability *capability = &capability_table[i];

		if (!capability->required || kvm->values[i])
			continue;
		used += (size_t)snprintf(missing + used, sizeof(missing) - used,
			"%sKVM_CAP_%s (%s)", used ? ", " : "", capability->name,
			capability->purpose);
		if (used >= sizeof(missing))
			break;
	}
	if (!used)
		return 0;
	return error_set(
		error, -EOPNOTSUPP, "this host's KVM lacks %s: use a newer kernel", missing);
}

/* A capability that is switched on for the whole machine with one argument. */
static int enable(const struct kvm *kvm, uint32_t capability, uint64_t argument)
{
	struct kvm_enable_cap request = {.cap = capability, .args = {argument}};

	return ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &request) ? -errno : 0;
}

static int apply_knobs(const struct kvm *kvm, const struct kvm_knobs *knobs, struct error *error)
{
	uint64_t disabled;
	int result;

	if (knobs->halt_poll_ns >= 0) {
		result = knobs->halt_poll_ns > UINT32_MAX
		                 ? -ERANGE
		                 : enable(kvm, KVM_CAP_HALT_POLL, (uint64_t)knobs->halt_poll_ns);
		if (result)
			return error_set(error, result, "--halt-poll-us: KVM refuses %lld ns: %s",
				(long long)knobs->halt_poll_ns, strerror(-result));
	}
	disabled = (knobs->no_hlt_exits ? KVM_X86_DISABLE_EXITS_HLT : 0) |
	           (knobs->no_pause_exits ? KVM_X86_DISABLE_EXITS_PAUSE : 0);
	if (disabled) {
		result = enable(kvm, KVM_CAP_X86_DISABLE_EXITS, disabled);
		if (result)
			return error_set(error, result,
				"--disable-exits: KVM refuses the set 0x%llx, it offers 0x%x: %s",
				(unsigned long long)disabled,
				(unsigned)kvm_has(kvm, KVM_CAP_X86_DISABLE_EXITS),
				strerror(-result));
	}
	return 0;
}

static int create_chips(
	const struct kvm *kvm, const struct kvm_vm_options *options, struct error *error)
{
	/* The dummy speaker keeps port 0x61 in the kernel, where kernels time the PIT by it. */
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity_map = options->identity_map_gpa;
	const char *what = NULL;
	int code;

	if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map))
		what = "place its identity map";
	else if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, options->tss_gpa))
		what = "place its TSS";
	else if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0))
		what = "create the interrupt controllers";
	else if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit))
		what = "create the interval timer";
	code = -errno;
	return what ? error_set(error, code, "KVM cannot %s: %s", what, strerror(-code)) : 0;
}

int kvm_create_vm(struct kvm *kvm, const struct kvm_vm_options *options, struct error *error)
{
	auto_fd int fd = -1;
	int result;

	/* A signal that arrives while the kernel builds its structures interrupts the call. */
	do
		fd = ioctl(kvm->device_fd, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		result = -errno;
		return error_set(error, result, "KVM cannot create a virtual machine: %s%s",
			strerror(-result),
			result == -EBUSY
				? ": another hypervisor uses the processor's virtualisation"
				: "");
	}
	kvm->vm_fd = take_fd(&fd);
	result = create_chips(kvm, options, error);
	return result ? result : apply_knobs(kvm, &options->knobs, error);
}

int kvm_map_memory(struct kvm *kvm, const struct guest_memory *memory, struct error *error)
{
	for (size_t i = 0; i < guest_memory_region_count(memory); i++) {
		const struct guest_memory_region *region = guest_memory_region(memory, i);
		struct kvm_userspace_memory_region slot = {
			.slot = (uint32_t)i,
			.guest_phys_addr = region->gpa,
			.memory_size = region->size,
			.userspace_addr = (uint64_t)(uintptr_t)region->host,
		};
		int code;

		if (!ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot))
			continue;
		code = -errno;
		return error_set(error, code,
			"--memory: KVM refuses %llu MiB at guest address 0x%llx: %s",
			(unsigned long long)(region->size >> 20), (unsigned long long)region->gpa,
			strerror(-code));
	}
	return 0;
}

void kvm_destroy(struct kvm *kvm)
{
	if (!kvm)
		return;
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	close(kvm->device_fd);
	free(kvm);
}

int kvm_supported_cpuid(const struct kvm *kvm, struct kvm_cpuid2 **ret_cpuid)
{
	auto_free struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));

	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = CPUID_ENTRIES_MAX;
	if (ioctl(kvm->device_fd, KVM_GET_SUPPORTED_CPUID, cpuid))
		return -errno;
	*ret_cpuid = take_pointer(cpuid);
	return 0;
}

int kvm_has(const struct kvm *kvm, int capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_table); i++) {
		if (capability_table[i].number == capability)
			return kvm->values[i];
	}
	return 0;
}

enum kvm_kind kvm_kind(const struct kvm *kvm)
{
	return kvm->kind;
}

unsigned kvm_recommended_vcpus(const struct kvm *kvm)
{
	/* Documented in the KVM API: without the capability, assume 4. */
	int value = kvm_has(kvm, KVM_CAP_NR_VCPUS);

	return value ? (unsigned)value : 4;
}

unsigned kvm_max_vcpus(const struct kvm *kvm)
{
	int value = kvm_has(kvm, KVM_CAP_MAX_VCPUS);

	return value ? (unsigned)value : kvm_recommended_vcpus(kvm);
}

unsigned kvm_max_routes(const struct kvm *kvm)
{
	return (unsigned)kvm_has(kvm, KVM_CAP_IRQ_ROUTING);
}

int kvm_device_fd(const struct kvm *kvm)
{
	return kvm->device_fd;
}

int kvm_vm_fd(const struct kvm *kvm)
{
	return kvm->vm_fd;
}

void kvm_describe(const struct kvm *kvm, char *text, size_t size)
{
	snprintf(text, size, "KVM API %d, %s, up to %u vCPUs", kvm->api_version,
		kvm_kind_name(kvm->kind), kvm_max_vcpus(kvm));
}
