/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport's locks under fire, meant for the thread sanitizer: one vCPU brings the device up
 * and resets it over and over, a second masks vectors, reads pending bits, kicks through user space
 * and reads every register, a third switches decoding and MSI-X off and on in configuration space
 * (under a lock that stands for the host bridge's); a worker serves the queues meanwhile, and
 * another thread reports configuration changes.
 *
 * What must hold: queue_start() and queue_stop() alternate, no queue is started twice or served
 * after its stop, all threads end, and nothing is left attached. The mock controllers abort on any
 * imbalance. The BAR's layout is known here; test_transport.c finds it as a driver does.
 */
#include "pci/pci_function.h"
#include "support/mock_controllers.h"
#include "support/mock_driver.h"
#include "util/checked.h"
#include "util/fd.h"
#include "util/log.h"
#include "virtio/device.h"
#include "virtio/pci_transport.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES     2u
#define ROUNDS     2000u
#define NOTIFY     0x3000u
#define TABLE      0x4000u
#define PBA        0x5000u
#define BAR        0xc0000000u
#define QUEUE_SIZE 8

struct world {
	struct mock_guest guest;
	struct virtio_device device;
	struct mock_msi msi;
	struct mock_doorbells doorbells;
	struct virtio_pci *transport;
	struct pci_function *function;
	pthread_mutex_t bridge;
	pthread_mutex_t worker; /* the hand-over between queue_start/stop and the worker */
	bool owned[QUEUES];     /* under it: the worker has the queue */
	unsigned starts[QUEUES];
	struct virtqueue_layout layouts[QUEUES];
	atomic_bool stop;
};

static struct world world;

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s\n", what);
	exit(1);
}

/* ---- a device type ---- */

static void config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	(void)device, (void)offset;
	memset(data, 0x5a, length);
}

static void config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	(void)device, (void)offset, (void)data, (void)length;
}

static int queue_start(struct virtio_device *device, unsigned index)
{
	(void)device;
	pthread_mutex_lock(&world.worker);
	require(!world.owned[index], "a queue is started twice");
	world.owned[index] = true;
	world.starts[index]++;
	pthread_mutex_unlock(&world.worker);
	return 0;
}

static void queue_stop(struct virtio_device *device, unsigned index)
{
	(void)device;
	pthread_mutex_lock(&world.worker);
	require(world.owned[index], "a queue is stopped that does not run");
	world.owned[index] = false;
	pthread_mutex_unlock(&world.worker);
}

