/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks and NICs of a machine and the workers that serve them. They live as long as the
 * machine: a reboot keeps images open and locked and taps in place. Main thread.
 */
#pragma once

#include "machine/workers.h"

#include <stddef.h>

struct blk_device;
struct error;
struct evloop;
struct guest_memory;
struct machine_config;
struct net_device;
struct virtio_device;

struct devices {
	struct evloop *loop;
	struct worker_pool shared;
	struct worker_pool *disk_pools; /* one a disk, empty where it uses the shared workers */
	unsigned disk_pool_count;
	struct blk_device **disks;
	unsigned disk_count;
	struct net_device **nics;
	unsigned nic_count;
	struct virtio_device **virtio; /* disks, then NICs: the order on the PCI bus */
	size_t virtio_count;
};

/*
 * Starts workers, opens disks, sets taps up. @config, @memory and @loop outlive the object.
 * Returns 0; or negative errno, explained in @error, with nothing left behind.
 */
int devices_init(struct devices *devices, const struct machine_config *config,
	const struct guest_memory *memory, struct evloop *loop, struct error *error);

/* The transports are gone by now. Accepts a zeroed object. */
void devices_deinit(struct devices *devices);
