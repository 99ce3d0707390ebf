/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control queue, each in its good form and in bad ones. */
#include "net/net_control.h"

#include "net/virtio_net_abi.h"
#include "util/bytes.h"
#include "util/checked.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define FEATURE(bit) (1ull << (bit))

static const uint8_t own[] = {0x02, 0, 0, 0, 0, 1};
static struct net_control_limits limits;
static struct net_policy policy;
static struct net_coalesce_command coalesce; /* what the last command asked for */

static void setup(void)
{
	limits = (struct net_control_limits){
		.features = FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_RX) |
	                    FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) | FEATURE(VIRTIO_NET_F_CTRL_VLAN) |
	                    FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |
	                    FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | FEATURE(VIRTIO_NET_F_MQ) |
	                    FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
	                    FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
	                    FEATURE(VIRTIO_NET_F_GUEST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_ECN),
		.pairs_max = 4};
	net_policy_init(&policy, limits.features, own);
}

TestSuite(control, .init = setup);

/* The command in one segment, then cut into segments of one byte: both must agree. */
static enum net_control_effect run(uint8_t class, uint8_t command, const void *data, size_t length)
{
	const struct net_coalesce_command none = {.command = 0xaa, .queue = 0xaaaa};
	struct net_coalesce_command coalesce_again = none;
	struct net_policy start = policy, again = policy;
	enum net_control_effect effect;
	size_t whole = length + 2;
	struct iovec *pieces = calloc(whole, sizeof(*pieces));
	uint8_t *bytes = malloc(whole);
	struct iovec one = {bytes, whole};

	bytes[0] = class;
	bytes[1] = command;
	memcpy(bytes + 2, data, length);
	for (size_t i = 0; i < whole; i++)
		pieces[i] = (struct iovec){bytes + i, 1};
	coalesce = none;
	effect = net_control_execute(&limits, &one, 1, whole, &policy, &coalesce);
	cr_assert_eq(net_control_execute(&limits, pieces, whole, whole, &again, &coalesce_again),
		effect);
	cr_assert_arr_eq(&policy, &again, sizeof(policy));
	cr_assert_arr_eq(&coalesce, &coalesce_again, sizeof(coalesce));
	if (effect != NET_CONTROL_COALESCE)
		cr_assert_arr_eq(&coalesce, &none, sizeof(coalesce), "refused, yet changed");
	if (effect != NET_CONTROL_POLICY)
		cr_assert_arr_eq(&policy, &start, sizeof(policy), "refused, yet changed");
	free(pieces);
	free(bytes);
	return effect;
}

static bool accepted(uint8_t class, uint8_t command, const void *data, size_t length)
{
	return run(class, command, data, length) == NET_CONTROL_POLICY;
}

static void without(unsigned feature)
{
	limits.features &= ~FEATURE(feature);
}

Test(control, receive_modes)
{
	bool *const modes[] = {&policy.filter.promiscuous, &policy.filter.all_multicast,
		&policy.filter.all_unicast, &policy.filter.no_multicast, &policy.filter.no_unicast,
		&policy.filter.no_broadcast};

	for (uint8_t mode = 0; mode < ARRAY_SIZE(modes); mode++) {
		cr_expect(accepted(VIRTIO_NET_CTRL_RX, mode, "\1", 1));
		cr_expect(*modes[mode], "mode %u", mode);
		cr_expect(accepted(VIRTIO_NET_CTRL_RX, mode, "\0", 1));
		cr_expect_not(*modes[mode], "mode %u", mode);
	}
}

Test(control, receive_modes_in_bad_form)
{
	cr_expect_not(accepted(VIRTIO_NET_CTRL_RX, 0, "", 0));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_RX, 0, "\1\1", 2));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_RX, 0, "\2", 1));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_RX, 6, "\1", 1));
	without(VIRTIO_NET_F_CTRL_RX_EXTRA);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, "\1", 1));
	cr_expect(accepted(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "\1", 1));
	without(VIRTIO_NET_F_CTRL_RX);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1));
}

