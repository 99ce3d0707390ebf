/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of a received frame are hashed, and what the driver has asked for (virtio 1.2,
 * sections 5.1.6.4.3, 5.1.6.5.6 and 5.1.6.5.7). Pure values and functions; any thread.
 *
 * The same rules are carried out by the kernel for receive-side scaling (net_steering_program.c):
 * a frame's reported hash is the one that its queue was chosen by.
 */
#pragma once

#include "net/net_toeplitz.h"
#include "net/virtio_net_abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the device can hash: without the types that look into IPv6 extension headers. */
#define NET_HASH_TYPES                                                                             \
	(VIRTIO_NET_RSS_HASH_TYPE_IPv4 | VIRTIO_NET_RSS_HASH_TYPE_TCPv4 |                          \
		VIRTIO_NET_RSS_HASH_TYPE_UDPv4 | VIRTIO_NET_RSS_HASH_TYPE_IPv6 |                   \
		VIRTIO_NET_RSS_HASH_TYPE_TCPv6 | VIRTIO_NET_RSS_HASH_TYPE_UDPv6)

/*
 * A transport header must begin so far behind the IP header's first byte, with its ports, to be
 * hashed; behind more extension headers than fit in there it is left out. With an Ethernet header
 * and two VLAN tags that makes NET_HASH_LOOK_BYTES.
 */
#define NET_HASH_PORTS_MAX  102u
#define NET_HASH_LOOK_BYTES (14u + 2 * 4u + NET_HASH_PORTS_MAX + 4u)

/* The outer of two VLAN tags, by IEEE 802.1ad; <net/ethernet.h> lacks it. */
#define NET_ETHERTYPE_QINQ 0x88a8

/* Entries of an indirection table, at most; a power of two. */
#define NET_RSS_TABLE_MAX 128u

struct net_hash {
	uint32_t types; /* set of NET_HASH_TYPES; 0: nothing is hashed */
	struct net_toeplitz toeplitz;
};

/* Receive-side scaling: queue pairs by number, as the driver named them, each one validated. */
struct net_rss {
	bool on;
	uint32_t generation;   /* counts the commands that changed this */
	uint16_t mask;         /* entries of the table less one: a power of two less one */
	uint16_t unclassified; /* the pair for frames without a hash */
	uint16_t table[NET_RSS_TABLE_MAX];
};

/* A frame's part that is hashed. */
struct net_hash_input {
	uint16_t report; /* VIRTIO_NET_HASH_REPORT_..., NONE where there is nothing to hash */
	uint8_t length;
	uint8_t bytes[NET_TOEPLITZ_INPUT_MAX];
};

/*
 * Finds what @types ask to be hashed of the frame that begins with the @length bytes at @frame;
 * from the Ethernet header on, and NET_HASH_LOOK_BYTES of them are enough. Fragments of datagrams
 * are hashed by their addresses alone, so that they stay together.
 */
void net_hash_find(
	uint32_t types, const uint8_t *frame, size_t length, struct net_hash_input *ret_input);

/* The hash of the same, or 0 with VIRTIO_NET_HASH_REPORT_NONE. */
uint32_t net_hash_frame(
	const struct net_hash *hash, const uint8_t *frame, size_t length, uint16_t *ret_report);
