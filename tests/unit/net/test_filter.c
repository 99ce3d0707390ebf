/* SPDX-License-Identifier: Apache-2.0 */
/* Which frames pass in which mode. */
#include "net/net_filter.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t own[] = {0x02, 0, 0, 0, 0, 1};
static const uint8_t other[] = {0x02, 0, 0, 0, 0, 2};
static const uint8_t group[] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t broadcast[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static struct net_filter filter;

static void setup(void)
{
	net_filter_init(&filter, own, false);
	filter.promiscuous = false;
}

TestSuite(filter, .init = setup);

/* A frame to @to; @vlan < 0: without a tag. */
static bool passes(const uint8_t *to, int vlan)
{
	uint8_t frame[NET_FILTER_BYTES] = {0};

	memcpy(frame, to, NET_MAC_LENGTH);
	frame[12] = vlan < 0 ? 0x08 : 0x81;
	frame[14] = vlan < 0 ? 0x45 : (uint8_t)(0xe0 | vlan >> 8); /* priority 7 */
	frame[15] = (uint8_t)vlan;
	return net_filter_accepts(&filter, frame, sizeof(frame));
}

Test(filter, own_address_and_broadcast_by_default)
{
	cr_expect(passes(own, -1));
	cr_expect(passes(broadcast, -1));
	cr_expect_not(passes(other, -1));
	cr_expect_not(passes(group, -1));
}

Test(filter, starts_promiscuous)
{
	net_filter_init(&filter, own, false);
	cr_expect(passes(other, -1));
	cr_expect(passes(group, -1));
	cr_expect(passes(other, 7));
}

Test(filter, modes)
{
	filter.all_multicast = true;
	cr_expect(passes(group, -1));
	cr_expect_not(passes(other, -1));
	filter.no_multicast = true;
	cr_expect_not(passes(group, -1));
	cr_expect(passes(broadcast, -1), "broadcast is not switched off by nomulti");
	filter.all_unicast = true;
	cr_expect(passes(other, -1));
	filter.no_unicast = true;
	cr_expect_not(passes(other, -1));
	cr_expect_not(passes(own, -1));
	filter.no_broadcast = true;
	cr_expect_not(passes(broadcast, -1));
	filter.promiscuous = true;
	cr_expect(passes(own, -1) && passes(group, -1) && passes(broadcast, -1));
}

Test(filter, tables)
{
	net_address_table_add(&filter.unicast, other);
	cr_expect(passes(other, -1));
	cr_expect_not(passes(group, -1));
	net_address_table_add(&filter.multicast, group);
	cr_expect(passes(group, -1));
}

Test(filter, table_overflow_lets_all_of_its_kind_through)
{
	for (unsigned i = 0; i < NET_FILTER_ADDRESSES; i++)
		net_address_table_add(&filter.multicast, (uint8_t[]){0x01, 0, 0, 0, 1, (uint8_t)i});
	cr_expect_not(passes(group, -1));
	cr_expect(passes((uint8_t[]){0x01, 0, 0, 0, 1, NET_FILTER_ADDRESSES - 1}, -1));
	net_address_table_add(&filter.multicast, (uint8_t[]){0x01, 0, 0, 0, 2, 0});
	cr_expect(passes(group, -1));
	cr_expect_not(passes(other, -1), "the unicast table has not overflowed");
}

Test(filter, vlans)
{
	net_filter_init(&filter, own, true);
	filter.promiscuous = false;
	cr_expect(passes(own, -1));
	cr_expect(passes(own, 0), "a priority tag is no VLAN");
	cr_expect_not(passes(own, 100));
	net_filter_set_vlan(&filter, 100, true);
	net_filter_set_vlan(&filter, 4095, true);
	cr_expect(passes(own, 100));
	cr_expect(passes(own, 4095));
	cr_expect_not(passes(own, 101));
	cr_expect_not(passes(other, 100), "a VLAN that passes does not open the address filter");
	net_filter_set_vlan(&filter, 100, false);
	cr_expect_not(passes(own, 100));
	filter.promiscuous = true;
	cr_expect(passes(other, 100));
}

Test(filter, short_frames)
{
	uint8_t frame[NET_FILTER_BYTES] = {0};

	memcpy(frame, own, sizeof(own));
	cr_expect_not(net_filter_accepts(&filter, frame, 13));
	cr_expect(net_filter_accepts(&filter, frame, 14));
	filter.promiscuous = true;
	cr_expect_not(net_filter_accepts(&filter, frame, 13));
	net_filter_init(&filter, own, true);
	filter.promiscuous = false;
	frame[12] = 0x81;
	cr_expect_not(net_filter_accepts(&filter, frame, 15), "a tag that is cut off");
}
