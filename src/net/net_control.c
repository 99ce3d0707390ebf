/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command is two bytes and data of a length that class and command determine; a command whose
 * data is shorter or longer is refused. Address tables may be long: their entries are read one by
 * one out of the guest's segments, and those beyond what the filter keeps are counted, not stored.
 */
#include "net/net_control.h"

#include "net/net_frame.h"
#include "net/virtio_net_abi.h"
#include "util/bytes.h"

#include <string.h>

#define FEATURE(bit) (1ull << (bit))

#define GUEST_OFFLOADS                                                                             \
	(FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |                     \
		FEATURE(VIRTIO_NET_F_GUEST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_ECN) |               \
		FEATURE(VIRTIO_NET_F_GUEST_USO4) | FEATURE(VIRTIO_NET_F_GUEST_USO6))

/* The part of a command that is not read yet. */
struct cursor {
	const struct iovec *iov;
	size_t count;
	size_t offset; /* into the first segment */
	uint64_t left;
};

/* Reads exactly @length bytes and moves on; false, at the same place, where there are fewer. */
static bool take(struct cursor *cursor, void *buffer, size_t length)
{
	if (cursor->left < length || iov_copy(IOV_READ, cursor->iov, cursor->count, cursor->offset,
					     buffer, length) != length)
		return false;
	cursor->left -= length;
	cursor->offset += length;
	while (cursor->count && cursor->offset >= cursor->iov->iov_len) {
		cursor->offset -= cursor->iov->iov_len;
		cursor->iov++;
		cursor->count--;
	}
	return true;
}

/* Reads the last @length bytes: there must be no more. */
static bool take_last(struct cursor *cursor, void *buffer, size_t length)
{
	return cursor->left == length && take(cursor, buffer, length);
}

static bool has(const struct net_control_limits *limits, unsigned feature)
{
	return limits->features >> feature & 1;
}

/* ---- class VIRTIO_NET_CTRL_RX ---- */

static bool set_mode(const struct net_control_limits *limits, uint8_t command, struct cursor *data,
	struct net_policy *policy)
{
	struct net_filter *filter = &policy->filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &filter->promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &filter->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &filter->all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &filter->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &filter->no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &filter->no_broadcast,
	};
	unsigned feature = command <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX
	                                                          : VIRTIO_NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (command >= ARRAY_SIZE(modes) || !has(limits, feature) ||
		!take_last(data, &on, sizeof(on)) || on > 1)
		return false;
	*modes[command] = on;
	return true;
}

/* ---- class VIRTIO_NET_CTRL_MAC ---- */

/* le32 number of entries, then as many addresses. */
static bool take_table(struct cursor *data, struct net_address_table *ret_table)
{
	uint8_t number[4], address[NET_MAC_LENGTH];
	uint32_t entries;

	*ret_table = (struct net_address_table){.count = 0};
	if (!take(data, number, sizeof(number)))
		return false;
	entries = get_le32(number);
	if (entries > data->left / NET_MAC_LENGTH)
		return false;
	for (uint32_t i = 0; i < entries; i++) {
		if (!take(data, address, sizeof(address)))
			return false;
		net_address_table_add(ret_table, address);
	}
	return true;
}

static bool set_tables(struct cursor *data, struct net_policy *policy)
{
	struct net_address_table unicast, multicast;

	if (!take_table(data, &unicast) || !take_table(data, &multicast) || data->left)
		return false;
	policy->filter.unicast = unicast;
	policy->filter.multicast = multicast;
	return true;
}

static bool set_own_address(struct cursor *data, struct net_policy *policy)
{
	uint8_t address[NET_MAC_LENGTH];

	if (!take_last(data, address, sizeof(address)) || address[0] & 1)
		return false;
	memcpy(policy->filter.mac, address, sizeof(address));
	return true;
}

static bool set_address(const struct net_control_limits *limits, uint8_t command,
	struct cursor *data, struct net_policy *policy)
{
	if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return has(limits, VIRTIO_NET_F_CTRL_RX) && set_tables(data, policy);
	if (command == VIRTIO_NET_CTRL_MAC_ADDR_SET)
		return has(limits, VIRTIO_NET_F_CTRL_MAC_ADDR) && set_own_address(data, policy);
	return false;
}

/* ---- class VIRTIO_NET_CTRL_VLAN ---- */

static bool set_vlan(const struct net_control_limits *limits, uint8_t command, struct cursor *data,
	struct net_policy *policy)
{
	uint8_t vlan[2];

	if (!has(limits, VIRTIO_NET_F_CTRL_VLAN) || command > VIRTIO_NET_CTRL_VLAN_DEL ||
		!take_last(data, vlan, sizeof(vlan)) || get_le16(vlan) >= NET_VLANS)
		return false;
	net_filter_set_vlan(&policy->filter, get_le16(vlan), command == VIRTIO_NET_CTRL_VLAN_ADD);
	return true;
}

/* ---- class VIRTIO_NET_CTRL_MQ ---- */

