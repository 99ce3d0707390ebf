/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface through its file descriptors: one queue each, non-blocking, with a virtio header
 * (NET_HEADER_BYTES, see tap_set_header()) in front of each frame. Everything that concerns the
 * interface as a link (MTU, addresses, bridge) is topology's.
 *
 * Threads: built and torn down by the main thread. tap_set_offloads() is the control queue's
 * worker's, tap_queue_enable() the worker's of that queue; the kernel serialises them.
 */
#pragma once

#include "net/net_config.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

struct tap_queue {
	int fd;
	bool enabled; /* attached: the kernel puts frames into it */
};

struct tap {
	char name[NET_NAME_MAX];
	unsigned count;    /* of queues */
	bool multi_queue;  /* queues can be attached and detached */
	bool adopted;      /* the descriptors were given to us */
	uint32_t offloads; /* set of enum net_offload that this tap does */
	struct tap_queue queues[NET_QUEUE_PAIRS_MAX];
};

/*
 * Opens @count queues of the tap @name, making the interface where it does not exist; with @name
 * ending in "%d" the kernel picks a free number. With @count 1, a single-queue tap will do. All
 * queues are left disabled where the tap is multi-queue, offloads off.
 * Returns 0, or negative errno with @error saying what to do: -ENOENT no /dev/net/tun, -EPERM or
 * -EACCES no right to it, -EBUSY taken, -EINVAL no tap or a single-queue one, -E2BIG too many
 * queues. @tap is deinitialised on failure. Main thread.
 */
int tap_open(struct tap *tap, const char *name, unsigned count, struct error *error);

/*
 * Takes over @count descriptors, which must be queues of one tap, opened with IFF_TAP, IFF_NO_PI,
 * IFF_VNET_HDR and, where there are several, IFF_MULTI_QUEUE. They become non-blocking and
 * close-on-exec. They belong to @tap on success, to the caller on failure. Main thread.
 */
int tap_adopt(struct tap *tap, const int *fds, unsigned count, struct error *error);

/* Closes the descriptors; the interface goes with the last one unless it is persistent. */
void tap_deinit(struct tap *tap);

/*
 * What may be put into the guest's receive queues from now on: a set of enum net_offload within
 * @tap->offloads, told apart by IP version for USO. 0 or negative errno (-EINVAL where the kernel
 * wants NET_OFFLOAD_CSUM with the others).
 */
int tap_set_offloads(struct tap *tap, uint32_t offloads);

/*
 * How many bytes of header, at least NET_HEADER_BYTES, there are in front of each frame from now
 * on; the kernel leaves those behind the first 12 as they are. 0 or negative errno. No queue is
 * in use.
 */
int tap_set_header(struct tap *tap, unsigned bytes);

/*
 * Gives the tap the BPF program @program_fd, or with -1 takes away the one it has. @request says
 * which of its two: TUNSETSTEERINGEBPF, which chooses queues, or TUNSETFILTEREBPF, which drops
 * frames. 0 or negative errno. Any thread; the kernel serialises them.
 */
int tap_set_program(const struct tap *tap, unsigned long request, int program_fd);

/*
 * Attaches the queue to the interface or detaches it; a detached queue loses what it held, and the
 * kernel spreads the flows over the others. Does nothing on a single-queue tap, or where it is in
 * that state already. Takes milliseconds (the kernel waits for readers). 0 or negative errno.
 */
int tap_queue_enable(struct tap *tap, unsigned index, bool enable);

/*
 * Throws away what the queue holds, for one that cannot be detached and so may hold what was sent
 * before the guest was there. Returns how many frames. Any thread that may read the queue.
 */
unsigned tap_drop_frames(struct tap *tap, unsigned index);

/*
 * Reads the interface's hardware address through the descriptor, which needs no rights and works
 * from any network namespace. 0 or negative errno.
 */
int tap_hardware_address(const struct tap *tap, uint8_t ret_mac[NET_MAC_LENGTH]);
