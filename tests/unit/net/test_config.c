/* SPDX-License-Identifier: Apache-2.0 */
/* The text of --net and -t: what is taken, and the line that refuses the rest. */
#include "net/net_config.h"

#include "util/checked.h"
#include "util/error.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct net_config parse(const char *text)
{
	struct error error = ERROR_INIT;
	struct net_config config;

	cr_assert_eq(net_config_parse(text, &config, &error), 0, "%s: %s", text, error.text);
	return config;
}

Test(config, a_name_is_enough)
{
	struct net_config config = parse("tap=tap0");

	cr_expect_str_eq(config.tap, "tap0");
	cr_expect_not(config.tap_auto);
	cr_expect_str_eq(config.bridge, "");
	cr_expect_not(config.has_mac);
	cr_expect_eq(config.mtu, 0);
	cr_expect_eq(config.queues, 0);
	cr_expect_eq(config.offloads, NET_OFFLOAD_ALL);
	cr_expect_eq(config.host_ip_count, 0);
	cr_expect_eq(config.fd_count, 0);
	cr_expect_eq(config.queue_size, NET_QUEUE_SIZE_DEFAULT);
}

Test(config, all_keys_together)
{
	static const uint8_t mac[] = {0x02, 0xab, 0xCD, 0x00, 0x00, 0xff};
	struct net_config config =
		parse("tap=auto,bridge=br0,mac=02:ab:CD:00:00:ff,mtu=9000,queues=4,"
		      "host-ip=192.168.7.1/24,host-ip=fd00::1/64,offload=csum:tso4:ecn");
	uint8_t six[16];

	cr_expect(config.tap_auto);
	cr_expect_str_eq(config.tap, "");
	cr_expect_str_eq(config.bridge, "br0");
	cr_expect(config.has_mac);
	cr_expect_arr_eq(config.mac, mac, sizeof(mac));
	cr_expect_eq(config.mtu, 9000);
	cr_expect_eq(config.queues, 4);
	cr_expect_eq(config.offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_ECN);
	cr_assert_eq(config.host_ip_count, 2);
	cr_expect_eq(config.host_ips[0].family, AF_INET);
	cr_expect_eq(config.host_ips[0].prefix, 24);
	cr_expect_arr_eq(config.host_ips[0].bytes, ((uint8_t[]){192, 168, 7, 1}), 4);
	inet_pton(AF_INET6, "fd00::1", six);
	cr_expect_eq(config.host_ips[1].family, AF_INET6);
	cr_expect_eq(config.host_ips[1].prefix, 64);
	cr_expect_arr_eq(config.host_ips[1].bytes, six, 16);
}

Test(config, vhost_on_and_off)
{
	cr_expect_not(parse("tap=t").vhost);
	cr_expect(parse("tap=t,vhost=on").vhost);
	cr_expect_not(parse("tap=t,vhost=off").vhost);
}

Test(config, packed_on_and_off)
{
	cr_expect_not(parse("tap=t").packed);
	cr_expect(parse("tap=t,packed=on").packed);
	cr_expect(parse("tap=t,vhost=off,packed=on").packed);
	cr_expect_not(parse("tap=t,packed=off,vhost=on").packed);
}

Test(config, rss_on_and_off)
{
	cr_expect_not(parse("tap=t").rss);
	cr_expect(parse("tap=t,rss=on").rss);
	cr_expect_not(parse("tap=t,rss=off").rss);
}

Test(config, offload_on_off_and_lists)
{
	cr_expect_eq(parse("tap=t,offload=on").offloads, NET_OFFLOAD_ALL);
	cr_expect_eq(parse("tap=t,offload=off").offloads, 0);
	cr_expect_eq(parse("tap=t,offload=csum").offloads, NET_OFFLOAD_CSUM);
	cr_expect_eq(parse("tap=t,offload=csum:uso:tso6").offloads,
		NET_OFFLOAD_CSUM | NET_OFFLOAD_USO | NET_OFFLOAD_TSO6);
}

Test(config, descriptors_set_the_queues)
{
	struct net_config config = parse("fd=10:11:12,mtu=1400");

	cr_assert_eq(config.fd_count, 3);
	cr_expect_eq(config.queues, 3);
	cr_expect_eq(config.fds[0], 10);
	cr_expect_eq(config.fds[2], 12);
	cr_expect_eq(config.mtu, 1400);
}

Test(config, limits_of_numbers)
{
	cr_expect_eq(parse("tap=t,mtu=68").mtu, NET_MTU_MIN);
	cr_expect_eq(parse("tap=t,mtu=65521").mtu, NET_MTU_MAX);
	cr_expect_eq(parse("tap=t,queues=64").queues, NET_QUEUE_PAIRS_MAX);
	cr_expect_str_eq(parse("tap=fifteen-letters").tap, "fifteen-letters");
}

