/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PCI function needs from whoever can turn a guest's write to an address into a signal
 * without leaving the kernel. The machine implements it with KVM's ioeventfds.
 */
#pragma once

#include <stdint.h>

/* Calls come from vCPU threads, when a BAR is mapped, moved or unmapped. */
struct doorbell_ops {
	/* A write of any length to guest physical address @gpa signals @eventfd. 0 or -errno. */
	int (*attach)(void *context, uint64_t gpa, int eventfd);
	/* The opposite, with the same values. */
	void (*detach)(void *context, uint64_t gpa, int eventfd);
};

struct doorbell_controller {
	const struct doorbell_ops *ops;
	void *context;
};
