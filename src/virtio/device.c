/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a device is its status byte (virtio 1.2, section 2.1). The driver sets bits one after
 * another, this file checks each step and gives it its effect, and only a reset clears them:
 *
 *   reset -> ACKNOWLEDGE -> DRIVER -> (features) -> FEATURES_OK -> (queues) -> DRIVER_OK
 *
 * A queue is started, that is handed to a worker, when it is enabled and the device is live
 * (DRIVER_OK and not NEEDS_RESET), in whichever order that comes about; it is stopped by a reset of
 * the device or of the queue. While it is started its struct virtqueue belongs to the worker;
 * queue_stop() is the hand-over back, after which this file forgets the ring.
 *
 * NEEDS_RESET is the one bit that comes from us, and from any thread: it is set by an atomic or
 * into the status byte, so that a failing worker never waits for a vCPU that is waiting, lock in
 * hand, for that worker to stop. The driver's next reset clears it; by then the worker is stopped.
 */
#include "virtio/device.h"

#include "memory/guest_memory.h"
#include "util/cleanup.h"
#include "util/fd.h"
#include "util/log.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEATURE(bit) (1ull << (bit))

static uint8_t load_status(const struct virtio_device *device)
{
	return atomic_load_explicit(&device->status, memory_order_acquire);
}

static void add_status(struct virtio_device *device, uint8_t bits)
{
	atomic_fetch_or_explicit(&device->status, bits, memory_order_acq_rel);
}

bool virtio_device_live(const struct virtio_device *device)
{
	return (load_status(device) & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) ==
	       VIRTIO_STATUS_DRIVER_OK;
}

static void clear_queue_registers(struct virtio_queue *queue)
{
	queue->size = queue->size_max;
	queue->enabled = false;
	queue->desc_gpa = queue->driver_gpa = queue->device_gpa = 0;
}

static int init_queues(struct virtio_device *device, unsigned count, uint16_t size)
{
	/* aligned_alloc: a virtqueue's counters have a cache line of their own. */
	device->queues = aligned_alloc(CACHE_LINE, count * sizeof(*device->queues));
	if (!device->queues)
		return -ENOMEM;
	memset(device->queues, 0, count * sizeof(*device->queues));
	device->queue_count = count;
	for (unsigned i = 0; i < count; i++)
		device->queues[i].kick_fd = device->queues[i].call_fd = -1;
	for (unsigned i = 0; i < count; i++) {
		struct virtio_queue *queue = &device->queues[i];

		queue->size_max = size;
		clear_queue_registers(queue);
		virtqueue_stop(&queue->virtqueue);
		queue->kick_fd = fd_eventfd();
		if (queue->kick_fd < 0)
			return queue->kick_fd;
		queue->call_fd = fd_eventfd();
		if (queue->call_fd < 0)
			return queue->call_fd;
	}
	return 0;
}

static void release_parts(struct virtio_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		cleanup_fd(&device->queues[i].kick_fd);
		cleanup_fd(&device->queues[i].call_fd);
	}
	free(device->queues);
	cleanup_fd(&device->config_call_fd);
	pthread_mutex_destroy(&device->lock);
	memset(device, 0, sizeof(*device));
}

int virtio_device_init(struct virtio_device *device, const struct virtio_device_ops *ops,
	const struct guest_memory *memory, uint16_t type, const char *name, unsigned queue_count,
	uint16_t queue_size, uint64_t features)
{
	int result;

	if (!queue_count || queue_count > VIRTIO_QUEUES_MAX || !queue_size ||
		queue_size > VIRTQUEUE_SIZE_MAX)
		return -EINVAL;
	memset(device, 0, sizeof(*device));
	device->ops = ops;
	device->memory = memory;
	device->type = type;
	snprintf(device->name, sizeof(device->name), "%s", name);
	device->features_offered =
		features | FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_EVENT_IDX) |
		FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | FEATURE(VIRTIO_F_RING_RESET);
	pthread_mutex_init(&device->lock, NULL);
	device->config_call_fd = fd_eventfd();
	result = device->config_call_fd < 0 ? device->config_call_fd
	                                    : init_queues(device, queue_count, queue_size);
	if (result)
		release_parts(device);
	return result;
}

/* ---- queues; lock held ---- */

