/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common configuration structure (virtio 1.2, section 4.1.4.3), register by register. A driver
 * is to access each field by its own width; any other access is taken apart here: it reads the
 * bytes of the registers that it covers, and writes each register that it touches, in ascending
 * order, with the bytes it does not cover left as they read. So no width needs a rule of its own.
 *
 * The registers from queue_size on are those of the queue that queue_select names; where there is
 * no such queue they read as 0 (no queue) and no vector, and writes do nothing.
 */
#include "virtio/pci_registers.h"

#include "util/bytes.h"
#include "util/checked.h"
#include "virtio/device.h"

#include <linux/virtio_pci.h>
#include <string.h>

#define REGISTER_BYTES_MAX 4u

struct common_register {
	uint8_t offset;
	uint8_t size;
};

static const struct common_register registers[] = {
	{VIRTIO_PCI_COMMON_DFSELECT, 4},
	{VIRTIO_PCI_COMMON_DF, 4},
	{VIRTIO_PCI_COMMON_GFSELECT, 4},
	{VIRTIO_PCI_COMMON_GF, 4},
	{VIRTIO_PCI_COMMON_MSIX, 2},
	{VIRTIO_PCI_COMMON_NUMQ, 2},
	{VIRTIO_PCI_COMMON_STATUS, 1},
	{VIRTIO_PCI_COMMON_CFGGENERATION, 1},
	{VIRTIO_PCI_COMMON_Q_SELECT, 2},
	{VIRTIO_PCI_COMMON_Q_SIZE, 2},
	{VIRTIO_PCI_COMMON_Q_MSIX, 2},
	{VIRTIO_PCI_COMMON_Q_ENABLE, 2},
	{VIRTIO_PCI_COMMON_Q_NOFF, 2},
	{VIRTIO_PCI_COMMON_Q_DESCLO, 4},
	{VIRTIO_PCI_COMMON_Q_DESCHI, 4},
	{VIRTIO_PCI_COMMON_Q_AVAILLO, 4},
	{VIRTIO_PCI_COMMON_Q_AVAILHI, 4},
	{VIRTIO_PCI_COMMON_Q_USEDLO, 4},
	{VIRTIO_PCI_COMMON_Q_USEDHI, 4},
	{VIRTIO_PCI_COMMON_Q_NDATA, 2}, /* reserved: NOTIF_CONFIG_DATA is not offered */
	{VIRTIO_PCI_COMMON_Q_RESET, 2},
};

static unsigned config_source(const struct virtio_pci *transport)
{
	return transport->device->queue_count;
}

/* 32 bits of a feature set; there are none beyond 64. */
static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

static uint64_t with_half(uint64_t value, bool high, uint32_t half)
{
	return high ? (value & UINT32_MAX) | (uint64_t)half << 32
	            : (value & ~(uint64_t)UINT32_MAX) | half;
}

/* ---- reading ---- */

static uint32_t read_queue_register(struct virtio_pci *transport, unsigned offset)
{
	unsigned queue = transport->queue_select;
	struct virtio_queue_registers state;

	if (queue >= transport->device->queue_count)
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	virtio_device_queue_registers(transport->device, queue, &state);
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return state.size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return msix_bound_vector(&transport->msix, queue);
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return state.enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return queue;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return (uint32_t)state.desc_gpa;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return (uint32_t)(state.desc_gpa >> 32);
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return (uint32_t)state.driver_gpa;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return (uint32_t)(state.driver_gpa >> 32);
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return (uint32_t)state.device_gpa;
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return (uint32_t)(state.device_gpa >> 32);
	default:
		return 0; /* queue_reset too: a reset is over when the write returns */
	}
}

static uint32_t read_register(struct virtio_pci *transport, unsigned offset)
{
	struct virtio_device *device = transport->device;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return transport->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return feature_word(device->features_offered, transport->device_feature_select);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return transport->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return feature_word(
			virtio_device_features(device), transport->driver_feature_select);
	case VIRTIO_PCI_COMMON_MSIX:
		return msix_bound_vector(&transport->msix, config_source(transport));
	case VIRTIO_PCI_COMMON_NUMQ:
		return device->queue_count;
	case VIRTIO_PCI_COMMON_STATUS:
		return virtio_device_status(device);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return virtio_device_config_generation(device) & UINT8_MAX;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return transport->queue_select;
	default:
		return read_queue_register(transport, offset);
	}
}

/* ---- writing ---- */

/*
 * A failure leaves the source unbound, and the register reads as VIRTIO_MSI_NO_VECTOR: that is how
 * the driver learns of it (section 4.1.5.1.2).
 */
static void bind_vector(struct virtio_pci *transport, unsigned source, uint32_t vector)
{
	(void)msix_bind(&transport->msix, source, (uint16_t)vector);
}

