/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet, up to two VLAN tags, IPv4 or IPv6 with extension headers, TCP or UDP. Every length is
 * the sender's word: each read is checked against the bytes that are there, and the walk over
 * extension headers ends at NET_HASH_PORTS_MAX.
 */
#include "net/net_hash.h"

#include "util/bytes.h"
#include "util/checked.h"

#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#define VLAN_TAGS_MAX 2u

/* The IP header and what follows, as far as it may be looked at. */
struct packet {
	const uint8_t *bytes;
	size_t length;
};

/* The types and reports of one IP version. */
struct version {
	uint32_t ip, tcp, udp;
	uint16_t report_ip, report_tcp, report_udp;
};

static const struct version version_4 = {VIRTIO_NET_RSS_HASH_TYPE_IPv4,
	VIRTIO_NET_RSS_HASH_TYPE_TCPv4, VIRTIO_NET_RSS_HASH_TYPE_UDPv4, VIRTIO_NET_HASH_REPORT_IPv4,
	VIRTIO_NET_HASH_REPORT_TCPv4, VIRTIO_NET_HASH_REPORT_UDPv4};
static const struct version version_6 = {VIRTIO_NET_RSS_HASH_TYPE_IPv6,
	VIRTIO_NET_RSS_HASH_TYPE_TCPv6, VIRTIO_NET_RSS_HASH_TYPE_UDPv6, VIRTIO_NET_HASH_REPORT_IPv6,
	VIRTIO_NET_HASH_REPORT_TCPv6, VIRTIO_NET_HASH_REPORT_UDPv6};

/* Adds the ports at @offset where @type is asked for and they are there. */
static bool take_ports(
	const struct packet *packet, size_t offset, bool asked, struct net_hash_input *input)
{
	if (!asked || offset > NET_HASH_PORTS_MAX || packet->length < offset + 4)
		return false;
	memcpy(input->bytes + input->length, packet->bytes + offset, 4);
	input->length += 4;
	return true;
}

/*
 * The addresses are in @input; adds the ports of the transport header at @offset and says which
 * kind of hash that makes. @protocol is -1 where there is no such header.
 */
static void classify(const struct version *version, uint32_t types, const struct packet *packet,
	int protocol, size_t offset, struct net_hash_input *input)
{
	if (protocol == IPPROTO_TCP && take_ports(packet, offset, types & version->tcp, input))
		input->report = version->report_tcp;
	else if (protocol == IPPROTO_UDP && take_ports(packet, offset, types & version->udp, input))
		input->report = version->report_udp;
	else if (types & version->ip)
		input->report = version->report_ip;
}

static void find_4(uint32_t types, const struct packet *packet, struct net_hash_input *input)
{
	const uint8_t *ip = packet->bytes;
	size_t header;
	bool fragment;

	if (packet->length < 20 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return;
	header = (ip[0] & 15u) * 4;
	fragment = get_be16(ip + 6) & 0x3fff; /* more to come, or an offset */
	memcpy(input->bytes, ip + 12, 8);
	input->length = 8;
	classify(&version_4, types, packet, fragment ? -1 : ip[9], header, input);
}

/* The transport protocol behind the extension headers and where it begins, or -1. */
static int skip_extensions(const struct packet *packet, int protocol, size_t *ret_offset)
{
	size_t offset = 40;

	while (protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
		protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH) {
		const uint8_t *header = packet->bytes + offset;

		if (packet->length < offset + 2)
			return -1;
		offset += protocol == IPPROTO_AH ? (header[1] + 2u) * 4 : (header[1] + 1u) * 8;
		protocol = header[0];
		if (offset > NET_HASH_PORTS_MAX)
			return -1;
	}
	*ret_offset = offset;
	return protocol;
}

static void find_6(uint32_t types, const struct packet *packet, struct net_hash_input *input)
{
	const uint8_t *ip = packet->bytes;
	size_t offset = 0;
	int protocol;

	if (packet->length < 40 || ip[0] >> 4 != 6)
		return;
	memcpy(input->bytes, ip + 8, 32);
	input->length = 32;
	protocol = skip_extensions(packet, ip[6], &offset);
	classify(&version_6, types, packet, protocol, offset, input);
}

void net_hash_find(
	uint32_t types, const uint8_t *frame, size_t length, struct net_hash_input *ret_input)
{
	size_t at = 12; /* of the EtherType */
	struct packet packet;
	unsigned type;

	ret_input->report = VIRTIO_NET_HASH_REPORT_NONE;
	ret_input->length = 0;
	length = min_of(length, (size_t)NET_HASH_LOOK_BYTES);
	for (unsigned tags = 0;; tags++, at += 4) {
		if (length < at + 2)
			return;
		type = get_be16(frame + at);
		if ((type != ETHERTYPE_VLAN && type != NET_ETHERTYPE_QINQ) || tags == VLAN_TAGS_MAX)
			break;
	}
	packet = (struct packet){frame + at + 2, length - at - 2};
	if (type == ETHERTYPE_IP)
		find_4(types, &packet, ret_input);
	else if (type == ETHERTYPE_IPV6)
		find_6(types, &packet, ret_input);
}

uint32_t net_hash_frame(
	const struct net_hash *hash, const uint8_t *frame, size_t length, uint16_t *ret_report)
{
	struct net_hash_input input;

	net_hash_find(hash->types, frame, length, &input);
	*ret_report = input.report;
	if (input.report == VIRTIO_NET_HASH_REPORT_NONE)
		return 0;
	return net_toeplitz_hash(&hash->toeplitz, input.bytes, input.length);
}
