/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Construction runs top to bottom, teardown bottom to top; a half-built board is torn down by the
 * same function as a whole one. The order of teardown matters once: vCPUs end first, then the
 * transports reset their devices (which waits for the workers to let go of guest memory), then the
 * virtual machine goes.
 */
#include "machine/board.h"

#include "machine/acpi.h"
#include "machine/board_bus.h"
#include "machine/boot_image.h"
#include "machine/config.h"
#include "machine/controllers.h"
#include "machine/layout.h"
#include "machine/mptable.h"
#include "machine/pci_host.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/log.h"
#include "vcpu/cpuid.h"
#include "vcpu/exit_bus.h"
#include "vcpu/interrupt.h"
#include "vcpu/kvm.h"
#include "virtio/pci_transport.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

struct board {
	struct kvm *kvm;
	struct interrupt_routes *routes;
	struct msi_controller msi;
	struct doorbell_controller doorbells;
	struct exit_bus *bus;
	struct pci_host *pci;
	struct reset_ports reset_ports;
	struct virtio_pci **transports; /* device_count of them; NULL while not made */
	size_t device_count;
	struct vcpu **vcpus; /* vcpu_count of them; NULL while not made */
	unsigned vcpu_count;
};

static int create_vm(struct board *board, const struct board_config *config, struct error *error)
{
	const struct kvm_vm_options options = {
		.identity_map_gpa = LAYOUT_IDENTITY_MAP,
		.tss_gpa = LAYOUT_TSS,
		.knobs = config->knobs,
	};
	int result = kvm_open(config->kvm_path, &board->kvm, error);

	if (!result)
		result = kvm_check(board->kvm, error);
	if (!result && config->cpus > kvm_max_vcpus(board->kvm))
		result = error_set(error, -EINVAL, "--cpus %u: this host's KVM takes at most %u",
			config->cpus, kvm_max_vcpus(board->kvm));
	if (!result)
		result = kvm_create_vm(board->kvm, &options, error);
	if (!result)
		result = kvm_map_memory(board->kvm, config->memory, error);
	if (!result)
		result = interrupt_routes_create(board->kvm, &board->routes, error);
	return result;
}

static int create_transport(
	struct board *board, struct virtio_device *device, size_t index, struct error *error)
{
	int result = virtio_pci_create(
		device, &board->msi, &board->doorbells, &board->transports[index]);

	if (result)
		return error_set(error, result, "cannot make a PCI function for a device: %s",
			strerror(-result));
	return pci_host_add(board->pci, virtio_pci_function(board->transports[index]), error);
}

static int create_pci(struct board *board, const struct board_config *config, struct error *error)
{
	int result = pci_host_create(LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_SIZE, &board->pci);

	if (result)
		return result;
	board->msi = controllers_msi(board->routes);
	board->doorbells = controllers_doorbells(board->kvm);
	board->transports = calloc(config->device_count + 1, sizeof(struct virtio_pci *));
	if (!board->transports)
		return -ENOMEM;
	board->device_count = config->device_count;
	for (size_t i = 0; i < config->device_count && !result; i++)
		result = create_transport(board, config->devices[i], i, error);
	return result;
}

static int create_bus(struct board *board, const struct board_config *config, struct error *error)
{
	int result = exit_bus_create(&board->bus);

	if (result)
		return result;
	board->reset_ports = (struct reset_ports){.pci = board->pci, .power = config->power};
	result = board_bus_populate(board->bus, config, board->pci, &board->reset_ports, error);
	if (!result)
		exit_bus_seal(board->bus);
	return result;
}

