/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU thread and how others talk to it.
 *
 * A request (stop, pause) is a bit in `requests`; the vCPU thread looks at it each time before it
 * enters the guest. Between that look and the guest's first instruction a request must not get
 * lost, and while the guest runs it must be interrupted. Both are done with kvm_run's
 * immediate_exit and a signal, in this order:
 *
 *	requester			vCPU thread
 *	1. set the request bit		a. immediate_exit = 0
 *	2. immediate_exit = 1		b. read the request bits, obey them
 *	3. signal the thread		c. KVM_RUN, which reads immediate_exit, then runs the guest
 *					   until an exit or a pending signal
 *
 * All of these are sequentially consistent. If (b) misses the bit of (1), then (2) comes after (a),
 * so nothing clears immediate_exit before (c). If (c) reads it before (2), then the signal of (3)
 * comes while the thread is inside KVM_RUN, which returns with EINTR. If the signal comes before
 * (c), its empty handler runs, but then (2) has been done as well. So the guest is left in any
 * case, and (b) of the next round sees the bit. A kick that comes for nothing costs an empty round.
 *
 * The signal is SIGRTMIN, blocked in all other threads of fastvmm (util/thread.h), with SA_RESTART
 * so that system calls of device handlers do not notice it; KVM_RUN returns EINTR all the same.
 *
 * To pause between two instructions, an I/O instruction whose data was just handed over must be
 * finished first: KVM does that at the start of the next KVM_RUN and, with immediate_exit set, then
 * returns without running the guest.
 */
#include "vcpu/vcpu_internal.h"

#include "util/cleanup.h"
#include "util/log.h"
#include "util/thread.h"
#include "vcpu/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* What the loop does after an exit. */
enum step {
	STEP_GO_ON,
	STEP_INTERRUPTED, /* KVM_RUN returned without an exit to serve */
	STEP_STOP,        /* somebody asked for it */
	STEP_END,         /* the guest is over by itself */
};

static const char *const exit_names[VCPU_EXIT_COUNT] = {
	[VCPU_EXIT_PORT_READ] = "port_read",
	[VCPU_EXIT_PORT_WRITE] = "port_write",
	[VCPU_EXIT_MMIO_READ] = "mmio_read",
	[VCPU_EXIT_MMIO_WRITE] = "mmio_write",
	[VCPU_EXIT_INTERRUPTED] = "interrupted",
	[VCPU_EXIT_OTHER] = "other",
};

static const char *const end_names[] = {
	[VCPU_END_SHUTDOWN] = "triple fault",
	[VCPU_END_POWER_OFF] = "power-off",
	[VCPU_END_RESET] = "reset",
	[VCPU_END_CRASH] = "guest crash",
	[VCPU_END_CANNOT_RUN] = "KVM cannot run the guest",
	[VCPU_END_HOST_FAILURE] = "host failure",
};

const char *vcpu_exit_name(enum vcpu_exit exit)
{
	return exit_names[exit];
}

const char *vcpu_end_name(enum vcpu_end_reason reason)
{
	return end_names[reason];
}

/* ---- the kick ---- */

static void ignore_signal(int number)
{
	(void)number;
}

static void install_handler(void)
{
	struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};

	sigaction(SIGRTMIN, &action, NULL);
}

/* Threads start with all signals blocked; this one wants its kicks. */
static void accept_kicks(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigset_t kick;

	pthread_once(&once, install_handler);
	sigemptyset(&kick);
	sigaddset(&kick, SIGRTMIN);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void set_immediate_exit(struct vcpu *vcpu, uint8_t value)
{
	__atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

/* Steps 1 to 3 of the opening comment. */
static void request(struct vcpu *vcpu, enum vcpu_request bit)
{
	atomic_fetch_or(&vcpu->requests, bit);
	set_immediate_exit(vcpu, 1);
	pthread_mutex_lock(&vcpu->lock);
	/* The lock keeps the thread from being joined, and so its id from being used again. */
	if (vcpu->has_thread && vcpu->state != VCPU_STATE_ENDED)
		pthread_kill(vcpu->thread, SIGRTMIN);
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
}

/* ---- exits ---- */

static void count(struct vcpu *vcpu, enum vcpu_exit exit)
{
	counter_add(&vcpu->counters.exits[exit], 1);
}

static void access_bus(struct vcpu *vcpu, enum exit_bus_space space, uint64_t address, void *data,
	unsigned length, bool write)
{
	bool claimed =
		write ? exit_bus_write(vcpu->bus, &vcpu->cursor, space, address, data, length)
		      : exit_bus_read(vcpu->bus, &vcpu->cursor, space, address, data, length);

	if (likely(claimed))
		return;
	counter_add(write ? &vcpu->counters.unclaimed_writes : &vcpu->counters.unclaimed_reads, 1);
	log_debug("vCPU %u: unclaimed %s of %u bytes, %s 0x%llx", vcpu->index,
		write ? "write" : "read", length, space == EXIT_BUS_PORT ? "port" : "address",
		(unsigned long long)address);
}

/* A string instruction hands over several elements at once, all for the same port. */
static void handle_port(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	char *data = (char *)vcpu->run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	unsigned size = run->io.size, elements = run->io.count;

	count(vcpu, write ? VCPU_EXIT_PORT_WRITE : VCPU_EXIT_PORT_READ);
	for (unsigned i = 0; i < elements; i++)
		access_bus(vcpu, EXIT_BUS_PORT, run->io.port, data + (size_t)i * size, size, write);
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned length = min_of(run->mmio.len, (uint32_t)sizeof(run->mmio.data));

	count(vcpu, run->mmio.is_write ? VCPU_EXIT_MMIO_WRITE : VCPU_EXIT_MMIO_READ);
	access_bus(vcpu, EXIT_BUS_MMIO, run->mmio.phys_addr, run->mmio.data, length,
		run->mmio.is_write);
}

static enum step handle_system_event(struct vcpu *vcpu, struct vcpu_end *ret_end)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		ret_end->reason = VCPU_END_POWER_OFF;
		return STEP_END;
	case KVM_SYSTEM_EVENT_RESET:
		ret_end->reason = VCPU_END_RESET;
		return STEP_END;
	case KVM_SYSTEM_EVENT_CRASH:
		ret_end->reason = VCPU_END_CRASH;
		return STEP_END;
	default:
		return STEP_GO_ON; /* wake-ups and suspends ask for nothing */
	}
}

