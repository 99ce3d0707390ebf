/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PCI function needs from whoever can deliver message-signalled interrupts. The machine
 * implements it with KVM's MSI routes and irqfds; a test with a table of its own.
 */
#pragma once

#include <stdint.h>

/* A route is one (address, data) message under a number (a GSI). Calls come from vCPU threads. */
struct msi_ops {
	/* Reserves a route. Returns its number >= 0, or -ENOSPC. */
	int (*allocate)(void *context);
	/* Gives a route back; nothing is attached to it any more. */
	void (*release)(void *context, int route);
	/* Sets the message that the route sends. 0 or negative errno. */
	int (*update)(void *context, int route, uint64_t address, uint32_t data);
	/*
	 * From now on each signal of @eventfd sends the route's message, in the kernel. A signal
	 * that the eventfd already holds is sent at once. 0 or negative errno.
	 */
	int (*attach)(void *context, int route, int eventfd);
	/* The opposite; signals stay in the eventfd from now on. */
	void (*detach)(void *context, int route, int eventfd);
};

struct msi_controller {
	const struct msi_ops *ops;
	void *context;
};
