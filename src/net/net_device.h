/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio network device (virtio 1.2, section 5.1) on a multi-queue tap.
 *
 * Queue pair i is receiveq 2i and transmitq 2i + 1, served by worker i modulo the number of
 * workers through tap queue i; the control queue is the last one (the third, where the driver did
 * not accept VIRTIO_NET_F_MQ) and belongs to the first worker.
 *
 * Life: net_device_create() opens or makes the tap, its bridge and addresses; net_device_destroy()
 * takes back what it made and leaves what it found. The caller runs the workers, attaches the
 * transport to net_device_virtio(), and watches net_device_link_fd().
 */
#pragma once

#include "net/net_config.h"
#include "util/counter.h"

struct error;
struct guest_memory;
struct io_worker;
struct net_device;
struct virtio_device;

/* One tap queue's receive side. Written by its worker alone. */
struct net_rx_counters {
	struct counter frames;    /* handed to the guest */
	struct counter bytes;     /* of frames, without headers of ours */
	struct counter chains;    /* receive buffers that they filled */
	struct counter reads;     /* reads of the tap: system calls or io_uring requests */
	struct counter filtered;  /* frames that the guest's receive filter refused */
	struct counter truncated; /* frames dropped: longer than the guest's buffers */
	struct counter stale; /* frames dropped: queued before the guest switched an offload off */
	struct counter starved; /* times that frames had to wait for receive buffers */
	struct counter bounced; /* bytes copied because a frame came when buffers ran out */
	struct counter errors;  /* reads that failed */
};

/* One tap queue's transmit side. */
struct net_tx_counters {
	struct counter frames; /* handed to the tap */
	struct counter bytes;
	struct counter writes;    /* writes to the tap: system calls or io_uring requests */
	struct counter full;      /* times that the tap pushed back and the guest had to wait */
	struct counter rejected;  /* malformed frames, refused by us or by the tap */
	struct counter link_down; /* frames lost because the tap was down or gone */
};

/*
 * Makes a device called @name ("net0"): topology, tap queues, virtio device, one io_source a queue
 * pair on @workers (at least one; they outlive the device). config->queues must not be 0.
 * With config->fds, the descriptors belong to the device from success on, and to the caller on
 * failure. Returns 0 or negative errno with an explanation in @error. Main thread.
 */
int net_device_create(const struct net_config *config, const char *name,
	const struct guest_memory *memory, struct io_worker *const *workers, unsigned worker_count,
	struct net_device **ret_device, struct error *error);

/*
 * Resets the device, closes the tap, undoes the topology. Accepts NULL. Main thread, after the
 * vCPU threads have ended and before the workers are destroyed.
 */
void net_device_destroy(struct net_device *device);

/* The transport's side; belongs to @device. */
struct virtio_device *net_device_virtio(struct net_device *device);

/*
 * A descriptor that becomes readable (EPOLLIN) when the host's link may have changed, or -1 where
 * it cannot be watched (an adopted tap of another network namespace). Main thread.
 */
int net_device_link_fd(const struct net_device *device);

/* To be called when net_device_link_fd() is readable: brings the guest's link up or down. */
void net_device_link_event(struct net_device *device);

/*
 * Asks the guest to announce itself (gratuitous ARP), where it can: VIRTIO_NET_F_GUEST_ANNOUNCE,
 * section 5.1.6.5.4. For use after the guest has moved. Main thread.
 */
void net_device_announce(struct net_device *device);

/* The name of the tap, which tap=auto makes interesting. */
const char *net_device_tap_name(const struct net_device *device);

/* Whether the kernel moves the frames: then there are no counters. Any thread. */
bool net_device_vhost(const struct net_device *device);

unsigned net_device_pair_count(const struct net_device *device);

/* The same bound. Any thread. */
const struct net_rx_counters *net_device_rx_counters(
	const struct net_device *device, unsigned pair);
const struct net_tx_counters *net_device_tx_counters(
	const struct net_device *device, unsigned pair);
