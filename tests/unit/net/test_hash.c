/* SPDX-License-Identifier: Apache-2.0 */
/* The Toeplitz hash against Microsoft's verification suite, and what of a frame is hashed. */
#include "net/net_hash.h"

#include "util/checked.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define TCP 6
#define UDP 17

static const uint8_t key[NET_TOEPLITZ_KEY_MAX] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
	0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30,
	0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac,
	0x01, 0xfa};

/* "Verifying the RSS Hash Calculation", Windows driver documentation. */
static const struct vector {
	int family;
	const char *to;
	unsigned to_port;
	const char *from;
	unsigned from_port;
	uint32_t addresses, ports;
} vectors[] = {
	{AF_INET, "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
	{AF_INET, "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
	{AF_INET, "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
	{AF_INET, "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
	{AF_INET, "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
	{AF_INET6, "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5,
		0x40207d3d},
	{AF_INET6, "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c,
		0xdde51bbf},
	{AF_INET6, "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
		0x4b61e985, 0x02d1feef},
};

static struct net_hash hash;
static uint8_t frame[200];
static size_t length;

static void setup(void)
{
	hash.types = NET_HASH_TYPES;
	net_toeplitz_init(&hash.toeplitz, key, sizeof(key));
	memset(frame, 0, sizeof(frame));
	length = 0;
}

TestSuite(hash, .init = setup);

static void append(const void *bytes, size_t count)
{
	memcpy(frame + length, bytes, count);
	length += count;
}

static void append_16(unsigned value)
{
	append((uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void begin(unsigned tags, unsigned type)
{
	memset(frame, 0, sizeof(frame));
	length = 12;
	for (unsigned i = 0; i < tags; i++) {
		append_16(i + 1 < tags ? 0x88a8 : 0x8100);
		append_16(100 + i);
	}
	append_16(type);
}

/* An IP header of @vector's with @options bytes more, for IPv4; the transport header follows. */
static void append_ip(const struct vector *vector, unsigned protocol, unsigned options)
{
	uint8_t header[80] = {0};
	bool six = vector->family == AF_INET6;

	header[0] = (uint8_t)(six ? 0x60 : 0x45 + options / 4);
	header[six ? 6 : 9] = (uint8_t)protocol;
	inet_pton(vector->family, vector->from, header + (six ? 8 : 12));
	inet_pton(vector->family, vector->to, header + (six ? 24 : 16));
	append(header, six ? 40 : 20 + options);
}

static void append_ports(const struct vector *vector)
{
	append_16(vector->from_port);
	append_16(vector->to_port);
	append("\0\0\0\0", 4);
}

static void make(const struct vector *vector, unsigned tags, unsigned protocol, unsigned options)
{
	begin(tags, vector->family == AF_INET6 ? 0x86dd : 0x0800);
	append_ip(vector, protocol, options);
	append_ports(vector);
}

/* The hash of the frame, looked at in memory that ends where the frame does. */
static void expect(uint32_t value, unsigned report)
{
	uint8_t *copy = malloc(length);
	uint16_t what;

	memcpy(copy, frame, length);
	cr_expect_eq(net_hash_frame(&hash, copy, length, &what), value);
	cr_expect_eq(what, report, "report %u instead of %u", what, report);
	free(copy);
}

Test(hash, verification_suite)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *vector = &vectors[i];
		size_t size = vector->family == AF_INET6 ? 32 : 8;
		uint8_t input[NET_TOEPLITZ_INPUT_MAX];

		inet_pton(vector->family, vector->from, input);
		inet_pton(vector->family, vector->to, input + size / 2);
		input[size] = (uint8_t)(vector->from_port >> 8);
		input[size + 1] = (uint8_t)vector->from_port;
		input[size + 2] = (uint8_t)(vector->to_port >> 8);
		input[size + 3] = (uint8_t)vector->to_port;
		cr_expect_eq(net_toeplitz_hash(&hash.toeplitz, input, size), vector->addresses,
			"%zu", i);
		cr_expect_eq(net_toeplitz_hash(&hash.toeplitz, input, size + 4), vector->ports,
			"%zu", i);
	}
}

Test(hash, short_keys_go_on_with_zeroes)
{
	static const uint8_t zero[NET_TOEPLITZ_KEY_MAX];
	struct net_toeplitz other;
	uint8_t cut[NET_TOEPLITZ_KEY_MAX] = {0};

	memcpy(cut, key, 7);
	net_toeplitz_init(&hash.toeplitz, key, 7);
	net_toeplitz_init(&other, cut, sizeof(cut));
	cr_expect_arr_eq(&hash.toeplitz, &other, sizeof(other));
	net_toeplitz_init(&hash.toeplitz, key, 0);
	net_toeplitz_init(&other, zero, sizeof(zero));
	cr_expect_arr_eq(&hash.toeplitz, &other, sizeof(other));
}

Test(hash, frames_with_and_without_ports)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *vector = &vectors[i];
		unsigned ip = vector->family == AF_INET6 ? VIRTIO_NET_HASH_REPORT_IPv6
		                                         : VIRTIO_NET_HASH_REPORT_IPv4;

		for (unsigned tags = 0; tags <= 2; tags++) {
			make(vector, tags, TCP, 0);
			expect(vector->ports, ip + 1);
			make(vector, tags, UDP, 0);
			expect(vector->ports, ip + 2);
			make(vector, tags, 1, 0);
			expect(vector->addresses, ip);
		}
		make(vector, 3, TCP, 0);
		expect(0, VIRTIO_NET_HASH_REPORT_NONE);
	}
}

Test(hash, only_the_types_that_are_asked_for)
{
	const struct vector *vector = &vectors[0];

	make(vector, 0, TCP, 0);
	hash.types = NET_HASH_TYPES & ~VIRTIO_NET_RSS_HASH_TYPE_TCPv4;
	expect(vector->addresses, VIRTIO_NET_HASH_REPORT_IPv4);
	hash.types = VIRTIO_NET_RSS_HASH_TYPE_TCPv4;
	expect(vector->ports, VIRTIO_NET_HASH_REPORT_TCPv4);
	hash.types =
		NET_HASH_TYPES & ~(VIRTIO_NET_RSS_HASH_TYPE_TCPv4 | VIRTIO_NET_RSS_HASH_TYPE_IPv4);
	expect(0, VIRTIO_NET_HASH_REPORT_NONE);
	hash.types = 0;
	expect(0, VIRTIO_NET_HASH_REPORT_NONE);
}

Test(hash, other_protocols_are_not_hashed)
{
	begin(0, 0x0806);
	append("\0\1\10\0\6\4\0\1", 8);
	expect(0, VIRTIO_NET_HASH_REPORT_NONE);
	make(&vectors[0], 0, TCP, 0);
	frame[14] = 0x55;
	expect(0, VIRTIO_NET_HASH_REPORT_NONE);
	frame[14] = 0x44;
	expect(0, VIRTIO_NET_HASH_REPORT_NONE);
	make(&vectors[5], 0, TCP, 0);
	frame[14] = 0x40;
	expect(0, VIRTIO_NET_HASH_REPORT_NONE);
}

Test(hash, options_of_ipv4_are_skipped)
{
	for (unsigned options = 0; options <= 40; options += 4) {
		make(&vectors[1], 2, UDP, options);
		expect(vectors[1].ports, VIRTIO_NET_HASH_REPORT_UDPv4);
	}
}

Test(hash, fragments_stay_together)
{
	make(&vectors[0], 0, UDP, 0);
	frame[14 + 6] = 0x40; /* do not fragment */
	expect(vectors[0].ports, VIRTIO_NET_HASH_REPORT_UDPv4);
	frame[14 + 6] = 0x20; /* the first of some */
	expect(vectors[0].addresses, VIRTIO_NET_HASH_REPORT_IPv4);
	frame[14 + 6] = 0;
	frame[14 + 7] = 1; /* a later one */
	expect(vectors[0].addresses, VIRTIO_NET_HASH_REPORT_IPv4);

	begin(0, 0x86dd);
	append_ip(&vectors[5], 44, 0);
	append("\6\0\0\1\0\0\0\0", 8);
	append_ports(&vectors[5]);
	expect(vectors[5].addresses, VIRTIO_NET_HASH_REPORT_IPv6);
}

Test(hash, extension_headers_of_ipv6_are_skipped)
{
	const struct vector *vector = &vectors[6];

	begin(0, 0x86dd);
	append_ip(vector, 0, 0);
	append("\x2b\0\0\0\0\0\0\0", 8);                  /* hop by hop, then routing */
	append("\x3c\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16); /* then options */
	append("\x33\0\0\0\0\0\0\0", 8);                  /* then authentication */
	append("\6\1\0\0\0\0\0\0\0\0\0\0", 12);           /* then TCP */
	append_ports(vector);
	expect(vector->ports, VIRTIO_NET_HASH_REPORT_TCPv6);
}

Test(hash, too_many_extension_headers)
{
	const struct vector *vector = &vectors[6];

	for (unsigned count = 1; count <= 9; count++) {
		begin(0, 0x86dd);
		append_ip(vector, 60, 0);
		for (unsigned i = 1; i < count; i++)
			append("\x3c\0\0\0\0\0\0\0", 8);
		append("\x11\0\0\0\0\0\0\0", 8);
		append_ports(vector);
		if (40 + 8 * count <= NET_HASH_PORTS_MAX)
			expect(vector->ports, VIRTIO_NET_HASH_REPORT_UDPv6);
		else
			expect(vector->addresses, VIRTIO_NET_HASH_REPORT_IPv6);
	}
	begin(0, 0x86dd);
	append_ip(vector, 60, 0);
	append("\x11\xff\0\0\0\0\0\0", 8);
	append_ports(vector);
	expect(vector->addresses, VIRTIO_NET_HASH_REPORT_IPv6);
}

/* Cut anywhere: never more than what is there, and never read beyond it. */
Test(hash, cut_frames)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
		unsigned ip = vectors[i].family == AF_INET6 ? VIRTIO_NET_HASH_REPORT_IPv6
		                                            : VIRTIO_NET_HASH_REPORT_IPv4;
		size_t header = vectors[i].family == AF_INET6 ? 40 : 20;

		for (size_t cut = 1; cut < 22 + header + 8; cut++) {
			make(&vectors[i], 2, TCP, 0);
			length = cut;
			if (cut < 22 + header)
				expect(0, VIRTIO_NET_HASH_REPORT_NONE);
			else if (cut < 22 + header + 4)
				expect(vectors[i].addresses, ip);
			else
				expect(vectors[i].ports, ip + 1);
		}
	}
}
