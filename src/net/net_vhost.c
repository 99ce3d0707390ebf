/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring is with the kernel from the start of its queue to the stop. Which pairs get frames is the
 * tap's affair: a detached tap queue receives none, and what is sent into it still goes out. So a
 * change of the number of pairs touches no ring.
 */
#include "net/net_vhost.h"

#include "net/vhost.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/fd.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define FEATURE(bit) (1ull << (bit))

/* What the kernel has to know of what the driver accepted. */
#define RING_FEATURES                                                                              \
	(FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_EVENT_IDX) |                          \
		FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | FEATURE(VIRTIO_NET_F_MRG_RXBUF))

/* What is done between ring and tap in user space only. */
#define OWN_FEATURES                                                                               \
	(FEATURE(VIRTIO_NET_F_CTRL_RX) | FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) |                     \
		FEATURE(VIRTIO_NET_F_CTRL_VLAN) | FEATURE(VIRTIO_NET_F_HASH_REPORT) |              \
		FEATURE(VIRTIO_NET_F_NOTF_COAL) | FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL))

/* ---- broken rings ---- */

static struct net_vhost *vhost_of(struct io_source *source)
{
	return container_of(source, struct net_vhost, errors);
}

/* Never spun on: the source has no polling window, so it is asked once after each signal. */
static bool errors_poll(struct io_source *source)
{
	return !source->stopping && fd_is_signalled(vhost_of(source)->error_fd);
}

static void errors_process(struct io_source *source)
{
	struct net_vhost *vhost = vhost_of(source);

	/* A signal from before a reset says nothing of the device after it. */
	if (fd_drain(vhost->error_fd) && virtio_device_live(vhost->shared->device))
		virtio_device_fail(vhost->shared->device, "vhost: a queue's ring is broken");
}

static void errors_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	(void)source;
	(void)tag;
	(void)result;
	(void)flags;
}

static unsigned errors_flush(struct io_source *source)
{
	(void)source;
	return 0;
}

static void errors_disarm(struct io_source *source)
{
	(void)source;
}

static const struct io_source_ops errors_ops = {
	.poll = errors_poll,
	.process = errors_process,
	.complete = errors_complete,
	.flush = errors_flush,
	.arm = errors_poll, /* a signal is a kick in any case */
	.disarm = errors_disarm,
};

/* ---- life ---- */

static int open_pair(struct net_vhost *vhost, const struct guest_memory *memory)
{
	struct net_vhost_pair *pair = &vhost->pairs[vhost->count];
	uint64_t features;
	int result = vhost_open(memory, &pair->fd);

	if (result)
		return result;
	vhost->count++;
	result = vhost_features(pair->fd, &features);
	if (!result && (features & RING_FEATURES) != RING_FEATURES)
		result = -ENOTSUP;
	return result;
}

struct opening {
	struct net_vhost *vhost;
	const struct guest_memory *memory;
};

/* In the worker, so that the kernel's threads run where it may run. */
static int open_pairs(struct io_worker *worker, void *argument)
{
	const struct opening *opening = argument;
	int result = 0;

	(void)worker;
	while (!result && opening->vhost->count < opening->vhost->shared->pairs)
		result = open_pair(opening->vhost, opening->memory);
	return result;
}

static int explain(int code, struct error *error)
{
	switch (code) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return error_set(error, code,
			"--net: vhost=on: this host has no /dev/vhost-net; load it (modprobe "
			"vhost_net) or leave vhost=on away");
	case -EACCES:
	case -EPERM:
		return error_set(error, code,
			"--net: vhost=on: no right to use /dev/vhost-net; have it given to you "
			"(setfacl -m u:$USER:rw /dev/vhost-net) or leave vhost=on away");
	case -ENOTSUP:
		return error_set(error, code,
			"--net: vhost=on: this kernel's vhost-net is too old; leave vhost=on away");
	default:
		return error_set(error, code, "--net: vhost=on: %s", strerror(-code));
	}
}

