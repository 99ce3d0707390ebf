/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building goes from what can refuse to what can be undone: first the interfaces that exist are
 * looked at and every mismatch is reported, then the tap is opened, then links are changed. Each
 * change is noted when it is made, so that topology_destroy() is both the normal end and the way
 * out of a failed start.
 *
 * A tap that we make is not persistent: the kernel removes it with its descriptors, however the
 * process ends. A bridge is not like that. It is given an alias by which a later process knows that
 * it may take it over and, when the last port is off, delete it; so a bridge is shared by all VMs
 * that name it, and lives as long as the last of them, whoever made it. Between the look at the
 * ports and the deletion another VM may arrive; it finds its bridge gone and makes it again.
 */
#include "net/topology.h"

#include "net/netlink.h"
#include "net/tap.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BRIDGE_ALIAS    "made by fastvmm; goes with its last port"
#define AUTO_NAME       "fvm%d"
#define BRIDGE_ATTEMPTS 3

struct topology {
	struct netlink *netlink;
	struct tap *tap;
	const struct net_config *config; /* while topology_create() runs */
	unsigned mtu;                    /* for the guest; 0: not known */
	int tap_index;                   /* 0: in another network namespace */

	bool tap_found; /* it existed: `before` is what to set back */
	struct netlink_link before;
	bool mtu_changed, master_changed, was_brought_up;

	struct netlink_link bridge; /* index 0: none */
	bool bridge_ours;           /* it carries our mark */

	int address_index;      /* the interface that has them */
	unsigned address_count; /* added by us */
	struct net_address addresses[NET_HOST_IPS_MAX];
};

/*
 * Rights are the usual reason. @what says what was to be done, @instead how an administrator does
 * it beforehand.
 */
__attribute__((format(printf, 4, 5))) static int explain(
	struct error *error, int code, const char *what, const char *instead, ...)
{
	char command[160];
	va_list arguments;

	if (code != -EPERM)
		return error_set(error, code, "--net: %s failed: %s", what, strerror(-code));
	va_start(arguments, instead);
	vsnprintf(command, sizeof(command), instead, arguments);
	va_end(arguments);
	return error_set(error, code,
		"--net: %s needs root or CAP_NET_ADMIN; or have it done beforehand: %s", what,
		command);
}

/* ---- looking before leaping ---- */

static bool is_ours(const struct netlink_link *bridge)
{
	return !strcmp(bridge->alias, BRIDGE_ALIAS);
}

static int check_bridge(struct topology *topology, struct error *error)
{
	const struct net_config *config = topology->config;
	struct netlink_link link;
	int result = netlink_find(topology->netlink, config->bridge, &link);

	if (result == -ENODEV)
		return 0;
	if (result)
		return error_set(error, result, "--net: bridge=%s: cannot look it up: %s",
			config->bridge, strerror(-result));
	if (strcmp(link.kind, "bridge") != 0)
		return error_set(error, -EINVAL,
			"--net: bridge=%s: there is an interface of this name that is no bridge; "
			"use another name",
			config->bridge);
	if (config->mtu > link.mtu)
		return error_set(error, -EINVAL,
			"--net: mtu=%u does not fit bridge %s, whose MTU is %u: use a smaller one, "
			"or raise the bridge's with that of its ports",
			config->mtu, config->bridge, link.mtu);
	topology->bridge = link;
	topology->bridge_ours = is_ours(&link);
	return 0;
}

/*
 * A marked bridge without ports was left by a process that was killed. It goes, with whatever
 * addresses and MTU it has, and is made anew.
 */
static int remove_leftover(struct topology *topology)
{
	struct netlink_link bridge;
	unsigned ports;
	int result = netlink_find(topology->netlink, topology->config->bridge, &bridge);

	if (result || !is_ours(&bridge))
		return result == -ENODEV ? 0 : result;
	result = netlink_count_ports(topology->netlink, bridge.index, &ports);
	if (result || ports)
		return result;
	result = netlink_delete(topology->netlink, bridge.index);
	return result == -ENODEV ? 0 : result;
}

static int check_found_tap(
	struct topology *topology, const struct netlink_link *link, struct error *error)
{
	const struct net_config *config = topology->config;

	if (!link->is_tap)
		return error_set(error, -EINVAL,
			"--net: tap=%s: there is an interface of this name that is no tap; use "
			"another name",
			config->tap);
	if (!link->tap_multi_queue && config->queues > 1)
		return error_set(error, -EINVAL,
			"--net: tap=%s is a single-queue tap and cannot have %u queues; make it "
			"with multi_queue, or say queues=1",
			config->tap, config->queues);
	if (link->tap_queues)
		return error_set(error, -EBUSY,
			"--net: tap=%s: another process has it open; use another tap", config->tap);
	if (config->bridge[0] && link->master && link->master != topology->bridge.index)
		return error_set(error, -EBUSY,
			"--net: tap=%s is on another bridge than %s; take it off there, or leave "
			"bridge= out",
			config->tap, config->bridge);
	topology->tap_found = true;
	topology->before = *link;
	return 0;
}

