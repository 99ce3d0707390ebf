/* SPDX-License-Identifier: Apache-2.0 */
/* vCPUs, doorbells and interrupts on a real /dev/kvm, with the tiny guests of guests.S. */
#include "kvm_fixture.h"

#include "util/bytes.h"
#include "util/fd.h"
#include "util/log.h"
#include "vcpu/doorbell.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define BOOT(fixture, name) fixture_boot(fixture, guest_##name, guest_##name##_end)

#define need_kvm()                                                                                 \
	do {                                                                                       \
		if (!fixture_available())                                                          \
			cr_skip_test("no usable /dev/kvm");                                        \
	} while (0)

TestSuite(kvm, .timeout = 120);

Test(kvm, open_errors_are_explained)
{
	struct error error = ERROR_INIT;
	struct kvm *kvm;

	cr_assert_eq(kvm_open("/nonexistent/kvm", &kvm, &error), -ENOENT);
	cr_assert_not_null(strstr(error.text, "/nonexistent/kvm"), "%s", error.text);
	error = ERROR_INIT;
	cr_assert_eq(kvm_open("/dev/null", &kvm, &error), -ENOTTY);
	cr_assert_not_null(strstr(error.text, "not a KVM device"), "%s", error.text);
}

Test(kvm, ports_and_mmio_reach_their_handlers)
{
	struct fixture fixture;

	need_kvm();
	fixture_init(&fixture, 1);
	BOOT(&fixture, accesses);
	vcpu_join(fixture.vcpus[0]);
	cr_assert_not(fixture.ended, "%s", fixture.end.error.text);
	cr_expect_eq(fixture.seen.out_value, 0x5a);
	cr_expect_eq(fixture.seen.device_offset, 0);
	cr_expect_eq(fixture.seen.device_value, 0x42);
	cr_expect_eq(get_le32(fixture_at(&fixture, GUEST_DATA)), 0x12345678);
	cr_expect_eq(get_le32(fixture_at(&fixture, GUEST_DATA + 4)), 0xffffffff);
	cr_expect_eq(fixture.seen.dwords, 3);
	cr_expect_eq(fixture.seen.words[0], 0x1111);
	cr_expect_eq(fixture.seen.words[1], 0x2222);
	cr_expect_eq(fixture.seen.words[2], 0x3333);
	cr_expect_eq(counter_read(&vcpu_counters(fixture.vcpus[0])->unclaimed_reads), 1);
	cr_expect_eq(counter_read(&vcpu_counters(fixture.vcpus[0])->unclaimed_writes), 1);
	cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_MMIO_READ), 1);
	cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_MMIO_WRITE), 2);
	cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_PORT_READ), 2);
	fixture_deinit(&fixture);
}

Test(kvm, doorbell_counts_every_ring_without_an_exit)
{
	struct fixture fixture;
	uint64_t rings = 0;
	int bell = fd_eventfd();

	need_kvm();
	fixture_init(&fixture, 1);
	cr_assert_eq(doorbell_attach(fixture.kvm, GUEST_BELL, bell), 0);
	cr_expect_eq(doorbell_attach(fixture.kvm, GUEST_BELL, bell), -EEXIST);
	BOOT(&fixture, doorbell);
	vcpu_join(fixture.vcpus[0]);
	cr_assert_eq(read(bell, &rings, sizeof(rings)), (ssize_t)sizeof(rings));
	if (kvm_has(fixture.kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH)) {
		cr_expect_eq(rings, 3 * GUEST_BELL_RINGS);
		cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_MMIO_WRITE), 0);
	} else { /* the single-byte writes, which no virtio driver makes */
		cr_expect_eq(rings, 2 * GUEST_BELL_RINGS);
		cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_MMIO_WRITE), GUEST_BELL_RINGS);
	}
	doorbell_detach(fixture.kvm, GUEST_BELL, bell);
	cr_expect_eq(doorbell_attach(fixture.kvm, GUEST_BELL, bell), 0, "detached for good");
	fixture_deinit(&fixture);
	close(bell);
}

static uint64_t kernel_stat(const struct fixture *fixture, const char *name)
{
	uint64_t values[VCPU_KERNEL_STATS];

	vcpu_kernel_stats(fixture->vcpus[0], values);
	for (unsigned i = 0; i < VCPU_KERNEL_STATS; i++) {
		if (!strcmp(vcpu_kernel_stat_names[i], name))
			return values[i];
	}
	cr_assert_fail("no such name");
	return 0;
}