static void start_queue(struct virtio_device *device, unsigned index)
{
	struct virtio_queue *queue = &device->queues[index];
	const struct virtqueue_layout layout = {
		.size = queue->size,
		.desc_gpa = queue->desc_gpa,
		.driver_gpa = queue->driver_gpa,
		.device_gpa = queue->device_gpa,
		.packed = virtio_device_has(device, VIRTIO_F_RING_PACKED),
		.event_idx = virtio_device_has(device, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_device_has(device, VIRTIO_RING_F_INDIRECT_DESC),
		.in_order = virtio_device_has(device, VIRTIO_F_IN_ORDER),
	};
	int result = virtqueue_start(&queue->virtqueue, device->memory, &layout);

	if (result) {
		virtio_device_fail(device,
			"queue %u: the driver's addresses or size are invalid: %s", index,
			strerror(-result));
		return;
	}
	result = device->ops->queue_start(device, index);
	if (result) {
		virtqueue_stop(&queue->virtqueue);
		virtio_device_fail(
			device, "queue %u cannot be started: %s", index, strerror(-result));
		return;
	}
	queue->started = true;
}

static void stop_queue(struct virtio_device *device, unsigned index)
{
	struct virtio_queue *queue = &device->queues[index];

	if (!queue->started)
		return;
	device->ops->queue_stop(device, index);
	virtqueue_stop(&queue->virtqueue);
	queue->started = false;
}

/* ---- status; lock held ---- */

static void stop_queues(struct virtio_device *device)
{
	/* First of all, so that nothing that ends meanwhile signals a driver that is leaving. */
	atomic_fetch_and_explicit(
		&device->status, (uint8_t)~VIRTIO_STATUS_DRIVER_OK, memory_order_acq_rel);
	for (unsigned i = 0; i < device->queue_count; i++)
		stop_queue(device, i);
}

static void reset_device(struct virtio_device *device)
{
	stop_queues(device);
	for (unsigned i = 0; i < device->queue_count; i++)
		clear_queue_registers(&device->queues[i]);
	if (device->ops->reset)
		device->ops->reset(device);
	device->features = 0;
	atomic_store_explicit(&device->status, 0, memory_order_release);
}

static bool features_acceptable(struct virtio_device *device)
{
	uint64_t features = device->features;

	if ((features & ~device->features_offered) ||
		!virtio_device_has(device, VIRTIO_F_VERSION_1))
		return false;
	return !device->ops->features_valid || device->ops->features_valid(device, features);
}

static void driver_is_ready(struct virtio_device *device)
{
	int result = 0;

	add_status(device, VIRTIO_STATUS_DRIVER_OK);
	if (device->ops->activate)
		result = device->ops->activate(device);
	if (result)
		virtio_device_fail(device, "cannot be activated: %s", strerror(-result));
	for (unsigned i = 0; i < device->queue_count && virtio_device_live(device); i++) {
		if (device->queues[i].enabled)
			start_queue(device, i);
	}
}

void virtio_device_set_status(struct virtio_device *device, uint8_t status)
{
	uint8_t before, added;

	pthread_mutex_lock(&device->lock);
	before = load_status(device);
	added = status & ~before;
	if (!status) {
		reset_device(device);
	} else {
		add_status(device, added & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
						   VIRTIO_STATUS_FAILED));
		if ((added & VIRTIO_STATUS_FEATURES_OK) && features_acceptable(device))
			add_status(device, VIRTIO_STATUS_FEATURES_OK);
		if ((added & VIRTIO_STATUS_DRIVER_OK) &&
			(load_status(device) &
				(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_NEEDS_RESET)) ==
				VIRTIO_STATUS_FEATURES_OK)
			driver_is_ready(device);
	}
	pthread_mutex_unlock(&device->lock);
}

uint8_t virtio_device_status(struct virtio_device *device)
{
	return load_status(device);
}

void virtio_device_set_features(struct virtio_device *device, uint64_t features)
{
	pthread_mutex_lock(&device->lock);
	if (!(load_status(device) & VIRTIO_STATUS_FEATURES_OK))
		device->features = features;
	pthread_mutex_unlock(&device->lock);
}

uint64_t virtio_device_features(struct virtio_device *device)
{
	uint64_t features;

	pthread_mutex_lock(&device->lock);
	features = device->features;
	pthread_mutex_unlock(&device->lock);
	return features;
}

/* ---- configuration space ---- */

uint32_t virtio_device_config_generation(const struct virtio_device *device)
{
	return atomic_load_explicit(&device->config_generation, memory_order_acquire);
}

