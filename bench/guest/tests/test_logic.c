/* SPDX-License-Identifier: Apache-2.0 */
/* The bare guest's plain logic, compiled for the host: text, JSON, histogram, options, patterns,
 * frames. */
#include <criterion/criterion.h>
#include <string.h>

#include "histogram.h"
#include "json.h"
#include "muldiv.h"
#include "net_frame.h"
#include "options.h"
#include "pattern.h"
#include "random.h"
#include "text.h"

Test(text, formats_numbers_and_strings)
{
	char data[64];
	struct text text;

	text_init(&text, data, sizeof(data));
	text_format(&text, "%s %u %U %x %X%% %c", "a", 0u, UINT64_MAX, 0xabcu, (uint64_t)0, 'z');
	cr_assert_str_eq(data, "a 0 18446744073709551615 0xabc 0x0% z");
	cr_assert(!text.overflow);
}

Test(text, drops_what_does_not_fit)
{
	char data[4];
	struct text text;

	text_init(&text, data, sizeof(data));
	text_string(&text, "abc");
	cr_assert(!text.overflow);
	text_string(&text, "d");
	cr_assert(text.overflow);
	cr_assert_str_eq(data, "abc");
}

Test(text, compares)
{
	cr_assert(text_equal_n("abcd", 3, "abc"));
	cr_assert(!text_equal_n("abc", 3, "abcd"));
	cr_assert(!text_equal_n("abcd", 4, "abc"));
	cr_assert(text_equal_n("", 0, ""));
}

Test(json, nests_and_escapes)
{
	char data[256];
	struct json json;

	json_init(&json, data, sizeof(data));
	json_object(&json, NULL);
	json_string(&json, "s", "a\"b\\c\x01\xff");
	json_array(&json, "list");
	json_number(&json, NULL, 1);
	json_object(&json, NULL);
	json_bool(&json, "t", true);
	json_end(&json);
	json_end(&json);
	json_hex(&json, "h", 0x123456789abcdef0);
	json_raw(&json, "r", "[2]");
	json_end(&json);
	cr_assert_str_eq(data, "{\"s\":\"a\\\"b\\\\c??\",\"list\":[1,{\"t\":true}],"
			       "\"h\":\"0x123456789abcdef0\",\"r\":[2]}");
	cr_assert_eq(json.depth, 0);
}

Test(json, too_deep_is_an_overflow)
{
	char data[256];
	struct json json;

	json_init(&json, data, sizeof(data));
	for (unsigned i = 0; i <= JSON_DEPTH; i++)
		json_array(&json, NULL);
	cr_assert(json.text.overflow);
}

Test(histogram, small_values_are_exact)
{
	static struct histogram h;

	for (uint64_t v = 1; v <= 60; v++)
		histogram_add(&h, v);
	cr_assert_eq(histogram_quantile(&h, 50, 100), 30);
	cr_assert_eq(histogram_quantile(&h, 1, 60), 1);
	cr_assert_eq(histogram_quantile(&h, 100, 100), 60);
	cr_assert_eq(h.min, 1);
	cr_assert_eq(h.max, 60);
	cr_assert_eq(h.sum, 60 * 61 / 2);
}

Test(histogram, error_is_below_1_6_percent)
{
	for (uint64_t v = 64; v < 1ull << 43; v = v * 17 / 16 + 1) {
		static struct histogram h;
		uint64_t q;

		h = (struct histogram){0};
		histogram_add(&h, v);
		histogram_add(&h, 1ull << 43);
		q = histogram_quantile(&h, 1, 2);
		cr_assert(q >= v && q - v <= v / 63, "%lu became %lu", v, q);
	}
}

Test(histogram, huge_values_land_in_the_last_bucket)
{
	static struct histogram h;

	histogram_add(&h, UINT64_MAX);
	cr_assert_eq(h.buckets[HISTOGRAM_BUCKETS - 1], 1);
	cr_assert_eq(histogram_quantile(&h, 1, 1), UINT64_MAX);
	histogram_add(&h, (1ull << 44) - 1);
	cr_assert_eq(h.buckets[HISTOGRAM_BUCKETS - 1], 2);
}

