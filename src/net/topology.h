/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a NIC: the tap, its MTU and state, the bridge it is on, addresses. All through
 * rtnetlink (libnl), no program is called.
 *
 * What topology_create() made, topology_destroy() removes; what it found stays, and what it changed
 * about a tap that it found is set back. A process that is killed leaves nothing behind that it
 * made but a bridge (and addresses on it), which carries a mark and is taken over by the next start
 * that names it. A marked bridge is removed by whoever takes the last port off.
 *
 * Threads: the main thread only. The tap's queues may be used by workers meanwhile.
 */
#pragma once

#include "net/net_config.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct tap;
struct topology;

/*
 * Brings about what @config asks for, or takes over config->fds, and opens the tap into @tap, which
 * the caller owns, must not move, and deinitialises through topology_destroy(). config->queues must
 * not be 0. Returns 0 or negative errno with an explanation in @error; nothing is left changed
 * then.
 */
int topology_create(const struct net_config *config, struct tap *tap,
	struct topology **ret_topology, struct error *error);

/* Closes the tap and takes back what was made or changed. Accepts NULL. */
void topology_destroy(struct topology *topology);

/*
 * Bytes of payload that the guest may send in a frame: what was asked for, else the tap's own MTU;
 * 0 where that cannot be known (an adopted tap of another network namespace).
 */
unsigned topology_mtu(const struct topology *topology);

/* How many queues of the tap are open, by whomever; 0 where that cannot be known. */
unsigned topology_tap_queues(const struct topology *topology);

/* The tap's own MTU, or 0 where that cannot be known. */
unsigned topology_tap_mtu(const struct topology *topology);

/*
 * What the tap claims as its speed (Mbit/s; UINT32_MAX: not known) and duplex (ethtool's DUPLEX_
 * values).
 */
void topology_speed(const struct topology *topology, uint32_t *ret_speed, uint8_t *ret_duplex);

/* Becomes readable when a link changed; -1 where the tap cannot be watched. */
int topology_link_fd(const struct topology *topology);

/* What is known of the tap as a link. */
enum topology_link {
	TOPOLOGY_LINK_UP,
	TOPOLOGY_LINK_DOWN, /* set down, or its carrier taken away */
	TOPOLOGY_LINK_GONE, /* the interface was deleted */
};

/* Takes what topology_link_fd() has to say and returns the state after it. Never blocks. */
enum topology_link topology_link_read(struct topology *topology);
