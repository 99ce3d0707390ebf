/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages are put together attribute by attribute rather than through libnl's caches: a cache
 * reads every interface of the host to find one, and libnl has no type for taps, whose attributes
 * (multi-queue, open queues) are what makes errors explainable. libnl's own error codes fold
 * several errnos into one, so the kernel's is caught in a callback of ours.
 */
#include "net/netlink.h"

#include "util/checked.h"
#include "util/cleanup.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>

struct netlink {
	struct nl_sock *requests;
	struct nl_sock *monitor;
};

/* One request under way. */
struct exchange {
	int result;
	bool done;
	void (*answer)(struct nlmsghdr *header, void *context); /* may be NULL */
	void *context;
};

static void cleanup_message(struct nl_msg **message)
{
	nlmsg_free(*message);
}

static void cleanup_callbacks(struct nl_cb **callbacks)
{
	nl_cb_put(*callbacks);
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *context)
{
	struct exchange *exchange = context;

	(void)from;
	exchange->result = error->error;
	exchange->done = true;
	return NL_STOP;
}

static int on_end(struct nl_msg *message, void *context)
{
	struct exchange *exchange = context;

	(void)message;
	exchange->done = true;
	return NL_STOP;
}

static int on_answer(struct nl_msg *message, void *context)
{
	struct exchange *exchange = context;

	if (exchange->answer)
		exchange->answer(nlmsg_hdr(message), exchange->context);
	return NL_OK;
}

/* Sends @message, feeds each answer to @answer, waits for the acknowledgement or the end. */
static int exchange_message(struct netlink *netlink, struct nl_msg *message,
	void (*answer)(struct nlmsghdr *header, void *context), void *context)
{
	struct exchange exchange = {.answer = answer, .context = context};
	auto_call(cleanup_callbacks) struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);
	int result;

	if (!callbacks)
		return -ENOMEM;
	nl_cb_err(callbacks, NL_CB_CUSTOM, on_error, &exchange);
	nl_cb_set(callbacks, NL_CB_ACK, NL_CB_CUSTOM, on_end, &exchange);
	nl_cb_set(callbacks, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &exchange);
	nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, on_answer, &exchange);
	result = nl_send_auto(netlink->requests, message);
	while (result >= 0 && !exchange.done)
		result = nl_recvmsgs(netlink->requests, callbacks);
	/* Stopped by on_error(), libnl returns a code of its own. */
	return exchange.done ? exchange.result : -EIO;
}

static struct nl_msg *new_message(int type, int flags, const void *header, size_t length)
{
	struct nl_msg *message = nlmsg_alloc_simple(type, flags);

