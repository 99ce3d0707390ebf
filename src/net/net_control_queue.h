/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue: takes commands off the ring, one at a time, has them parsed (net_control.h),
 * and answers each when it is in effect everywhere. Prepared and started by the main or a vCPU
 * thread while no worker has it, otherwise the worker's.
 */
#pragma once

#include "io/worker.h"
#include "net/net_rx.h"
#include "net/net_shared.h"

/* A chain of the longest queue, each descriptor a segment. */
#define NET_CONTROL_IOVS VIRTQUEUE_SIZE_MAX

struct net_control_queue {
	struct io_source source;
	struct net_shared *shared;
	struct net_rx *const *rx; /* shared->pairs of them */
	struct virtqueue *queue;
	int call_fd;
	struct net_control_limits limits;

	/* The worker's, while started. */
	bool dead;                    /* the ring is broken: nothing more is done */
	bool pending;                 /* a command waits for the receive queues */
	bool orphaned;                /* and its answer for nobody: this queue was reset since */
	struct virtqueue_entry entry; /* of that command */
	uint8_t *acknowledge;         /* where its answer goes, in guest memory */

	/* One is in force, the other free for the next command; see net_shared.h. */
	struct net_policy policies[2];
	struct iovec iov[NET_CONTROL_IOVS];
};

/* @rx and @shared outlive it. The first policy in force is promiscuous, without offloads. */
void net_control_queue_init(
	struct net_control_queue *control, struct net_shared *shared, struct net_rx *const *rx);

/*
 * Puts the policy that a driver with these features starts from into force, without coalescing of
 * notifications. No queue runs. Main or vCPU thread.
 */
void net_control_queue_reset(
	struct net_control_queue *control, uint64_t features, const uint8_t mac[NET_MAC_LENGTH]);

/* Hands the started @queue to @worker. 0 or negative errno. A vCPU thread. */
int net_control_queue_start(struct net_control_queue *control, struct io_worker *worker,
	struct virtqueue *queue, int kick_fd, int call_fd);

/* Takes it back; a command under way is forgotten. The same thread. */
void net_control_queue_stop(struct net_control_queue *control);