static int check_tap(struct topology *topology, struct error *error)
{
	struct netlink_link link;
	int result;

	if (topology->config->tap_auto)
		return 0;
	result = netlink_find(topology->netlink, topology->config->tap, &link);
	if (!result)
		return check_found_tap(topology, &link, error);
	if (result == -ENODEV)
		return 0;
	return error_set(error, result, "--net: tap=%s: cannot look it up: %s",
		topology->config->tap, strerror(-result));
}

/* ---- the bridge ---- */

static bool is_port_already(const struct topology *topology)
{
	return topology->tap_found && topology->before.master &&
	       topology->before.master == topology->bridge.index;
}

static int mark_bridge(struct topology *topology, struct error *error)
{
	const char *name = topology->config->bridge;
	int result = netlink_find(topology->netlink, name, &topology->bridge);

	if (!result)
		result = netlink_set_alias(topology->netlink, topology->bridge.index, BRIDGE_ALIAS);
	if (!result)
		return 0;
	if (topology->bridge.index)
		netlink_delete(topology->netlink, topology->bridge.index);
	topology->bridge = (struct netlink_link){.index = 0};
	return error_set(error, result, "--net: bridge=%s: cannot mark it as ours: %s", name,
		strerror(-result));
}

/* Makes the bridge, unless somebody else has done so meanwhile. */
static int make_bridge(struct topology *topology, struct error *error)
{
	const struct net_config *config = topology->config;
	int result = netlink_add_bridge(topology->netlink, config->bridge, config->mtu);

	if (result == -EEXIST)
		return check_bridge(topology, error);
	if (result)
		return explain(error, result, "making the bridge",
			"ip link add name %s type bridge; ip link set %s up", config->bridge,
			config->bridge);
	result = mark_bridge(topology, error);
	topology->bridge_ours = !result;
	return result;
}

static int bring_bridge_up(struct topology *topology, struct error *error)
{
	const struct netlink_link *bridge = &topology->bridge;
	int result;

	if (bridge->flags & IFF_UP)
		return 0;
	if (!topology->bridge_ours) {
		log_warning("--net: bridge %s is down and is left so: bring it up by 'ip link set "
			    "%s up'",
			bridge->name, bridge->name);
		return 0;
	}
	result = netlink_set_up(topology->netlink, bridge->index, true);
	return result ? explain(error, result, "bringing the bridge up", "ip link set %s up",
				bridge->name)
	              : 0;
}

/* The bridge may be deleted by the last other VM on it until our tap is a port. */
static int join_bridge(struct topology *topology, struct error *error)
{
	int result = -ENODEV;

	if (is_port_already(topology))
		return 0;
	for (unsigned i = 0; result == -ENODEV && i < BRIDGE_ATTEMPTS; i++) {
		if (!topology->bridge.index) {
			result = make_bridge(topology, error);
			if (result)
				return result;
		}
		result = netlink_set_master(
			topology->netlink, topology->tap_index, topology->bridge.index);
		if (result == -ENODEV) {
			topology->bridge = (struct netlink_link){.index = 0};
			topology->bridge_ours = false;
		}
	}
	if (result)
		return explain(error, result, "putting the tap on the bridge",
			"ip link set %s master %s", topology->tap->name, topology->config->bridge);
	topology->master_changed = topology->tap_found;
	return 0;
}

/* ---- the tap as a link ---- */

/*
 * A port that joins with an MTU below the bridge's would lower the bridge's, so that it gets the
 * bridge's. Otherwise nothing changes unless the tap's MTU is too small for what is asked. 0:
 * leave.
 */
static unsigned wanted_tap_mtu(const struct topology *topology, unsigned current)
{
	if (topology->bridge.index && !is_port_already(topology))
		return topology->bridge.mtu;
	if (topology->tap_found && topology->config->mtu < current)
		return 0;
	return topology->config->mtu;
}

static int set_tap_mtu(struct topology *topology, unsigned current, struct error *error)
{
	unsigned wanted = wanted_tap_mtu(topology, current);
	int result;

	topology->mtu = topology->config->mtu ? topology->config->mtu : wanted ? wanted : current;
	if (!wanted || wanted == current)
		return 0;
	result = netlink_set_mtu(topology->netlink, topology->tap_index, wanted);
	if (result == -EINVAL || result == -ERANGE)
		return error_set(error, -EINVAL, "--net: mtu=%u: the tap cannot have it", wanted);
	if (result)
		return explain(error, result, "setting the tap's MTU", "ip link set %s mtu %u",
			topology->tap->name, wanted);
	topology->mtu_changed = true;
	return 0;
}

