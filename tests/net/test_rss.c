/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive-side scaling: flows of all kinds are sent into a tap of four queues by the host's kernel,
 * and each has to land on the queue pair that the driver's indirection table names for its hash, as
 * computed here. Skipped without root, and where the kernel does not let us load a program.
 */
#include "unit/net/command.h"
#include "unit/net/tap_rig.h"

#include "net/net_hash.h"
#include "util/bytes.h"
#include "util/checked.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FEATURE(bit) (1ull << (bit))
#define BASIC        (FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_NET_F_CTRL_VQ))
#define MQ           FEATURE(VIRTIO_NET_F_MQ)
#define RSS          FEATURE(VIRTIO_NET_F_RSS)
#define HASH_REPORT  FEATURE(VIRTIO_NET_F_HASH_REPORT)
#define RING_RESET   (1ull << 40)

#define PAIRS  4u
#define FRAMES 60u /* of one round */
#define LENGTH 300u

static struct tap_rig rig;
static bool ready;
static uint8_t got[2000];
static struct net_rss rss;
static struct net_hash hash;

static void setup(void)
{
	srand(1);
	ready = tap_rig_namespace();
}

static void teardown(void)
{
	tap_rig_deinit(&rig);
}

TestSuite(rss, .init = setup, .fini = teardown, .timeout = 60);

static void post(unsigned pair)
{
	tap_rig_post(&rig, pair, 128, 1024);
}

/* False, the test marked as skipped, where the device cannot do it. */
static bool start(uint64_t features)
{
	if (!ready)
		return false;
	tap_rig_init(&rig, "tap=t0,queues=4,rss=on,mac=" TAP_RIG_MAC, BASIC);
	if (!(rig.virtio->features_offered & RSS)) {
		cr_skip_test("no right to load a BPF program, or a kernel without");
		return false;
	}
	tap_rig_restart(&rig, features);
	for (unsigned pair = 0; pair < PAIRS; pair++)
		post(pair);
	return true;
}

/* RSS_CONFIG of a random key and a random table over the first @pairs. */
static uint8_t configure(uint32_t types, unsigned entries, unsigned pairs)
{
	uint8_t data[8 + 2 * NET_RSS_TABLE_MAX + 3 + NET_TOEPLITZ_KEY_MAX], *at = data;

	rss = (struct net_rss){.on = true,
		.mask = (uint16_t)(entries - 1),
		.unclassified = (uint16_t)((unsigned)rand() % pairs)};
	put_le32(at, types);
	put_le16(at + 4, rss.mask);
	put_le16(at + 6, rss.unclassified);
	at += 8;
	for (unsigned i = 0; i < entries; i++, at += 2) {
		rss.table[i] = (uint16_t)((unsigned)rand() % pairs);
		put_le16(at, rss.table[i]);
	}
	put_le16(at, (uint16_t)pairs);
	at[2] = NET_TOEPLITZ_KEY_MAX;
	at += 3;
	for (unsigned i = 0; i < NET_TOEPLITZ_KEY_MAX; i++)
		at[i] = (uint8_t)rand();
	hash.types = types;
	net_toeplitz_init(&hash.toeplitz, at, NET_TOEPLITZ_KEY_MAX);
	return control_command(&rig.driver, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data,
		(uint32_t)(at + NET_TOEPLITZ_KEY_MAX - data));
}

static unsigned pair_of(const uint8_t *frame)
{
	uint16_t report;
	uint32_t value = net_hash_frame(&hash, frame, LENGTH, &report);

	return report == VIRTIO_NET_HASH_REPORT_NONE ? rss.unclassified
	                                             : rss.table[value & rss.mask];
}

/* ---- frames ---- */

static size_t append(uint8_t *frame, size_t at, const void *bytes, size_t length)
{
	memcpy(frame + at, bytes, length);
	return at + length;
}

static size_t append_4(uint8_t *frame, size_t at, unsigned kind)
{
	unsigned options = kind % 3 == 1 ? (unsigned)rand() % 11 : 0;
	uint8_t *ip = frame + at;

	ip[0] = (uint8_t)(0x45 + options);
	ip[2] = (uint8_t)((LENGTH - at) >> 8);
	ip[3] = (uint8_t)(LENGTH - at);
	ip[6] = kind % 5 == 2 ? 0x20 : 0; /* a fragment */
	ip[7] = 0;
	ip[9] = (uint8_t[]){6, 17, 6, 17, 1}[kind % 5];
	return at + 20 + 4 * (size_t)options;
}

