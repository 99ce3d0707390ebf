/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of one NIC (receive, transmit and control queues, the configuration space) have in
 * common. There are no locks: small values are atomics, and the policy goes round by publication.
 *
 * Publication: the control queue fills the policy that nobody uses, stores its address into
 * `policy` and signals the receive queues' kick eventfds. Each of them takes the new one over
 * between two frames (net_rx.c) and signals back. When all that run have done so, the command is
 * answered, and the old policy is free for the next. So when the driver sees its answer, no frame
 * is received by the old rules any more.
 */
#pragma once

#include "net/net_coalesce.h"
#include "net/net_control.h"
#include "net/net_steering.h"
#include "net/tap.h"
#include "virtio/device.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct net_vhost;

struct net_shared {
	struct virtio_device *device;
	struct tap *tap;
	unsigned pairs;                /* of the device; constant */
	unsigned frame_mtu;            /* what the tap's frames usually stay within; constant */
	struct net_steering *steering; /* NULL: no receive-side scaling; constant */
	struct net_vhost *vhost;       /* NULL: frames go through net_rx and net_tx; constant */
	bool hash_report;              /* was negotiated; constant for a driver's time */
	int control_fd; /* the control queue's kick eventfd; constant for a driver's time */

	/*
	 * The policy in force. Sequentially consistent: with net_rx.running it decides who waits
	 * for whom when a queue starts while a command is carried out.
	 */
	_Atomic(const struct net_policy *) policy;

	_Atomic uint64_t mac;    /* 6 bytes, in memory order; config space reads it */
	_Atomic uint16_t status; /* VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_ANNOUNCE */
	_Atomic bool gone;       /* the tap does not exist any more */

	struct net_coalesce coalesce; /* how long each queue may keep its notifications back */
};

/* Bytes of the header in front of each frame, in both directions. Any thread. */
static inline unsigned net_shared_header_bytes(const struct net_shared *shared)
{
	return shared->hash_report ? NET_HEADER_HASH_BYTES : NET_HEADER_BYTES;
}

/*
 * tap_queue_enable(), by way of what steers the tap. False where it cannot be attached, which has
 * been dealt with: the tap is gone, or the device needs a reset. The queue's worker.
 */
bool net_shared_enable_queue(struct net_shared *shared, unsigned pair, bool enable);

/*
 * Sets the link up or down in the configuration space; where that is a change, tells the driver.
 * Returns whether it was. Any thread.
 */
bool net_shared_set_link(struct net_shared *shared, bool up);

/* The tap is gone for good: link down, one line in the log, the first time. Any thread. */
void net_shared_tap_gone(struct net_shared *shared);

/* Sets and reads the address shown in the configuration space. Any thread. */
void net_shared_set_mac(struct net_shared *shared, const uint8_t mac[NET_MAC_LENGTH]);
void net_shared_mac(const struct net_shared *shared, uint8_t ret_mac[NET_MAC_LENGTH]);

/*
 * The end of a worker's turn for @queue: publishes what was pushed and interrupts the driver where
 * it wants that. Returns the number of system calls. The queue's worker.
 */
unsigned net_shared_flush(struct virtqueue *queue, int call_fd);