/* Each with a part of the line that the user gets. */
static const struct {
	const char *text;
	const char *says;
} refused[] = {
	{"", "a list of key=value"},
	{"tap", "tap= needs a value"},
	{"tap=", "tap= needs a value"},
	{"bridge=br0", "no tap named"},
	{"queues=2", "no tap named"},
	{"tap=t,,mtu=1500", "not a name"},
	{"tap=t,", "a list of key=value"},
	{"tap=t,speed=9", "\"speed\" is unknown; the keys are tap,"},
	{"tap=t,ta=u", "unknown"},
	{"tap=t,tap=u", "tap= is there twice"},
	{"tap=t,mtu=1500,mtu=1400", "mtu= is there twice"},
	{"tap=sixteen-letters!", "at most 15 characters"},
	{"tap=a/b", "not a name"},
	{"tap=a b", "not a name"},
	{"tap=a:b", "not a name"},
	{"tap=t%d", "not a name"},
	{"tap=..", "not a name"},
	{"tap=t,bridge=much-too-long-a-name", "bridge=much-too-long-a-name: an interface's name"},
	{"tap=t,bridge=t", "cannot both be called t"},
	{"tap=t,mac=02:00:00:00:00", "mac=02:00:00:00:00: not the address of one station"},
	{"tap=t,mac=02:00:00:00:00:0g", "not the address"},
	{"tap=t,mac=02-00-00-00-00-01", "not the address"},
	{"tap=t,mac=02:00:00:00:00:01:02", "not the address"},
	{"tap=t,mac=01:00:00:00:00:01", "not the address"},
	{"tap=t,mac=ff:ff:ff:ff:ff:ff", "not the address"},
	{"tap=t,mac=00:00:00:00:00:00", "not the address"},
	{"tap=t,mtu=67", "from 68 to 65521"},
	{"tap=t,mtu=65522", "from 68 to 65521"},
	{"tap=t,mtu=1500x", "mtu=1500x: must be a number"},
	{"tap=t,mtu=-1", "must be a number"},
	{"tap=t,queues=0", "from 1 to 64"},
	{"tap=t,queues=65", "from 1 to 64"},
	{"tap=t,host-ip=10.0.0.1", "host-ip=10.0.0.1: not an address with a prefix"},
	{"tap=t,host-ip=10.0.0.1/33", "not an address"},
	{"tap=t,host-ip=10.0.0.1/0", "not an address"},
	{"tap=t,host-ip=10.0.0/24", "not an address"},
	{"tap=t,host-ip=fe80::1/129", "not an address"},
	{"tap=t,host-ip=fe80::1::/64", "not an address"},
	{"tap=t,host-ip=/24", "not an address"},
	{"tap=t,host-ip=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20/64", "not an address"},
	{"tap=t,host-ip=1.1.1.1/8,host-ip=1.1.1.2/8,host-ip=1.1.1.3/8,host-ip=1.1.1.4/8,"
	 "host-ip=1.1.1.5/8",
		"at most 4 addresses"},
	{"tap=t,offload=tso4", "tso4 needs csum"},
	{"tap=t,rss=some", "use on or off"},
	{"tap=t,rss=on,rss=off", "twice"},
	{"tap=t,vhost=force", "use on or off"},
	{"tap=t,packed=maybe", "packed=maybe: use on or off"},
	{"tap=t,packed", "packed= needs a value"},
	{"tap=t,packed=on,vhost=on", "packed=on cannot go with vhost=on"},
	{"vhost=on,packed=on,fd=5", "packed=on cannot go with vhost=on"},
	{"tap=t,offload=csum:ecn", "ecn needs tso4 or tso6"},
	{"tap=t,offload=uso", "uso needs csum"},
	{"tap=t,offload=csum:lro", "\"lro\" is unknown; use on, off or a list"},
	{"tap=t,offload=csum:", "\"\" is unknown"},
	{"tap=t,fd=5", "tap= cannot go with fd="},
	{"tap=auto,fd=5", "tap= cannot go with fd="},
	{"fd=5,bridge=b", "bridge= cannot go with fd="},
	{"fd=5,host-ip=10.0.0.1/8", "host-ip= cannot go with fd="},
	{"fd=5:6,queues=3", "queues=3 with 2 descriptors"},
	{"fd=5:5", "descriptor 5 is there twice"},
	{"fd=2", "from 3 up"},
	{"fd=5:", "from 3 up"},
	{"fd=5;6", "from 3 up"},
};

Test(config, every_mistake_has_its_line)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct error error = ERROR_INIT;
		struct net_config config, before;

		memset(&config, 0x5a, sizeof(config));
		before = config;
		cr_expect_eq(net_config_parse(refused[i].text, &config, &error), -EINVAL, "%s",
			refused[i].text);
		cr_expect(
			strstr(error.text, refused[i].says), "%s: %s", refused[i].text, error.text);
		cr_expect_not(strchr(error.text, '\n'));
		cr_expect_arr_eq(&config, &before, sizeof(config), "%s", refused[i].text);
	}
}

Test(config, too_many_descriptors)
{
	struct error error = ERROR_INIT;
	struct net_config config;
	char text[512] = "fd=100";

	for (unsigned i = 1; i <= NET_QUEUE_PAIRS_MAX; i++)
		sprintf(text + strlen(text), ":%u", 100 + i);
	cr_expect_eq(net_config_parse(text, &config, &error), -EINVAL);
	cr_expect(strstr(error.text, "more than 64 descriptors"), "%s", error.text);
}

Test(config, alias_takes_a_bare_name)
{
	struct error error = ERROR_INIT;
	struct net_config config;

	cr_expect_eq(net_config_parse_tap("tap7", &config, &error), 0);
	cr_expect_str_eq(config.tap, "tap7");
	cr_expect_eq(config.offloads, NET_OFFLOAD_ALL);
	cr_expect_eq(net_config_parse_tap("tap7,mtu=1/", &config, &error), -EINVAL);
	cr_expect(strstr(error.text, "-t tap7,mtu=1/"), "%s", error.text);
}
