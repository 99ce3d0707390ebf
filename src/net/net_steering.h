/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive-side scaling on a multi-queue tap: the kernel puts each frame into the tap queue that the
 * driver's indirection table names (virtio 1.2, section 5.1.6.5.6).
 *
 * Threads: made and released by the main thread. Queues are attached and detached by their own
 * workers and the table is set by the control queue's; a lock of its own orders them, held over the
 * ioctl and nothing else. It is the innermost of all locks (docs/threads.md).
 */
#pragma once

#include "net/net_hash.h"
#include "net/tap.h"

#include <pthread.h>
#include <stdbool.h>

struct net_steering_map;

struct net_steering {
	struct tap *tap;
	int program_fd;
	struct net_steering_map *map; /* shared with the program; NULL: not initialised */
	pthread_mutex_t lock;

	/* Under the lock. */
	struct net_rss rss;                 /* in force where rss.on */
	bool filtering;                     /* some frames have to be dropped: see net_steering.c */
	unsigned attached;                  /* queues of the tap */
	uint8_t order[NET_QUEUE_PAIRS_MAX]; /* the first `attached`: which, in the kernel's order */
};

/*
 * Loads the program and tries it out on @tap, which must be multi-queue with all queues detached
 * and no others than ours, and outlives @steering. What steering program the tap had is gone.
 * 0, or negative errno where the kernel or our rights do not allow it: receive-side scaling is not
 * to be offered then. Main thread.
 */
int net_steering_init(struct net_steering *steering, struct tap *tap);

/* Accepts a zeroed object. The tap keeps no program. Main thread. */
void net_steering_deinit(struct net_steering *steering);

/*
 * Brings @rss, with the types and the key of @hash, into force, or, where it is not on, leaves the
 * choice of queues to the kernel again. 0 or negative errno. Any thread.
 */
int net_steering_set(
	struct net_steering *steering, const struct net_rss *rss, const struct net_hash *hash);

/* tap_queue_enable() for a tap that is steered; the table follows. The queue's worker. */
int net_steering_enable_queue(struct net_steering *steering, unsigned index, bool enable);