static size_t append_6(uint8_t *frame, size_t at, unsigned kind)
{
	static const uint8_t protocols[] = {0, 43, 60, 51, 44};
	unsigned extensions = kind % 3 ? (unsigned)rand() % 10 : 0;
	uint8_t *next = frame + at + 6;

	frame[at] = 0x60;
	at += 40;
	for (unsigned i = 0; i < extensions; i++) {
		unsigned which = (unsigned)rand() % (kind % 5 == 2 ? 5 : 4);
		unsigned longer = (unsigned)rand() % 8 ? 0 : (unsigned)rand() % 4;

		*next = protocols[which];
		next = frame + at;
		frame[at + 1] = (uint8_t)longer;
		at += which == 3 ? 8 + 4 * (size_t)longer : 8 + 8 * (size_t)longer;
	}
	*next = (uint8_t[]){6, 17, 6, 17, 58}[kind % 5];
	return at;
}

/* Random bytes with the headers of one kind; @number is found at the end again. */
static void make_frame(uint8_t *frame, unsigned number)
{
	static const uint8_t addresses[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9};
	unsigned kind = (unsigned)rand() % 30;
	size_t at;

	for (unsigned i = 0; i < LENGTH; i++)
		frame[i] = (uint8_t)rand();
	at = append(frame, 0, addresses, sizeof(addresses));
	for (unsigned tags = (unsigned)rand() % 3; tags; tags--)
		at = append(frame, at, tags == 2 ? "\x88\xa8\0\1" : "\x81\0\0\2", 4);
	if (kind < 12)
		append_4(frame, append(frame, at, "\x08\0", 2), kind);
	else if (kind < 28)
		append_6(frame, append(frame, at, "\x86\xdd", 2), kind);
	else
		append(frame, at, "\x88\xb5", 2); /* nothing to hash */
	put_le32(frame + LENGTH - 4, number);
}

/* What lands on @pair next: the number of the frame. */
static unsigned take(unsigned pair, unsigned header, const uint8_t *frames)
{
	unsigned number;

	cr_assert_eq(tap_rig_receive(&rig, pair, got, sizeof(got), NULL), header + LENGTH);
	number = get_le32(got + header + LENGTH - 4);
	cr_assert_lt(number, FRAMES);
	cr_expect_arr_eq(got + header, frames + (size_t)number * LENGTH, LENGTH);
	return number;
}

static void expect_report(const uint8_t *frame)
{
	uint16_t report;
	uint32_t value = net_hash_frame(&hash, frame, LENGTH, &report);

	cr_expect_eq(get_le32(got + 12), value);
	cr_expect_eq(get_le16(got + 16), report);
}

/* Sends frames of all kinds; each arrives on its pair, in order. */
static void round_of_frames(bool reported)
{
	static uint8_t frames[FRAMES][LENGTH];
	uint8_t sent[10 + LENGTH] = {0};

	for (unsigned i = 0; i < FRAMES; i++) {
		make_frame(frames[i], i);
		memcpy(sent + 10, frames[i], LENGTH);
		tap_rig_host_send(&rig, sent, sizeof(sent));
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		unsigned pair = pair_of(frames[i]);
		unsigned number = take(pair, reported ? 20 : 12, frames[0]);

		cr_assert_eq(number, i, "frame %u on pair %u, where %u was due", number, pair, i);
		if (reported)
			expect_report(frames[i]);
		tap_rig_post(&rig, pair, 1, 1024);
	}
}

static uint8_t set_pairs(uint16_t pairs)
{
	return control_command(&rig.driver, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
		&pairs, sizeof(pairs));
}

/* ---- tests ---- */

Test(rss, configuration_space)
{
	struct virtio_net_config config;

	if (!start(BASIC | MQ | RSS))
		return;
	virtio_device_config_read(rig.virtio, 0, &config, sizeof(config));
	cr_expect_eq(config.rss_max_key_size, NET_TOEPLITZ_KEY_MAX);
	cr_expect_eq(config.rss_max_indirection_table_length, NET_RSS_TABLE_MAX);
	cr_expect_eq(config.supported_hash_types, NET_HASH_TYPES);
}