	if (message && nlmsg_append(message, (void *)header, length, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

static struct nl_msg *link_message(int type, int flags, int index)
{
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};

	return new_message(type, flags, &header, sizeof(header));
}

int netlink_create(struct netlink **ret_netlink)
{
	struct netlink *netlink = calloc(1, sizeof(*netlink));
	bool made;

	if (!netlink)
		return -ENOMEM;
	netlink->requests = nl_socket_alloc();
	netlink->monitor = nl_socket_alloc();
	made = netlink->requests && netlink->monitor &&
	       !nl_connect(netlink->requests, NETLINK_ROUTE) &&
	       !nl_connect(netlink->monitor, NETLINK_ROUTE) &&
	       !nl_socket_add_membership(netlink->monitor, RTNLGRP_LINK) &&
	       !nl_socket_set_nonblocking(netlink->monitor);
	if (!made) {
		netlink_destroy(netlink);
		return -EIO;
	}
	nl_socket_disable_seq_check(netlink->monitor);
	*ret_netlink = netlink;
	return 0;
}

void netlink_destroy(struct netlink *netlink)
{
	if (!netlink)
		return;
	nl_socket_free(netlink->requests);
	nl_socket_free(netlink->monitor);
	free(netlink);
}

int netlink_monitor_fd(const struct netlink *netlink)
{
	return nl_socket_get_fd(netlink->monitor);
}

/* The bytes are of no interest, so the socket is read past libnl; an overflow is an event too. */
void netlink_monitor_drain(struct netlink *netlink)
{
	char sink[8192];
	ssize_t length;

	do {
		length = recv(netlink_monitor_fd(netlink), sink, sizeof(sink), MSG_DONTWAIT);
	} while (length > 0 || (length < 0 && (errno == ENOBUFS || errno == EINTR)));
}

static void parse_tap(struct nlattr *data, struct netlink_link *link)
{
	struct nlattr *tap[IFLA_TUN_MAX + 1];

	if (nla_parse_nested(tap, IFLA_TUN_MAX, data, NULL) < 0)
		return;
	link->is_tap = tap[IFLA_TUN_TYPE] && nla_get_u8(tap[IFLA_TUN_TYPE]) == IFF_TAP;
	link->tap_multi_queue = tap[IFLA_TUN_MULTI_QUEUE] && nla_get_u8(tap[IFLA_TUN_MULTI_QUEUE]);
	if (tap[IFLA_TUN_NUM_QUEUES])
		link->tap_queues += nla_get_u32(tap[IFLA_TUN_NUM_QUEUES]);
	if (tap[IFLA_TUN_NUM_DISABLED_QUEUES])
		link->tap_queues += nla_get_u32(tap[IFLA_TUN_NUM_DISABLED_QUEUES]);
}

static void parse_kind(struct nlattr *info, struct netlink_link *link)
{
	struct nlattr *parts[IFLA_INFO_MAX + 1];

	if (nla_parse_nested(parts, IFLA_INFO_MAX, info, NULL) < 0 || !parts[IFLA_INFO_KIND])
		return;
	nla_strlcpy(link->kind, parts[IFLA_INFO_KIND], sizeof(link->kind));
	if (!strcmp(link->kind, "tun") && parts[IFLA_INFO_DATA])
		parse_tap(parts[IFLA_INFO_DATA], link);
}

static void parse_link(struct nlmsghdr *header, void *context)
{
	const struct ifinfomsg *info = nlmsg_data(header);
	struct nlattr *parts[IFLA_MAX + 1];
	struct netlink_link *link = context;

	if (header->nlmsg_type != RTM_NEWLINK ||
		nlmsg_parse(header, sizeof(*info), parts, IFLA_MAX, NULL) < 0)
		return;
	*link = (struct netlink_link){.index = info->ifi_index, .flags = info->ifi_flags};
	if (parts[IFLA_IFNAME])
		nla_strlcpy(link->name, parts[IFLA_IFNAME], sizeof(link->name));
	if (parts[IFLA_MTU])
		link->mtu = nla_get_u32(parts[IFLA_MTU]);
	if (parts[IFLA_MASTER])
		link->master = (int)nla_get_u32(parts[IFLA_MASTER]);
	if (parts[IFLA_IFALIAS])
		nla_strlcpy(link->alias, parts[IFLA_IFALIAS], sizeof(link->alias));
	if (parts[IFLA_ADDRESS] && nla_len(parts[IFLA_ADDRESS]) == NET_MAC_LENGTH)
		memcpy(link->mac, nla_data(parts[IFLA_ADDRESS]), NET_MAC_LENGTH);
	if (parts[IFLA_LINKINFO])
		parse_kind(parts[IFLA_LINKINFO], link);
}

static int find(struct netlink *netlink, int index, const char *name, struct netlink_link *ret_link)
{
	auto_call(cleanup_message) struct nl_msg *message = link_message(RTM_GETLINK, 0, index);
	struct netlink_link link = {.index = 0};
	int result;

	if (!message || (name && nla_put_string(message, IFLA_IFNAME, name) < 0))
		return -ENOMEM;
	result = exchange_message(netlink, message, parse_link, &link);
	if (result)
		return result;
	if (!link.index)
		return -ENODEV;
	*ret_link = link;
	return 0;
}

int netlink_find(struct netlink *netlink, const char *name, struct netlink_link *ret_link)
{
	return find(netlink, 0, name, ret_link);
}

int netlink_find_index(struct netlink *netlink, int index, struct netlink_link *ret_link)
{
	return find(netlink, index, NULL, ret_link);
}

static int set_number(struct netlink *netlink, int index, int attribute, uint32_t value)
{
	auto_call(cleanup_message) struct nl_msg *message = link_message(RTM_NEWLINK, 0, index);

	if (!message || nla_put_u32(message, attribute, value) < 0)
		return -ENOMEM;
	return exchange_message(netlink, message, NULL, NULL);
}

int netlink_set_mtu(struct netlink *netlink, int index, unsigned mtu)
{
	return set_number(netlink, index, IFLA_MTU, mtu);
}

int netlink_set_master(struct netlink *netlink, int index, int master)
{
	return set_number(netlink, index, IFLA_MASTER, (uint32_t)master);
}

int netlink_set_up(struct netlink *netlink, int index, bool up)
{
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP};
	auto_call(cleanup_message) struct nl_msg *message =
		new_message(RTM_NEWLINK, 0, &header, sizeof(header));

	return message ? exchange_message(netlink, message, NULL, NULL) : -ENOMEM;
}

int netlink_set_alias(struct netlink *netlink, int index, const char *alias)
{
	auto_call(cleanup_message) struct nl_msg *message = link_message(RTM_NEWLINK, 0, index);

	if (!message || nla_put_string(message, IFLA_IFALIAS, alias) < 0)
		return -ENOMEM;
	return exchange_message(netlink, message, NULL, NULL);
}

int netlink_add_bridge(struct netlink *netlink, const char *name, unsigned mtu)
{
	auto_call(cleanup_message) struct nl_msg *message =
		link_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info;

	if (!message || nla_put_string(message, IFLA_IFNAME, name) < 0 ||
		(mtu && nla_put_u32(message, IFLA_MTU, mtu) < 0))
		return -ENOMEM;
	info = nla_nest_start(message, IFLA_LINKINFO);
	if (!info || nla_put_string(message, IFLA_INFO_KIND, "bridge") < 0)
		return -ENOMEM;
	nla_nest_end(message, info);
	return exchange_message(netlink, message, NULL, NULL);
}

int netlink_delete(struct netlink *netlink, int index)
{
	auto_call(cleanup_message) struct nl_msg *message = link_message(RTM_DELLINK, 0, index);

	return message ? exchange_message(netlink, message, NULL, NULL) : -ENOMEM;
}

struct port_count {
	int master;
	unsigned count;
};

static void count_port(struct nlmsghdr *header, void *context)
{
	struct port_count *ports = context;
	struct netlink_link link = {.index = 0};

	parse_link(header, &link);
	ports->count += link.index && link.master == ports->master;
}

int netlink_count_ports(struct netlink *netlink, int index, unsigned *ret_count)
{
	auto_call(cleanup_message) struct nl_msg *message =
		link_message(RTM_GETLINK, NLM_F_DUMP, 0);
	struct port_count ports = {.master = index};
	int result = message ? exchange_message(netlink, message, count_port, &ports) : -ENOMEM;

	if (!result)
		*ret_count = ports.count;
	return result;
}

static size_t address_length(const struct net_address *address)
{
	return address->family == AF_INET ? 4 : 16;
}

/* The directed broadcast address, as `ip addr add ... brd +` makes it; false where there is none.
 */
static bool broadcast_of(const struct net_address *address, uint8_t ret_bytes[4])
{
	if (address->family != AF_INET || address->prefix > 30)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		unsigned covered =
			address->prefix > 8 * i ? min_of(address->prefix - 8 * i, 8u) : 0;

		ret_bytes[i] = (uint8_t)(address->bytes[i] | 0xff >> covered);
	}
	return true;
}

