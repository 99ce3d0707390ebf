/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the disks and agreeing on features. A feature that the command line demands (ring=packed,
 * indirect=1, event-idx=1, in-order=1) and the device does not offer ends the run: a measurement of
 * something else than what was asked for is worthless.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#include "blk.h"
#include "ring_features.h"
#include "finish.h"
#include "memory.h"

#define CONFIG(field) offsetof(struct virtio_blk_config, field)

static bool has(const struct blk_disk *disk, unsigned bit)
{
	return disk->device->features & 1ull << bit;
}

static void read_config(struct blk_disk *disk)
{
	const struct virtio_device *device = disk->device;

	disk->sectors = virtio_config64(device, CONFIG(capacity));
	disk->queues = has(disk, VIRTIO_BLK_F_MQ) ? virtio_config16(device, CONFIG(num_queues)) : 1;
	if (has(disk, VIRTIO_BLK_F_SEG_MAX))
		disk->seg_max = virtio_config32(device, CONFIG(seg_max));
	if (has(disk, VIRTIO_BLK_F_SIZE_MAX))
		disk->size_max = virtio_config32(device, CONFIG(size_max));
	disk->block_size =
		has(disk, VIRTIO_BLK_F_BLK_SIZE) ? virtio_config32(device, CONFIG(blk_size)) : 512;
	disk->read_only = has(disk, VIRTIO_BLK_F_RO);
	disk->has_flush = has(disk, VIRTIO_BLK_F_FLUSH);
	disk->has_discard = has(disk, VIRTIO_BLK_F_DISCARD);
	disk->has_zeroes = has(disk, VIRTIO_BLK_F_WRITE_ZEROES);
	if (disk->has_discard)
		disk->max_discard_sectors = virtio_config32(device, CONFIG(max_discard_sectors));
	if (disk->has_zeroes) {
		disk->max_zeroes_sectors =
			virtio_config32(device, CONFIG(max_write_zeroes_sectors));
		disk->may_unmap = virtio_config8(device, CONFIG(write_zeroes_may_unmap));
	}
}

void blk_disk_negotiate(const struct options *options, struct blk_disk *disk)
{
	static const uint8_t bits[] = {
		VIRTIO_BLK_F_SIZE_MAX,
		VIRTIO_BLK_F_SEG_MAX,
		VIRTIO_BLK_F_RO,
		VIRTIO_BLK_F_BLK_SIZE,
		VIRTIO_BLK_F_FLUSH,
		VIRTIO_BLK_F_TOPOLOGY,
		VIRTIO_BLK_F_MQ,
		VIRTIO_BLK_F_CONFIG_WCE,
		VIRTIO_BLK_F_DISCARD,
		VIRTIO_BLK_F_WRITE_ZEROES,
	};
	uint64_t wanted = features_wanted(options);

	for (unsigned i = 0; i < sizeof(bits); i++)
		wanted |= 1ull << bits[i];
	virtio_pci_negotiate(disk->device, wanted);
	features_demand(options, disk->device);
	read_config(disk);
}

unsigned blk_disk_open(const struct options *options, struct blk_disk *ret_disks)
{
	struct virtio_device *devices = memory_allocate(BLK_MAX_DISKS * sizeof(*devices), 64);
	unsigned found = virtio_pci_find(VIRTIO_ID_BLOCK, devices, BLK_MAX_DISKS), count = 0;

	for (unsigned i = 0; i < found; i++) {
		struct blk_disk *disk = &ret_disks[count];

		if (options->disk != OPTION_ALL && options->disk != i)
			continue;
		*disk = (struct blk_disk){.device = &devices[i], .index = i};
		blk_disk_negotiate(options, disk);
		count++;
	}
	if (count == 0)
		finish_fail("no virtio-blk device %s (%u found)",
			options->disk == OPTION_ALL ? "at all" : "with the number of disk=", found);
	return count;
}
