/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of --net is a list of key=value joined by commas. A table names the keys; each has a
 * parser that stores into the configuration or explains what is wrong. When the list is through,
 * the keys are checked against each other. Nothing here looks at the host.
 */
#include "net/net_config.h"

#include "util/checked.h"
#include "util/error.h"
#include "util/keyvalue.h"
#include "util/parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIST_ITEM_MAX 16

static const char *const keys_text =
	"tap, bridge, mac, mtu, queues, host-ip, offload, rss, packed, vhost and fd";

/* What the kernel takes as an interface's name; '%' would be a pattern to it. */
static bool name_valid(const char *name)
{
	size_t length = strlen(name);

	if (!length || length >= NET_NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)name[i];

		if (byte <= ' ' || byte >= 0x7f || strchr("/:%,", byte))
			return false;
	}
	return true;
}

static int parse_name(
	const char *key, const char *value, char ret_name[NET_NAME_MAX], struct error *error)
{
	if (strlen(value) >= NET_NAME_MAX)
		return error_set(error, -EINVAL,
			"--net: %s=%s: an interface's name has at most %d characters", key, value,
			NET_NAME_MAX - 1);
	if (!name_valid(value))
		return error_set(error, -EINVAL,
			"--net: %s=%s: not a name that an interface can have", key, value);
	memcpy(ret_name, value, strlen(value) + 1);
	return 0;
}

static int parse_tap(const char *value, struct net_config *config, struct error *error)
{
	if (!strcmp(value, "auto")) {
		config->tap_auto = true;
		return 0;
	}
	return parse_name("tap", value, config->tap, error);
}

static int parse_bridge(const char *value, struct net_config *config, struct error *error)
{
	return parse_name("bridge", value, config->bridge, error);
}

static int hex_digit(char digit)
{
	static const char digits[] = "0123456789abcdef";
	char lower = digit >= 'A' && digit <= 'F' ? (char)(digit - 'A' + 'a') : digit;
	const char *found = lower ? strchr(digits, lower) : NULL;

	return found ? (int)(found - digits) : -1;
}

