/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One BAR, a page for each structure, so that a hypervisor may treat each page by itself:
 *
 *   0x0000 common configuration    0x3000 notifications: queue i's doorbell at 4 * i
 *   0x1000 ISR status              0x4000 MSI-X table
 *   0x2000 device configuration    0x5000 MSI-X pending bits
 *
 * A queue's doorbell is attached while the queue is enabled and the BAR is mapped. Not earlier,
 * because each attachment costs the kernel a moment, a device may offer a hundred queues that a
 * driver never uses, and firmware and kernels switch decoding off and on as they probe. A write
 * that reaches user space all the same (the kernel refused the doorbell) kicks just as well, and is
 * counted.
 *
 * The ISR status register is for drivers without MSI-X. There is no INTx, so such a driver polls,
 * and what it reads is derived: with MSI-X disabled nothing is attached to the call eventfds, and
 * what they hold is what has been signalled since the last read.
 *
 * The configuration access capability (section 4.1.4.9) makes all of the BAR reachable by a driver
 * that has configuration space only. These accesses come with the host bridge's lock held and then
 * take ours; nothing here calls back towards configuration space, so the order holds.
 */
#include "virtio/pci_transport.h"

#include "util/bytes.h"
#include "util/checked.h"
#include "util/fd.h"
#include "util/log.h"
#include "virtio/device.h"
#include "virtio/pci_registers.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES        0x1000u
#define NOTIFY_MULTIPLIER 4u

enum structure {
	STRUCTURE_COMMON,
	STRUCTURE_ISR,
	STRUCTURE_DEVICE,
	STRUCTURE_NOTIFY,
	STRUCTURE_TABLE,
	STRUCTURE_PBA,
};

#define PCI_VENDOR_VIRTIO 0x1af4
#define PCI_DEVICE_MODERN 0x1040

/* Class, subclass, programming interface. */
#define CLASS_STORAGE_OTHER    0x018000
#define CLASS_NETWORK_ETHERNET 0x020000
#define CLASS_OTHERS           0xff0000

#define ISR_QUEUE  0x1
#define ISR_CONFIG VIRTIO_PCI_ISR_CONFIG

static_assert(VIRTIO_QUEUES_MAX * NOTIFY_MULTIPLIER <= PAGE_BYTES, "doorbells take one page");
static_assert((VIRTIO_QUEUES_MAX + 1) * MSIX_ENTRY_BYTES <= PAGE_BYTES, "the table takes one page");
static_assert((STRUCTURE_PBA + 1) * PAGE_BYTES <= VIRTIO_PCI_BAR_SIZE, "the BAR holds them all");

static struct virtio_pci *from_function(struct pci_function *function)
{
	return container_of(function, struct virtio_pci, function);
}

static uint32_t structure_offset(enum structure structure)
{
	return structure * PAGE_BYTES;
}

/* ---- doorbells ---- */

static void detach_doorbell(struct virtio_pci *transport, unsigned queue)
{
	const struct doorbell_controller *controller = transport->doorbell_controller;
	struct virtio_pci_doorbell *doorbell = &transport->doorbells[queue];

	if (!doorbell->attached)
		return;
	controller->ops->detach(
		controller->context, doorbell->gpa, transport->device->queues[queue].kick_fd);
	doorbell->attached = false;
}

static void attach_doorbell(struct virtio_pci *transport, unsigned queue, uint64_t gpa)
{
	const struct doorbell_controller *controller = transport->doorbell_controller;
	struct virtio_pci_doorbell *doorbell = &transport->doorbells[queue];
	int result = controller->ops->attach(
		controller->context, gpa, transport->device->queues[queue].kick_fd);

	doorbell->gpa = gpa;
	doorbell->attached = !result;
	if (!result || transport->doorbell_failure_logged)
		return;
	transport->doorbell_failure_logged = true;
	log_warning("%s: queue %u: no doorbell in the kernel (%s); its kicks will be slow",
		transport->device->name, queue, strerror(-result));
}

