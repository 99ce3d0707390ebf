/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long notifications of used buffers may be kept back: what a driver has set for each receive
 * and transmit queue of a NIC (virtio 1.3, section 5.1.6.5, "Notifications Coalescing"). What
 * follows from it is net_notifier.h's.
 *
 * All are atomics: commands (the control queue's worker) and the start of a queue (a vCPU thread)
 * write them, the queue's worker reads them. Queues are numbered as the device counts them: even
 * ones receive, odd ones transmit.
 */
#pragma once

#include "net/net_config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* With either at 0, the driver is told after every packet. */
struct net_coalesce_limits {
	uint32_t max_packets;
	uint32_t max_usecs;
};

struct net_coalesce {
	/* Both limits in one word, so that they are never read torn: see net_coalesce_limits(). */
	_Atomic uint64_t queues[2 * NET_QUEUE_PAIRS_MAX];
	_Atomic uint64_t defaults[2]; /* what receive and transmit queues start with */
	_Atomic bool enabled[2 * NET_QUEUE_PAIRS_MAX];
};

/* One command of the class VIRTIO_NET_CTRL_NOTF_COAL, in good form. */
struct net_coalesce_command {
	uint8_t command; /* VIRTIO_NET_CTRL_NOTF_COAL_..._SET or _GET */
	uint16_t queue;  /* of the VQ_ commands; below twice the number of pairs */
	struct net_coalesce_limits limits;
};

/* The limits in a word of struct net_coalesce. Any thread. */
static inline struct net_coalesce_limits net_coalesce_limits(uint64_t word)
{
	return (struct net_coalesce_limits){
		.max_packets = (uint32_t)word, .max_usecs = (uint32_t)(word >> 32)};
}

/* All limits are 0, as after a reset. No queue runs. Main or vCPU thread. */
void net_coalesce_reset(struct net_coalesce *coalesce);

/*
 * Queue @index is enabled, with what was set for all queues of its direction, or disabled. While no
 * worker has it. Main or vCPU thread.
 */
void net_coalesce_enable(struct net_coalesce *coalesce, unsigned index);
void net_coalesce_disable(struct net_coalesce *coalesce, unsigned index);

/*
 * Carries out @command for a device of @pairs pairs; a VQ_GET has its answer in @command->limits
 * then. False, and nothing is changed, where the queue is not enabled. The control queue's worker.
 */
bool net_coalesce_execute(
	struct net_coalesce *coalesce, unsigned pairs, struct net_coalesce_command *command);

/* True where @command sets limits of queue @index. Pure; any thread. */
bool net_coalesce_sets(const struct net_coalesce_command *command, unsigned index);