static void unbind_queue(struct virtio_pci *transport, unsigned queue)
{
	virtio_pci_settle_doorbell(transport, queue);
	bind_vector(transport, queue, VIRTIO_MSI_NO_VECTOR);
}

static void write_status(struct virtio_pci *transport, uint8_t status)
{
	virtio_device_set_status(transport->device, status);
	if (status)
		return;
	for (unsigned queue = 0; queue < transport->device->queue_count; queue++)
		unbind_queue(transport, queue);
	bind_vector(transport, config_source(transport), VIRTIO_MSI_NO_VECTOR);
	transport->device_feature_select = transport->driver_feature_select = 0;
	transport->queue_select = 0;
}

static void write_driver_features(struct virtio_pci *transport, uint32_t value)
{
	uint64_t features = virtio_device_features(transport->device);

	if (transport->driver_feature_select < 2)
		virtio_device_set_features(transport->device,
			with_half(features, transport->driver_feature_select, value));
}

/* One half of one of the three addresses. */
static void write_address(
	struct virtio_pci *transport, unsigned queue, unsigned offset, uint32_t value)
{
	bool high = offset & 4;
	struct virtio_queue_registers state;

	virtio_device_queue_registers(transport->device, queue, &state);
	if (offset <= VIRTIO_PCI_COMMON_Q_DESCHI)
		state.desc_gpa = with_half(state.desc_gpa, high, value);
	else if (offset <= VIRTIO_PCI_COMMON_Q_AVAILHI)
		state.driver_gpa = with_half(state.driver_gpa, high, value);
	else
		state.device_gpa = with_half(state.device_gpa, high, value);
	virtio_device_queue_set_addresses(
		transport->device, queue, state.desc_gpa, state.driver_gpa, state.device_gpa);
}

static void write_queue_register(struct virtio_pci *transport, unsigned offset, uint32_t value)
{
	struct virtio_device *device = transport->device;
	unsigned queue = transport->queue_select;

	if (queue >= device->queue_count)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		virtio_device_queue_set_size(device, queue, (uint16_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		bind_vector(transport, queue, value);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value != 1)
			break; /* only a reset disables a queue */
		virtio_device_queue_enable(device, queue);
		virtio_pci_settle_doorbell(transport, queue);
		break;
	case VIRTIO_PCI_COMMON_Q_NOFF:
	case VIRTIO_PCI_COMMON_Q_NDATA:
		break;
	case VIRTIO_PCI_COMMON_Q_RESET:
		if (value == 1 && virtio_device_queue_reset(device, queue))
			unbind_queue(transport, queue);
		break;
	default:
		write_address(transport, queue, offset, value);
	}
}

static void write_register(struct virtio_pci *transport, unsigned offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		transport->device_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		transport->driver_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		write_driver_features(transport, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		bind_vector(transport, config_source(transport), value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		write_status(transport, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		transport->queue_select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_DF:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		break;
	default:
		write_queue_register(transport, offset, value);
	}
}

/* ---- accesses ---- */

/*
 * The bytes that an access [offset, offset + length) shares with a register: their count, where
 * they start in the register and where in the access. 0: none.
 */
static unsigned shared_bytes(const struct common_register *reg, uint64_t offset, unsigned length,
	unsigned *ret_in_register, unsigned *ret_in_access)
{
	uint64_t start = max_of((uint64_t)reg->offset, offset);
	uint64_t end = min_of((uint64_t)reg->offset + reg->size, offset + length);

	if (start >= end)
		return 0;
	*ret_in_register = (unsigned)(start - reg->offset);
	*ret_in_access = (unsigned)(start - offset);
	return (unsigned)(end - start);
}

void virtio_pci_common_read(
	struct virtio_pci *transport, uint64_t offset, void *data, unsigned length)
{
	unsigned in_register, in_access;

	memset(data, 0, length);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		unsigned count =
			shared_bytes(&registers[i], offset, length, &in_register, &in_access);
		uint8_t bytes[REGISTER_BYTES_MAX];

		if (!count)
			continue;
		put_le32(bytes, read_register(transport, registers[i].offset));
		memcpy((char *)data + in_access, &bytes[in_register], count);
	}
}

void virtio_pci_common_write(
	struct virtio_pci *transport, uint64_t offset, const void *data, unsigned length)
{
	unsigned in_register, in_access;

	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		unsigned count =
			shared_bytes(&registers[i], offset, length, &in_register, &in_access);
		uint8_t bytes[REGISTER_BYTES_MAX] = {0};

		if (!count)
			continue;
		if (count < registers[i].size)
			put_le32(bytes, read_register(transport, registers[i].offset));
		memcpy(&bytes[in_register], (const char *)data + in_access, count);
		write_register(transport, registers[i].offset, get_le32(bytes));
	}
}
