/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's virtio-net back end (/dev/vhost-net): a descriptor serves the two rings of one queue
 * pair, straight between the ring and a tap queue (linux/vhost.h). Kicks and interrupts are the
 * same eventfds as without it, so that neither doorbell nor MSI-X knows the difference.
 *
 * The rings are named by their place in the pair: 0 receives, 1 transmits.
 *
 * Threads: calls for one descriptor come from one thread at a time.
 */
#pragma once

#include "util/checked.h"

#include <stdint.h>

struct guest_memory;
struct virtqueue;

enum vhost_ring {
	VHOST_RING_RX,
	VHOST_RING_TX,
};

/*
 * Opens the back end and gives it the guest's memory. The kernel thread that it makes belongs to
 * the calling thread's process and, from Linux 6.4 on, inherits its CPUs. Returns 0 with @ret_fd,
 * which the caller closes, or negative errno (-ENOENT, -EACCES: no such device, no right to it).
 */
int vhost_open(const struct guest_memory *memory, int *ret_fd);

/* What the back end can do, as feature bits. 0 or negative errno. */
int vhost_features(int vhost_fd, uint64_t *ret_features);

/* What the driver accepted of that; no ring is attached. 0 or negative errno. */
int vhost_set_features(int vhost_fd, uint64_t features);

/*
 * Takes a started @queue over from its beginning and serves it through the tap queue @tap_fd, at
 * once for what is in the ring already. @error_fd is signalled where the driver breaks the ring;
 * then the ring stands still. Returns 0, or negative errno with the ring as before.
 */
int vhost_ring_start(int vhost_fd, enum vhost_ring ring, const struct virtqueue *queue, int kick_fd,
	int call_fd, int error_fd, int tap_fd);

/* When it returns, the kernel does not touch the ring any more. */
void vhost_ring_stop(int vhost_fd, enum vhost_ring ring);