static int change_address(
	struct netlink *netlink, int type, int flags, int index, const struct net_address *address)
{
	const struct ifaddrmsg header = {.ifa_family = (uint8_t)address->family,
		.ifa_prefixlen = (uint8_t)address->prefix,
		.ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_index = (unsigned)index};
	auto_call(cleanup_message) struct nl_msg *message =
		new_message(type, flags, &header, sizeof(header));
	int length = (int)address_length(address);
	uint8_t broadcast[4];

	if (!message || nla_put(message, IFA_LOCAL, length, address->bytes) < 0 ||
		nla_put(message, IFA_ADDRESS, length, address->bytes) < 0)
		return -ENOMEM;
	if (type == RTM_NEWADDR && broadcast_of(address, broadcast) &&
		nla_put(message, IFA_BROADCAST, 4, broadcast) < 0)
		return -ENOMEM;
	return exchange_message(netlink, message, NULL, NULL);
}

int netlink_add_address(struct netlink *netlink, int index, const struct net_address *address)
{
	return change_address(netlink, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address);
}

int netlink_delete_address(struct netlink *netlink, int index, const struct net_address *address)
{
	return change_address(netlink, RTM_DELADDR, 0, index, address);
}

struct address_search {
	int index;
	const struct net_address *address;
	bool found;
};

static void match_address(struct nlmsghdr *header, void *context)
{
	struct address_search *search = context;
	const struct ifaddrmsg *info = nlmsg_data(header);
	const struct nlattr *own;
	struct nlattr *parts[IFA_MAX + 1];
	size_t length = address_length(search->address);

	if (header->nlmsg_type != RTM_NEWADDR ||
		nlmsg_parse(header, sizeof(*info), parts, IFA_MAX, NULL) < 0)
		return;
	own = parts[IFA_LOCAL] ? parts[IFA_LOCAL] : parts[IFA_ADDRESS];
	if (own && (int)info->ifa_index == search->index &&
		info->ifa_family == search->address->family &&
		info->ifa_prefixlen == search->address->prefix && (size_t)nla_len(own) == length &&
		!memcmp(nla_data(own), search->address->bytes, length))
		search->found = true;
}

int netlink_has_address(
	struct netlink *netlink, int index, const struct net_address *address, bool *ret_has)
{
	const struct ifaddrmsg header = {.ifa_family = (uint8_t)address->family};
	auto_call(cleanup_message) struct nl_msg *message =
		new_message(RTM_GETADDR, NLM_F_DUMP, &header, sizeof(header));
	struct address_search search = {.index = index, .address = address};
	int result = message ? exchange_message(netlink, message, match_address, &search) : -ENOMEM;

	if (!result)
		*ret_has = search.found;
	return result;
}
