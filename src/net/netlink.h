/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few rtnetlink requests that topology makes, through libnl. Each function sends one request
 * and waits for the kernel's answer; errors are the kernel's own, as negative errno. Used by
 * topology.c alone, on the main thread.
 */
#pragma once

#include "net/net_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netlink;

/* What the kernel tells about an interface. */
struct netlink_link {
	int index;
	unsigned flags; /* IFF_UP, IFF_LOWER_UP, ... */
	unsigned mtu;
	int master; /* index of the bridge or bond that it is on; 0: none */
	uint8_t mac[NET_MAC_LENGTH];
	char name[NET_NAME_MAX];
	char kind[16]; /* "bridge", "tun", ...; "" for hardware */
	char alias[64];
	bool is_tap; /* kind "tun" and no tun in the narrow sense */
	bool tap_multi_queue;
	unsigned tap_queues; /* open descriptors; told for multi-queue taps only */
};

/* Opens the request socket and a second one that hears of link changes. 0 or negative errno. */
int netlink_create(struct netlink **ret_netlink);

/* Accepts NULL. */
void netlink_destroy(struct netlink *netlink);

/* Non-blocking; readable when some link of this network namespace may have changed. */
int netlink_monitor_fd(const struct netlink *netlink);

/* Throws away what the monitor has heard. Never blocks. */
void netlink_monitor_drain(struct netlink *netlink);

/* Looks an interface up by name, or by index. 0, or -ENODEV where there is none. */
int netlink_find(struct netlink *netlink, const char *name, struct netlink_link *ret_link);
int netlink_find_index(struct netlink *netlink, int index, struct netlink_link *ret_link);

int netlink_set_mtu(struct netlink *netlink, int index, unsigned mtu);
int netlink_set_up(struct netlink *netlink, int index, bool up);
int netlink_set_alias(struct netlink *netlink, int index, const char *alias);

/* Puts the interface on a bridge, or, with @master 0, takes it off. */
int netlink_set_master(struct netlink *netlink, int index, int master);

/* Makes a bridge; @mtu 0 leaves that to the kernel. -EEXIST where the name is taken. */
int netlink_add_bridge(struct netlink *netlink, const char *name, unsigned mtu);

int netlink_delete(struct netlink *netlink, int index);

/* How many interfaces are on bridge @index. */
int netlink_count_ports(struct netlink *netlink, int index, unsigned *ret_count);

/* -EEXIST where the interface has the address already. IPv6 ones are usable at once (no DAD). */
int netlink_add_address(struct netlink *netlink, int index, const struct net_address *address);
int netlink_delete_address(struct netlink *netlink, int index, const struct net_address *address);
int netlink_has_address(
	struct netlink *netlink, int index, const struct net_address *address, bool *ret_has);
