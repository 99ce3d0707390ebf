/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world of the test's own: fresh network and mount namespaces, with /sys showing the network
 * namespace, and what the kernel reports there, read without the code under test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Enters it; where that is impossible, marks the running test as skipped and returns false. */
bool world_enter(void);

/* Makes /dev/net/tun usable by everybody, in this world alone; false where that cannot be done. */
bool world_open_tun(void);

/* Takes /dev/net/tun away, in this world alone. */
void world_remove_tun(void);

bool world_has(const char *interface);

/* /sys/class/net/@interface/@file, without the newline; "" where there is none. */
const char *world_read(const char *interface, const char *file);
long world_number(const char *interface, const char *file);

bool world_is_up(const char *interface);

/* True where @interface is a port of @bridge. */
bool world_on_bridge(const char *interface, const char *bridge);

/* How many interfaces there are, lo aside. */
unsigned world_count(void);

/* True where @interface has @cidr ("10.0.0.1/24"). */
bool world_has_address(const char *interface, const char *cidr);
unsigned world_count_addresses(const char *interface);

/*
 * Makes a persistent tap with TUNSETIFF @flags besides IFF_NO_PI, owned by @owner (-1: nobody).
 * With @ret_fd not NULL, one queue stays open.
 */
void world_make_tap(const char *name, int flags, long owner, int *ret_fd);
