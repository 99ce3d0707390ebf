/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test code runs in the main thread and hears of the guest through one eventfd, on which it blocks;
 * nothing here sleeps or polls.
 */
#include "kvm_fixture.h"

#include "memory/guest_memory.h"
#include "util/checked.h"
#include "util/fd.h"
#include "vcpu/cpuid.h"

#include <criterion/criterion.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WAIT_LIMIT_MS 60000

/* Flat 32-bit code at 0x10, data at 0x18. */
static const uint64_t gdt[4] = {0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff};

static void out_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct fixture *fixture = context;

	(void)offset;
	memcpy(&fixture->seen.out_value, data, length);
}

static void in_read(void *context, uint64_t offset, void *data, unsigned length)
{
	(void)context;
	(void)offset;
	memset(data, 0x42, length);
}

static void dword_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct fixture *fixture = context;
	uint32_t value = atomic_load(&fixture->seen.last_dword_read) + 1;

	(void)offset;
	memcpy(data, &value, length);
	atomic_store(&fixture->seen.last_dword_read, value);
}

static void dword_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct fixture *fixture = context;

	(void)offset;
	if (fixture->seen.dwords < ARRAY_SIZE(fixture->seen.words) && length == 2)
		memcpy(&fixture->seen.words[fixture->seen.dwords], data, length);
	fixture->seen.dwords++;
}

static void event_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct fixture *fixture = context;

	(void)offset;
	(void)length;
	atomic_store(&fixture->seen.vector, *(const uint8_t *)data);
	fd_signal(fixture->event);
}

static void done_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct fixture *fixture = context;

	(void)offset;
	(void)data;
	(void)length;
	vcpu_request_stop(fixture->vcpus[0]);
}

static void device_read(void *context, uint64_t offset, void *data, unsigned length)
{
	uint32_t value = 0x12345678;

	(void)context;
	cr_assert_eq(offset, 4);
	cr_assert_eq(length, 4);
	memcpy(data, &value, length);
}

static void device_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct fixture *fixture = context;

	fixture->seen.device_offset = offset;
	memcpy(&fixture->seen.device_value, data, length);
}

static const struct exit_bus_ops out_ops = {.write = out_write};
static const struct exit_bus_ops in_ops = {.read = in_read};
static const struct exit_bus_ops dword_ops = {.read = dword_read, .write = dword_write};
static const struct exit_bus_ops event_ops = {.write = event_write};
static const struct exit_bus_ops done_ops = {.write = done_write};
static const struct exit_bus_ops device_ops = {.read = device_read, .write = device_write};

bool fixture_available(void)
{
	struct error error = ERROR_INIT;
	struct kvm *kvm;

	if (kvm_open(NULL, &kvm, &error)) {
		fprintf(stderr, "skipped: %s\n", error.text);
		return false;
	}
	kvm_destroy(kvm);
	return true;
}

static void add(struct fixture *fixture, enum exit_bus_space space, uint64_t base, uint64_t length,
	const struct exit_bus_ops *ops)
{
	struct error error = ERROR_INIT;

	cr_assert_eq(exit_bus_add(fixture->bus, space, base, length, "test", ops, fixture, &error),
		0, "%s", error.text);
}

static void build_bus(struct fixture *fixture)
{
	cr_assert_eq(exit_bus_create(&fixture->bus), 0);
	add(fixture, EXIT_BUS_PORT, PORT_OUT, 1, &out_ops);
	add(fixture, EXIT_BUS_PORT, PORT_IN, 1, &in_ops);
	add(fixture, EXIT_BUS_PORT, PORT_DWORD, 4, &dword_ops);
	add(fixture, EXIT_BUS_PORT, PORT_IRQ, 1, &event_ops);
	add(fixture, EXIT_BUS_PORT, PORT_READY, 1, &event_ops);
	add(fixture, EXIT_BUS_PORT, PORT_AP, 1, &event_ops);
	add(fixture, EXIT_BUS_PORT, PORT_DONE, 1, &done_ops);
	add(fixture, EXIT_BUS_MMIO, GUEST_DEVICE, 4096, &device_ops);
	exit_bus_seal(fixture->bus);
}

void fixture_init(struct fixture *fixture, unsigned vcpus)
{
	const struct guest_memory_range range = {.gpa = 0, .size = GUEST_RAM};
	const struct guest_memory_options plain = {.backend = GUEST_MEMORY_PLAIN};
	const struct kvm_vm_options options = {
		.identity_map_gpa = 0xfeffc000, .tss_gpa = 0xfeffd000, .knobs.halt_poll_ns = -1};
	struct error error = ERROR_INIT;

	memset(fixture, 0, sizeof(*fixture));
	fixture->vcpu_count = vcpus;
	fixture->event = fd_eventfd();
	cr_assert_geq(fixture->event, 0);
	cr_assert_eq(kvm_open(NULL, &fixture->kvm, &error), 0, "%s", error.text);
	cr_assert_eq(kvm_check(fixture->kvm, &error), 0, "%s", error.text);
	cr_assert_eq(kvm_create_vm(fixture->kvm, &options, &error), 0, "%s", error.text);
	cr_assert_eq(guest_memory_create(&range, 1, &plain, &fixture->memory, &error), 0, "%s",
		error.text);
	cr_assert_eq(kvm_map_memory(fixture->kvm, fixture->memory, &error), 0, "%s", error.text);
	cr_assert_eq(interrupt_routes_create(fixture->kvm, &fixture->routes, &error), 0, "%s",
		error.text);
	cr_assert_eq(kvm_supported_cpuid(fixture->kvm, &fixture->supported), 0);
	build_bus(fixture);
}