/* Two tables of @unicast and @multicast addresses, which are numbered; returns the length. */
static size_t make_tables(uint8_t *data, unsigned unicast, unsigned multicast)
{
	unsigned counts[] = {unicast, multicast};
	uint8_t *at = data;

	for (unsigned table = 0; table < 2; table++) {
		put_le32(at, counts[table]);
		at += 4;
		for (unsigned i = 0; i < counts[table]; i++, at += 6)
			memcpy(at,
				((uint8_t[]){(uint8_t)(2 + table), 0, 0, 0, (uint8_t)(i >> 8),
					(uint8_t)i}),
				6);
	}
	return (size_t)(at - data);
}

Test(control, address_tables)
{
	static uint8_t data[2048];
	size_t length = make_tables(data, 2, 3);

	cr_assert(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length));
	cr_expect_eq(policy.filter.unicast.count, 2);
	cr_expect_eq(policy.filter.multicast.count, 3);
	cr_expect_arr_eq(policy.filter.multicast.addresses[2], ((uint8_t[]){3, 0, 0, 0, 0, 2}), 6);
	/* A second one replaces the first. */
	length = make_tables(data, 0, 0);
	cr_assert(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length));
	cr_expect_eq(policy.filter.unicast.count, 0);
	cr_expect_eq(policy.filter.multicast.count, 0);
	/* More than are kept. */
	length = make_tables(data, NET_FILTER_ADDRESSES, NET_FILTER_ADDRESSES + 1);
	cr_assert(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length));
	cr_expect_not(policy.filter.unicast.overflow);
	cr_expect(policy.filter.multicast.overflow);
}

Test(control, address_tables_in_bad_form)
{
	static uint8_t data[70000];
	size_t length = make_tables(data, 2, 3);

	for (size_t cut = 0; cut < length; cut++)
		cr_expect_not(
			accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, cut));
	cr_expect_not(
		accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length + 1));
	put_le32(data, UINT32_MAX);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length));
	length = make_tables(data, 5000, 6000);
	cr_expect_gt(length, NET_CONTROL_BYTES_MAX);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length));
	without(VIRTIO_NET_F_CTRL_RX);
	length = make_tables(data, 1, 1);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, length));
}

Test(control, own_address)
{
	static const uint8_t mac[] = {0x02, 9, 8, 7, 6, 5, 4};

	cr_assert(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6));
	cr_expect_arr_eq(policy.filter.mac, mac, 6);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 5));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 7));
	cr_expect_not(
		accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\1\0\0\0\0\1", 6));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, 2, mac, 6));
	without(VIRTIO_NET_F_CTRL_MAC_ADDR);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6));
}

Test(control, vlans)
{
	cr_expect(accepted(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x64\0", 2));
	cr_expect_eq(policy.filter.vlans[1], 1ull << 36);
	cr_expect(accepted(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, "\x64\0", 2));
	cr_expect_eq(policy.filter.vlans[1], 0);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\0\x10", 2));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x64", 1));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x64\0\0", 3));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_VLAN, 2, "\x64\0", 2));
	without(VIRTIO_NET_F_CTRL_VLAN);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x64\0", 2));
}

Test(control, vlan_filter_goes_with_its_feature)
{
	cr_expect(policy.filter.filter_vlans);
	without(VIRTIO_NET_F_CTRL_VLAN);
	net_policy_init(&policy, limits.features, own);
	cr_expect_not(policy.filter.filter_vlans);
}

Test(control, queue_pairs)
{
	cr_expect_eq(policy.pairs, 1, "one pair until the driver says otherwise");
	cr_expect(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\4\0", 2));
	cr_expect_eq(policy.pairs, 4);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\5\0", 2));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\0\0", 2));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\0\1", 2));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2", 1));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0\0", 3));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, 1, "\2\0", 2), "RSS is not negotiated");
	without(VIRTIO_NET_F_MQ);
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2));
	cr_expect_eq(policy.pairs, 4);
}

static bool set_offloads(uint64_t offloads)
{
	uint8_t data[9] = {0};

	put_le64(data, offloads);
	return accepted(
		VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, data, 8);
}

Test(control, guest_offloads)
{
	cr_expect_eq(policy.offloads,
		NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
		"all that was negotiated is on at first");
	cr_expect(set_offloads(FEATURE(VIRTIO_NET_F_GUEST_CSUM)));
	cr_expect_eq(policy.offloads, NET_OFFLOAD_CSUM);
	cr_expect(set_offloads(0));
	cr_expect_eq(policy.offloads, 0);
	cr_expect(set_offloads(FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
			       FEATURE(VIRTIO_NET_F_GUEST_ECN)));
	cr_expect_eq(policy.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN);
}