static int bring_tap_up(struct topology *topology, unsigned flags, struct error *error)
{
	int result;

	if (flags & IFF_UP)
		return 0;
	result = netlink_set_up(topology->netlink, topology->tap_index, true);
	if (result)
		return explain(error, result, "bringing the tap up", "ip link set %s up",
			topology->tap->name);
	topology->was_brought_up = true;
	return 0;
}

/* ---- addresses ---- */

static int add_address(
	struct topology *topology, const struct net_address *address, struct error *error)
{
	int result;
	bool has;

	/* A bridge that is not ours is left as it is; an address that it has is all right. */
	if (topology->bridge.index && !topology->bridge_ours) {
		result = netlink_has_address(
			topology->netlink, topology->address_index, address, &has);
		if (result || has)
			return result;
		return error_set(error, -EPERM,
			"--net: host-ip=: bridge %s was not made by fastvmm and is left as it is; "
			"give it the address by 'ip addr add', or leave host-ip out",
			topology->bridge.name);
	}
	result = netlink_add_address(topology->netlink, topology->address_index, address);
	if (result == -EEXIST)
		return 0;
	if (result)
		return explain(error, result, "adding host-ip", "ip addr add ADDRESS dev %s",
			topology->bridge.index ? topology->bridge.name : topology->tap->name);
	topology->addresses[topology->address_count++] = *address;
	return 0;
}

static int add_addresses(struct topology *topology, struct error *error)
{
	int result = 0;

	topology->address_index =
		topology->bridge.index ? topology->bridge.index : topology->tap_index;
	for (unsigned i = 0; !result && i < topology->config->host_ip_count; i++)
		result = add_address(topology, &topology->config->host_ips[i], error);
	return result;
}

/* ---- the two ways in ---- */

static int build(struct topology *topology, struct error *error)
{
	const struct net_config *config = topology->config;
	struct netlink_link link;
	int result = 0;

	if (config->bridge[0]) {
		/* Without the right to remove it, it may still do as it is. */
		(void)remove_leftover(topology);
		result = check_bridge(topology, error);
	}
	if (!result)
		result = check_tap(topology, error);
	if (!result)
		result = tap_open(topology->tap, config->tap_auto ? AUTO_NAME : config->tap,
			config->queues, error);
	if (result)
		return result;
	result = netlink_find(topology->netlink, topology->tap->name, &link);
	if (result)
		return error_set(error, result, "--net: tap %s: cannot look it up: %s",
			topology->tap->name, strerror(-result));
	topology->tap_index = link.index;
	result = set_tap_mtu(topology, link.mtu, error);
	if (!result && config->bridge[0])
		result = join_bridge(topology, error);
	if (!result)
		result = bring_tap_up(topology, link.flags, error);
	if (!result && config->bridge[0])
		result = bring_bridge_up(topology, error);
	return result ? result : add_addresses(topology, error);
}

/*
 * The descriptors may come from another network namespace, where their name means nothing to us or
 * names another interface here: the hardware address tells.
 */
static int adopt(struct topology *topology, struct error *error)
{
	const struct net_config *config = topology->config;
	uint8_t mac[NET_MAC_LENGTH];
	struct netlink_link link;
	int result = tap_adopt(topology->tap, config->fds, config->fd_count, error);

	if (result)
		return result;
	topology->mtu = config->mtu;
	if (netlink_find(topology->netlink, topology->tap->name, &link) ||
		tap_hardware_address(topology->tap, mac) || memcmp(mac, link.mac, sizeof(mac)) != 0)
		return 0;
	if (config->mtu > link.mtu) {
		result = error_set(error, -EINVAL,
			"--net: mtu=%u does not fit tap %s, whose MTU is %u; use a smaller one, or "
			"have the tap's raised",
			config->mtu, link.name, link.mtu);
		*topology->tap = (struct tap){.count = 0}; /* still the caller's */
		return result;
	}
	topology->tap_index = link.index;
	topology->mtu = config->mtu ? config->mtu : link.mtu;
	return 0;
}

int topology_create(const struct net_config *config, struct tap *tap,
	struct topology **ret_topology, struct error *error)
{
	struct topology *topology = calloc(1, sizeof(*topology));
	int result;

	*tap = (struct tap){.count = 0};
	if (!topology)
		return -ENOMEM;
	topology->tap = tap;
	topology->config = config;
	result = netlink_create(&topology->netlink);
	if (result)
		error_set(error, result, "--net: cannot open a netlink socket: %s",
			strerror(-result));
	else
		result = config->fd_count ? adopt(topology, error) : build(topology, error);
	topology->config = NULL;
	if (result) {
		topology_destroy(topology);
		return result;
	}
	*ret_topology = topology;
	return 0;
}