/* Read while the vCPU runs: a request that waited for it would hang. */
Test(kvm, kernel_counts_are_read_from_a_running_vcpu)
{
	struct fixture fixture;
	uint64_t exits;

	need_kvm();
	fixture_init(&fixture, 1);
	if (!kvm_has(fixture.kvm, KVM_CAP_BINARY_STATS_FD))
		cr_skip_test("this kernel has no binary statistics");
	BOOT(&fixture, spin);
	fixture_wait(&fixture);
	exits = kernel_stat(&fixture, "exits");
	cr_expect_neq(exits, VCPU_STAT_UNKNOWN);
	cr_expect_geq(exits, 1);
	cr_expect_lt(exits, 1ull << 40, "a count, not garbage");
	cr_expect_eq(kernel_stat(&fixture, "insn_emulation_fail"), 0);
	fixture_deinit(&fixture);
}

static void expect_vector(struct fixture *fixture, unsigned vector)
{
	unsigned seen;

	fixture_wait(fixture);
	cr_assert_not(fixture->ended, "%s: %s", vcpu_end_name(fixture->end.reason),
		fixture->end.error.text);
	seen = atomic_load(&fixture->seen.vector);
	cr_assert_eq(seen, vector, "vector 0x%x instead of 0x%x", seen, vector);
}

Test(kvm, irqfd_sends_the_message_of_its_route)
{
	struct fixture fixture;
	int eventfd = fd_eventfd(), gsi;
	uint64_t writes;

	need_kvm();
	fixture_init(&fixture, 1);
	gsi = interrupt_routes_allocate(fixture.routes);
	cr_assert_geq(gsi, INTERRUPT_LINES);
	cr_assert_eq(interrupt_routes_update(fixture.routes, gsi, 0xfee00000, 0x40), 0);
	cr_assert_eq(interrupt_routes_attach(fixture.routes, gsi, eventfd), 0);
	cr_expect_eq(interrupt_routes_attach(fixture.routes, gsi, eventfd), -EBUSY);
	BOOT(&fixture, interrupts);
	fixture_wait(&fixture); /* ready */
	for (unsigned i = 0; i < 100; i++) {
		fd_signal(eventfd);
		expect_vector(&fixture, 0x40);
	}
	writes = interrupt_routes_table_writes(fixture.routes);
	cr_assert_eq(interrupt_routes_update(fixture.routes, gsi, 0xfee00000, 0x40), 0);
	cr_expect_eq(interrupt_routes_table_writes(fixture.routes), writes, "nothing has changed");
	cr_assert_eq(interrupt_routes_update(fixture.routes, gsi, 0xfee00000, 0x41), 0);
	fd_signal(eventfd);
	expect_vector(&fixture, 0x41);
	/* Detached, a signal stays in the eventfd; attached again, it is sent at once. */
	interrupt_routes_detach(fixture.routes, gsi, eventfd);
	fd_signal(eventfd);
	cr_expect(fd_is_signalled(eventfd));
	cr_assert_eq(interrupt_routes_attach(fixture.routes, gsi, eventfd), 0);
	expect_vector(&fixture, 0x41);
	fixture_deinit(&fixture);
	close(eventfd);
}

Test(kvm, lines_keep_their_routes)
{
	struct fixture fixture;
	int eventfd = fd_eventfd();

	need_kvm();
	fixture_init(&fixture, 1);
	BOOT(&fixture, interrupts);
	fixture_wait(&fixture);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(interrupt_routes_set_line(fixture.routes, 4, true), 0);
		expect_vector(&fixture, 0x42);
		cr_assert_eq(interrupt_routes_set_line(fixture.routes, 4, false), 0);
	}
	cr_assert_eq(interrupt_routes_attach(fixture.routes, 4, eventfd), 0);
	fd_signal(eventfd);
	expect_vector(&fixture, 0x42);
	cr_expect_eq(interrupt_routes_set_line(fixture.routes, INTERRUPT_LINES, true), -EINVAL);
	fixture_deinit(&fixture);
	close(eventfd);
}

