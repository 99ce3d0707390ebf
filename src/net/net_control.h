/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the control queue (virtio 1.2, section 5.1.6.5), parsed and checked: what a command
 * wants is written into a copy of the device's policy, or it is refused and nothing changes. Pure:
 * whoever calls it puts the new policy into effect.
 */
#pragma once

#include "net/net_coalesce.h"
#include "net/net_filter.h"
#include "net/net_hash.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* What the control queue decides and the receive queues follow. */
struct net_policy {
	unsigned pairs;          /* queue pairs in use: the first ones */
	uint32_t offloads;       /* set of enum net_offload that received frames may need */
	uint64_t guest_offloads; /* the same as the driver's bits, 1 << VIRTIO_NET_F_GUEST_... */
	struct net_filter filter;
	struct net_hash hash; /* for reports and for receive-side scaling */
	struct net_rss rss;
};

struct net_control_limits {
	uint64_t features; /* that the driver accepted */
	unsigned pairs_max;
};

enum net_control_effect {
	NET_CONTROL_REFUSED,   /* VIRTIO_NET_ERR */
	NET_CONTROL_POLICY,    /* *policy is changed */
	NET_CONTROL_ANNOUNCED, /* the driver has announced the guest */
	NET_CONTROL_COALESCE,  /* *ret_coalesce is what it wants of notifications */
};

/* A longer command is refused unread; it is room for ten thousand addresses. */
#define NET_CONTROL_BYTES_MAX 65536u

/*
 * Carries out the command in the @length readable bytes of @count segments (class, command, data).
 * Every byte is read once; the number of steps is bounded by @length. @policy changes only where
 * NET_CONTROL_POLICY is returned, @ret_coalesce only with NET_CONTROL_COALESCE.
 */
enum net_control_effect net_control_execute(const struct net_control_limits *limits,
	const struct iovec *iov, size_t count, uint64_t length, struct net_policy *policy,
	struct net_coalesce_command *ret_coalesce);

/* The policy after a reset for a driver with these features: one pair, all its GUEST_ offloads. */
void net_policy_init(
	struct net_policy *policy, uint64_t features, const uint8_t mac[NET_MAC_LENGTH]);

/*
 * Whether the GUEST_ bits in @features go together: all need GUEST_CSUM, and GUEST_ECN one of the
 * TSO bits (section 5.1.3.1).
 */
bool net_guest_offloads_valid(uint64_t features);

/*
 * The enum net_offload set for a set of GUEST_ feature bits. USO counts where either IP version has
 * it: the tap has one switch for each, but no guest asks for one alone.
 */
uint32_t net_offloads_of_features(uint64_t features);
