/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared workers are made only where some device uses them: one for each queue that the widest
 * such device has, but no more than the host has CPUs, so that every queue of every device gets a
 * worker of its own where there is a CPU for it.
 */
#include "machine/devices.h"

#include "io/blk_device.h"
#include "machine/config.h"
#include "net/net_device.h"
#include "util/checked.h"
#include "util/cpulist.h"
#include "util/error.h"
#include "util/evloop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

static unsigned shared_worker_count(const struct machine_config *config)
{
	unsigned queues = 0;

	for (unsigned i = 0; i < config->disk_count; i++) {
		if (!config->disks[i].workers)
			queues = max_of(queues, config->disks[i].blk.queues);
	}
	for (unsigned i = 0; i < config->nic_count; i++)
		queues = max_of(queues, config->nics[i].queues);
	if (queues && config->workers)
		return config->workers;
	return min_of(queues, cpulist_available());
}

static int create_disk(struct devices *devices, const struct machine_config *config,
	const struct guest_memory *memory, unsigned index, struct error *error)
{
	const struct machine_disk *disk = &config->disks[index];
	struct worker_pool *pool = &devices->shared;
	struct blk_config blk = disk->blk;
	char name[16], worker_name[16];
	int result;

	snprintf(name, sizeof(name), "disk%u", index);
	if (disk->workers) {
		snprintf(worker_name, sizeof(worker_name), "io-d%u-", index);
		pool = &devices->disk_pools[index];
		result = worker_pool_init(pool, worker_name, disk->workers, &disk->pins, error);
		if (result)
			return result;
	}
	blk.name = name;
	result = blk_device_create(
		&blk, memory, pool->workers, pool->count, &devices->disks[index], error);
	if (result)
		return result;
	devices->disk_count++;
	devices->virtio[devices->virtio_count++] = blk_device_virtio(devices->disks[index]);
	return 0;
}

static void link_event(void *context, uint32_t events)
{
	(void)events;
	net_device_link_event(context);
}

static int create_nic(struct devices *devices, const struct machine_config *config,
	const struct guest_memory *memory, unsigned index, struct error *error)
{
	struct net_device *nic;
	char name[16];
	int result;

	snprintf(name, sizeof(name), "net%u", index);
	result = net_device_create(&config->nics[index], name, memory, devices->shared.workers,
		devices->shared.count, &nic, error);
	if (result)
		return result;
	devices->nics[devices->nic_count++] = nic;
	devices->virtio[devices->virtio_count++] = net_device_virtio(nic);
	if (net_device_link_fd(nic) < 0)
		return 0;
	return evloop_add(devices->loop, net_device_link_fd(nic), EPOLLIN, link_event, nic);
}

static int create_all(struct devices *devices, const struct machine_config *config,
	const struct guest_memory *memory, struct error *error)
{
	unsigned workers = shared_worker_count(config);
	int result = 0;

	if (workers)
		result = worker_pool_init(&devices->shared, "io", workers, &config->io_pins, error);
	for (unsigned i = 0; i < config->disk_count && !result; i++)
		result = create_disk(devices, config, memory, i, error);
	for (unsigned i = 0; i < config->nic_count && !result; i++)
		result = create_nic(devices, config, memory, i, error);
	return result;
}

int devices_init(struct devices *devices, const struct machine_config *config,
	const struct guest_memory *memory, struct evloop *loop, struct error *error)
{
	unsigned disks = config->disk_count, nics = config->nic_count;
	int result = -ENOMEM;

	*devices = (struct devices){
		.loop = loop,
		.disk_pool_count = disks,
		.disk_pools = calloc(disks + 1, sizeof(struct worker_pool)),
		.disks = calloc(disks + 1, sizeof(struct blk_device *)),
		.nics = calloc(nics + 1, sizeof(struct net_device *)),
		.virtio = calloc(disks + nics + 1, sizeof(struct virtio_device *)),
	};
	if (devices->disk_pools && devices->disks && devices->nics && devices->virtio)
		result = create_all(devices, config, memory, error);
	if (result)
		devices_deinit(devices);
	return result;
}

static void destroy_nics(struct devices *devices)
{
	while (devices->nic_count) {
		struct net_device *nic = devices->nics[--devices->nic_count];

		evloop_remove(devices->loop, net_device_link_fd(nic));
		net_device_destroy(nic);
	}
}

void devices_deinit(struct devices *devices)
{
	destroy_nics(devices);
	while (devices->disk_count)
		blk_device_destroy(devices->disks[--devices->disk_count]);
	while (devices->disk_pools && devices->disk_pool_count)
		worker_pool_deinit(&devices->disk_pools[--devices->disk_pool_count]);
	worker_pool_deinit(&devices->shared);
	free(devices->disk_pools);
	free(devices->disks);
	free(devices->nics);
	free(devices->virtio);
	*devices = (struct devices){0};
}