Test(control, guest_offloads_in_bad_form)
{
	uint64_t csum = FEATURE(VIRTIO_NET_F_GUEST_CSUM);

	cr_expect_not(set_offloads(FEATURE(VIRTIO_NET_F_GUEST_TSO4)), "needs GUEST_CSUM");
	cr_expect_not(set_offloads(csum | FEATURE(VIRTIO_NET_F_GUEST_ECN)), "needs TSO");
	cr_expect_not(set_offloads(csum | FEATURE(VIRTIO_NET_F_GUEST_USO4)), "not negotiated");
	cr_expect_not(set_offloads(csum | FEATURE(VIRTIO_NET_F_CSUM)), "not a guest offload");
	cr_expect_not(accepted(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\2\0\0\0\0\0\0", 7));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\2\0\0\0\0\0\0\0\0", 9));
	cr_expect_not(accepted(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, "\2\0\0\0\0\0\0\0", 8));
	without(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	cr_expect_not(set_offloads(0));
}

Test(control, uso_needs_both_versions)
{
	uint64_t csum = FEATURE(VIRTIO_NET_F_GUEST_CSUM), four = FEATURE(VIRTIO_NET_F_GUEST_USO4);

	cr_expect_eq(net_offloads_of_features(csum | four), NET_OFFLOAD_CSUM);
	cr_expect_eq(net_offloads_of_features(csum | four | FEATURE(VIRTIO_NET_F_GUEST_USO6)),
		NET_OFFLOAD_CSUM | NET_OFFLOAD_USO);
}

Test(control, announcement)
{
	cr_expect_eq(run(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0),
		NET_CONTROL_ANNOUNCED);
	cr_expect_eq(run(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "\0", 1),
		NET_CONTROL_REFUSED);
	cr_expect_eq(run(VIRTIO_NET_CTRL_ANNOUNCE, 1, "", 0), NET_CONTROL_REFUSED);
	without(VIRTIO_NET_F_GUEST_ANNOUNCE);
	cr_expect_eq(run(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0),
		NET_CONTROL_REFUSED);
}

Test(control, unknown_and_cut_commands)
{
	uint8_t class = VIRTIO_NET_CTRL_RX;
	struct iovec one = {&class, 1};

	for (unsigned unknown = 7; unknown < 256; unknown += 50)
		cr_expect_not(accepted((uint8_t)unknown, 0, "\1", 1));
	cr_expect_eq(
		net_control_execute(&limits, &one, 1, 1, &policy, &coalesce), NET_CONTROL_REFUSED);
	cr_expect_eq(
		net_control_execute(&limits, NULL, 0, 0, &policy, &coalesce), NET_CONTROL_REFUSED);
}

/* ---- hashes ---- */

static uint8_t command_bytes[600];

/* RSS_CONFIG with @entries of a table that goes round over @pairs; returns its length. */
static size_t make_rss(unsigned entries, unsigned pairs, uint16_t transmit, uint8_t key)
{
	uint8_t *at = command_bytes;

	memset(command_bytes, 0x5a, sizeof(command_bytes));
	put_le32(at, NET_HASH_TYPES);
	put_le16(at + 4, (uint16_t)(entries - 1));
	put_le16(at + 6, (uint16_t)(pairs - 1)); /* unclassified */
	at += 8;
	for (unsigned i = 0; i < entries; i++, at += 2)
		put_le16(at, (uint16_t)(i % pairs));
	put_le16(at, transmit);
	at[2] = key;
	return (size_t)(at + 3 - command_bytes) + key;
}

static bool rss(size_t length)
{
	return accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, command_bytes, length);
}

static void with(unsigned feature)
{
	limits.features |= FEATURE(feature);
}

