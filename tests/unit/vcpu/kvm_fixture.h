/* SPDX-License-Identifier: Apache-2.0 */
/* A whole machine for the tests: RAM, KVM, interrupt routes, an exit bus, vCPUs. */
#pragma once

#include "util/error.h"
#include "vcpu/exit_bus.h"
#include "vcpu/interrupt.h"
#include "vcpu/kvm.h"
#include "vcpu/vcpu.h"
#include "guests.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIXTURE_VCPUS_MAX 125

/* What the guest has done; written by vCPU threads, read after an event or a join. */
struct observed {
	uint64_t out_value;
	uint64_t device_offset;
	uint64_t device_value;
	unsigned dwords;   /* accesses to PORT_DWORD */
	uint16_t words[4]; /* what was written there */
	_Atomic uint32_t last_dword_read;
	_Atomic unsigned vector;
};

struct fixture {
	struct kvm *kvm;
	struct guest_memory *memory;
	struct exit_bus *bus;
	struct interrupt_routes *routes;
	struct kvm_cpuid2 *supported;
	unsigned vcpu_count;
	struct vcpu *vcpus[FIXTURE_VCPUS_MAX];
	struct observed seen;
	int event; /* eventfd: PORT_READY, PORT_IRQ, PORT_AP, or the end of the guest */
	struct vcpu_end end;
	bool ended;
};

/* False, with the reason printed, where this host has no usable /dev/kvm: the test is skipped. */
bool fixture_available(void);

/* Everything up to vCPU creation; asserts on failure. */
void fixture_init(struct fixture *fixture, unsigned vcpus);
void fixture_deinit(struct fixture *fixture);

/* Copies a guest to @gpa. */
void fixture_load(struct fixture *fixture, uint64_t gpa, const uint8_t *start, const uint8_t *end);

/* Creates the vCPUs and sets the first one's registers for the 32-bit guests. */
void fixture_create_vcpus(struct fixture *fixture);

/* Makes any vCPU start like the first one, at @rip. */
void fixture_set_entry(struct fixture *fixture, unsigned index, uint64_t rip);

/* fixture_load() at GUEST_CODE, fixture_create_vcpus(), vcpu_start() on all. */
void fixture_boot(struct fixture *fixture, const uint8_t *start, const uint8_t *end);

/* Waits until the event is signalled, at most a minute. */
void fixture_wait(struct fixture *fixture);

void *fixture_at(struct fixture *fixture, uint64_t gpa);
uint64_t fixture_exits(const struct fixture *fixture, enum vcpu_exit exit);