/* ---- the way back ---- */

/* A tap that stays: what we changed about it is set back. It may be gone by now; no matter. */
static void restore_tap(struct topology *topology)
{
	const struct netlink_link *before = &topology->before;

	if (!topology->tap_found)
		return;
	if (topology->was_brought_up)
		netlink_set_up(topology->netlink, topology->tap_index, false);
	if (topology->master_changed)
		netlink_set_master(topology->netlink, topology->tap_index, before->master);
	if (topology->mtu_changed)
		netlink_set_mtu(topology->netlink, topology->tap_index, before->mtu);
}

static void remove_addresses(struct topology *topology)
{
	while (topology->address_count)
		netlink_delete_address(topology->netlink, topology->address_index,
			&topology->addresses[--topology->address_count]);
}

static unsigned bridge_mtu(struct topology *topology)
{
	struct netlink_link link;

	return netlink_find_index(topology->netlink, topology->bridge.index, &link) ? 0 : link.mtu;
}

/*
 * The kernel may give a bridge another MTU when a port leaves. One that is not ours gets back what
 * it had: @before is its MTU just before the port left.
 */
static void keep_bridge_mtu(struct topology *topology, unsigned before)
{
	if (before && bridge_mtu(topology) != before)
		netlink_set_mtu(topology->netlink, topology->bridge.index, before);
}

/* Addresses on a shared bridge stay for the others, and go with it. */
static void release_bridge(struct topology *topology)
{
	unsigned ports;

	if (!netlink_count_ports(topology->netlink, topology->bridge.index, &ports) && !ports)
		netlink_delete(topology->netlink, topology->bridge.index);
}

void topology_destroy(struct topology *topology)
{
	unsigned mtu = 0;

	if (!topology)
		return;
	if (topology->bridge.index)
		mtu = bridge_mtu(topology);
	if (topology->tap_found && !topology->bridge.index)
		remove_addresses(topology);
	restore_tap(topology);
	tap_deinit(topology->tap);
	if (topology->bridge_ours)
		release_bridge(topology);
	else
		keep_bridge_mtu(topology, mtu);
	netlink_destroy(topology->netlink);
	free(topology);
}

/* ---- while it runs ---- */

unsigned topology_mtu(const struct topology *topology)
{
	return topology->mtu;
}

/* All zeros where the tap cannot be asked after. */
static struct netlink_link tap_link(const struct topology *topology)
{
	struct netlink_link link;

	if (!topology->tap_index ||
		netlink_find_index(topology->netlink, topology->tap_index, &link))
		return (struct netlink_link){0};
	return link;
}

unsigned topology_tap_mtu(const struct topology *topology)
{
	return tap_link(topology).mtu;
}

unsigned topology_tap_queues(const struct topology *topology)
{
	return tap_link(topology).tap_queues;
}

void topology_speed(const struct topology *topology, uint32_t *ret_speed, uint8_t *ret_duplex)
{
	struct ethtool_cmd command = {.cmd = ETHTOOL_GSET};
	struct ifreq request = {.ifr_data = (char *)&command};
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*ret_speed = (uint32_t)SPEED_UNKNOWN;
	*ret_duplex = DUPLEX_UNKNOWN;
	if (!topology->tap_index || fd < 0)
		return;
	memcpy(request.ifr_name, topology->tap->name, sizeof(request.ifr_name));
	if (ioctl(fd, SIOCETHTOOL, &request))
		return;
	*ret_speed = ethtool_cmd_speed(&command);
	*ret_duplex = command.duplex;
}

int topology_link_fd(const struct topology *topology)
{
	return topology->tap_index ? netlink_monitor_fd(topology->netlink) : -1;
}

enum topology_link topology_link_read(struct topology *topology)
{
	uint8_t mac[NET_MAC_LENGTH];
	struct netlink_link link;

	if (!topology->tap_index)
		return TOPOLOGY_LINK_UP;
	netlink_monitor_drain(topology->netlink);
	if (netlink_find_index(topology->netlink, topology->tap_index, &link))
		/* Deleted, or only moved into another network namespace, where it lives on. */
		return tap_hardware_address(topology->tap, mac) ? TOPOLOGY_LINK_GONE
		                                                : TOPOLOGY_LINK_UP;
	return (link.flags & (IFF_UP | IFF_LOWER_UP)) == (IFF_UP | IFF_LOWER_UP)
	               ? TOPOLOGY_LINK_UP
	               : TOPOLOGY_LINK_DOWN;
}