int net_mac_parse(const char *text, uint8_t ret_mac[NET_MAC_LENGTH])
{
	static const uint8_t zero[NET_MAC_LENGTH];
	uint8_t mac[NET_MAC_LENGTH];

	if (strlen(text) != 3 * NET_MAC_LENGTH - 1)
		return -EINVAL;
	for (unsigned i = 0; i < NET_MAC_LENGTH; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);
		char end = text[3 * i + 2];

		if (high < 0 || low < 0 || end != (i + 1 < NET_MAC_LENGTH ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	if (mac[0] & 1 || !memcmp(mac, zero, sizeof(mac)))
		return -EINVAL;
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

static int parse_mac(const char *value, struct net_config *config, struct error *error)
{
	if (net_mac_parse(value, config->mac))
		return error_set(error, -EINVAL,
			"--net: mac=%s: not the address of one station, like 02:00:00:00:00:01",
			value);
	config->has_mac = true;
	return 0;
}

static int parse_mtu(const char *value, struct net_config *config, struct error *error)
{
	uint64_t mtu;

	if (parse_number(value, NET_MTU_MIN, NET_MTU_MAX, &mtu))
		return error_set(error, -EINVAL, "--net: mtu=%s: must be a number from %d to %d",
			value, NET_MTU_MIN, NET_MTU_MAX);
	config->mtu = (unsigned)mtu;
	return 0;
}

static int parse_queues(const char *value, struct net_config *config, struct error *error)
{
	uint64_t queues;

	if (parse_number(value, 1, NET_QUEUE_PAIRS_MAX, &queues))
		return error_set(error, -EINVAL, "--net: queues=%s: must be a number from 1 to %d",
			value, NET_QUEUE_PAIRS_MAX);
	config->queues = (unsigned)queues;
	return 0;
}

static int parse_cidr(const char *value, struct net_address *ret_address)
{
	struct net_address address = {.family = strchr(value, ':') ? AF_INET6 : AF_INET};
	const char *slash = strchr(value, '/');
	char host[INET6_ADDRSTRLEN];
	uint64_t prefix;

	if (!slash || (size_t)(slash - value) >= sizeof(host))
		return -EINVAL;
	memcpy(host, value, (size_t)(slash - value));
	host[slash - value] = '\0';
	if (inet_pton(address.family, host, address.bytes) != 1)
		return -EINVAL;
	if (parse_number(slash + 1, 1, address.family == AF_INET ? 32 : 128, &prefix))
		return -EINVAL;
	address.prefix = (unsigned)prefix;
	*ret_address = address;
	return 0;
}

static int parse_host_ip(const char *value, struct net_config *config, struct error *error)
{
	if (config->host_ip_count == NET_HOST_IPS_MAX)
		return error_set(error, -EINVAL, "--net: host-ip=%s: at most %d addresses", value,
			NET_HOST_IPS_MAX);
	if (parse_cidr(value, &config->host_ips[config->host_ip_count]))
		return error_set(error, -EINVAL,
			"--net: host-ip=%s: not an address with a prefix length, like "
			"192.168.77.1/24 or fd00::1/64",
			value);
	config->host_ip_count++;
	return 0;
}

static const struct {
	const char *name;
	uint32_t offload;
	uint32_t needs; /* one of these */
} offload_names[] = {
	{"csum", NET_OFFLOAD_CSUM, 0},
	{"tso4", NET_OFFLOAD_TSO4, NET_OFFLOAD_CSUM},
	{"tso6", NET_OFFLOAD_TSO6, NET_OFFLOAD_CSUM},
	{"ecn", NET_OFFLOAD_ECN, NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6},
	{"uso", NET_OFFLOAD_USO, NET_OFFLOAD_CSUM},
};

/*
 * Moves the first item of the ':' list at *@rest to @item, and *@rest behind it, to NULL at the
 * end. False for one that is too long to be anything.
 */
static bool next_item(const char **rest, char item[LIST_ITEM_MAX])
{
	size_t length = strcspn(*rest, ":");
	bool fits = length < LIST_ITEM_MAX;

	snprintf(item, LIST_ITEM_MAX, "%.*s", (int)length, *rest);
	*rest = (*rest)[length] ? *rest + length + 1 : NULL;
	return fits;
}

static uint32_t find_offload(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(offload_names); i++) {
		if (!strcmp(offload_names[i].name, name))
			return offload_names[i].offload;
	}
	return 0;
}

static int check_offloads(uint32_t offloads, struct error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(offload_names); i++) {
		if (!(offloads & offload_names[i].offload) || !offload_names[i].needs)
			continue;
		if (!(offloads & offload_names[i].needs))
			return error_set(error, -EINVAL, "--net: offload=: %s needs %s as well",
				offload_names[i].name,
				offload_names[i].offload == NET_OFFLOAD_ECN ? "tso4 or tso6"
									    : "csum");
	}
	return 0;
}

static int parse_offload(const char *value, struct net_config *config, struct error *error)
{
	char name[LIST_ITEM_MAX];
	bool all;

	if (!parse_bool(value, &all)) {
		config->offloads = all ? NET_OFFLOAD_ALL : 0;
		return 0;
	}
	config->offloads = 0;
	for (const char *rest = value; rest;) {
		uint32_t offload = next_item(&rest, name) ? find_offload(name) : 0;

		if (!offload)
			return error_set(error, -EINVAL,
				"--net: offload=%s: \"%s\" is unknown; use on, off or a list of "
				"csum, tso4, tso6, ecn, uso joined by ':'",
				value, name);
		config->offloads |= offload;
	}
	return check_offloads(config->offloads, error);
}

static int parse_switch(const char *key, const char *value, bool *ret_on, struct error *error)
{
	if (parse_bool(value, ret_on))
		return error_set(error, -EINVAL, "--net: %s=%s: use on or off", key, value);
	return 0;
}

static int parse_rss(const char *value, struct net_config *config, struct error *error)
{
	return parse_switch("rss", value, &config->rss, error);
}

static int parse_packed(const char *value, struct net_config *config, struct error *error)
{
	return parse_switch("packed", value, &config->packed, error);
}

static int parse_vhost(const char *value, struct net_config *config, struct error *error)
{
	return parse_switch("vhost", value, &config->vhost, error);
}

static int append_fd(int fd, struct net_config *config, struct error *error)
{
	for (unsigned i = 0; i < config->fd_count; i++) {
		if (config->fds[i] == fd)
			return error_set(
				error, -EINVAL, "--net: fd=: descriptor %d is there twice", fd);
	}
	if (config->fd_count == NET_QUEUE_PAIRS_MAX)
		return error_set(error, -EINVAL, "--net: fd=: more than %d descriptors",
			NET_QUEUE_PAIRS_MAX);
	config->fds[config->fd_count++] = fd;
	return 0;
}

static int parse_fd(const char *value, struct net_config *config, struct error *error)
{
	char item[LIST_ITEM_MAX];
	int result = 0;

	for (const char *rest = value; rest && !result;) {
		uint64_t fd;

		/* 0 to 2 are the console's, and would be closed under it. */
		if (!next_item(&rest, item) || parse_number(item, 3, 1 << 20, &fd))
			return error_set(error, -EINVAL,
				"--net: fd=%s: must be descriptor numbers from 3 up, joined by ':'",
				value);
		result = append_fd((int)fd, config, error);
	}
	return result;
}

static const struct key {
	const char *name;
	int (*parse)(const char *value, struct net_config *config, struct error *error);
	bool repeats;
} keys[] = {
	{"tap", parse_tap, false},
	{"bridge", parse_bridge, false},
	{"mac", parse_mac, false},
	{"mtu", parse_mtu, false},
	{"queues", parse_queues, false},
	{"host-ip", parse_host_ip, true},
	{"offload", parse_offload, false},
	{"rss", parse_rss, false},
	{"packed", parse_packed, false},
	{"vhost", parse_vhost, false},
	{"fd", parse_fd, false},
};

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	}
	return NULL;
}

