/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest's register accesses to a virtio PCI function: configuration space, every
 * structure of the BAR, the MSI-X table, and now and then a worker's turn, an interrupt, a failing
 * controller. The mock controllers abort on anything attached twice, detached without being
 * attached or left behind; the sanitizers watch the rest; at the end everything must be gone.
 */
#include "fuzz_input.h"
#include "pci/pci_function.h"
#include "support/mock_controllers.h"
#include "support/mock_driver.h"
#include "util/checked.h"
#include "util/fd.h"
#include "util/log.h"
#include "virtio/device.h"
#include "virtio/pci_transport.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <string.h>

#define QUEUES     3u
#define QUEUE_SIZE 16u
#define RAM_BYTES  0x4000u
#define STEPS_MAX  2048u
#define BATCH      8u
#define CONFIG     16u

struct world {
	struct mock_guest guest; /* made once */
	struct virtio_device device;
	struct mock_msi msi;
	struct mock_doorbells doorbells;
	struct virtio_pci *transport;
	struct pci_function *function;
	bool running[QUEUES];
	uint8_t config[CONFIG];
};

static struct world world;

/* ---- a device type ---- */

static void config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	(void)device;
	for (uint32_t i = 0; i < length; i++)
		((uint8_t *)data)[i] = offset + i < CONFIG ? world.config[offset + i] : 0;
}

static void config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	(void)device;
	if (range_within(offset, length, CONFIG))
		memcpy(&world.config[offset], data, length);
}

static int queue_start(struct virtio_device *device, unsigned index)
{
	fuzz_require(index < QUEUES && !world.running[index]);
	fuzz_require(virtio_device_live(device));
	fuzz_require(device->queues[index].size <= QUEUE_SIZE);
	world.running[index] = true;
	return 0;
}

static void queue_stop(struct virtio_device *device, unsigned index)
{
	(void)device;
	fuzz_require(index < QUEUES && world.running[index]);
	world.running[index] = false;
}

static void reset(struct virtio_device *device)
{
	(void)device;
	for (unsigned i = 0; i < QUEUES; i++)
		fuzz_require(!world.running[i]);
}

static const struct virtio_device_ops ops = {
	.config_read = config_read,
	.config_write = config_write,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.reset = reset,
};

/* A worker's turn on every running queue. */
static void serve(void)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		struct virtqueue *queue = &world.device.queues[i].virtqueue;
		struct virtqueue_entry entries[BATCH];
		int count = world.running[i] ? virtqueue_pop_batch(queue, entries, BATCH) : 0;

		if (count == -EPROTO)
			virtio_device_fail(&world.device, "queue %u broken", i);
		for (int j = 0; j < count; j++) {
			struct iovec iov[4];
			struct virtqueue_chain chain = {.iov = iov, .capacity = 4};

			virtqueue_load_chain(queue, &entries[j], &chain);
			virtqueue_push(queue, &entries[j], 0);
		}
		if (virtqueue_publish(queue) && virtqueue_need_interrupt(queue))
			fd_signal(world.device.queues[i].call_fd);
	}
}

/* ---- construction ---- */

static void set_up(void)
{
	if (!world.guest.memory) {
		mock_guest_init(&world.guest, RAM_BYTES);
		log_set_level(LOG_ERROR);
	}
	memset(mock_guest_pointer(&world.guest, MOCK_GUEST_BASE, RAM_BYTES), 0, RAM_BYTES);
	memset(world.running, 0, sizeof(world.running));
	memset(world.config, 0x11, sizeof(world.config));
	mock_msi_init(&world.msi);
	mock_doorbells_init(&world.doorbells);
	fuzz_require(!virtio_device_init(&world.device, &ops, world.guest.memory, VIRTIO_ID_NET,
		"fuzz", QUEUES, QUEUE_SIZE, 1ull << VIRTIO_F_RING_PACKED));
	fuzz_require(!virtio_pci_create(&world.device, &world.msi.controller,
		&world.doorbells.controller, &world.transport));
	world.function = virtio_pci_function(world.transport);
	pci_function_place_bar(world.function, VIRTIO_PCI_BAR, 0xc0000000);
}

