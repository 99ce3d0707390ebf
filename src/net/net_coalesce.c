/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue that is started while its direction's limits change must end up with the new ones. The
 * command stores the default first and each queue's limits after it; the start copies the default
 * and looks at it once more. Whichever of the two stores the queue's limits last, they are the new
 * ones.
 */
#include "net/net_coalesce.h"

#include "net/virtio_net_abi.h"
#include "util/checked.h"

static uint64_t word_of(struct net_coalesce_limits limits)
{
	return (uint64_t)limits.max_usecs << 32 | limits.max_packets;
}

void net_coalesce_reset(struct net_coalesce *coalesce)
{
	for (size_t i = 0; i < ARRAY_SIZE(coalesce->defaults); i++)
		atomic_store(&coalesce->defaults[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(coalesce->queues); i++)
		atomic_store(&coalesce->queues[i], 0);
}

void net_coalesce_enable(struct net_coalesce *coalesce, unsigned index)
{
	_Atomic uint64_t *source = &coalesce->defaults[index % 2];
	uint64_t word;

	do {
		word = atomic_load(source);
		atomic_store(&coalesce->queues[index], word);
	} while (atomic_load(source) != word);
	atomic_store(&coalesce->enabled[index], true);
}

void net_coalesce_disable(struct net_coalesce *coalesce, unsigned index)
{
	atomic_store(&coalesce->enabled[index], false);
}

bool net_coalesce_sets(const struct net_coalesce_command *command, unsigned index)
{
	switch (command->command) {
	case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
		return index % 2 == 0;
	case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
		return index % 2 == 1;
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
		return index == command->queue;
	default:
		return false;
	}
}

bool net_coalesce_execute(
	struct net_coalesce *coalesce, unsigned pairs, struct net_coalesce_command *command)
{
	uint64_t word = word_of(command->limits);

	if (command->command == VIRTIO_NET_CTRL_NOTF_COAL_RX_SET)
		atomic_store(&coalesce->defaults[0], word);
	else if (command->command == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET)
		atomic_store(&coalesce->defaults[1], word);
	else if (!atomic_load(&coalesce->enabled[command->queue]))
		return false;
	for (unsigned i = 0; i < 2 * pairs; i++) {
		if (net_coalesce_sets(command, i))
			atomic_store(&coalesce->queues[i], word);
	}
	if (command->command == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET)
		command->limits =
			net_coalesce_limits(atomic_load(&coalesce->queues[command->queue]));
	return true;
}