Test(kvm, routes_run_out_and_come_back)
{
	struct fixture fixture;
	unsigned most;
	int gsi = -1;

	need_kvm();
	fixture_init(&fixture, 1);
	most = kvm_max_routes(fixture.kvm) - 40; /* 24 I/O APIC pins, 16 PIC pins */
	for (unsigned i = 0; i < most; i++) {
		gsi = interrupt_routes_allocate(fixture.routes);
		cr_assert_eq(gsi, (int)(INTERRUPT_LINES + i));
	}
	cr_assert_eq(interrupt_routes_update(fixture.routes, gsi, 0xfee00000, 0x50), 0,
		"a full table is accepted");
	cr_expect_eq(interrupt_routes_allocate(fixture.routes), -ENOSPC);
	interrupt_routes_release(fixture.routes, 100);
	cr_expect_eq(interrupt_routes_update(fixture.routes, 100, 0xfee00000, 0x51), -EINVAL);
	cr_expect_eq(interrupt_routes_attach(fixture.routes, 100, fixture.event), -EINVAL);
	cr_expect_eq(interrupt_routes_allocate(fixture.routes), 100);
	fixture_deinit(&fixture);
}

Test(kvm, long_mode_starts_with_boot_params)
{
	struct fixture fixture;
	struct error error = ERROR_INIT;
	uint64_t *tables;
	const struct vcpu_boot_state state = {
		.mode = VCPU_BOOT_LONG64,
		.rip = GUEST_CODE,
		.rsi = 0x123456789abc,
		.cr3 = GUEST_TABLES,
		.code_selector = 0x10,
		.data_selector = 0x18,
	};

	need_kvm();
	fixture_init(&fixture, 1);
	fixture_load(&fixture, GUEST_CODE, guest_long64, guest_long64_end);
	fixture_create_vcpus(&fixture);
	/* Present, writable; the last level is one 2 MiB page over all RAM. */
	tables = fixture_at(&fixture, GUEST_TABLES);
	tables[0] = (GUEST_TABLES + 0x1000) | 3;
	tables[512] = (GUEST_TABLES + 0x2000) | 3;
	tables[1024] = 0x83;
	cr_assert_eq(vcpu_set_boot_state(fixture.vcpus[0], &state, &error), 0, "%s", error.text);
	cr_assert_eq(vcpu_start(fixture.vcpus[0], &error), 0, "%s", error.text);
	vcpu_join(fixture.vcpus[0]);
	cr_assert_not(fixture.ended, "%s", fixture.end.error.text);
	cr_expect_eq(get_le64(fixture_at(&fixture, GUEST_DATA)), 0x123456789abc);
	fixture_deinit(&fixture);
}

Test(kvm, further_cpu_waits_for_its_start_signal)
{
	struct fixture fixture;

	need_kvm();
	fixture_init(&fixture, 2);
	fixture_load(&fixture, GUEST_AP, guest_ap, guest_ap_end);
	BOOT(&fixture, wake_ap);
	fixture_wait(&fixture);
	cr_expect_eq(
		counter_read(&vcpu_counters(fixture.vcpus[1])->exits[VCPU_EXIT_PORT_WRITE]), 1);
	cr_expect_eq(
		counter_read(&vcpu_counters(fixture.vcpus[0])->exits[VCPU_EXIT_PORT_WRITE]), 0);
	fixture_deinit(&fixture);
}

Test(kvm, triple_fault_is_a_shutdown)
{
	struct fixture fixture;

	need_kvm();
	fixture_init(&fixture, 1);
	BOOT(&fixture, fault);
	fixture_wait(&fixture);
	vcpu_join(fixture.vcpus[0]);
	cr_assert(fixture.ended);
	cr_expect_eq(fixture.end.reason, VCPU_END_SHUTDOWN, "%s: %s",
		vcpu_end_name(fixture.end.reason), fixture.end.error.text);
	cr_expect_eq(fixture.end.code, 0);
	fixture_deinit(&fixture);
}

Test(kvm, jump_into_nothing_is_diagnosed)
{
	struct fixture fixture;

	need_kvm();
	log_set_level(LOG_ERROR);
	fixture_init(&fixture, 1);
	BOOT(&fixture, jump_away);
	fixture_wait(&fixture);
	cr_assert(fixture.ended);
	cr_expect_eq(
		fixture.end.reason, VCPU_END_CANNOT_RUN, "%s", vcpu_end_name(fixture.end.reason));
	cr_expect_lt(fixture.end.code, 0);
	cr_expect_not_null(
		strstr(fixture.end.error.text, "0xd0002000"), "%s", fixture.end.error.text);
	cr_expect_not_null(strstr(fixture.end.error.text, "astray"), "%s", fixture.end.error.text);
	/* Diagnosis leaves a vCPU that can be destroyed, and a second end never comes. */
	vcpu_request_stop(fixture.vcpus[0]);
	vcpu_join(fixture.vcpus[0]);
	fixture_deinit(&fixture);
}

