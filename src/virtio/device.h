/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device without its transport: feature negotiation, the status machine, queues and
 * their life, and what the transport and the device type (block, net) ask of each other
 * (virtio 1.2, sections 2.1 to 2.6, 3.1).
 *
 * Eventfds are the whole interface towards KVM: the driver's kick of queue i arrives on
 * queues[i].kick_fd, an interrupt for it is asked for by signalling queues[i].call_fd, a
 * configuration interrupt by signalling config_call_fd. Who binds them to doorbells and MSI-X
 * vectors (the transport) or reads and writes them (a test's mock driver) is unknown here.
 *
 * Threads: register accesses come from vCPU threads and are serialised by the device's lock,
 * which the functions here take themselves. A worker owns queues[i].virtqueue between
 * ops->queue_start() and the return of ops->queue_stop(). Workers never take the lock; what they
 * may call is marked "any thread".
 */
#pragma once

#include "virtio/virtqueue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_memory;
struct virtio_device;

#define VIRTIO_QUEUES_MAX 130 /* 64 pairs and a control queue, rounded up */

/* Device status bits, section 2.1. */
enum virtio_status {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* What a device type implements. All are called with the device's lock held. */
struct virtio_device_ops {
	/*
	 * Copies bytes of the device configuration (section 2.5) to @data. [offset, offset +
	 * length) may reach beyond the structure: such bytes read as 0.
	 */
	void (*config_read)(
		struct virtio_device *device, uint32_t offset, void *data, uint32_t length);

	/* A driver's write to the configuration; what is not writable is ignored. */
	void (*config_write)(
		struct virtio_device *device, uint32_t offset, const void *data, uint32_t length);

	/*
	 * May be NULL. Asks whether this set of features (a subset of those offered) makes sense
	 * together; false makes FEATURES_OK stay clear.
	 */
	bool (*features_valid)(struct virtio_device *device, uint64_t features);

	/*
	 * May be NULL. The driver has set DRIVER_OK; the enabled queues are started right after.
	 * Negative errno makes the device need a reset, and no queue is started.
	 */
	int (*activate)(struct virtio_device *device);

	/*
	 * Queue @index is enabled, the driver is ready, virtqueue_start() has been done: hand it to
	 * its worker. The worker looks at the ring at once, whether or not a kick came. Negative
	 * errno makes the device need a reset, and queue_stop() is not called for that queue.
	 */
	int (*queue_start)(struct virtio_device *device, unsigned index);

	/*
	 * Quiesce: the worker stops popping, drains what is in flight, publishes it, lets go of the
	 * queue. On return no thread touches the ring. Blocks the calling vCPU meanwhile.
	 */
	void (*queue_stop)(struct virtio_device *device, unsigned index);

	/*
	 * May be NULL. The device is reset: all queues are stopped, state goes back to its start.
	 * Also called where activate was not.
	 */
	void (*reset)(struct virtio_device *device);
};

/* Register state is under the device's lock; the fds are constant; virtqueue: see above. */
struct virtio_queue {
	int kick_fd; /* eventfd, driver -> device */
	int call_fd; /* eventfd, device -> driver */
	uint16_t size_max;
	uint16_t size; /* chosen by the driver */
	bool enabled;  /* queue_enable */
	bool started;  /* owned by a worker */
	uint64_t desc_gpa;
	uint64_t driver_gpa;
	uint64_t device_gpa;
	struct virtqueue virtqueue;
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	const struct guest_memory *memory;
	char name[32]; /* for messages: "disk0", "net1" */
	uint16_t type; /* virtio device id: 1 net, 2 block */
	unsigned queue_count;
	struct virtio_queue *queues; /* owned, queue_count of them */
	uint64_t features_offered;   /* constant once the transport is attached */
	int config_call_fd;          /* eventfd, configuration interrupts */

	/*
	 * Guards all below and the queues' register state. Inside the transport's lock; taken by no
	 * worker, since it is held while a worker drains a queue.
	 */
	pthread_mutex_t lock;
	uint64_t features; /* written by the driver; accepted once FEATURES_OK is set */
	/* Atomic: virtio_device_fail() sets NEEDS_RESET from any thread. */
	_Atomic uint8_t status;
	/* Atomic: virtio_device_config_changed() bumps it from any thread. */
	_Atomic uint32_t config_generation;
	atomic_bool failure_logged; /* one line a device, or a guest could fill the log */
};

/* What a driver sees of a queue's registers. */
struct virtio_queue_registers {
	uint16_t size;
	bool enabled;
	uint64_t desc_gpa;
	uint64_t driver_gpa;
	uint64_t device_gpa;
};

/*
 * Sets the common part up: eventfds, queues of at most @queue_size entries. @ops and @memory must
 * outlive the device. @features is what the device type offers; VERSION_1, EVENT_IDX,
 * INDIRECT_DESC and RING_RESET are added here. Returns 0, -EINVAL, -ENOMEM or -EMFILE. Main thread.
 */
int virtio_device_init(struct virtio_device *device, const struct virtio_device_ops *ops,
	const struct guest_memory *memory, uint16_t type, const char *name, unsigned queue_count,
	uint16_t queue_size, uint64_t features);

/* Resets the device and releases everything. Accepts a zeroed object. Main thread. */
void virtio_device_deinit(struct virtio_device *device);

/* Accessors for the transport, each takes the lock. vCPU threads. Section 4.1.4.3. */
uint8_t virtio_device_status(struct virtio_device *device);
/*
 * Writing 0 resets, and returns when that is done; bits are never cleared otherwise. FEATURES_OK
 * stays clear where the driver wants what was not offered, or not VERSION_1, or a set that the
 * device type refuses; DRIVER_OK stays clear without FEATURES_OK, and starts the enabled queues.
 * NEEDS_RESET is ours: a driver cannot set it. Section 2.1.
 */
void virtio_device_set_status(struct virtio_device *device, uint8_t status);
/* The set that the driver wants, judged when it sets FEATURES_OK; ignored after that. */
void virtio_device_set_features(struct virtio_device *device, uint64_t features);
uint64_t virtio_device_features(struct virtio_device *device);
uint32_t virtio_device_config_generation(const struct virtio_device *device);
void virtio_device_config_read(
	struct virtio_device *device, uint32_t offset, void *data, uint32_t length);
void virtio_device_config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length);
/* The registers of queue @index, below queue_count. */
void virtio_device_queue_registers(
	struct virtio_device *device, unsigned index, struct virtio_queue_registers *ret_registers);
/* Out of range sizes and values after enabling are ignored. @index is below queue_count. */
void virtio_device_queue_set_size(struct virtio_device *device, unsigned index, uint16_t size);
void virtio_device_queue_set_addresses(struct virtio_device *device, unsigned index,
	uint64_t desc_gpa, uint64_t driver_gpa, uint64_t device_gpa);
/* Starts it at once where DRIVER_OK is set already (re-enabling after a queue reset). */
void virtio_device_queue_enable(struct virtio_device *device, unsigned index);
/*
 * VIRTIO_F_RING_RESET, section 2.6.1: stops one queue, its registers back to their start. Done
 * when it returns. Ignored (false) where the feature was not accepted.
 */
bool virtio_device_queue_reset(struct virtio_device *device, unsigned index);

/*
 * The driver has gone without a reset, and what its rings lie in may be another's memory by now: all
 * queues are stopped when it returns, and nothing starts again before a reset (NEEDS_RESET is set,
 * and no interrupt tells it). vCPU threads.
 */
void virtio_device_quiesce(struct virtio_device *device);

/*
 * The driver broke a rule that leaves nothing to answer to: sets NEEDS_RESET, tells the driver by
 * a configuration interrupt where it is live, logs one line the first time. The caller stops
 * serving the queue until it is reset. Any thread.
 */
void virtio_device_fail(struct virtio_device *device, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * The configuration space has changed: new generation, and a configuration interrupt where the
 * driver is live. Any thread, with or without the lock. To let no driver read a torn value under
 * one generation, hold the lock around the change and this call (workers may not: they change
 * single fields of at most 8 bytes by atomic stores, and a driver that read in between reads again
 * after the interrupt).
 */
void virtio_device_config_changed(struct virtio_device *device);

/* True where DRIVER_OK is set and NEEDS_RESET is not. Any thread. */
bool virtio_device_live(const struct virtio_device *device);

/* True where the driver accepted @feature (a bit number). Constant while queues are started. */
static inline bool virtio_device_has(const struct virtio_device *device, unsigned feature)
{
	return device->features >> feature & 1;
}
