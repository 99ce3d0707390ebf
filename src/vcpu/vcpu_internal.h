/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/vcpu: the vCPU object and the parts that vcpu.c is split into. */
#pragma once

#include "util/checked.h"
#include "vcpu/exit_bus.h"
#include "vcpu/vcpu.h"

#include <pthread.h>
#include <stdatomic.h>

struct kvm_run;

enum vcpu_state {
	VCPU_STATE_CREATED, /* no thread yet */
	VCPU_STATE_RUNNING,
	VCPU_STATE_PAUSED,
	VCPU_STATE_ENDED, /* the thread returns, or has returned */
};

enum vcpu_request {
	VCPU_REQUEST_STOP = 1,
	VCPU_REQUEST_PAUSE = 2,
};

struct vcpu {
	/* Constant after vcpu_create(). */
	unsigned index;
	int cpu;
	int fd;
	struct kvm_run *run; /* shared with the kernel; immediate_exit also with requesters */
	size_t run_size;
	const struct kvm *kvm;
	const struct exit_bus *bus;
	const struct guest_memory *memory;
	vcpu_ended ended;
	void *ended_context;
	int stats_fd;                             /* -1: the kernel has none */
	uint64_t stat_offsets[VCPU_KERNEL_STATS]; /* in that file; 0: not kept */

	/* Set by requesters, read by the vCPU thread; see the top of vcpu.c. */
	_Atomic unsigned requests;

	pthread_mutex_t lock; /* guards state and has_thread */
	pthread_cond_t changed;
	enum vcpu_state state;
	bool has_thread; /* started and not yet joined */
	pthread_t thread;

	/* The vCPU thread's own. */
	cache_aligned struct exit_bus_cursor cursor;
	struct vcpu_counters counters;
};

/* Local APIC pins and MSRs as firmware leaves them. Before start. 0 or negative errno. */
int vcpu_state_init(const struct vcpu *vcpu, struct error *error);

/* Finds the kernel's counts; without them stats_fd stays -1. Before start. */
void vcpu_stats_init(struct vcpu *vcpu);

/*
 * Explains an exit after which the guest cannot go on: fills @ret_end's code and error, and logs
 * the registers. vCPU thread.
 */
void vcpu_diagnose_exit(const struct vcpu *vcpu, struct vcpu_end *ret_end);

/* The same for a KVM_RUN that failed with @code (negative errno). vCPU thread. */
void vcpu_diagnose_failure(const struct vcpu *vcpu, int code, struct vcpu_end *ret_end);

/* Logs, for those who asked for debug messages, where a triple fault happened. vCPU thread. */
void vcpu_diagnose_shutdown(const struct vcpu *vcpu);

/*
 * The name of the instruction that @bytes start with, where it is one of those that software-only
 * KVMs are known to lack; else NULL. Pure.
 */
const char *vcpu_instruction_name(const uint8_t *bytes, size_t length);
