/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `auto` takes INDIRECT_DESC and EVENT_IDX when they are offered, as Linux does, and leaves
 * IN_ORDER, which Linux drivers of today do not take.
 */
#include "ring_features.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "finish.h"

uint64_t features_wanted(const struct options *options)
{
	uint64_t wanted = 1ull << VIRTIO_F_ACCESS_PLATFORM; /* addresses are physical either way */

	if (options->indirect != SWITCH_OFF)
		wanted |= 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	if (options->event_index != SWITCH_OFF)
		wanted |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	if (options->in_order == SWITCH_ON)
		wanted |= 1ull << VIRTIO_F_IN_ORDER;
	if (options->ring == RING_PACKED)
		wanted |= 1ull << VIRTIO_F_RING_PACKED;
	wanted |= 1ull << VIRTIO_F_RING_RESET;
	return wanted;
}

static void demand(
	const struct virtio_device *device, bool demanded, unsigned bit, const char *name)
{
	if (demanded && !(device->features & 1ull << bit))
		finish_fail("%s is asked for, device %u does not offer it", name,
			(uint32_t)device->pci.device);
}

void features_demand(const struct options *options, const struct virtio_device *device)
{
	demand(device, options->ring == RING_PACKED, VIRTIO_F_RING_PACKED, "ring=packed");
	demand(device, options->indirect == SWITCH_ON, VIRTIO_RING_F_INDIRECT_DESC, "indirect=1");
	demand(device, options->event_index == SWITCH_ON, VIRTIO_RING_F_EVENT_IDX, "event-idx=1");
	demand(device, options->in_order == SWITCH_ON, VIRTIO_F_IN_ORDER, "in-order=1");
}