static enum step handle_rare_exit(struct vcpu *vcpu, struct vcpu_end *ret_end)
{
	count(vcpu, VCPU_EXIT_OTHER);
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		vcpu_diagnose_shutdown(vcpu);
		ret_end->reason = VCPU_END_SHUTDOWN;
		return STEP_END;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(vcpu, ret_end);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return STEP_GO_ON;
	default:
		vcpu_diagnose_exit(vcpu, ret_end);
		return STEP_END;
	}
}

static enum step run_once(struct vcpu *vcpu, struct vcpu_end *ret_end)
{
	if (unlikely(ioctl(vcpu->fd, KVM_RUN, 0))) {
		int code = -errno;

		/* EAGAIN: a waiting CPU has been woken by INIT or SIPI. */
		if (code == -EINTR || code == -EAGAIN) {
			count(vcpu, VCPU_EXIT_INTERRUPTED);
			return STEP_INTERRUPTED;
		}
		count(vcpu, VCPU_EXIT_OTHER);
		vcpu_diagnose_failure(vcpu, code, ret_end);
		return STEP_END;
	}
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		handle_port(vcpu);
		return STEP_GO_ON;
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		return STEP_GO_ON;
	default:
		return handle_rare_exit(vcpu, ret_end);
	}
}

/* ---- the thread ---- */

static void set_state(struct vcpu *vcpu, enum vcpu_state state)
{
	pthread_mutex_lock(&vcpu->lock);
	vcpu->state = state;
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
}

static void wait_for_resume(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	vcpu->state = VCPU_STATE_PAUSED;
	pthread_cond_broadcast(&vcpu->changed);
	while (atomic_load(&vcpu->requests) == VCPU_REQUEST_PAUSE)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	vcpu->state = VCPU_STATE_RUNNING;
	pthread_mutex_unlock(&vcpu->lock);
}

/* Finishes the I/O instruction that is under way; accesses over two pages take several rounds. */
static enum step finish_instruction(struct vcpu *vcpu, struct vcpu_end *ret_end)
{
	enum step step;

	do {
		set_immediate_exit(vcpu, 1);
		step = run_once(vcpu, ret_end);
	} while (step == STEP_GO_ON);
	return step;
}

static enum step obey(struct vcpu *vcpu, unsigned requests, struct vcpu_end *ret_end)
{
	if (requests & VCPU_REQUEST_STOP)
		return STEP_STOP;
	if (finish_instruction(vcpu, ret_end) == STEP_END)
		return STEP_END;
	wait_for_resume(vcpu);
	return STEP_GO_ON;
}

/* True where the guest is over by itself, and *ret_end says why; false after a stop request. */
static bool run_guest(struct vcpu *vcpu, struct vcpu_end *ret_end)
{
	for (;;) {
		enum step step;
		unsigned requests;

		set_immediate_exit(vcpu, 0);             /* (a) */
		requests = atomic_load(&vcpu->requests); /* (b) */
		if (unlikely(requests))
			step = obey(vcpu, requests, ret_end);
		else
			step = run_once(vcpu, ret_end); /* (c) */
		if (step == STEP_STOP || step == STEP_END)
			return step == STEP_END;
	}
}

static void *vcpu_thread(void *argument)
{
	struct vcpu *vcpu = argument;
	struct vcpu_end end = {.index = vcpu->index};

	accept_kicks();
	if (run_guest(vcpu, &end))
		vcpu->ended(vcpu->ended_context, &end);
	set_state(vcpu, VCPU_STATE_ENDED);
	return NULL;
}

