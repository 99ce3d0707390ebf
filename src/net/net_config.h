/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user asks for with `--net`, as text and as values. Pure: nothing is opened or looked up
 * here, only parsed and checked against itself.
 *
 *   tap=NAME|auto[,bridge=NAME][,mac=XX:XX:XX:XX:XX:XX][,mtu=N][,queues=N][,host-ip=CIDR]
 *   [,offload=on|off|LIST][,rss=on|off][,packed=on|off][,vhost=on|off][,fd=N:N...]
 *
 * LIST is one or several of csum, tso4, tso6, ecn, uso joined by ':'. host-ip may be given more
 * than once. fd= takes the place of tap=: the descriptors are queues of a tap that somebody else
 * opened, one a queue pair.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define NET_QUEUE_PAIRS_MAX 64
#define NET_HOST_IPS_MAX    4
#define NET_NAME_MAX        16 /* IFNAMSIZ, the final 0 included */
#define NET_MAC_LENGTH      6
#define NET_MTU_MIN         68    /* the least that IPv4 allows */
#define NET_MTU_MAX         65521 /* what the kernel's tap takes: 65535 less an Ethernet header */

#define NET_QUEUE_SIZE_DEFAULT 256
#define NET_POLL_US_DEFAULT    32

/* Work that guest and host may leave to each other; each counts for both directions. */
enum net_offload {
	NET_OFFLOAD_CSUM = 1 << 0, /* checksums left for the receiver to fill in */
	NET_OFFLOAD_TSO4 = 1 << 1, /* TCP segments of up to 64 KiB over IPv4 */
	NET_OFFLOAD_TSO6 = 1 << 2, /* the same over IPv6 */
	NET_OFFLOAD_ECN = 1 << 3,  /* such segments may carry CWR */
	NET_OFFLOAD_USO = 1 << 4,  /* UDP datagrams in bunches */
	NET_OFFLOAD_ALL = (1 << 5) - 1,
};

/* An address with its prefix length: 192.0.2.1/24, 2001:db8::1/64. */
struct net_address {
	int family;        /* AF_INET or AF_INET6 */
	uint8_t bytes[16]; /* network order; the first 4 for AF_INET */
	unsigned prefix;   /* bits */
};

struct net_config {
	char tap[NET_NAME_MAX];    /* "" with tap_auto or fds */
	bool tap_auto;             /* the kernel picks a free name fvmN */
	char bridge[NET_NAME_MAX]; /* "": none */
	bool has_mac;              /* else the device makes one up */
	uint8_t mac[NET_MAC_LENGTH];
	unsigned mtu;      /* bytes of payload; 0: what the tap or the bridge has */
	unsigned queues;   /* queue pairs; 0: left to the machine, which fills it in */
	uint32_t offloads; /* set of enum net_offload that may be offered */
	bool rss;          /* receive-side scaling and reports of hashes may be offered */
	bool packed;       /* packed rings may be offered, section 2.8; not with vhost */
	bool vhost;        /* the kernel's vhost-net moves the frames */
	struct net_address host_ips[NET_HOST_IPS_MAX];
	unsigned host_ip_count;
	int fds[NET_QUEUE_PAIRS_MAX];
	unsigned fd_count; /* 0: the tap is opened by name */
	/* Not in the option's text; the parsers set what is good on a host with a CPU to spare. */
	uint16_t queue_size; /* entries of each ring, a power of two */
	unsigned poll_us;    /* bound of the polling windows; 0: no polling */
};

/*
 * Parses the value of one `--net` into @ret_config, which is untouched on failure. With fd=, queues
 * is set to the number of descriptors. Returns 0, or -EINVAL with @error naming the key and what is
 * wrong with it ("--net: mtu=99999: ..."). Any thread.
 */
int net_config_parse(const char *text, struct net_config *ret_config, struct error *error);

/*
 * Parses the value of `-t`, gokvm's alias: the bare name of a tap. Same result as
 * net_config_parse("tap=NAME").
 */
int net_config_parse_tap(const char *name, struct net_config *ret_config, struct error *error);

/* Parses "02:00:00:00:00:01"; a multicast or zero address is refused. 0 or -EINVAL. */
int net_mac_parse(const char *text, uint8_t ret_mac[NET_MAC_LENGTH]);
