/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives a virtio_device as the transport does, by the functions of virtio/device.h, in the order
 * of section 3.1.1, and waits for interrupts on the queues' call eventfds, which no MSI-X vector
 * consumes here.
 */
#include "support/mock_driver.h"
#include "support/mock_internal.h"

#include "virtio/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

static bool accepted(const struct mock_driver *driver, unsigned feature)
{
	return driver->features >> feature & 1;
}

static void add_status(struct mock_driver *driver, uint8_t bits)
{
	virtio_device_set_status(driver->device, virtio_device_status(driver->device) | bits);
}

int mock_driver_init(struct mock_driver *driver, struct virtio_device *device,
	struct mock_guest *guest, uint64_t features)
{
	*driver = (struct mock_driver){.device = device,
		.guest = guest,
		.features = features | 1ull << VIRTIO_F_VERSION_1};
	driver->queues = calloc(device->queue_count, sizeof(struct mock_queue *));
	if (!driver->queues)
		mock_misuse("out of memory");
	virtio_device_set_status(device, 0);
	add_status(driver, VIRTIO_STATUS_ACKNOWLEDGE);
	add_status(driver, VIRTIO_STATUS_DRIVER);
	virtio_device_set_features(device, driver->features);
	add_status(driver, VIRTIO_STATUS_FEATURES_OK);
	return virtio_device_status(device) & VIRTIO_STATUS_FEATURES_OK ? 0 : -EOPNOTSUPP;
}

void mock_driver_deinit(struct mock_driver *driver)
{
	if (!driver->device)
		return;
	virtio_device_set_status(driver->device, 0);
	for (unsigned i = 0; i < driver->device->queue_count; i++)
		mock_queue_destroy(driver->queues[i]);
	free(driver->queues);
	*driver = (struct mock_driver){0};
}

struct mock_queue *mock_driver_enable_queue(
	struct mock_driver *driver, unsigned index, uint16_t size)
{
	const struct mock_queue_options options = {
		.size = size ? size : driver->device->queues[index].size_max,
		.packed = accepted(driver, VIRTIO_F_RING_PACKED),
		.event_idx = accepted(driver, VIRTIO_RING_F_EVENT_IDX),
		.indirect = accepted(driver, VIRTIO_RING_F_INDIRECT_DESC),
		.in_order = accepted(driver, VIRTIO_F_IN_ORDER),
	};
	const struct virtqueue_layout *layout;

	mock_queue_destroy(driver->queues[index]); /* from before a queue reset */
	driver->queues[index] = mock_queue_create(driver->guest, &options);
	layout = mock_queue_layout(driver->queues[index]);
	virtio_device_queue_set_size(driver->device, index, layout->size);
	virtio_device_queue_set_addresses(
		driver->device, index, layout->desc_gpa, layout->driver_gpa, layout->device_gpa);
	virtio_device_queue_enable(driver->device, index);
	return driver->queues[index];
}

void mock_driver_ready(struct mock_driver *driver)
{
	add_status(driver, VIRTIO_STATUS_DRIVER_OK);
}

int mock_driver_start(struct mock_driver *driver, struct virtio_device *device,
	struct mock_guest *guest, uint64_t features, unsigned queues, uint16_t size)
{
	int result = mock_driver_init(driver, device, guest, features);

	if (result)
		return result;
	for (unsigned i = 0; i < queues; i++)
		mock_driver_enable_queue(driver, i, size);
	mock_driver_ready(driver);
	return 0;
}

bool mock_driver_kick(struct mock_driver *driver, unsigned index)
{
	return mock_queue_kick(driver->queues[index], driver->device->queues[index].kick_fd);
}

int mock_driver_wait_used(
	struct mock_driver *driver, unsigned index, int timeout_ms, struct mock_used *ret_used)
{
	return mock_queue_wait_used(
		driver->queues[index], driver->device->queues[index].call_fd, timeout_ms, ret_used);
}

int mock_driver_request(struct mock_driver *driver, unsigned index,
	const struct mock_segment *segments, unsigned count, int timeout_ms, uint32_t *ret_written)
{
	struct mock_used used;
	int token = mock_queue_add(driver->queues[index], segments, count);
	int result;

	if (token < 0)
		return token;
	mock_driver_kick(driver, index);
	result = mock_driver_wait_used(driver, index, timeout_ms, &used);
	if (result)
		return result;
	if (used.token != token)
		mock_misuse("token %u was used while %d was expected", used.token, token);
	*ret_written = used.written;
	return 0;
}