Test(control, receive_side_scaling)
{
	with(VIRTIO_NET_F_RSS);
	for (unsigned entries = 1; entries <= NET_RSS_TABLE_MAX; entries *= 2) {
		cr_assert(rss(make_rss(entries, min_of(entries, 3u), 1, 40)));
		cr_expect(policy.rss.on);
		cr_expect_eq(policy.rss.mask, entries - 1);
		cr_expect_eq(policy.rss.unclassified, min_of(entries, 3u) - 1);
		cr_expect_eq(policy.rss.table[entries - 1], (entries - 1) % min_of(entries, 3u));
		cr_expect_eq(policy.hash.types, NET_HASH_TYPES);
		cr_expect_eq(policy.pairs, min_of(entries, 3u), "what the table needs");
	}
	cr_assert(rss(make_rss(4, 2, 4, 0)));
	cr_expect_eq(policy.pairs, 4, "what is transmitted on");
	cr_expect_eq(policy.rss.generation, 9);
}

Test(control, queue_pairs_end_receive_side_scaling)
{
	with(VIRTIO_NET_F_RSS);
	cr_assert(rss(make_rss(8, 4, 4, 40)));
	cr_assert(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2));
	cr_expect_not(policy.rss.on);
	cr_expect_eq(policy.pairs, 2);
	cr_expect_eq(policy.rss.generation, 2);
	cr_assert(accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2));
	cr_expect_eq(policy.rss.generation, 2, "nothing has changed");
}

Test(control, receive_side_scaling_in_bad_form)
{
	size_t length = make_rss(8, 4, 4, 40);

	cr_expect_not(rss(length), "not negotiated");
	with(VIRTIO_NET_F_HASH_REPORT);
	cr_expect_not(rss(length), "not negotiated");
	with(VIRTIO_NET_F_RSS);
	for (size_t cut = 0; cut < length; cut++)
		cr_expect_not(rss(cut));
	cr_expect_not(rss(length + 1));
	cr_expect_not(rss(make_rss(8, 4, 4, 41)), "too long a key");
	cr_expect_not(rss(make_rss(8, 4, 0, 40)), "no transmit queue");
	cr_expect_not(rss(make_rss(8, 4, 5, 40)), "a transmit queue that is not there");
	cr_expect_not(rss(make_rss(8, 5, 4, 40)), "a receive queue that is not there");
	cr_expect_not(rss(make_rss(7, 4, 4, 40)), "no power of two");
	cr_expect_not(rss(make_rss(256, 4, 4, 40)), "too long a table");
	for (unsigned entry = 0; entry < 9;
		entry++) { /* the first one is for what is unclassified */
		length = make_rss(8, 4, 4, 40);
		put_le16(command_bytes + 6 + 2 * (size_t)entry, 4);
		cr_expect_not(rss(length));
		put_le16(command_bytes + 6 + 2 * (size_t)entry, 0xffff);
		cr_expect_not(rss(length));
	}
	length = make_rss(8, 4, 4, 40);
	put_le16(command_bytes + 4, 0xffff);
	cr_expect_not(rss(length));
	length = make_rss(8, 4, 4, 40);
	put_le32(command_bytes, VIRTIO_NET_RSS_HASH_TYPE_IP_EX);
	cr_expect_not(rss(length), "not supported");
	put_le32(command_bytes, 1u << 31);
	cr_expect_not(rss(length), "unknown");
	put_le32(command_bytes, 0);
	cr_expect(rss(length), "nothing is hashed");
	cr_expect_not(accepted(VIRTIO_NET_CTRL_MQ, 3, command_bytes, length));
}

static bool set_hash(uint32_t types, uint8_t key, size_t length)
{
	memset(command_bytes, 0x5a, sizeof(command_bytes));
	put_le32(command_bytes, types);
	command_bytes[12] = key;
	return accepted(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, command_bytes, length);
}

Test(control, hash_reports)
{
	cr_expect_not(set_hash(NET_HASH_TYPES, 40, 53), "not negotiated");
	with(VIRTIO_NET_F_HASH_REPORT);
	cr_expect_eq(policy.hash.types, 0, "nothing until the driver says so");
	cr_expect(set_hash(VIRTIO_NET_RSS_HASH_TYPE_IPv4, 40, 53));
	cr_expect_eq(policy.hash.types, VIRTIO_NET_RSS_HASH_TYPE_IPv4);
	cr_expect_not(policy.rss.on);
	cr_expect_eq(policy.pairs, 1);
	cr_expect_not(set_hash(NET_HASH_TYPES, 40, 52));
	cr_expect_not(set_hash(NET_HASH_TYPES, 40, 54));
	cr_expect_not(set_hash(NET_HASH_TYPES, 41, 54));
	cr_expect_not(set_hash(NET_HASH_TYPES | VIRTIO_NET_RSS_HASH_TYPE_TCP_EX, 40, 53));
	cr_expect(set_hash(0, 0, 13));
	cr_expect_eq(policy.hash.types, 0);
	with(VIRTIO_NET_F_RSS);
	cr_expect_not(set_hash(NET_HASH_TYPES, 40, 53), "types and key come with RSS_CONFIG");
}