void virtio_pci_settle_doorbell(struct virtio_pci *transport, unsigned queue)
{
	struct virtio_pci_doorbell *doorbell = &transport->doorbells[queue];
	uint64_t gpa = transport->bar_address + structure_offset(STRUCTURE_NOTIFY) +
	               (uint64_t)queue * NOTIFY_MULTIPLIER;
	struct virtio_queue_registers state;
	bool wanted;

	virtio_device_queue_registers(transport->device, queue, &state);
	wanted = transport->mapped && state.enabled;
	if (!wanted)
		detach_doorbell(transport, queue);
	else if (!doorbell->attached) /* a BAR moves by being unmapped and mapped */
		attach_doorbell(transport, queue, gpa);
}

/* What the doorbells should have taken in the kernel; no lock, as on the way there. */
static void notify_write(struct virtio_pci *transport, uint32_t offset)
{
	uint32_t queue = offset / NOTIFY_MULTIPLIER;

	if (queue >= transport->device->queue_count)
		return;
	atomic_fetch_add_explicit(&transport->doorbells[queue].exits, 1, memory_order_relaxed);
	fd_signal(transport->device->queues[queue].kick_fd);
}

/* ---- the BAR ---- */

/* Reading clears. With MSI-X enabled the signals are the vectors', not ours to take. */
static uint8_t read_isr(struct virtio_pci *transport)
{
	struct virtio_device *device = transport->device;
	uint8_t isr = 0;

	if (msix_enabled(&transport->msix))
		return 0;
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (fd_drain(device->queues[i].call_fd))
			isr |= ISR_QUEUE;
	}
	if (fd_drain(device->config_call_fd))
		isr |= ISR_CONFIG;
	return isr;
}

static void bar_read(
	struct pci_function *function, unsigned bar, uint64_t offset, void *data, unsigned length)
{
	struct virtio_pci *transport = from_function(function);
	uint32_t within = offset % PAGE_BYTES;

	(void)bar; /* there is only one */
	memset(data, 0, length);
	pthread_mutex_lock(&transport->lock);
	switch (offset / PAGE_BYTES) {
	case STRUCTURE_COMMON:
		virtio_pci_common_read(transport, within, data, length);
		break;
	case STRUCTURE_ISR:
		if (!within)
			put_le(data, 1, read_isr(transport));
		break;
	case STRUCTURE_DEVICE:
		virtio_device_config_read(transport->device, within, data, length);
		break;
	case STRUCTURE_TABLE:
		msix_table_read(&transport->msix, within, data, length);
		break;
	case STRUCTURE_PBA:
		msix_pba_read(&transport->msix, within, data, length);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&transport->lock);
}

static void bar_write(struct pci_function *function, unsigned bar, uint64_t offset,
	const void *data, unsigned length)
{
	struct virtio_pci *transport = from_function(function);
	uint32_t within = offset % PAGE_BYTES;

	(void)bar;
	if (offset / PAGE_BYTES == STRUCTURE_NOTIFY) {
		notify_write(transport, within);
		return;
	}
	pthread_mutex_lock(&transport->lock);
	switch (offset / PAGE_BYTES) {
	case STRUCTURE_COMMON:
		virtio_pci_common_write(transport, within, data, length);
		break;
	case STRUCTURE_DEVICE:
		virtio_device_config_write(transport->device, within, data, length);
		break;
	case STRUCTURE_TABLE:
		msix_table_write(&transport->msix, within, data, length);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&transport->lock);
}

static void bar_mapped(struct pci_function *function, unsigned bar, uint64_t address, bool mapped)
{
	struct virtio_pci *transport = from_function(function);

	(void)bar;
	pthread_mutex_lock(&transport->lock);
	transport->mapped = mapped;
	transport->bar_address = address;
	for (unsigned i = 0; i < transport->device->queue_count; i++)
		virtio_pci_settle_doorbell(transport, i);
	pthread_mutex_unlock(&transport->lock);
}

/* ---- configuration space ---- */

/* The access that the driver has set up in the capability; false where it makes no sense. */
static bool window_target(
	const struct virtio_pci *transport, uint32_t *ret_offset, unsigned *ret_length)
{
	const uint8_t *capability = &transport->function.config[transport->pci_cfg];
	uint32_t offset = get_le32(&capability[VIRTIO_PCI_CAP_OFFSET]);
	uint32_t length = get_le32(&capability[VIRTIO_PCI_CAP_LENGTH]);

	if (capability[VIRTIO_PCI_CAP_BAR] != VIRTIO_PCI_BAR)
		return false;
	if ((length != 1 && length != 2 && length != 4) ||
		!range_within(offset, length, VIRTIO_PCI_BAR_SIZE))
		return false;
	*ret_offset = offset;
	*ret_length = length;
	return true;
}