int net_vhost_init(struct net_vhost *vhost, struct net_shared *shared, struct io_worker *worker,
	const struct guest_memory *memory, struct error *error)
{
	struct opening opening = {.vhost = vhost, .memory = memory};
	int result;

	*vhost = (struct net_vhost){.shared = shared, .worker = worker, .error_fd = fd_eventfd()};
	result = vhost->error_fd < 0 ? vhost->error_fd
	                             : io_worker_call(worker, open_pairs, &opening);
	if (result)
		return explain(result, error);
	io_source_init(&vhost->errors, &errors_ops, vhost->error_fd, 0);
	result = io_worker_attach(worker, &vhost->errors);
	return result ? explain(result, error) : 0;
}

void net_vhost_deinit(struct net_vhost *vhost)
{
	if (!vhost->shared)
		return;
	io_worker_detach(&vhost->errors);
	while (vhost->count)
		cleanup_fd(&vhost->pairs[--vhost->count].fd);
	cleanup_fd(&vhost->error_fd);
}

uint64_t net_vhost_features(uint64_t offered)
{
	return offered & ~OWN_FEATURES;
}

/* ---- queues ---- */

static int set_features(struct io_worker *worker, void *argument)
{
	struct net_vhost *vhost = argument;
	int result = 0;

	(void)worker;
	(void)fd_drain(vhost->error_fd); /* of the driver before */
	for (unsigned i = 0; !result && i < vhost->count; i++)
		result = vhost_set_features(
			vhost->pairs[i].fd, vhost->shared->device->features & RING_FEATURES);
	return result;
}

int net_vhost_activate(struct net_vhost *vhost)
{
	return io_worker_call(vhost->worker, set_features, vhost);
}

void net_vhost_follow(struct net_vhost *vhost)
{
	unsigned used = atomic_load(&vhost->shared->policy)->pairs;

	for (unsigned i = 0; i < vhost->count; i++)
		(void)net_shared_enable_queue(
			vhost->shared, i, vhost->pairs[i].receive && i < used);
}

struct queue_call {
	struct net_vhost *vhost;
	unsigned index;
};

static int start_queue(struct io_worker *worker, void *argument)
{
	const struct queue_call *call = argument;
	struct net_vhost *vhost = call->vhost;
	const struct net_shared *shared = vhost->shared;
	const struct virtio_queue *queue = &shared->device->queues[call->index];
	unsigned number = call->index / 2;
	struct net_vhost_pair *pair = &vhost->pairs[number];
	enum vhost_ring ring = call->index % 2 ? VHOST_RING_TX : VHOST_RING_RX;
	int result;

	(void)worker;
	if (ring == VHOST_RING_RX && !shared->tap->multi_queue)
		(void)tap_drop_frames(shared->tap, number);
	result = vhost_ring_start(pair->fd, ring, &queue->virtqueue, queue->kick_fd, queue->call_fd,
		vhost->error_fd, shared->tap->queues[number].fd);
	if (result)
		return result;
	pair->receive |= ring == VHOST_RING_RX;
	net_vhost_follow(vhost);
	return 0;
}

int net_vhost_queue_start(struct net_vhost *vhost, unsigned index)
{
	return io_worker_call(
		vhost->worker, start_queue, &(struct queue_call){.vhost = vhost, .index = index});
}

static int stop_queue(struct io_worker *worker, void *argument)
{
	const struct queue_call *call = argument;
	struct net_vhost *vhost = call->vhost;
	struct net_vhost_pair *pair = &vhost->pairs[call->index / 2];
	enum vhost_ring ring = call->index % 2 ? VHOST_RING_TX : VHOST_RING_RX;

	(void)worker;
	pair->receive &= ring != VHOST_RING_RX;
	net_vhost_follow(vhost);
	vhost_ring_stop(pair->fd, ring);
	return 0;
}

void net_vhost_queue_stop(struct net_vhost *vhost, unsigned index)
{
	(void)io_worker_call(
		vhost->worker, stop_queue, &(struct queue_call){.vhost = vhost, .index = index});
}