static void tear_down(void)
{
	virtio_pci_destroy(world.transport);
	for (unsigned i = 0; i < QUEUES; i++)
		fuzz_require(!world.running[i]);
	mock_msi_deinit(&world.msi);
	mock_doorbells_deinit(&world.doorbells);
	virtio_device_deinit(&world.device);
}

/* ---- steps ---- */

/* Every doorbell lies in the BAR where it is decoded now, and belongs to an enabled queue. */
static void check_doorbells(void)
{
	const struct pci_bar *bar = &world.function->bars[VIRTIO_PCI_BAR];

	fuzz_require(!world.doorbells.count || bar->mapped);
	for (unsigned i = 0; i < world.doorbells.count; i++)
		fuzz_require(range_within(
			world.doorbells.attached[i].gpa - bar->address, 4, VIRTIO_PCI_BAR_SIZE));
}

static void bar_access(struct fuzz_input *input, bool write)
{
	unsigned length = 1u << fuzz_take(input, 1) % 4;
	uint64_t offset = fuzz_take(input, 2) % (VIRTIO_PCI_BAR_SIZE - 8);
	uint64_t value = 0;

	if (write) {
		value = fuzz_take(input, length);
		world.function->ops->bar_write(world.function, 0, offset, &value, length);
	} else {
		world.function->ops->bar_read(world.function, 0, offset, &value, length);
	}
}

static void config_access(struct fuzz_input *input, bool write)
{
	unsigned length = 1u << fuzz_take(input, 1) % 3;
	uint32_t offset = (uint32_t)fuzz_take(input, 1);

	if (write)
		pci_function_config_write(
			world.function, offset, length, (uint32_t)fuzz_take(input, length));
	else
		pci_function_config_read(world.function, offset, length);
}

/* Puts a queue where RAM is, as a driver would; the ring's content is the fuzzer's. */
static void place_queue(struct fuzz_input *input)
{
	uint8_t choice = (uint8_t)fuzz_take(input, 1);
	unsigned queue = choice % QUEUES;

	virtio_device_queue_set_size(&world.device, queue, 1u << (choice >> 2) % 5);
	virtio_device_queue_set_addresses(&world.device, queue, MOCK_GUEST_BASE + queue * 0x1000,
		MOCK_GUEST_BASE + queue * 0x1000 + 0x400, MOCK_GUEST_BASE + queue * 0x1000 + 0x800);
}

static void write_ram(struct fuzz_input *input)
{
	uint32_t offset = (uint32_t)fuzz_take(input, 2) % (RAM_BYTES - 8);
	uint64_t value = fuzz_take(input, 8);

	memcpy(mock_guest_pointer(&world.guest, MOCK_GUEST_BASE + offset, 8), &value, 8);
}

static void controllers(struct fuzz_input *input)
{
	uint8_t faults = (uint8_t)fuzz_take(input, 1);

	world.msi.allocate_fault = faults & 1 ? -ENOSPC : 0;
	world.msi.update_fault = faults & 2 ? -EINVAL : 0;
	world.msi.attach_fault = faults & 4 ? -EBUSY : 0;
	world.doorbells.attach_fault = faults & 8 ? -ENOSPC : 0;
}

static void step(struct fuzz_input *input)
{
	switch (fuzz_take(input, 1) % 11) {
	case 0:
		config_access(input, false);
		break;
	case 1:
		config_access(input, true);
		break;
	case 2:
		bar_access(input, false);
		break;
	case 3:
	case 4:
		bar_access(input, true);
		break;
	case 5:
		place_queue(input);
		break;
	case 6:
		write_ram(input);
		break;
	case 7:
		serve();
		break;
	case 8:
		fd_signal(world.device.queues[fuzz_take(input, 1) % QUEUES].call_fd);
		break;
	case 9:
		virtio_device_config_changed(&world.device);
		mock_msi_deliver(&world.msi);
		break;
	default:
		controllers(input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .size = size};

	set_up();
	for (unsigned i = 0; fuzz_more(&input) && i < STEPS_MAX; i++) {
		step(&input);
		check_doorbells();
	}
	tear_down();
	return 0;
}