Test(histogram, merge_equals_adding)
{
	static struct histogram a, b, both;
	struct random random;

	random_init(&random, 1);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t v = random_next(&random) >> random_below(&random, 60);

		histogram_add(i % 3 ? &a : &b, v);
		histogram_add(&both, v);
	}
	histogram_merge(&a, &b);
	cr_assert_eq(memcmp(&a, &both, sizeof(a)), 0);
}

Test(histogram, empty_is_zero)
{
	static struct histogram h, other;

	cr_assert_eq(histogram_quantile(&h, 99, 100), 0);
	histogram_add(&h, 7);
	histogram_merge(&h, &other);
	cr_assert_eq(h.min, 7);
}

Test(muldiv, rounds_down_and_saturates)
{
	cr_assert_eq(muldiv(1ull << 63, 10, 20), 1ull << 62);
	cr_assert_eq(muldiv(7, 3, 2), 10);
	cr_assert_eq(muldiv(UINT64_MAX, 2, 1), UINT64_MAX);
	cr_assert_eq(muldiv(1, 1, 0), UINT64_MAX);
}

static struct options good(const char *line)
{
	struct options options;
	char error[OPTION_ERROR_SIZE] = "";

	cr_assert(options_parse(&options, line, error), "%s: %s", line, error);
	return options;
}

static void bad(const char *line, const char *part)
{
	struct options options;
	char error[OPTION_ERROR_SIZE] = "";

	cr_assert(!options_parse(&options, line, error), "%s was taken", line);
	cr_assert(strstr(error, part), "%s: '%s' lacks '%s'", line, error, part);
}

Test(options, defaults)
{
	struct options o = good("blk");

	cr_assert_eq(o.workload, WORKLOAD_BLK);
	cr_assert_eq(o.rw, RW_RANDREAD);
	cr_assert_eq(o.depth, 32);
	cr_assert_eq(o.block_min, 4096);
	cr_assert_eq(o.cpus, 1);
	cr_assert_eq(o.mode, MODE_POLL);
	cr_assert_eq(good("net").depth, 256);
	cr_assert_eq(good("net").frame, 64);
	cr_assert_eq(good("net gso=65536").frame, 1514);
}

Test(options, all_kinds)
{
	struct options o = good(
		"  blk rw=write-zeroes\tbs=512-64k qd=7 queues=all cpus=all mode=irq time=250ms "
		"warmup=20us timeout=3 ios=1000 ring=packed indirect=0 event-idx=1 in-order=auto "
		"verify=1 seed=0x10 disk=all size=1m hostile=loop exit=debug\n");

	cr_assert_eq(o.rw, RW_WRITE_ZEROES);
	cr_assert_eq(o.block_min, 512);
	cr_assert_eq(o.block_max, 65536);
	cr_assert_eq(o.depth, 7);
	cr_assert_eq(o.queues, 0);
	cr_assert_eq(o.cpus, 0);
	cr_assert_eq(o.mode, MODE_IRQ);
	cr_assert_eq(good("blk mode=callback").mode, MODE_CALLBACK);
	cr_assert_eq(o.time_ns, 250000000);
	cr_assert_eq(o.warmup_ns, 20000);
	cr_assert_eq(o.timeout_ns, 3000000000);
	cr_assert_eq(o.ring, RING_PACKED);
	cr_assert_eq(o.indirect, SWITCH_OFF);
	cr_assert_eq(o.event_index, SWITCH_ON);
	cr_assert_eq(o.in_order, SWITCH_AUTO);
	cr_assert_eq(o.verify, VERIFY_ON);
	cr_assert_eq(o.seed, 16);
	cr_assert_eq(o.disk, OPTION_ALL);
	cr_assert_eq(o.size, 1 << 20);
	cr_assert_str_eq(o.hostile, "loop");
	cr_assert(o.exit_debug);
}

Test(options, addresses)
{
	struct options o = good("net dst=52:54:00:aB:cd:0f src-ip=10.0.0.1 port=5001");

	cr_assert_eq(memcmp(o.destination, "\x52\x54\x00\xab\xcd\x0f", 6), 0);
	cr_assert_eq(o.source_ip, 0x0a000001);
	cr_assert_eq(o.port, 5001);
}