Test(rss, flows_land_where_the_table_says)
{
	if (!start(BASIC | MQ | RSS))
		return;
	for (unsigned entries = 1; entries <= NET_RSS_TABLE_MAX; entries *= 2) {
		cr_assert_eq(configure(NET_HASH_TYPES, entries, PAIRS), VIRTIO_NET_OK);
		round_of_frames(false);
	}
}

Test(rss, any_set_of_types)
{
	if (!start(BASIC | MQ | RSS))
		return;
	for (uint32_t types = 0; types <= NET_HASH_TYPES; types += 3) {
		cr_assert_eq(configure(types, 64, PAIRS), VIRTIO_NET_OK);
		round_of_frames(false);
	}
}

/* The kernel moves queues when others are detached. */
Test(rss, after_any_change_of_pairs)
{
	static const unsigned pairs[] = {4, 2, 3, 1, 4, 3, 2, 4};

	if (!start(BASIC | MQ | RSS))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (i % 3 == 2)
			cr_assert_eq(set_pairs((uint16_t)(1 + i % 4)), VIRTIO_NET_OK);
		cr_assert_eq(configure(NET_HASH_TYPES, 32, pairs[i]), VIRTIO_NET_OK);
		round_of_frames(false);
	}
}

Test(rss, without_mq)
{
	if (!start(BASIC | RSS))
		return;
	cr_expect_eq(set_pairs(2), VIRTIO_NET_ERR);
	cr_assert_eq(configure(NET_HASH_TYPES, 128, PAIRS), VIRTIO_NET_OK);
	round_of_frames(false);
}

Test(rss, with_the_hash_reported)
{
	if (!start(BASIC | MQ | RSS | HASH_REPORT))
		return;
	cr_assert_eq(configure(NET_HASH_TYPES, 128, PAIRS), VIRTIO_NET_OK);
	round_of_frames(true);
	cr_assert_eq(configure(VIRTIO_NET_RSS_HASH_TYPE_TCPv4 | VIRTIO_NET_RSS_HASH_TYPE_IPv6, 16,
			     PAIRS),
		VIRTIO_NET_OK);
	round_of_frames(true);
}

Test(rss, a_refused_command_changes_nothing)
{
	struct net_rss before;
	struct net_hash before_hash;

	if (!start(BASIC | MQ | RSS))
		return;
	cr_assert_eq(configure(NET_HASH_TYPES, 32, PAIRS), VIRTIO_NET_OK);
	before = rss;
	before_hash = hash;
	cr_expect_eq(configure(NET_HASH_TYPES, 32, PAIRS + 1), VIRTIO_NET_ERR);
	cr_expect_eq(configure(VIRTIO_NET_RSS_HASH_TYPE_IP_EX, 32, PAIRS), VIRTIO_NET_ERR);
	rss = before;
	hash = before_hash;
	round_of_frames(false);
}

/* Everything on one pair, then the kernel's own choice: it spreads the flows again. */
static unsigned pairs_used(void)
{
	static uint8_t frame[10 + LENGTH];
	uint64_t before[PAIRS], all = 0;
	unsigned used = 0;

	for (unsigned i = 0; i < PAIRS; i++)
		before[i] = counter_read(&net_device_rx_counters(rig.device, i)->frames);
	for (unsigned i = 0; i < FRAMES; i++) {
		memset(frame, 0, sizeof(frame));
		append(frame, 10, "\2\0\0\0\0\1\2\0\0\0\0\x9\x8\0\x45\0\1\x1e", 18);
		frame[10 + 14 + 9] = 17;
		put_le16(frame + 10 + 34, (uint16_t)(i * 331));
		tap_rig_host_send(&rig, frame, sizeof(frame));
	}
	while (all < FRAMES) {
		all = 0;
		for (unsigned i = 0; i < PAIRS; i++)
			all += counter_read(&net_device_rx_counters(rig.device, i)->frames) -
			       before[i];
	}
	for (unsigned i = 0; i < PAIRS; i++)
		used += counter_read(&net_device_rx_counters(rig.device, i)->frames) != before[i];
	return used;
}