/* True where a configuration access touches the capability's data and has a target. */
static bool window_accessed(const struct virtio_pci *transport, uint32_t offset, unsigned length,
	uint32_t *ret_offset, unsigned *ret_length)
{
	uint32_t data = transport->pci_cfg + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

	return ranges_overlap(offset, length, data, sizeof(uint32_t)) &&
	       window_target(transport, ret_offset, ret_length);
}

static uint8_t *window_data(struct virtio_pci *transport)
{
	return &transport->function.config[transport->pci_cfg +
					   offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)];
}

static void config_read(struct pci_function *function, uint32_t offset, unsigned length)
{
	struct virtio_pci *transport = from_function(function);
	uint32_t target;
	unsigned bytes;

	if (window_accessed(transport, offset, length, &target, &bytes))
		bar_read(function, VIRTIO_PCI_BAR, target, window_data(transport), bytes);
}

/*
 * A function that may no longer be bus master leaves memory alone. Linux relies on it where a
 * kernel starts another (kexec): its virtio drivers do not reset their devices then. A driver that
 * never was master by this bit is served all the same.
 */
static void command_written(struct virtio_pci *transport)
{
	bool master = get_le16(&transport->function.config[PCI_COMMAND]) & PCI_COMMAND_MASTER;

	pthread_mutex_lock(&transport->lock);
	if (transport->master && !master)
		virtio_device_quiesce(transport->device);
	transport->master = master;
	pthread_mutex_unlock(&transport->lock);
}

static void config_written(struct pci_function *function, uint32_t offset, unsigned length)
{
	struct virtio_pci *transport = from_function(function);
	uint32_t target;
	unsigned bytes;

	if (ranges_overlap(offset, length, PCI_COMMAND, sizeof(uint16_t)))
		command_written(transport);
	msix_config_written(&transport->msix, offset, length);
	if (window_accessed(transport, offset, length, &target, &bytes))
		bar_write(function, VIRTIO_PCI_BAR, target, window_data(transport), bytes);
}

static const struct pci_function_ops function_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_mapped = bar_mapped,
	.config_read = config_read,
	.config_written = config_written,
};

/* ---- construction ---- */

static uint32_t class_of(uint16_t type)
{
	switch (type) {
	case VIRTIO_ID_BLOCK:
		return CLASS_STORAGE_OTHER;
	case VIRTIO_ID_NET:
		return CLASS_NETWORK_ETHERNET;
	default:
		return CLASS_OTHERS;
	}
}

/* A pointer to a structure of the BAR; @capability_bytes may exceed the plain form's. */
static int add_structure(struct virtio_pci *transport, uint8_t type, enum structure structure,
	uint32_t bytes, size_t capability_bytes)
{
	struct virtio_pci_notify_cap body = {
		.cap = {.cap_len = (uint8_t)capability_bytes,
			.cfg_type = type,
			.bar = VIRTIO_PCI_BAR,
			.offset = structure_offset(structure),
			.length = bytes},
		.notify_off_multiplier = NOTIFY_MULTIPLIER,
	};

	return pci_function_add_capability(
		&transport->function, PCI_CAP_ID_VNDR, &body, capability_bytes, NULL);
}

static int add_window(struct virtio_pci *transport)
{
	static const struct virtio_pci_cfg_cap body = {
		.cap = {.cap_len = sizeof(body), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG},
	};
	static const struct virtio_pci_cfg_cap writable = {
		.cap = {.bar = UINT8_MAX, .offset = UINT32_MAX, .length = UINT32_MAX},
		.pci_cfg_data = {UINT8_MAX, UINT8_MAX, UINT8_MAX, UINT8_MAX},
	};
	int offset = pci_function_add_capability(&transport->function, PCI_CAP_ID_VNDR, &body,
		sizeof(body), (const uint8_t *)&writable);

	if (offset >= 0)
		transport->pci_cfg = (uint16_t)offset;
	return offset;
}

