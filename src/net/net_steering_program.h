/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program by which the kernel chooses a tap queue for each frame as a driver's indirection
 * table says (receive-side scaling), and the memory that it shares with us.
 */
#pragma once

#include "net/net_hash.h"

#include <stdint.h>

/*
 * What the program returns. As a steering program its value modulo the number of attached queues
 * is the queue's place; some kernels look at the low 16 bits alone, so the place is in there and
 * the rest is a multiple of that number. As a filter program its value is how many bytes of the
 * frame to keep: any place is more than a frame has, and STEERING_DROP drops it.
 */
typedef uint32_t net_steering_place;

#define NET_STEERING_DROP 0u

static inline net_steering_place net_steering_place_of(unsigned position, unsigned attached)
{
	return position + (attached << 20);
}

/* One whole configuration. */
struct net_steering_slot {
	uint32_t types;
	uint32_t mask; /* below NET_RSS_TABLE_MAX */
	net_steering_place unclassified;
	uint32_t reserved;
	net_steering_place table[NET_RSS_TABLE_MAX];
	struct net_toeplitz toeplitz;
};

/* Written by us, read by the program. The slot that is not the current one is ours to fill. */
struct net_steering_map {
	_Atomic uint32_t current; /* index into slots */
	uint32_t reserved[3];
	struct net_steering_slot slots[2];
};

/*
 * Makes the map (one element, mapped into this process at *ret_map, to be unmapped by munmap() of
 * its size rounded up to pages) and loads the program. The descriptor of the program keeps the map
 * alive. 0, or negative errno: -EPERM without CAP_BPF, -ENOSYS or -EINVAL where the kernel lacks
 * what is needed. Main thread.
 */
int net_steering_program_load(int *ret_program_fd, struct net_steering_map **ret_map);

/* Bytes to unmap. */
size_t net_steering_map_bytes(void);