/* As with an empty pool of huge pages: the kernel finds nothing where guest memory should be. */
Test(kvm, missing_host_memory_ends_the_vcpu)
{
	struct fixture fixture;

	need_kvm();
	fixture_init(&fixture, 1);
	fixture_load(&fixture, GUEST_CODE, guest_spin, guest_spin_end);
	fixture_create_vcpus(&fixture);
	cr_assert_eq(munmap(fixture_at(&fixture, GUEST_CODE), 4096), 0);
	cr_assert_eq(vcpu_start(fixture.vcpus[0], NULL), 0);
	fixture_wait(&fixture);
	cr_assert(fixture.ended);
	/* A software-only KVM says that it cannot fetch the instruction. */
	cr_expect_eq(fixture.end.reason, kvm_kind(fixture.kvm) == KVM_KIND_SOFTWARE
						 ? VCPU_END_CANNOT_RUN
						 : VCPU_END_HOST_FAILURE);
	cr_expect_lt(fixture.end.code, 0);
	cr_expect_not_null(
		strstr(fixture.end.error.text, "--memory"), "%s", fixture.end.error.text);
	fixture_deinit(&fixture);
}

/* A hardware KVM raises the exception, finds no handler and shuts down; PVM cannot start it. */
Test(kvm, software_only_kvm_is_named_as_the_cause)
{
	struct fixture fixture;
	bool software;

	need_kvm();
	fixture_init(&fixture, 1);
	software = kvm_kind(fixture.kvm) == KVM_KIND_SOFTWARE;
	BOOT(&fixture, breakpoint);
	fixture_wait(&fixture);
	cr_assert(fixture.ended);
	if (software) {
		const char *text = fixture.end.error.text;

		cr_expect_eq(fixture.end.reason, VCPU_END_CANNOT_RUN);
		cr_expect_not_null(strstr(text, "(cc"), "%s", text);
		cr_expect_not_null(strstr(text, "int3"), "%s", text);
		cr_expect_not_null(strstr(text, "rip 0x1000"), "%s", text);
		cr_expect_not_null(strstr(text, "software-only (PVM)"), "%s", text);
		cr_expect_not_null(strstr(text, "tools/nested-host"), "%s", text);
	} else {
		cr_expect_eq(fixture.end.reason, VCPU_END_SHUTDOWN);
	}
	fixture_deinit(&fixture);
}

/* A thousand stops at all distances from the start, the guest halted or looping: none may hang. */
Test(kvm, stop_is_never_lost)
{
	const uint64_t spin = GUEST_CODE, halt = GUEST_CODE + 0x100;
	struct error error = ERROR_INIT;
	struct fixture fixture;

	need_kvm();
	for (unsigned i = 0; i < 8 * FIXTURE_VCPUS_MAX; i++) {
		unsigned index = i % FIXTURE_VCPUS_MAX;

		if (index == 0) {
			fixture_init(&fixture, FIXTURE_VCPUS_MAX);
			fixture_load(&fixture, spin, guest_spin, guest_spin_end);
			fixture_load(&fixture, halt, guest_halt, guest_halt_end);
			fixture_create_vcpus(&fixture);
		}
		fixture_set_entry(&fixture, index, i % 2 ? spin : halt);
		cr_assert_eq(vcpu_start(fixture.vcpus[index], &error), 0, "%s", error.text);
		if (i % 4 > 1)
			fixture_wait(&fixture);
		for (volatile unsigned distance = 0; distance < i * 20; distance++)
			;
		vcpu_request_stop(fixture.vcpus[index]);
		vcpu_join(fixture.vcpus[index]);
		cr_assert_not(fixture.ended, "%s", fixture.end.error.text);
		fd_drain(fixture.event);
		if (index == FIXTURE_VCPUS_MAX - 1)
			fixture_deinit(&fixture);
	}
}

/*
 * The linker sends vcpu.c's ioctls through here (--wrap), which gives a foot in the door between
 * the vCPU thread's last look at its requests and its entry into the guest.
 */