/* ---- notifications ---- */

/* Does a command of @length bytes at most: queue, reserved, max_packets, max_usecs; or the last
 * two. */
static bool set_notifications(uint8_t command, bool one_queue, uint16_t queue, size_t length)
{
	uint8_t *at = command_bytes;

	memset(command_bytes, 0x5a, sizeof(command_bytes));
	if (one_queue) {
		put_le16(at, queue); /* then the reserved bytes, which are ignored */
		at += 4;
	}
	put_le32(at, 32);
	put_le32(at + 4, 100000);
	return run(VIRTIO_NET_CTRL_NOTF_COAL, command, command_bytes, length) ==
	       NET_CONTROL_COALESCE;
}

Test(control, notifications_of_a_direction)
{
	static const uint8_t commands[] = {
		VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		without(VIRTIO_NET_F_NOTF_COAL);
		with(VIRTIO_NET_F_VQ_NOTF_COAL);
		cr_expect_not(set_notifications(commands[i], false, 0, 8), "not negotiated");
		with(VIRTIO_NET_F_NOTF_COAL);
		for (size_t length = 0; length < 20; length++)
			cr_expect_eq(set_notifications(commands[i], false, 0, length), length == 8);
		cr_assert(set_notifications(commands[i], false, 0, 8));
		cr_expect_eq(coalesce.command, commands[i]);
		cr_expect_eq(coalesce.limits.max_packets, 32);
		cr_expect_eq(coalesce.limits.max_usecs, 100000);
	}
}

Test(control, notifications_of_one_queue)
{
	const uint8_t set = VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET;
	const uint8_t get = VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET;

	with(VIRTIO_NET_F_NOTF_COAL);
	cr_expect_not(set_notifications(set, true, 0, 12), "not negotiated");
	cr_expect_not(set_notifications(get, true, 0, 4), "not negotiated");
	without(VIRTIO_NET_F_NOTF_COAL);
	with(VIRTIO_NET_F_VQ_NOTF_COAL);
	for (size_t length = 0; length < 20; length++) {
		cr_expect_eq(set_notifications(set, true, 0, length), length == 12);
		cr_expect_eq(set_notifications(get, true, 0, length), length == 4);
	}
	for (unsigned queue = 0; queue < 8; queue++) {
		cr_assert(set_notifications(set, true, (uint16_t)queue, 12));
		cr_expect_eq(coalesce.command, set);
		cr_expect_eq(coalesce.queue, queue);
		cr_expect_eq(coalesce.limits.max_packets, 32);
		cr_expect_eq(coalesce.limits.max_usecs, 100000);
		cr_assert(set_notifications(get, true, (uint16_t)queue, 4));
		cr_expect_eq(coalesce.command, get);
		cr_expect_eq(coalesce.queue, queue);
	}
	for (unsigned queue = 8; queue < 0x10000; queue = queue * 3 + 1) {
		cr_expect_not(set_notifications(set, true, (uint16_t)queue, 12), "not there");
		cr_expect_not(set_notifications(get, true, (uint16_t)queue, 4), "not there");
	}
	cr_expect_not(set_notifications(set, true, 0xffff, 12));
	cr_expect_not(set_notifications(get, true, 0xffff, 4));
}

Test(control, unknown_commands_of_notifications)
{
	with(VIRTIO_NET_F_NOTF_COAL);
	with(VIRTIO_NET_F_VQ_NOTF_COAL);
	for (unsigned command = 4; command < 256; command += 63) {
		for (size_t length = 0; length < 20; length++)
			cr_expect_not(set_notifications((uint8_t)command, true, 0, length));
	}
}