static int add_structures(struct virtio_pci *transport)
{
	const size_t plain = sizeof(struct virtio_pci_cap);
	const struct {
		uint8_t type;
		enum structure structure;
		uint32_t bytes;
		size_t capability_bytes;
	} list[] = {
		{VIRTIO_PCI_CAP_COMMON_CFG, STRUCTURE_COMMON, VIRTIO_PCI_COMMON_BYTES, plain},
		{VIRTIO_PCI_CAP_NOTIFY_CFG, STRUCTURE_NOTIFY,
			transport->device->queue_count * NOTIFY_MULTIPLIER,
			sizeof(struct virtio_pci_notify_cap)},
		{VIRTIO_PCI_CAP_ISR_CFG, STRUCTURE_ISR, 1, plain},
		{VIRTIO_PCI_CAP_DEVICE_CFG, STRUCTURE_DEVICE, PAGE_BYTES, plain},
	};

	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		int offset = add_structure(transport, list[i].type, list[i].structure,
			list[i].bytes, list[i].capability_bytes);

		if (offset < 0)
			return offset;
	}
	return add_window(transport);
}

static void init_function(struct virtio_pci *transport)
{
	uint16_t type = transport->device->type;
	const struct pci_identity identity = {
		.vendor = PCI_VENDOR_VIRTIO,
		.device = (uint16_t)(PCI_DEVICE_MODERN + type),
		.subsystem_vendor = PCI_VENDOR_VIRTIO,
		.subsystem = (uint16_t)(PCI_DEVICE_MODERN + type),
		.revision = 1,
		.class_code = class_of(type),
	};

	pci_function_init(&transport->function, &function_ops, &identity);
	pci_function_add_bar(
		&transport->function, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_SIZE, false, false);
}

static int init_msix(struct virtio_pci *transport, const struct msi_controller *msi)
{
	const struct virtio_device *device = transport->device;
	const struct msix_layout layout = {
		.vectors = device->queue_count + 1,
		.bar = VIRTIO_PCI_BAR,
		.table_offset = structure_offset(STRUCTURE_TABLE),
		.pba_offset = structure_offset(STRUCTURE_PBA),
	};
	int eventfds[VIRTIO_QUEUES_MAX + 1];

	for (unsigned i = 0; i < device->queue_count; i++)
		eventfds[i] = device->queues[i].call_fd;
	eventfds[device->queue_count] = device->config_call_fd;
	return msix_init(&transport->msix, &transport->function, msi, &layout, eventfds,
		device->queue_count + 1);
}

int virtio_pci_create(struct virtio_device *device, const struct msi_controller *msi,
	const struct doorbell_controller *doorbells, struct virtio_pci **ret_transport)
{
	struct virtio_pci *transport = calloc(1, sizeof(*transport));
	int result;

	if (!transport)
		return -ENOMEM;
	transport->device = device;
	transport->doorbell_controller = doorbells;
	pthread_mutex_init(&transport->lock, NULL);
	transport->doorbells = calloc(device->queue_count, sizeof(*transport->doorbells));
	init_function(transport);
	result = transport->doorbells ? init_msix(transport, msi) : -ENOMEM;
	if (!result)
		result = add_structures(transport);
	if (result < 0) {
		virtio_pci_destroy(transport);
		return result;
	}
	*ret_transport = transport;
	return 0;
}

void virtio_pci_destroy(struct virtio_pci *transport)
{
	if (!transport)
		return;
	virtio_device_set_status(transport->device, 0);
	for (unsigned i = 0; transport->doorbells && i < transport->device->queue_count; i++)
		detach_doorbell(transport, i);
	msix_deinit(&transport->msix);
	pthread_mutex_destroy(&transport->lock);
	free(transport->doorbells);
	free(transport);
}

struct pci_function *virtio_pci_function(struct virtio_pci *transport)
{
	return &transport->function;
}

struct virtio_device *virtio_pci_device(struct virtio_pci *transport)
{
	return transport->device;
}

uint64_t virtio_pci_notify_exits(const struct virtio_pci *transport, unsigned queue)
{
	return atomic_load_explicit(&transport->doorbells[queue].exits, memory_order_relaxed);
}