static const struct virtio_device_ops ops = {
	.config_read = config_read,
	.config_write = config_write,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

/* ---- accesses ---- */

static uint64_t load(uint32_t offset, unsigned length)
{
	uint64_t value = 0;

	world.function->ops->bar_read(world.function, 0, offset, &value, length);
	return value;
}

static void store(uint32_t offset, unsigned length, uint64_t value)
{
	world.function->ops->bar_write(world.function, 0, offset, &value, length);
}

static void store_config(uint32_t offset, unsigned length, uint32_t value)
{
	pthread_mutex_lock(&world.bridge);
	pci_function_config_write(world.function, offset, length, value);
	pthread_mutex_unlock(&world.bridge);
}

static uint32_t find_msix(void)
{
	uint32_t at = pci_function_config_read(world.function, PCI_CAPABILITY_LIST, 1);

	while (pci_function_config_read(world.function, at, 1) != PCI_CAP_ID_MSIX)
		at = pci_function_config_read(world.function, at + 1, 1);
	return at;
}

/* ---- threads ---- */

static void bring_up(void)
{
	store(VIRTIO_PCI_COMMON_STATUS, 1, 3);
	store(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	store(VIRTIO_PCI_COMMON_GF, 4,
		1u << (VIRTIO_F_VERSION_1 - 32) | 1u << (VIRTIO_F_RING_RESET - 32));
	store(VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
	store(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		store(VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		store(VIRTIO_PCI_COMMON_Q_SIZE, 2, QUEUE_SIZE);
		store(VIRTIO_PCI_COMMON_Q_DESCLO, 8, world.layouts[i].desc_gpa);
		store(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, world.layouts[i].driver_gpa);
		store(VIRTIO_PCI_COMMON_Q_USEDLO, 8, world.layouts[i].device_gpa);
		store(VIRTIO_PCI_COMMON_Q_MSIX, 2, i + 1);
		store(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	}
	store(VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
	require(load(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_STATUS_DRIVER_OK, "not brought up");
}

static void *resetting_vcpu(void *unused)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		bring_up();
		if (i % 3 == 0)
			store(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
		store(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	}
	atomic_store(&world.stop, true);
	return unused;
}

static void *busy_vcpu(void *unused)
{
	/* At least once for each queue, however late this thread comes. */
	for (uint32_t i = 0; i < QUEUES || !atomic_load(&world.stop); i++) {
		store(TABLE + 16 * (i % (QUEUES + 1)) + 12, 4, i / 3 % 2);
		store(TABLE + 16 * (i % (QUEUES + 1)) + 8, 4, 0x40 + i % 7);
		load(PBA, 8);
		store(NOTIFY + 4 * (i % QUEUES), 2, 0);
		load(i % 64, 4);
		load(0x2000, 4);
		load(0x1000, 1);
	}
	return unused;
}

static void *configuring_vcpu(void *unused)
{
	uint32_t control = find_msix() + PCI_MSIX_FLAGS;

	for (uint32_t i = 0; !atomic_load(&world.stop); i++) {
		store_config(control, 2, i % 4 ? PCI_MSIX_FLAGS_ENABLE : 0);
		store_config(PCI_COMMAND, 2, i % 5 ? PCI_COMMAND_MEMORY : 0);
		store_config(PCI_BASE_ADDRESS_0, 4, BAR + i % 2 * VIRTIO_PCI_BAR_SIZE);
	}
	return unused;
}

static void *worker(void *unused)
{
	while (!atomic_load(&world.stop)) {
		pthread_mutex_lock(&world.worker);
		for (unsigned i = 0; i < QUEUES; i++) {
			struct virtqueue *queue = &world.device.queues[i].virtqueue;

			if (world.owned[i])
				require(!virtqueue_rearm(queue), "an empty ring has work");
			fd_drain(world.device.queues[i].kick_fd);
			fd_signal(world.device.queues[i].call_fd);
		}
		pthread_mutex_unlock(&world.worker);
	}
	return unused;
}

static void *reporter(void *unused)
{
	for (unsigned i = 0; !atomic_load(&world.stop); i++) {
		virtio_device_config_changed(&world.device);
		(void)virtio_device_live(&world.device);
		(void)virtio_pci_notify_exits(world.transport, i % QUEUES);
	}
	return unused;
}

static void set_up(struct mock_queue **rings)
{
	const struct mock_queue_options options = {.size = QUEUE_SIZE};

	log_set_level(LOG_ERROR);
	mock_guest_init(&world.guest, 1 << 16);
	mock_msi_init(&world.msi);
	mock_doorbells_init(&world.doorbells);
	pthread_mutex_init(&world.bridge, NULL);
	pthread_mutex_init(&world.worker, NULL);
	for (unsigned i = 0; i < QUEUES; i++) {
		rings[i] = mock_queue_create(&world.guest, &options);
		world.layouts[i] = *mock_queue_layout(rings[i]);
	}
	require(!virtio_device_init(&world.device, &ops, world.guest.memory, VIRTIO_ID_BLOCK,
			"race", QUEUES, QUEUE_SIZE, 0),
		"no device");
	require(!virtio_pci_create(&world.device, &world.msi.controller,
			&world.doorbells.controller, &world.transport),
		"no transport");
	world.function = virtio_pci_function(world.transport);
	pci_function_place_bar(world.function, VIRTIO_PCI_BAR, BAR);
}

static void tear_down(struct mock_queue **rings)
{
	virtio_pci_destroy(world.transport);
	mock_msi_deinit(&world.msi);
	mock_doorbells_deinit(&world.doorbells);
	virtio_device_deinit(&world.device);
	for (unsigned i = 0; i < QUEUES; i++)
		mock_queue_destroy(rings[i]);
	mock_guest_deinit(&world.guest);
}

int main(void)
{
	static void *(*const functions[])(void *) = {
		resetting_vcpu, busy_vcpu, configuring_vcpu, worker, reporter};
	pthread_t threads[ARRAY_SIZE(functions)];
	struct mock_queue *rings[QUEUES];

	set_up(rings);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		require(!pthread_create(&threads[i], NULL, functions[i], NULL), "no thread");
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < QUEUES; i++) {
		require(world.starts[i] == ROUNDS, "a queue was not started each time");
		require(!world.owned[i], "a queue still runs");
		require(virtio_pci_notify_exits(world.transport, i) > 0, "no kick came through");
	}
	tear_down(rings);
	printf("%u bring-ups and resets\n", ROUNDS);
	return 0;
}