void fixture_deinit(struct fixture *fixture)
{
	for (unsigned i = 0; i < fixture->vcpu_count; i++)
		vcpu_destroy(fixture->vcpus[i]);
	interrupt_routes_destroy(fixture->routes);
	kvm_destroy(fixture->kvm);
	guest_memory_destroy(fixture->memory);
	exit_bus_destroy(fixture->bus);
	free(fixture->supported);
	close(fixture->event);
}

void fixture_load(struct fixture *fixture, uint64_t gpa, const uint8_t *start, const uint8_t *end)
{
	cr_assert_eq(guest_memory_write(fixture->memory, gpa, start, (uint64_t)(end - start)), 0);
}

static void on_end(void *context, const struct vcpu_end *end)
{
	struct fixture *fixture = context;

	fixture->end = *end;
	fixture->ended = true;
	fd_signal(fixture->event);
}

static void create_vcpu(struct fixture *fixture, unsigned index)
{
	const struct cpuid_options shape = {.vcpus = fixture->vcpu_count,
		.tsc_deadline = kvm_has(fixture->kvm, KVM_CAP_TSC_DEADLINE_TIMER) != 0};
	struct vcpu_options options = {
		.index = index,
		.cpu = -1,
		.kvm = fixture->kvm,
		.bus = fixture->bus,
		.memory = fixture->memory,
		.ended = on_end,
		.ended_context = fixture,
	};
	struct error error = ERROR_INIT;
	struct kvm_cpuid2 *cpuid;

	cr_assert_eq(cpuid_build(fixture->supported, &shape, index, &cpuid), 0);
	options.cpuid = cpuid;
	cr_assert_eq(vcpu_create(&options, &fixture->vcpus[index], &error), 0, "%s", error.text);
	free(cpuid);
}

void fixture_set_entry(struct fixture *fixture, unsigned index, uint64_t rip)
{
	const struct vcpu_boot_state state = {
		.mode = VCPU_BOOT_PVH32,
		.rip = rip,
		.rsp = GUEST_RAM,
		.gdt_base = GUEST_GDT,
		.gdt_limit = sizeof(gdt) - 1,
		.code_selector = 0x10,
		.data_selector = 0x18,
	};
	struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
	struct vcpu *vcpu = fixture->vcpus[index];
	struct error error = ERROR_INIT;

	cr_assert_eq(vcpu_set_boot_state(vcpu, &state, &error), 0, "%s", error.text);
	cr_assert_eq(ioctl(vcpu_fd(vcpu), KVM_SET_MP_STATE, &runnable), 0);
}

void fixture_create_vcpus(struct fixture *fixture)
{
	const struct vcpu_boot_state wait = {.mode = VCPU_BOOT_WAIT};
	struct error error = ERROR_INIT;

	cr_assert_eq(guest_memory_write(fixture->memory, GUEST_GDT, gdt, sizeof(gdt)), 0);
	for (unsigned i = 0; i < fixture->vcpu_count; i++) {
		create_vcpu(fixture, i);
		cr_assert_eq(vcpu_set_boot_state(fixture->vcpus[i], &wait, &error), 0);
	}
	fixture_set_entry(fixture, 0, GUEST_CODE);
}

void fixture_boot(struct fixture *fixture, const uint8_t *start, const uint8_t *end)
{
	struct error error = ERROR_INIT;

	fixture_load(fixture, GUEST_CODE, start, end);
	fixture_create_vcpus(fixture);
	for (unsigned i = 0; i < fixture->vcpu_count; i++)
		cr_assert_eq(vcpu_start(fixture->vcpus[i], &error), 0, "%s", error.text);
}

void fixture_wait(struct fixture *fixture)
{
	struct pollfd poll_fd = {.fd = fixture->event, .events = POLLIN};

	cr_assert_eq(poll(&poll_fd, 1, WAIT_LIMIT_MS), 1, "the guest did not report in a minute");
	fd_drain(fixture->event);
}

void *fixture_at(struct fixture *fixture, uint64_t gpa)
{
	void *at = guest_memory_pointer(fixture->memory, gpa, 8);

	cr_assert_not_null(at);
	return at;
}

uint64_t fixture_exits(const struct fixture *fixture, enum vcpu_exit exit)
{
	return counter_read(&vcpu_counters(fixture->vcpus[0])->exits[exit]);
}