static int apply(
	const struct keyvalue *list, struct net_config *config, unsigned *seen, struct error *error)
{
	const struct key *key = find_key(list->key);

	if (!key)
		return error_set(error, -EINVAL, "--net: \"%s\" is unknown; the keys are %s",
			list->key, keys_text);
	if (!list->value || !list->value[0])
		return error_set(error, -EINVAL, "--net: %s= needs a value", key->name);
	if (*seen & 1u << (key - keys) && !key->repeats)
		return error_set(error, -EINVAL, "--net: %s= is there twice", key->name);
	*seen |= 1u << (key - keys);
	return key->parse(list->value, config, error);
}

/* An adopted tap is somebody else's: fastvmm changes nothing about it. */
static int check_adopted(struct net_config *config, struct error *error)
{
	const char *key = config->tap[0] || config->tap_auto ? "tap"
	                  : config->bridge[0]                ? "bridge"
	                  : config->host_ip_count            ? "host-ip"
	                                                     : NULL;

	if (key)
		return error_set(error, -EINVAL,
			"--net: %s= cannot go with fd=: an opened tap is taken as it is", key);
	if (config->queues && config->queues != config->fd_count)
		return error_set(error, -EINVAL,
			"--net: queues=%u with %u descriptors in fd=: one descriptor a queue pair",
			config->queues, config->fd_count);
	config->queues = config->fd_count;
	return 0;
}

static int check_whole(struct net_config *config, struct error *error)
{
	if (config->packed && config->vhost)
		return error_set(error, -EINVAL,
			"--net: packed=on cannot go with vhost=on: the kernel's vhost-net serves "
			"split rings only");
	if (config->fd_count)
		return check_adopted(config, error);
	if (!config->tap[0] && !config->tap_auto)
		return error_set(
			error, -EINVAL, "--net: no tap named; use tap=NAME, tap=auto or fd=N");
	if (config->bridge[0] && !strcmp(config->bridge, config->tap))
		return error_set(error, -EINVAL, "--net: tap and bridge cannot both be called %s",
			config->tap);
	return 0;
}

static const struct net_config default_config = {
	.offloads = NET_OFFLOAD_ALL,
	.queue_size = NET_QUEUE_SIZE_DEFAULT,
	.poll_us = NET_POLL_US_DEFAULT,
};

int net_config_parse(const char *text, struct net_config *ret_config, struct error *error)
{
	struct net_config config = default_config;
	struct keyvalue list;
	unsigned seen = 0;
	int result, more;

	keyvalue_init(&list, text);
	while ((more = keyvalue_next(&list)) > 0) {
		result = apply(&list, &config, &seen, error);
		if (result)
			return result;
	}
	if (more < 0)
		return error_set(error, -EINVAL,
			"--net: \"%s\": a list of key=value joined by commas is expected; "
			"the keys are %s",
			text, keys_text);
	result = check_whole(&config, error);
	if (!result)
		*ret_config = config;
	return result;
}

int net_config_parse_tap(const char *name, struct net_config *ret_config, struct error *error)
{
	struct net_config config = default_config;

	if (!name_valid(name))
		return error_set(error, -EINVAL,
			"-t %s: not a name that an interface can have (at most %d characters)",
			name, NET_NAME_MAX - 1);
	memcpy(config.tap, name, strlen(name) + 1);
	*ret_config = config;
	return 0;
}
