/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pci, modern registers only (a transitional device is used through its modern half). The
 * vendor capabilities name BARs, offsets and lengths; each BAR is read once and its windows are
 * checked against its size. An MSI-X table entry is written while its function is masked.
 */
#include "virtio_pci.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "memory.h"

#define PCI_CAPABILITY_VENDOR         0x09
#define PCI_CAPABILITY_MSIX           0x11
#define MSIX_ENABLE                   0x8000u
#define MSIX_MASK_ALL                 0x4000u
#define COMMAND_MEMORY_MASTER_NO_INTX 0x0406u
#define RESET_LIMIT_NS                5000000000ull

struct bars {
	bool known[6], valid[6];
	uint64_t address[6], size[6];
};

static unsigned next_cell;

static volatile uint8_t *bar_window(const struct pci_function *f, struct bars *bars, unsigned index,
	uint64_t offset, uint64_t length)
{
	if (index > 5)
		return NULL;
	if (!bars->known[index]) {
		bars->known[index] = true;
		bars->valid[index] = pci_bar(f, index, &bars->address[index], &bars->size[index]);
	}
	if (!bars->valid[index] || offset > bars->size[index] ||
		length > bars->size[index] - offset)
		return NULL;
	return memory_map_device(bars->address[index] + offset, length);
}

static void take_capability(struct virtio_device *device, struct bars *bars, uint8_t at)
{
	const struct pci_function *f = &device->pci;
	uint8_t type = pci_read8(f, at + 3);
	uint8_t bar = pci_read8(f, at + 4);
	uint32_t offset, length;
	volatile uint8_t *window;

	if (type < VIRTIO_PCI_CAP_COMMON_CFG || type > VIRTIO_PCI_CAP_DEVICE_CFG)
		return;
	offset = pci_read32(f, at + 8);
	length = pci_read32(f, at + 12);
	window = bar_window(f, bars, bar, offset, length);
	if (!window)
		return;
	if (type == VIRTIO_PCI_CAP_COMMON_CFG && !device->common) {
		device->common = (volatile void *)window;
		device->common_length = length;
	} else if (type == VIRTIO_PCI_CAP_NOTIFY_CFG && !device->notify) {
		device->notify = window;
		device->notify_length = length;
		device->notify_multiplier = pci_read32(f, at + 16);
	} else if (type == VIRTIO_PCI_CAP_ISR_CFG && !device->isr) {
		device->isr = window;
	} else if (type == VIRTIO_PCI_CAP_DEVICE_CFG && !device->config) {
		device->config = window;
		device->config_length = length;
	}
}

static void take_msix(struct virtio_device *device, struct bars *bars)
{
	const struct pci_function *f = &device->pci;
	uint8_t at = pci_capability(f, PCI_CAPABILITY_MSIX, 0);
	uint32_t table;
	uint16_t entries;

	if (!at)
		return;
	entries = (uint16_t)((pci_read16(f, at + 2) & 0x7ff) + 1);
	table = pci_read32(f, at + 4);
	device->msix = (volatile void *)bar_window(f, bars, table & 7, table & ~7u, 16u * entries);
	if (!device->msix)
		return;
	device->msix_capability = at;
	device->msix_entries = entries;
}

static uint16_t virtio_type(const struct pci_function *f)
{
	if (f->vendor_id != 0x1af4)
		return 0;
	if (f->device_id >= 0x1040 && f->device_id < 0x1080)
		return f->device_id - 0x1040;
	if (f->device_id >= 0x1000 && f->device_id < 0x1040)
		return pci_read16(f, 0x2e); /* transitional: the subsystem ID */
	return 0;
}

static bool open_device(struct virtio_device *device)
{
	struct bars bars = {0};

	for (uint8_t at = 0; (at = pci_capability(&device->pci, PCI_CAPABILITY_VENDOR, at));)
		take_capability(device, &bars, at);
	if (!device->common || !device->notify || !device->isr)
		return false;
	take_msix(device, &bars);
	pci_write16(&device->pci, 4, COMMAND_MEMORY_MASTER_NO_INTX);
	device->num_queues = device->common->num_queues;
	for (uint32_t half = 0; half < 2; half++) {
		device->common->device_feature_select = half;
		device->offered |= (uint64_t)device->common->device_feature << 32 * half;
	}
	return true;
}

unsigned virtio_pci_find(uint16_t type, struct virtio_device *ret_devices, unsigned max)
{
	struct pci_function functions[64];
	unsigned found = pci_scan(functions, 64), count = 0;

	for (unsigned i = 0; i < found && count < max; i++) {
		struct virtio_device device = {
			.pci = functions[i], .type = virtio_type(&functions[i])};

		if (device.type == 0 || (type && device.type != type))
			continue;
		if (open_device(&device))
			ret_devices[count++] = device;
		else
			finish_note("device %u.%u is not a modern virtio device: left alone",
				(uint32_t)device.pci.device, (uint32_t)device.pci.function);
	}
	return count;
}

