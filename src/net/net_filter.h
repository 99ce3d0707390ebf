/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which received frames the guest wants (virtio 1.2, sections 5.1.6.5.1 to 5.1.6.5.3): its own
 * address, the receive modes, tables of further addresses, VLANs. Pure values: changed on a copy by
 * the control queue, constant where a receive queue looks at them.
 */
#pragma once

#include "net/net_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Addresses kept of each table; with more, everything of that kind is let through. */
#define NET_FILTER_ADDRESSES 64
#define NET_VLANS            4096

/* How much of a frame, from the destination address on, is looked at. */
#define NET_FILTER_BYTES 18

struct net_address_table {
	unsigned count;
	bool overflow; /* more were asked for than are kept */
	uint8_t addresses[NET_FILTER_ADDRESSES][NET_MAC_LENGTH];
};

struct net_filter {
	/* Section 5.1.6.5.1. promiscuous passes everything, VLANs included. */
	bool promiscuous;
	bool all_multicast;
	bool all_unicast;
	bool no_multicast;
	bool no_unicast;
	bool no_broadcast;
	bool filter_vlans; /* CTRL_VLAN was accepted: tagged frames need their bit in vlans */
	uint8_t mac[NET_MAC_LENGTH];
	struct net_address_table unicast;
	struct net_address_table multicast;
	uint64_t vlans[NET_VLANS / 64];
};

/*
 * The state after a reset: promiscuous until the driver says otherwise, so that a driver without
 * CTRL_RX gets all it needs; with @filter_vlans no VLAN is let through yet.
 */
void net_filter_init(
	struct net_filter *filter, const uint8_t mac[NET_MAC_LENGTH], bool filter_vlans);

/*
 * Whether the guest wants the frame that begins with @length (at most NET_FILTER_BYTES are read)
 * bytes at @frame. One without a whole Ethernet header is not wanted. A VLAN tag of id 0 is a
 * priority, not a VLAN (IEEE 802.1Q), and passes.
 */
bool net_filter_accepts(const struct net_filter *filter, const uint8_t *frame, size_t length);

/* Adds to a table, or marks that it overflows. */
void net_address_table_add(struct net_address_table *table, const uint8_t address[NET_MAC_LENGTH]);

/* @vlan is below NET_VLANS. */
void net_filter_set_vlan(struct net_filter *filter, unsigned vlan, bool pass);
