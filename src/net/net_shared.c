/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link's state may be changed by the main thread (netlink) and by any worker (a tap that
 * answers EBADFD); whoever changes the atomic tells the driver, so it is told once.
 */
#include "net/net_shared.h"

#include "net/virtio_net_abi.h"
#include "util/fd.h"
#include "util/log.h"

#include <string.h>

bool net_shared_set_link(struct net_shared *shared, bool up)
{
	uint16_t before;

	if (up)
		before = atomic_fetch_or(&shared->status, VIRTIO_NET_S_LINK_UP);
	else
		before = atomic_fetch_and(&shared->status, (uint16_t)~VIRTIO_NET_S_LINK_UP);
	if (!!(before & VIRTIO_NET_S_LINK_UP) == up)
		return false;
	virtio_device_config_changed(shared->device);
	return true;
}

static void attach_failed(struct net_shared *shared, unsigned pair)
{
	uint8_t mac[NET_MAC_LENGTH];

	if (tap_hardware_address(shared->tap, mac))
		net_shared_tap_gone(shared);
	else
		virtio_device_fail(shared->device,
			"receive queue %u: the kernel does not attach its tap queue", pair);
}

bool net_shared_enable_queue(struct net_shared *shared, unsigned pair, bool enable)
{
	int result = shared->steering ? net_steering_enable_queue(shared->steering, pair, enable)
	                              : tap_queue_enable(shared->tap, pair, enable);

	if (!result || !enable)
		return true;
	attach_failed(shared, pair);
	return false;
}

void net_shared_tap_gone(struct net_shared *shared)
{
	if (atomic_exchange(&shared->gone, true))
		return;
	log_warning("%s: tap %s was deleted; the guest's link is down from now on",
		shared->device->name, shared->tap->name);
	net_shared_set_link(shared, false);
}

void net_shared_set_mac(struct net_shared *shared, const uint8_t mac[NET_MAC_LENGTH])
{
	uint64_t bytes = 0;

	memcpy(&bytes, mac, NET_MAC_LENGTH);
	atomic_store(&shared->mac, bytes);
}

void net_shared_mac(const struct net_shared *shared, uint8_t ret_mac[NET_MAC_LENGTH])
{
	uint64_t bytes = atomic_load(&shared->mac);

	memcpy(ret_mac, &bytes, NET_MAC_LENGTH);
}

unsigned net_shared_flush(struct virtqueue *queue, int call_fd)
{
	if (!virtqueue_publish(queue) || !virtqueue_need_interrupt(queue))
		return 0;
	fd_signal(call_fd);
	return 1;
}