/* ---- life ---- */

static int create_in_kernel(
	struct vcpu *vcpu, const struct vcpu_options *options, struct error *error)
{
	const struct kvm *kvm = options->kvm;
	int size = ioctl(kvm_device_fd(kvm), KVM_GET_VCPU_MMAP_SIZE, 0);
	int code;

	vcpu->fd = ioctl(kvm_vm_fd(kvm), KVM_CREATE_VCPU, (unsigned long)options->index);
	if (vcpu->fd < 0) {
		code = -errno;
		return error_set(error, code, "--cpus: KVM cannot create vCPU %u: %s",
			options->index, strerror(-code));
	}
	if (size < (int)sizeof(*vcpu->run))
		return error_set(error, -EPROTO, "KVM's vCPU page has an odd size: %d", size);
	vcpu->run_size = (size_t)size;
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	code = -errno;
	if (vcpu->run == MAP_FAILED)
		return error_set(
			error, code, "cannot map vCPU %u: %s", options->index, strerror(-code));
	vcpu_stats_init(vcpu);
	if (!ioctl(vcpu->fd, KVM_SET_CPUID2, options->cpuid))
		return vcpu_state_init(vcpu, error);
	code = -errno;
	return error_set(error, code, "KVM refuses the CPUID table of vCPU %u: %s", options->index,
		strerror(-code));
}

static void cleanup_vcpu(struct vcpu **vcpu)
{
	vcpu_destroy(*vcpu);
}

int vcpu_create(const struct vcpu_options *options, struct vcpu **ret_vcpu, struct error *error)
{
	auto_call(cleanup_vcpu) struct vcpu *vcpu = aligned_alloc(CACHE_LINE, sizeof(*vcpu));
	int result;

	if (!vcpu)
		return -ENOMEM;
	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->index = options->index;
	vcpu->cpu = options->cpu;
	vcpu->fd = -1;
	vcpu->stats_fd = -1;
	vcpu->run = MAP_FAILED;
	vcpu->kvm = options->kvm;
	vcpu->bus = options->bus;
	vcpu->memory = options->memory;
	vcpu->ended = options->ended;
	vcpu->ended_context = options->ended_context;
	pthread_mutex_init(&vcpu->lock, NULL);
	pthread_cond_init(&vcpu->changed, NULL);
	result = create_in_kernel(vcpu, options, error);
	if (result)
		return result;
	*ret_vcpu = take_pointer(vcpu);
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (!vcpu)
		return;
	if (vcpu->has_thread) {
		vcpu_request_stop(vcpu);
		vcpu_join(vcpu);
	}
	if (vcpu->run != MAP_FAILED)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->stats_fd >= 0)
		close(vcpu->stats_fd);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	pthread_cond_destroy(&vcpu->changed);
	pthread_mutex_destroy(&vcpu->lock);
	free(vcpu);
}

int vcpu_start(struct vcpu *vcpu, struct error *error)
{
	char name[16];
	int result;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	/* Held over the start: a request finds either no thread or one that it can signal. */
	pthread_mutex_lock(&vcpu->lock);
	result = vcpu->state == VCPU_STATE_CREATED
	                 ? thread_start(&vcpu->thread, name, vcpu->cpu, vcpu_thread, vcpu)
	                 : -EALREADY;
	if (!result) {
		vcpu->has_thread = true;
		vcpu->state = VCPU_STATE_RUNNING;
	}
	pthread_mutex_unlock(&vcpu->lock);
	return result ? error_set(error, result, "cannot start the thread of vCPU %u: %s",
				vcpu->index, strerror(-result))
	              : 0;
}

/* ---- requests ---- */

void vcpu_request_stop(struct vcpu *vcpu)
{
	request(vcpu, VCPU_REQUEST_STOP);
}

void vcpu_join(struct vcpu *vcpu)
{
	bool joinable;

	pthread_mutex_lock(&vcpu->lock);
	joinable = vcpu->has_thread;
	while (joinable && vcpu->state != VCPU_STATE_ENDED)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	vcpu->has_thread = false;
	pthread_mutex_unlock(&vcpu->lock);
	if (joinable)
		pthread_join(vcpu->thread, NULL);
}

void vcpu_request_pause(struct vcpu *vcpu)
{
	request(vcpu, VCPU_REQUEST_PAUSE);
}

bool vcpu_wait_paused(struct vcpu *vcpu)
{
	bool ended;

	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->state == VCPU_STATE_RUNNING)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	ended = vcpu->state == VCPU_STATE_ENDED;
	pthread_mutex_unlock(&vcpu->lock);
	return !ended;
}

void vcpu_resume(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	atomic_fetch_and(&vcpu->requests, ~(unsigned)VCPU_REQUEST_PAUSE);
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
}

const struct vcpu_counters *vcpu_counters(const struct vcpu *vcpu)
{
	return &vcpu->counters;
}

int vcpu_fd(const struct vcpu *vcpu)
{
	return vcpu->fd;
}