static int create_vcpu(struct board *board, const struct board_config *config,
	const struct kvm_cpuid2 *supported, unsigned index, struct error *error)
{
	const struct machine_cpus *pins = config->vcpu_pins;
	const struct cpuid_options cpuid_options = {
		.vcpus = config->cpus,
		.tsc_deadline = kvm_has(board->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};
	auto_free struct kvm_cpuid2 *cpuid = NULL;
	int result = cpuid_build(supported, &cpuid_options, index, &cpuid);

	if (result)
		return result;
	return vcpu_create(
		&(struct vcpu_options){
			.index = index,
			.cpu = pins->count ? pins->cpus[index % pins->count] : -1,
			.kvm = board->kvm,
			.bus = board->bus,
			.memory = config->memory,
			.cpuid = cpuid,
			.ended = config->ended,
			.ended_context = config->ended_context,
		},
		&board->vcpus[index], error);
}

static int create_vcpus(struct board *board, const struct board_config *config, struct error *error)
{
	auto_free struct kvm_cpuid2 *supported = NULL;
	int result = kvm_supported_cpuid(board->kvm, &supported);

	if (result)
		return error_set(error, result, "%s: cannot read the supported CPUID: %s",
			config->kvm_path, strerror(-result));
	board->vcpus = calloc(config->cpus, sizeof(struct vcpu *));
	if (!board->vcpus)
		return -ENOMEM;
	board->vcpu_count = config->cpus;
	for (unsigned i = 0; i < config->cpus && !result; i++)
		result = create_vcpu(board, config, supported, i, error);
	return result;
}

/* What the boot loader decided, in the words of the vCPU. */
static struct vcpu_boot_state boot_registers(const struct boot_state *state)
{
	bool linux64 = state->protocol == BOOT_PROTOCOL_LINUX64;

	return (struct vcpu_boot_state){
		.mode = linux64 ? VCPU_BOOT_LONG64 : VCPU_BOOT_PVH32,
		.rip = state->entry,
		.rsi = linux64 ? state->argument : 0,
		.rbx = linux64 ? 0 : state->argument,
		.cr3 = state->cr3,
		.gdt_base = state->gdt_base,
		.gdt_limit = state->gdt_limit,
		.code_selector = state->code_selector,
		.data_selector = state->data_selector,
		.task_selector = state->task_selector,
	};
}

/* Such a kernel crawls for a minute and then meets an instruction that KVM cannot emulate. */
static void warn_of_interpretation(const struct board *board, const struct boot_result *loaded)
{
	static struct log_limit limit; /* it comes again with each reboot */

	if (kvm_kind(board->kvm) != KVM_KIND_SOFTWARE ||
		loaded->state.protocol != BOOT_PROTOCOL_LINUX64 || !log_limit_allows(&limit))
		return;
	log_warning(
		"this host's KVM is software-only: it interprets a stock Linux kernel, which is "
		"very slow and fails in the end; see fastvmm probe, use tools/nested-host");
}

static int load_guest(struct board *board, const struct board_config *config, struct error *error)
{
	const struct acpi_config acpi = {.cpu_count = config->cpus};
	struct boot_options options = {
		.kernel_path = config->kernel,
		.initrd_path = config->initrd,
		.cmdline = config->cmdline,
	};
	struct vcpu_boot_state state;
	struct boot_result loaded;
	int result = acpi_build(config->memory, &acpi, &options.rsdp, error);

	if (!result)
		result = mptable_build(config->memory, config->cpus, error);
	if (!result)
		result = boot_load(config->memory, &options, &loaded, error);
	if (result)
		return result;
	log_debug("%s: %s, entry %#llx", config->kernel, loaded.format,
		(unsigned long long)loaded.state.entry);
	warn_of_interpretation(board, &loaded);
	state = boot_registers(&loaded.state);
	result = vcpu_set_boot_state(board->vcpus[0], &state, error);
	state = (struct vcpu_boot_state){.mode = VCPU_BOOT_WAIT};
	for (unsigned i = 1; i < board->vcpu_count && !result; i++)
		result = vcpu_set_boot_state(board->vcpus[i], &state, error);
	return result;
}

int board_create(const struct board_config *config, struct board **ret_board, struct error *error)
{
	struct board *board = calloc(1, sizeof(*board));
	int result;

	if (!board)
		return -ENOMEM;
	result = create_vm(board, config, error);
	if (!result)
		result = create_pci(board, config, error);
	if (!result)
		result = create_bus(board, config, error);
	if (!result)
		result = create_vcpus(board, config, error);
	if (!result)
		result = load_guest(board, config, error);
	if (result)
		board_destroy(board);
	else
		*ret_board = board;
	return result;
}

void board_destroy(struct board *board)
{
	if (!board)
		return;
	board_stop(board);
	for (unsigned i = 0; i < board->vcpu_count; i++)
		vcpu_destroy(board->vcpus[i]);
	free(board->vcpus);
	for (size_t i = 0; i < board->device_count; i++)
		virtio_pci_destroy(board->transports[i]);
	free(board->transports);
	exit_bus_destroy(board->bus);
	pci_host_destroy(board->pci);
	interrupt_routes_destroy(board->routes);
	kvm_destroy(board->kvm);
	free(board);
}

int board_start(struct board *board, struct error *error)
{
	int result = 0;

	for (unsigned i = 0; i < board->vcpu_count && !result; i++)
		result = vcpu_start(board->vcpus[i], error);
	return result;
}

void board_request_stop(struct board *board)
{
	for (unsigned i = 0; i < board->vcpu_count; i++) {
		if (board->vcpus[i])
			vcpu_request_stop(board->vcpus[i]);
	}
}

void board_stop(struct board *board)
{
	board_request_stop(board);
	for (unsigned i = 0; i < board->vcpu_count; i++) {
		if (board->vcpus[i])
			vcpu_join(board->vcpus[i]);
	}
}

void board_set_line(struct board *board, int gsi, bool level)
{
	interrupt_routes_set_line(board->routes, gsi, level);
}

unsigned board_vcpu_count(const struct board *board)
{
	return board->vcpu_count;
}

const struct vcpu *board_vcpu(const struct board *board, unsigned index)
{
	return board->vcpus[index];
}

const struct virtio_pci *board_transport(const struct board *board, size_t index)
{
	return board->transports[index];
}