Test(options, refuses_with_a_reason)
{
	bad("", "no workload");
	bad("qd=1", "no workload");
	bad("blk net", "unknown word 'net'");
	bad("blk foo=1", "unknown word 'foo'");
	bad("blk rw=readwrite", "rw= wants read|write");
	bad("blk qd=0", "1 to 4096");
	bad("blk qd=4097", "1 to 4096");
	bad("blk qd=", "qd=");
	bad("blk qd=1x", "qd=");
	bad("blk bs=1000", "multiples of 512");
	bad("blk bs=4096-512", "multiples of 512");
	bad("blk bs=1024-1536", "MAX a multiple");
	bad("blk time=1h", "ns");
	bad("blk seed=99999999999999999999", "seed=");
	bad("blk time=99999999999999999s", "time=");
	bad("blk verify=fill bs=512-1024", "one block size");
	bad("blk indirect=2", "0|1|auto");
	bad("net dst=52:54:00:12:34", "52:54");
	bad("net dst=52:54:00:12:34:5g", "52:54");
	bad("net src-ip=1.2.3", "10.0.0.1");
	bad("net src-ip=1.2.3.256", "10.0.0.1");
	bad("net src-ip=1.2.3.4.5", "10.0.0.1");
	bad("net gso=1000", "at least frame");
	bad("net verify=fill", "0|1");
	bad("blk hostile=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a name");
}

/* The definition in pattern.h, written out once more with nothing in common but the constants. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

Test(pattern, is_as_documented)
{
	uint64_t data[64], start = mix(7 ^ mix(123 ^ mix(3)));

	pattern_fill(data, 123, 1, 3, 7);
	cr_assert_eq(memcmp(data, "rfsavtp1", 8), 0);
	cr_assert_eq(data[1], 123);
	cr_assert_eq(data[2], 3);
	cr_assert_eq(data[3], 7);
	for (unsigned i = 0; i < 60; i++)
		cr_assert_eq(data[4 + i], mix(start + i * 0x9e3779b97f4a7c15));
}

Test(pattern, every_difference_is_found)
{
	static uint64_t data[64 * 8];

	pattern_fill(data, 1000, 8, 5, 9);
	cr_assert_eq(pattern_check(data, 1000, 8, 5, 9), 0);
	cr_assert_eq(pattern_check(data, 1001, 8, 5, 9), 8);
	cr_assert_eq(pattern_check(data, 1000, 8, 6, 9), 8);
	cr_assert_eq(pattern_check(data, 1000, 8, 5, 8), 8);
	for (unsigned byte = 0; byte < sizeof(data); byte += 37) {
		((uint8_t *)data)[byte] ^= 0x10;
		cr_assert_eq(pattern_check(data, 1000, 8, 5, 9), 1);
		((uint8_t *)data)[byte] ^= 0x10;
	}
	cr_assert_eq(pattern_check_zero(data, 8), 8);
	memset(data, 0, sizeof(data));
	cr_assert_eq(pattern_check_zero(data, 8), 0);
	data[64 * 3 + 63] = 1;
	cr_assert_eq(pattern_check_zero(data, 8), 1);
}

static struct frame_flow flow_of(enum frame_kind kind, uint32_t length, uint32_t slice)
{
	struct frame_flow flow = {
		.kind = kind,
		.source = {2, 0, 0, 0, 0, 1},
		.destination = {2, 0, 0, 0, 0, 2},
		.source_ip = 0x0a630102,
		.destination_ip = 0x0a63fffe,
		.port = 9,
		.flow = 3,
		.length = length,
		.slice = slice,
		.fill = true,
	};

	return flow;
}

/* Cuts a frame into parts of the given size, as mergeable buffers would. */
static unsigned cut(const uint8_t *frame, uint32_t length, uint32_t size, struct frame_part *parts)
{
	unsigned count = 0;

	for (uint32_t at = 0; at < length; at += size)
		parts[count++] =
			(struct frame_part){frame + at, at + size < length ? size : length - at};
	return count;
}