bool virtio_pci_reset(struct virtio_device *device)
{
	uint64_t limit = cpu_tsc() + clock_to_ticks(RESET_LIMIT_NS);

	device->common->device_status = 0;
	while (device->common->device_status != 0) {
		if (cpu_tsc() > limit)
			return false;
		cpu_relax();
	}
	return true;
}

void virtio_pci_negotiate(struct virtio_device *device, uint64_t wanted)
{
	volatile struct virtio_common *common = device->common;

	if (!virtio_pci_reset(device))
		finish_fail("device %u does not come out of reset", (uint32_t)device->pci.device);
	common->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	common->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	if (!(device->offered & 1ull << VIRTIO_F_VERSION_1))
		finish_fail("device %u does not offer VERSION_1", (uint32_t)device->pci.device);
	device->features = (wanted | 1ull << VIRTIO_F_VERSION_1) & device->offered;
	for (uint32_t half = 0; half < 2; half++) {
		common->driver_feature_select = half;
		common->driver_feature = (uint32_t)(device->features >> 32 * half);
	}
	common->device_status = common->device_status | VIRTIO_CONFIG_S_FEATURES_OK;
	if (!(common->device_status & VIRTIO_CONFIG_S_FEATURES_OK))
		finish_fail("device %u refuses the features %X", (uint32_t)device->pci.device,
			device->features);
}

void virtio_pci_start(struct virtio_device *device)
{
	device->common->device_status = device->common->device_status | VIRTIO_CONFIG_S_DRIVER_OK;
}

bool virtio_pci_broken(const struct virtio_device *device)
{
	return virtio_pci_status(device) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

unsigned virtio_pci_new_cell(void)
{
	if (next_cell == IRQ_CELLS)
		finish_fail("more than %u interrupt vectors needed", (uint32_t)IRQ_CELLS);
	return next_cell++;
}

static void write_msix_entry(
	struct virtio_device *device, unsigned entry, unsigned cell, unsigned cpu)
{
	volatile struct virtio_msix_entry *msix = &device->msix[entry];

	msix->address_low = 0xfee00000u | cpu_table[cpu].apic_id << 12;
	msix->address_high = 0;
	msix->data = VECTOR_QUEUE + cell;
	msix->control = 0;
}

void virtio_pci_enable_msix(struct virtio_device *device, unsigned queues)
{
	uint8_t control = device->msix_capability + 2;

	if (device->msix_entries < queues + 1)
		finish_fail("device %u has %u MSI-X entries, %u are needed",
			(uint32_t)device->pci.device, (uint32_t)device->msix_entries, queues + 1);
	pci_write16(&device->pci, control, MSIX_ENABLE | MSIX_MASK_ALL);
	device->config_cell = virtio_pci_new_cell();
	write_msix_entry(device, 0, device->config_cell, 0);
	pci_write16(&device->pci, control, MSIX_ENABLE);
	device->common->config_msix_vector = 0;
	if (device->common->config_msix_vector != 0)
		finish_fail(
			"device %u refuses its configuration vector", (uint32_t)device->pci.device);
}

unsigned virtio_pci_route(struct virtio_device *device, unsigned queue, unsigned cpu)
{
	unsigned cell = virtio_pci_new_cell();

	write_msix_entry(device, 1 + queue, cell, cpu);
	return cell;
}

uint8_t virtio_config8(const struct virtio_device *device, uint32_t offset)
{
	if (!device->config || offset + 1 > device->config_length)
		return 0;
	return device->config[offset];
}

uint16_t virtio_config16(const struct virtio_device *device, uint32_t offset)
{
	if (!device->config || offset + 2 > device->config_length)
		return 0;
	return *(volatile uint16_t *)(device->config + offset);
}

uint32_t virtio_config32(const struct virtio_device *device, uint32_t offset)
{
	if (!device->config || offset + 4 > device->config_length)
		return 0;
	return *(volatile uint32_t *)(device->config + offset);
}

/* Two reads: the generation tells whether they belong together. */
uint64_t virtio_config64(const struct virtio_device *device, uint32_t offset)
{
	uint8_t before, after;
	uint64_t value;

	do {
		before = device->common->config_generation;
		value = virtio_config32(device, offset);
		value |= (uint64_t)virtio_config32(device, offset + 4) << 32;
		after = device->common->config_generation;
	} while (before != after);
	return value;
}