/* The kernel chooses the queues again. */
static void leave_rss(struct net_policy *policy)
{
	policy->rss.generation += policy->rss.on;
	policy->rss.on = false;
}

static bool set_pairs(
	const struct net_control_limits *limits, struct cursor *data, struct net_policy *policy)
{
	uint8_t pairs[2];

	if (!has(limits, VIRTIO_NET_F_MQ) || !take_last(data, pairs, sizeof(pairs)) ||
		!get_le16(pairs) || get_le16(pairs) > limits->pairs_max)
		return false;
	policy->pairs = get_le16(pairs);
	leave_rss(policy);
	return true;
}

/* The end of a command: u8 length of the key, then the key. */
static bool take_key(struct cursor *data, uint32_t types, struct net_hash *ret_hash)
{
	uint8_t length, key[NET_TOEPLITZ_KEY_MAX];

	if (types & ~(uint32_t)NET_HASH_TYPES || !take(data, &length, sizeof(length)) ||
		length > sizeof(key) || !take_last(data, key, length))
		return false;
	ret_hash->types = types;
	net_toeplitz_init(&ret_hash->toeplitz, key, length);
	return true;
}

/* Section 5.1.6.5.7. With RSS negotiated, types and key are those of its own command. */
static bool set_hash(
	const struct net_control_limits *limits, struct cursor *data, struct net_policy *policy)
{
	uint8_t head[12]; /* le32 types, four reserved le16 */

	return has(limits, VIRTIO_NET_F_HASH_REPORT) && !has(limits, VIRTIO_NET_F_RSS) &&
	       take(data, head, sizeof(head)) && take_key(data, get_le32(head), &policy->hash);
}

/* The table of le16 pairs, of which each has to be there. Raises *pairs to what it needs. */
static bool take_rss_table(const struct net_control_limits *limits, struct cursor *data,
	struct net_rss *rss, unsigned *pairs)
{
	uint8_t bytes[2 * NET_RSS_TABLE_MAX];

	if (!take(data, bytes, 2 * (rss->mask + 1u)))
		return false;
	for (unsigned i = 0; i <= rss->mask; i++) {
		rss->table[i] = get_le16(bytes + 2 * (size_t)i);
		*pairs = max_of(*pairs, rss->table[i] + 1u);
	}
	return *pairs <= limits->pairs_max;
}

/* Section 5.1.6.5.6. */
static bool set_rss(
	const struct net_control_limits *limits, struct cursor *data, struct net_policy *policy)
{
	struct net_rss rss = {.on = true, .generation = policy->rss.generation + 1};
	uint8_t head[8], transmit[2];
	unsigned pairs;

	if (!has(limits, VIRTIO_NET_F_RSS) || !take(data, head, sizeof(head)))
		return false;
	rss.mask = get_le16(head + 4);
	rss.unclassified = get_le16(head + 6);
	pairs = rss.unclassified + 1u;
	if (rss.mask >= NET_RSS_TABLE_MAX || rss.mask & (rss.mask + 1u) ||
		!take_rss_table(limits, data, &rss, &pairs) ||
		!take(data, transmit, sizeof(transmit)) || !get_le16(transmit) ||
		get_le16(transmit) > limits->pairs_max ||
		!take_key(data, get_le32(head), &policy->hash))
		return false;
	policy->rss = rss;
	policy->pairs = max_of(pairs, (unsigned)get_le16(transmit));
	return true;
}

static bool set_steering(const struct net_control_limits *limits, uint8_t command,
	struct cursor *data, struct net_policy *policy)
{
	switch (command) {
	case VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		return set_pairs(limits, data, policy);
	case VIRTIO_NET_CTRL_MQ_RSS_CONFIG:
		return set_rss(limits, data, policy);
	case VIRTIO_NET_CTRL_MQ_HASH_CONFIG:
		return set_hash(limits, data, policy);
	default:
		return false;
	}
}

/* ---- class VIRTIO_NET_CTRL_GUEST_OFFLOADS ---- */

uint32_t net_offloads_of_features(uint64_t features)
{
	uint64_t uso = FEATURE(VIRTIO_NET_F_GUEST_USO4) | FEATURE(VIRTIO_NET_F_GUEST_USO6);

	return (features & FEATURE(VIRTIO_NET_F_GUEST_CSUM) ? NET_OFFLOAD_CSUM : 0u) |
	       (features & FEATURE(VIRTIO_NET_F_GUEST_TSO4) ? NET_OFFLOAD_TSO4 : 0u) |
	       (features & FEATURE(VIRTIO_NET_F_GUEST_TSO6) ? NET_OFFLOAD_TSO6 : 0u) |
	       (features & FEATURE(VIRTIO_NET_F_GUEST_ECN) ? NET_OFFLOAD_ECN : 0u) |
	       ((features & uso) == uso ? NET_OFFLOAD_USO : 0u);
}

