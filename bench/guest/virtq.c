/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What split and packed rings share: telling the device about the queue, indirect tables, the
 * doorbell, and IN_ORDER, where the device may report only the last request of a batch and all
 * before it are used too. Those are handed out one by one from the list of submissions.
 */
#include "virtq.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "cpu.h"
#include "finish.h"
#include "memory.h"

static uint16_t choose_size(struct virtq *ring, uint16_t device_max, uint16_t wanted)
{
	uint16_t size = wanted && wanted < device_max ? wanted : device_max;

	if (device_max == 0)
		finish_fail("queue %u does not exist", (uint32_t)ring->index);
	if (!ring->is_packed && (size & (size - 1)))
		finish_fail("queue size %u is not a power of two", (uint32_t)size);
	return size;
}

static void find_doorbell(struct virtq *ring)
{
	struct virtio_device *device = ring->device;
	uint32_t offset = device->common->queue_notify_off * device->notify_multiplier;

	if (offset + 2 > device->notify_length)
		finish_fail("queue %u: doorbell outside the notify window", (uint32_t)ring->index);
	ring->doorbell = (volatile uint16_t *)(device->notify + offset);
}

static void tell_device(struct virtq *ring)
{
	volatile struct virtio_common *common = ring->device->common;
	uint16_t vector = 1 + ring->index;

	common->queue_select = ring->index;
	common->queue_size = ring->size;
	common->queue_desc_low = (uint32_t)ring->ring_address[0];
	common->queue_desc_high = (uint32_t)(ring->ring_address[0] >> 32);
	common->queue_driver_low = (uint32_t)ring->ring_address[1];
	common->queue_driver_high = (uint32_t)(ring->ring_address[1] >> 32);
	common->queue_device_low = (uint32_t)ring->ring_address[2];
	common->queue_device_high = (uint32_t)(ring->ring_address[2] >> 32);
	if (ring->device->msix_entries) {
		common->queue_msix_vector = vector;
		if (common->queue_msix_vector != vector)
			finish_fail("queue %u: the device refuses its MSI-X vector",
				(uint32_t)ring->index);
	}
	common->queue_enable = 1;
}

void virtq_restart(struct virtq *ring)
{
	ring->free = ring->size;
	ring->order_head = ring->order_tail = ring->order_target = 0;
	if (ring->is_packed)
		virtq_packed_reset(ring);
	else
		virtq_split_reset(ring);
	virtq_disable_interrupts(ring);
	tell_device(ring);
}

void virtq_create(struct virtq *ring, struct virtio_device *device, unsigned index,
	uint16_t max_size, bool use_indirect, unsigned cpu)
{
	volatile struct virtio_common *common = device->common;

	*ring = (struct virtq){.device = device, .index = (uint16_t)index};
	ring->is_packed = device->features & 1ull << VIRTIO_F_RING_PACKED;
	ring->event_index = device->features & 1ull << VIRTIO_RING_F_EVENT_IDX;
	ring->in_order = device->features & 1ull << VIRTIO_F_IN_ORDER;
	ring->indirect = use_indirect && device->features & 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	common->queue_select = ring->index;
	ring->size = choose_size(ring, common->queue_size, max_size);
	find_doorbell(ring);
	if (ring->is_packed)
		virtq_packed_allocate(ring);
	else
		virtq_split_allocate(ring);
	if (ring->indirect)
		ring->tables = memory_allocate(
			sizeof(*ring->tables) * VIRTQ_MAX_SEGMENTS * ring->size, 64);
	if (ring->in_order)
		ring->order = memory_allocate(sizeof(*ring->order) * ring->size, 64);
	if (device->msix_entries)
		ring->cell = virtio_pci_route(device, index, cpu);
	virtq_restart(ring);
}

unsigned virtq_fill_table(struct virtq *ring, const struct virtq_segment *segments, unsigned out,
	unsigned in, uint16_t slot)
{
	struct virtq_descriptor *table = ring->tables + (size_t)VIRTQ_MAX_SEGMENTS * slot;
	unsigned count = out + in;

	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = i < out ? 0 : VRING_DESC_F_WRITE;

		if (!ring->is_packed && i + 1 < count)
			flags |= VRING_DESC_F_NEXT;
		table[i].address = segments[i].address;
		table[i].length = segments[i].length;
		if (ring->is_packed) { /* the ID and flags fields change places */
			table[i].flags = 0;
			table[i].next = flags;
		} else {
			table[i].flags = flags;
			table[i].next = (uint16_t)(i + 1 < count ? i + 1 : 0);
		}
	}
	return count;
}

bool virtq_add(struct virtq *ring, const struct virtq_segment *segments, unsigned out, unsigned in,
	uint16_t slot)
{
	bool added = ring->is_packed ? virtq_packed_add(ring, segments, out, in, slot)
	                             : virtq_split_add(ring, segments, out, in, slot);

	if (!added)
		return false;
	if (ring->in_order)
		ring->order[ring->order_tail++ % ring->size] = slot;
	ring->requests++;
	return true;
}

void virtq_kick(struct virtq *ring)
{
	ring->kicks++;
	*ring->doorbell = ring->index;
}

void virtq_publish(struct virtq *ring)
{
	if (ring->is_packed ? virtq_packed_publish(ring) : virtq_split_publish(ring))
		virtq_kick(ring);
}

static bool take_in_order(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length)
{
	uint16_t slot = ring->order[ring->order_head++ % ring->size];

	*ret_slot = slot;
	*ret_length = ring->order_head == ring->order_target ? ring->order_length : UINT32_MAX;
	return true;
}

/* IN_ORDER: the layout's take function moves order_target over a whole batch, handed out here. */
bool virtq_take(struct virtq *ring, uint16_t *ret_slot, uint32_t *ret_length)
{
	if (ring->in_order && ring->order_head != ring->order_target)
		return take_in_order(ring, ret_slot, ret_length);
	if (!(ring->is_packed ? virtq_packed_take(ring, ret_slot, ret_length)
			      : virtq_split_take(ring, ret_slot, ret_length)))
		return false;
	if (!ring->in_order)
		return true;
	return take_in_order(ring, ret_slot, ret_length);
}

bool virtq_enable_interrupts(struct virtq *ring)
{
	return ring->is_packed ? virtq_packed_enable_interrupts(ring)
	                       : virtq_split_enable_interrupts(ring);
}

void virtq_disable_interrupts(struct virtq *ring)
{
	if (ring->is_packed)
		virtq_packed_disable_interrupts(ring);
	else
		virtq_split_disable_interrupts(ring);
}
