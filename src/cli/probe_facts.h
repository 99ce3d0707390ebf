/* SPDX-License-Identifier: Apache-2.0 */
/* What `fastvmm probe` finds out, and what it concludes. */
#pragma once

#include "io/ring.h"
#include "util/error.h"
#include "vcpu/kvm.h"

#include <stdbool.h>
#include <stdint.h>

struct kvm_cpuid2;

/* Exit statuses of the command. */
enum probe_level {
	PROBE_RUNS_LINUX = 0, /* stock Linux guests run directly */
	PROBE_RUNS_NOTHING = 1,
	PROBE_RUNS_BARE = 2, /* guests of one's own, but no stock kernel */
};

/* The bits of enum net_offload by name. */
struct probe_offload {
	uint32_t bit;
	const char *name;
};

#define PROBE_OFFLOADS 5
extern const struct probe_offload probe_offloads[PROBE_OFFLOADS];

/* Tried out in a network namespace that is thrown away. */
struct probe_network {
	int namespace_error; /* negative errno: nothing could be tried */
	int tap_error;       /* 0: a tap with two queues was made */
	char tap_text[160];  /* why not */
	uint32_t offloads;   /* set of enum net_offload */
	int bridge_error;
};

/* Pages of one size: those in the pool, and those not taken. */
struct probe_pages {
	uint64_t total, free;
};

struct probe_host {
	char kernel[128];                        /* "6.1.0-56-amd64" */
	char processor[128];                     /* its name */
	unsigned cpus;                           /* that this process may use */
	uint64_t memory_total, memory_available; /* bytes */
	struct probe_pages huge_2m;
	char thp[16]; /* huge pages for guest RAM: "madvise", ...; "": the kernel has none */
	uint64_t memlock, nofile; /* hard limits; UINT64_MAX: none */
	bool net_admin;           /* CAP_NET_ADMIN: may make taps and bridges */
	int tun_error;            /* opening /dev/net/tun: 0 or negative errno */
	int vhost_net_error;      /* the same for /dev/vhost-net */
	struct probe_network network;
};

/* Owns kvm and cpuid. */
struct probe_facts {
	const char *kvm_path;
	struct kvm *kvm; /* NULL: cannot be opened */
	int kvm_result;  /* of opening it, checking it and making a virtual machine */
	struct error kvm_error;
	struct kvm_evidence evidence;
	unsigned vcpus;           /* that cpuid is for */
	struct kvm_cpuid2 *cpuid; /* of vCPU 0; NULL: not available */
	struct ring_features ring;
	struct probe_host host;
};

/* Gathers everything but KVM and io_uring. Before the process has threads. */
void probe_host_gather(struct probe_host *ret_host);

struct probe_verdict {
	enum probe_level level;
	char text[768]; /* one sentence or two: what runs, or why not and what to do */
};

/* What the verdict depends on. */
struct probe_question {
	int kvm_result;
	const char *kvm_text;
	enum kvm_kind kind; /* where kvm_result is 0 */
	int ring_result;
};

/* Pure. */
void probe_judge(const struct probe_question *question, struct probe_verdict *ret_verdict);

/* The report on standard output. */
void probe_print_text(const struct probe_facts *facts, const struct probe_verdict *verdict);
int probe_print_json(const struct probe_facts *facts, const struct probe_verdict *verdict);