static _Atomic(struct vcpu *) stopped_before_entry;

int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __real_ioctl(int fd, unsigned long request, void *argument);

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	if (request == KVM_RUN) {
		struct vcpu *vcpu = atomic_exchange(&stopped_before_entry, NULL);

		if (vcpu)
			vcpu_request_stop(vcpu);
	}
	return __real_ioctl(fd, request, argument);
}

/* The signal is over when the guest is entered, and the guest never leaves its loop. */
Test(kvm, stop_between_last_look_and_entry)
{
	struct fixture fixture;

	need_kvm();
	fixture_init(&fixture, 1);
	fixture_load(&fixture, GUEST_CODE, guest_spin, guest_spin_end);
	fixture_create_vcpus(&fixture);
	atomic_store(&stopped_before_entry, fixture.vcpus[0]);
	cr_assert_eq(vcpu_start(fixture.vcpus[0], NULL), 0);
	vcpu_join(fixture.vcpus[0]);
	cr_expect_null(atomic_load(&stopped_before_entry));
	cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_PORT_WRITE), 0, "the guest did not run");
	cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_INTERRUPTED), 1);
	fixture_deinit(&fixture);
}

Test(kvm, stop_before_start_runs_nothing)
{
	struct fixture fixture;
	struct error error = ERROR_INIT;

	need_kvm();
	fixture_init(&fixture, 1);
	fixture_load(&fixture, GUEST_CODE, guest_accesses, guest_accesses_end);
	fixture_create_vcpus(&fixture);
	vcpu_request_stop(fixture.vcpus[0]);
	cr_assert_eq(vcpu_start(fixture.vcpus[0], &error), 0);
	vcpu_join(fixture.vcpus[0]);
	cr_expect_eq(fixture_exits(&fixture, VCPU_EXIT_PORT_WRITE), 0);
	cr_expect_eq(vcpu_start(fixture.vcpus[0], &error), -EALREADY);
	fixture_deinit(&fixture);
}

static struct kvm_regs registers(struct fixture *fixture)
{
	struct kvm_regs regs;

	cr_assert_eq(ioctl(vcpu_fd(fixture->vcpus[0]), KVM_GET_REGS, &regs), 0);
	return regs;
}

/*
 * A paused vCPU has finished the instruction whose data its handler gave: whatever instruction is
 * next, eax holds the last value read. And it stands still, and goes on where it was.
 */
Test(kvm, pause_is_between_two_instructions)
{
	struct fixture fixture;
	struct kvm_regs regs, again;
	uint32_t last, before = 0;

	need_kvm();
	fixture_init(&fixture, 1);
	BOOT(&fixture, count_in);
	for (unsigned i = 0; i < 1000; i++) {
		while (atomic_load(&fixture.seen.last_dword_read) == before)
			sched_yield(); /* until the guest has gone on */
		vcpu_request_pause(fixture.vcpus[0]);
		cr_assert(vcpu_wait_paused(fixture.vcpus[0]));
		last = atomic_load(&fixture.seen.last_dword_read);
		regs = registers(&fixture);
		cr_assert_eq((uint32_t)regs.rax, last, "round %u: eax %llx, last read %x, rip %llx",
			i, regs.rax, last, regs.rip);
		again = registers(&fixture);
		cr_assert_eq(memcmp(&regs, &again, sizeof(regs)), 0);
		cr_assert_eq(atomic_load(&fixture.seen.last_dword_read), last);
		before = last;
		vcpu_resume(fixture.vcpus[0]);
	}
	fixture_deinit(&fixture);
}

Test(kvm, stop_ends_a_paused_vcpu)
{
	struct fixture fixture;

	need_kvm();
	fixture_init(&fixture, 2);
	BOOT(&fixture, spin);
	fixture_wait(&fixture);
	for (unsigned i = 0; i < 2; i++)
		vcpu_request_pause(fixture.vcpus[i]);
	for (unsigned i = 0; i < 2; i++) /* the second one waits for a SIPI that never comes */
		cr_assert(vcpu_wait_paused(fixture.vcpus[i]));
	for (unsigned i = 0; i < 2; i++) {
		vcpu_request_stop(fixture.vcpus[i]);
		vcpu_join(fixture.vcpus[i]);
		cr_expect_not(vcpu_wait_paused(fixture.vcpus[i]));
	}
	fixture_deinit(&fixture);
}