void virtio_device_config_read(
	struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	memset(data, 0, length);
	pthread_mutex_lock(&device->lock);
	device->ops->config_read(device, offset, data, length);
	pthread_mutex_unlock(&device->lock);
}

void virtio_device_config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	pthread_mutex_lock(&device->lock);
	device->ops->config_write(device, offset, data, length);
	pthread_mutex_unlock(&device->lock);
}

void virtio_device_config_changed(struct virtio_device *device)
{
	atomic_fetch_add_explicit(&device->config_generation, 1, memory_order_acq_rel);
	if (load_status(device) & VIRTIO_STATUS_DRIVER_OK)
		fd_signal(device->config_call_fd);
}

/* ---- queue registers ---- */

void virtio_device_queue_registers(
	struct virtio_device *device, unsigned index, struct virtio_queue_registers *ret_registers)
{
	const struct virtio_queue *queue = &device->queues[index];

	pthread_mutex_lock(&device->lock);
	*ret_registers = (struct virtio_queue_registers){.size = queue->size,
		.enabled = queue->enabled,
		.desc_gpa = queue->desc_gpa,
		.driver_gpa = queue->driver_gpa,
		.device_gpa = queue->device_gpa};
	pthread_mutex_unlock(&device->lock);
}

void virtio_device_queue_set_size(struct virtio_device *device, unsigned index, uint16_t size)
{
	struct virtio_queue *queue = &device->queues[index];

	pthread_mutex_lock(&device->lock);
	if (!queue->enabled && size && size <= queue->size_max)
		queue->size = size;
	pthread_mutex_unlock(&device->lock);
}

void virtio_device_queue_set_addresses(struct virtio_device *device, unsigned index,
	uint64_t desc_gpa, uint64_t driver_gpa, uint64_t device_gpa)
{
	struct virtio_queue *queue = &device->queues[index];

	pthread_mutex_lock(&device->lock);
	if (!queue->enabled) {
		queue->desc_gpa = desc_gpa;
		queue->driver_gpa = driver_gpa;
		queue->device_gpa = device_gpa;
	}
	pthread_mutex_unlock(&device->lock);
}

void virtio_device_queue_enable(struct virtio_device *device, unsigned index)
{
	struct virtio_queue *queue = &device->queues[index];

	pthread_mutex_lock(&device->lock);
	if (!queue->enabled) {
		queue->enabled = true;
		if (virtio_device_live(device))
			start_queue(device, index);
	}
	pthread_mutex_unlock(&device->lock);
}

bool virtio_device_queue_reset(struct virtio_device *device, unsigned index)
{
	bool accepted;

	pthread_mutex_lock(&device->lock);
	accepted = (load_status(device) & VIRTIO_STATUS_FEATURES_OK) &&
	           virtio_device_has(device, VIRTIO_F_RING_RESET);
	if (accepted) {
		stop_queue(device, index);
		clear_queue_registers(&device->queues[index]);
	}
	pthread_mutex_unlock(&device->lock);
	return accepted;
}

/* ---- failure ---- */

void virtio_device_quiesce(struct virtio_device *device)
{
	pthread_mutex_lock(&device->lock);
	if (load_status(device) & VIRTIO_STATUS_DRIVER_OK) {
		stop_queues(device);
		add_status(device, VIRTIO_STATUS_NEEDS_RESET);
	}
	pthread_mutex_unlock(&device->lock);
}

void virtio_device_fail(struct virtio_device *device, const char *format, ...)
{
	uint8_t before = atomic_fetch_or_explicit(
		&device->status, VIRTIO_STATUS_NEEDS_RESET, memory_order_acq_rel);
	char text[256];
	va_list arguments;

	/* Section 2.1.2: a driver that is not ready yet is not told. */
	if ((before & VIRTIO_STATUS_DRIVER_OK) && !(before & VIRTIO_STATUS_NEEDS_RESET))
		fd_signal(device->config_call_fd);
	if (atomic_exchange_explicit(&device->failure_logged, true, memory_order_relaxed))
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_warning(
		"%s: %s; the device waits to be reset by the guest's driver", device->name, text);
}

void virtio_device_deinit(struct virtio_device *device)
{
	if (!device->ops)
		return;
	pthread_mutex_lock(&device->lock);
	reset_device(device);
	pthread_mutex_unlock(&device->lock);
	release_parts(device);
}