bool net_guest_offloads_valid(uint64_t features)
{
	uint64_t offloads = features & GUEST_OFFLOADS;
	uint64_t tso = FEATURE(VIRTIO_NET_F_GUEST_TSO4) | FEATURE(VIRTIO_NET_F_GUEST_TSO6);

	if (offloads && !(offloads & FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
		return false;
	return !(offloads & FEATURE(VIRTIO_NET_F_GUEST_ECN)) || (offloads & tso);
}

/* Only what was negotiated. */
static bool set_offloads(const struct net_control_limits *limits, uint8_t command,
	struct cursor *data, struct net_policy *policy)
{
	uint8_t bytes[8];
	uint64_t wanted;

	if (!has(limits, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
		command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
		!take_last(data, bytes, sizeof(bytes)))
		return false;
	wanted = get_le64(bytes);
	if (wanted & ~(limits->features & GUEST_OFFLOADS) || !net_guest_offloads_valid(wanted))
		return false;
	policy->guest_offloads = wanted;
	policy->offloads = net_offloads_of_features(wanted);
	return true;
}

/* ---- class VIRTIO_NET_CTRL_NOTF_COAL ---- */

/* The end of a command: le32 max_packets, le32 max_usecs. */
static bool take_limits(struct cursor *data, struct net_coalesce_limits *ret_limits)
{
	uint8_t bytes[8];

	if (!take_last(data, bytes, sizeof(bytes)))
		return false;
	*ret_limits = (struct net_coalesce_limits){
		.max_packets = get_le32(bytes), .max_usecs = get_le32(bytes + 4)};
	return true;
}

/* le16 index of a queue that is there, le16 reserved. */
static bool take_queue(
	const struct net_control_limits *limits, struct cursor *data, uint16_t *ret_queue)
{
	uint8_t bytes[4];

	if (!take(data, bytes, sizeof(bytes)) || get_le16(bytes) >= 2 * limits->pairs_max)
		return false;
	*ret_queue = get_le16(bytes);
	return true;
}

static bool parse_coalesce(const struct net_control_limits *limits, struct cursor *data,
	struct net_coalesce_command *command)
{
	switch (command->command) {
	case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
	case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
		return has(limits, VIRTIO_NET_F_NOTF_COAL) && take_limits(data, &command->limits);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
		return has(limits, VIRTIO_NET_F_VQ_NOTF_COAL) &&
		       take_queue(limits, data, &command->queue) &&
		       take_limits(data, &command->limits);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET:
		return has(limits, VIRTIO_NET_F_VQ_NOTF_COAL) &&
		       take_queue(limits, data, &command->queue) && !data->left;
	default:
		return false;
	}
}

static enum net_control_effect coalesce(const struct net_control_limits *limits, uint8_t number,
	struct cursor *data, struct net_coalesce_command *ret_coalesce)
{
	struct net_coalesce_command command = {.command = number};

	if (!parse_coalesce(limits, data, &command))
		return NET_CONTROL_REFUSED;
	*ret_coalesce = command;
	return NET_CONTROL_COALESCE;
}

static bool change(const struct net_control_limits *limits, uint8_t class, uint8_t command,
	struct cursor *data, struct net_policy *policy)
{
	switch (class) {
	case VIRTIO_NET_CTRL_RX:
		return set_mode(limits, command, data, policy);
	case VIRTIO_NET_CTRL_MAC:
		return set_address(limits, command, data, policy);
	case VIRTIO_NET_CTRL_VLAN:
		return set_vlan(limits, command, data, policy);
	case VIRTIO_NET_CTRL_MQ:
		return set_steering(limits, command, data, policy);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return set_offloads(limits, command, data, policy);
	default:
		return false;
	}
}

enum net_control_effect net_control_execute(const struct net_control_limits *limits,
	const struct iovec *iov, size_t count, uint64_t length, struct net_policy *policy,
	struct net_coalesce_command *ret_coalesce)
{
	struct cursor cursor = {.iov = iov, .count = count, .left = length};
	uint8_t header[2];

	if (length > NET_CONTROL_BYTES_MAX || !take(&cursor, header, sizeof(header)))
		return NET_CONTROL_REFUSED;
	if (header[0] == VIRTIO_NET_CTRL_ANNOUNCE)
		return has(limits, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
		                       header[1] == VIRTIO_NET_CTRL_ANNOUNCE_ACK && !cursor.left
		               ? NET_CONTROL_ANNOUNCED
		               : NET_CONTROL_REFUSED;
	if (header[0] == VIRTIO_NET_CTRL_NOTF_COAL)
		return coalesce(limits, header[1], &cursor, ret_coalesce);
	return change(limits, header[0], header[1], &cursor, policy) ? NET_CONTROL_POLICY
	                                                             : NET_CONTROL_REFUSED;
}

void net_policy_init(
	struct net_policy *policy, uint64_t features, const uint8_t mac[NET_MAC_LENGTH])
{
	*policy = (struct net_policy){.pairs = 1,
		.guest_offloads = features & GUEST_OFFLOADS,
		.offloads = net_offloads_of_features(features)};
	net_filter_init(&policy->filter, mac, features >> VIRTIO_NET_F_CTRL_VLAN & 1);
}
