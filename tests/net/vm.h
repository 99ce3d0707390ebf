/* SPDX-License-Identifier: Apache-2.0 */
/* What one fastvmm does about its --net, and what it refuses to do; in a world of the test's own.
 */
#pragma once

#include "net/netlink.h"
#include "net/tap.h"
#include "net/topology.h"
#include "util/error.h"

struct vm {
	struct tap tap;
	struct topology *topology;
	struct error error;
};

/* For what the world around has to be; made by vm_setup(). */
extern struct netlink *vm_netlink;

/* For TestSuite(): enters a world; a test without one is marked as skipped. */
void vm_setup(void);
void vm_teardown(void);

/* The result of topology_create(). */
int vm_start(struct vm *vm, const char *net);

/* The same, where it must succeed. */
void vm_start_well(struct vm *vm, const char *net);
void vm_stop(struct vm *vm);

/* It fails with @code, says @text in one line, and leaves the world as it was. */
void vm_refuse(const char *net, int code, const char *text);

int vm_index(const char *interface);
void vm_make_bridge(const char *name, unsigned mtu);