static void check_round(enum frame_kind kind, uint32_t length, uint32_t slice)
{
	static uint8_t frame[65600];
	struct frame_part parts[1024];
	struct frame_flow flow = flow_of(kind, length, slice);
	struct frame_facts facts;
	unsigned count = cut(frame, length, 128, parts);
	uint32_t expected = 0;

	frame_build(&flow, frame);
	for (unsigned round = 0; round < 5; round++) {
		frame_next(&flow, frame, 1000 + round);
		frame_look(parts, count, kind == FRAME_UDP_GSO ? slice : 0, &facts);
		cr_assert_eq(facts.kind, kind == FRAME_UDP_GSO ? FRAME_UDP : kind);
		cr_assert_eq(facts.flow, 3);
		cr_assert_eq(facts.instance, 0x0102);
		cr_assert_eq(facts.sequence, expected);
		expected += facts.units;
		cr_assert_eq(expected, flow.sequence);
		cr_assert_eq(frame_check_payload(
				     parts, count, kind == FRAME_UDP_GSO ? slice : 0, &facts),
			0);
		frame[length - 1] ^= 1;
		cr_assert_eq(frame_check_payload(
				     parts, count, kind == FRAME_UDP_GSO ? slice : 0, &facts),
			1);
	}
}

Test(frame, udp)
{
	check_round(FRAME_UDP, 64, 0);
	check_round(FRAME_UDP, 1514, 0);
}

Test(frame, tcp_in_large_frames)
{
	check_round(FRAME_TCP_GSO, 65535, 1460);
	check_round(FRAME_TCP_GSO, 1514, 1460);
}

Test(frame, udp_in_large_frames)
{
	check_round(FRAME_UDP_GSO, 42 + 40 * 1472, 1472);
}

/* One segment of a large TCP frame is a right frame of its own. */
Test(frame, tcp_segment_alone)
{
	static uint8_t frame[65600], segment[1514];
	struct frame_flow flow = flow_of(FRAME_TCP_GSO, 65000, 1460);
	struct frame_part part = {segment, sizeof(segment)};
	struct frame_facts facts;

	frame_build(&flow, frame);
	frame_next(&flow, frame, 0);
	memcpy(segment, frame, 54);
	memcpy(segment + 54, frame + 54 + 3 * 1460, 1460);
	segment[16] = 1500 >> 8;
	segment[17] = 1500 & 0xff;
	segment[38 + 2] = 4380 >> 8;
	segment[38 + 3] = 4380 & 0xff;
	frame_look(&part, 1, 0, &facts);
	cr_assert_eq(facts.kind, FRAME_TCP_GSO);
	cr_assert_eq(facts.sequence, 4380);
	cr_assert_eq(facts.units, 1460);
	cr_assert_eq(frame_check_payload(&part, 1, 0, &facts), 0);
}

Test(frame, checksum_as_the_device_finishes_it)
{
	uint8_t frame[200];
	struct frame_flow flow = flow_of(FRAME_UDP, 199, 0);
	struct frame_part parts[2] = {{frame, 101}, {frame + 101, 98}};
	uint32_t sum = 0;

	flow.partial_checksum = true;
	frame_build(&flow, frame);
	frame_next(&flow, frame, 77);
	cr_assert(!frame_checksum_right(parts, 2));
	frame[199] = 0;
	for (unsigned i = 34; i < 199; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	frame[40] = (uint8_t)(sum >> 8);
	frame[41] = (uint8_t)sum;
	cr_assert(frame_checksum_right(parts, 2));
	frame[150] ^= 4;
	cr_assert(!frame_checksum_right(parts, 2));
}

Test(frame, others_frames_are_foreign)
{
	uint8_t frame[64] = {0};
	struct frame_part part = {frame, sizeof(frame)};
	struct frame_flow flow = flow_of(FRAME_UDP, 64, 0);
	struct frame_facts facts;

	frame_look(&part, 1, 0, &facts);
	cr_assert_eq(facts.kind, FRAME_FOREIGN);
	frame_build(&flow, frame);
	frame_next(&flow, frame, 1);
	part.length = 59;
	frame_look(&part, 1, 0, &facts);
	cr_assert_eq(facts.kind, FRAME_FOREIGN);
	part.length = 64;
	frame[38] = 0xff; /* a UDP length beyond the frame */
	frame_look(&part, 1, 0, &facts);
	cr_assert_eq(facts.kind, FRAME_FOREIGN);
}

Test(frame, turn_swaps_addresses)
{
	uint8_t frame[64];
	struct frame_flow flow = flow_of(FRAME_UDP, 64, 0);

	frame_build(&flow, frame);
	frame_turn(frame);
	cr_assert_eq(frame[5], 1);
	cr_assert_eq(frame[11], 2);
}
