/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables are searched one by one: guests have a handful of addresses, and the order of the tests
 * lets the usual frame (promiscuous, or to the guest's own address) through with one comparison.
 */
#include "net/net_filter.h"

#include "util/bytes.h"

#include <net/ethernet.h>
#include <string.h>

#define ETHERNET_BYTES 14

void net_filter_init(
	struct net_filter *filter, const uint8_t mac[NET_MAC_LENGTH], bool filter_vlans)
{
	*filter = (struct net_filter){.promiscuous = true, .filter_vlans = filter_vlans};
	memcpy(filter->mac, mac, NET_MAC_LENGTH);
}

static bool table_has(const struct net_address_table *table, const uint8_t *address)
{
	if (table->overflow)
		return true;
	for (unsigned i = 0; i < table->count; i++) {
		if (!memcmp(table->addresses[i], address, NET_MAC_LENGTH))
			return true;
	}
	return false;
}

static bool is_broadcast(const uint8_t *address)
{
	static const uint8_t broadcast[NET_MAC_LENGTH] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	return !memcmp(address, broadcast, NET_MAC_LENGTH);
}

static bool accepts_vlan(const struct net_filter *filter, const uint8_t *frame, size_t length)
{
	unsigned vlan;

	if (!filter->filter_vlans || get_be16(frame + 12) != ETHERTYPE_VLAN)
		return true;
	if (length < ETHERNET_BYTES + 2)
		return false;
	vlan = get_be16(frame + 14) & (NET_VLANS - 1);
	return !vlan || filter->vlans[vlan / 64] >> (vlan % 64) & 1;
}

bool net_filter_accepts(const struct net_filter *filter, const uint8_t *frame, size_t length)
{
	if (length < ETHERNET_BYTES)
		return false;
	if (filter->promiscuous)
		return true;
	if (!accepts_vlan(filter, frame, length))
		return false;
	if (is_broadcast(frame))
		return !filter->no_broadcast;
	if (frame[0] & 1)
		return !filter->no_multicast &&
		       (filter->all_multicast || table_has(&filter->multicast, frame));
	if (filter->no_unicast)
		return false;
	return !memcmp(frame, filter->mac, NET_MAC_LENGTH) || filter->all_unicast ||
	       table_has(&filter->unicast, frame);
}

void net_address_table_add(struct net_address_table *table, const uint8_t address[NET_MAC_LENGTH])
{
	if (table->count == NET_FILTER_ADDRESSES) {
		table->overflow = true;
		return;
	}
	memcpy(table->addresses[table->count++], address, NET_MAC_LENGTH);
}

void net_filter_set_vlan(struct net_filter *filter, unsigned vlan, bool pass)
{
	uint64_t bit = 1ull << (vlan % 64);

	if (pass)
		filter->vlans[vlan / 64] |= bit;
	else
		filter->vlans[vlan / 64] &= ~bit;
}