Test(rss, ends_with_the_other_command_and_with_a_reset)
{
	if (!start(BASIC | MQ | RSS))
		return;
	cr_assert_eq(configure(0, 1, PAIRS), VIRTIO_NET_OK);
	cr_expect_eq(pairs_used(), 1, "nothing is hashed");
	cr_assert_eq(set_pairs(PAIRS), VIRTIO_NET_OK);
	cr_expect_gt(pairs_used(), 1);
	tap_rig_restart(&rig, BASIC | MQ | RSS);
	for (unsigned pair = 0; pair < PAIRS; pair++)
		post(pair);
	cr_assert_eq(configure(0, 1, PAIRS), VIRTIO_NET_OK);
	tap_rig_restart(&rig, BASIC | MQ | RSS);
	for (unsigned pair = 0; pair < PAIRS; pair++)
		post(pair);
	cr_assert_eq(set_pairs(PAIRS), VIRTIO_NET_OK);
	cr_expect_gt(pairs_used(), 1);
}

/*
 * Section 5.1.6.5.6: what is meant for a queue that is being reset is dropped. The others' frames
 * find their way, although the kernel has moved a queue into the gap.
 */
static void frames_without(unsigned pair)
{
	static uint8_t frames[FRAMES][LENGTH];
	uint8_t sent[10 + LENGTH] = {0};
	struct mock_used used;

	cr_assert_eq(configure(NET_HASH_TYPES, 128, PAIRS), VIRTIO_NET_OK);
	cr_assert(virtio_device_queue_reset(rig.virtio, 2 * pair));
	for (unsigned i = 0; i < FRAMES; i++) {
		make_frame(frames[i], i);
		memcpy(sent + 10, frames[i], LENGTH);
		send(rig.packet, sent, sizeof(sent), 0); /* an error where it is dropped */
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		if (pair_of(frames[i]) != pair)
			cr_assert_eq(take(pair_of(frames[i]), 12, frames[0]), i);
	}
	for (unsigned i = 0; i < PAIRS; i++)
		cr_expect_not(mock_queue_get_used(rig.driver.queues[2 * i], &used));
}

Test(rss, frames_for_a_queue_under_reset_are_dropped)
{
	if (!start(BASIC | MQ | RSS | RING_RESET))
		return;
	for (unsigned pair = 0; pair < PAIRS; pair++) {
		frames_without(pair);
		tap_rig_restart(&rig, BASIC | MQ | RSS | RING_RESET);
		for (unsigned i = 0; i < PAIRS; i++)
			post(i);
	}
}

/* ---- a tap that somebody else opened ---- */

static int open_queue(void)
{
	struct ifreq request = {.ifr_name = "t1",
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

/* Opens @count queues and hands four of them over, the last one first. */
static void adopt(unsigned count)
{
	char text[100];
	int fds[8];

	for (unsigned i = 0; i < count; i++)
		fds[i] = open_queue();
	snprintf(text, sizeof(text), "fd=%d:%d:%d:%d,rss=on", fds[3], fds[2], fds[1], fds[0]);
	tap_rig_init(&rig, text, BASIC);
	cr_assert_eq(netlink_set_up(rig.netlink, rig.tap.index, true), 0);
	recv(rig.packet, got, sizeof(got), MSG_DONTWAIT); /* the error of its having been down */
}

Test(rss, queues_in_any_order)
{
	if (!ready)
		return;
	adopt(4);
	if (!(rig.virtio->features_offered & RSS)) {
		cr_skip_test("no right to load a BPF program, or a kernel without");
		return;
	}
	tap_rig_restart(&rig, BASIC | MQ | RSS);
	for (unsigned pair = 0; pair < PAIRS; pair++)
		post(pair);
	for (unsigned pairs = 1; pairs <= PAIRS; pairs++) {
		cr_assert_eq(configure(NET_HASH_TYPES, 64, pairs), VIRTIO_NET_OK);
		round_of_frames(false);
	}
}

/* Where a fifth queue comes in the kernel's order cannot be known. */
Test(rss, not_offered_with_queues_of_others)
{
	if (!ready)
		return;
	adopt(5);
	cr_expect_not(rig.virtio->features_offered & RSS);
	cr_expect(rig.virtio->features_offered & HASH_REPORT);
}
