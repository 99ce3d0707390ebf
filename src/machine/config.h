/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine is made of, as the command line (or any other front end) describes it. Plain
 * data: every string and array belongs to whoever filled the struct in and outlives the machine.
 */
#pragma once

#include "io/blk_device.h"
#include "memory/guest_memory.h"
#include "net/net_config.h"
#include "vcpu/kvm.h"

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_DISKS_MAX 64
#define MACHINE_NICS_MAX  64

/* CPUs that threads are pinned to: thread i runs on cpus[i % count]; count 0: not pinned. */
struct machine_cpus {
	int *cpus;
	unsigned count;
};

struct machine_disk {
	struct blk_config blk;
	unsigned workers;         /* of its own; 0: the machine's shared ones */
	struct machine_cpus pins; /* of its own workers */
};

struct machine_config {
	const char *kvm_path;
	unsigned cpus;
	struct kvm_knobs knobs;
	uint64_t memory_size; /* bytes */
	struct guest_memory_options memory;
	const char *kernel;
	const char *initrd; /* NULL: none */
	const char *cmdline;
	const char *report_path; /* NULL: COM2 is discarded */
	unsigned workers;        /* shared I/O workers; 0: one a queue, as many as host CPUs */
	struct machine_cpus vcpu_pins;
	struct machine_cpus io_pins;
	unsigned disk_count;
	struct machine_disk disks[MACHINE_DISKS_MAX];
	unsigned nic_count;
	struct net_config nics[MACHINE_NICS_MAX];
};
