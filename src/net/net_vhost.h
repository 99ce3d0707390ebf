/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A NIC whose frames the kernel moves (vhost=on): in the place of net_rx and net_tx, a vhost back
 * end for each queue pair. The control queue stays here; what it decides is put into effect on the
 * tap. The kernel does not filter, reports no hashes, coalesces no notifications and counts
 * nothing, so none of that is offered.
 *
 * Everything is done by one worker, the control queue's; the other functions ask it and wait.
 */
#pragma once

#include "io/worker.h"
#include "net/net_shared.h"

struct error;
struct guest_memory;

struct net_vhost_pair {
	int fd;       /* of the back end */
	bool receive; /* the ring is served */
};

struct net_vhost {
	struct net_shared *shared;
	struct io_worker *worker;
	struct io_source errors; /* rings that the driver broke */
	int error_fd;            /* eventfd, all rings' */
	unsigned count;          /* of pairs that are open */
	struct net_vhost_pair pairs[NET_QUEUE_PAIRS_MAX];
};

/*
 * Opens a back end for each of @shared->pairs. @worker outlives it. Returns 0, or negative errno
 * with @error saying what to do. net_vhost_deinit() is to be called in either case. Main thread.
 */
int net_vhost_init(struct net_vhost *vhost, struct net_shared *shared, struct io_worker *worker,
	const struct guest_memory *memory, struct error *error);

/* All queues are stopped. Accepts a zeroed object. Main thread, while the worker runs. */
void net_vhost_deinit(struct net_vhost *vhost);

/* Of the device's features @offered, those that go with vhost. Any thread. */
uint64_t net_vhost_features(uint64_t offered);

/* The driver is ready, its features are settled; no queue runs. 0 or negative errno. A vCPU thread.
 */
int net_vhost_activate(struct net_vhost *vhost);

/*
 * Has queue @index (as the device counts: even ones receive) served, or served no longer; see
 * virtio_device_ops. 0 or negative errno. A vCPU thread.
 */
int net_vhost_queue_start(struct net_vhost *vhost, unsigned index);
void net_vhost_queue_stop(struct net_vhost *vhost, unsigned index);

/* Attaches the tap queues of the pairs that the policy in force uses, no others. The worker. */
void net_vhost_follow(struct net_vhost *vhost);
