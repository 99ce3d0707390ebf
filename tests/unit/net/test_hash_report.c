/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames with the longer header of VIRTIO_NET_F_HASH_REPORT, both ways: on a socket pair, where
 * every byte is known, and through a tap, which has to leave room for it. The latter is skipped
 * without root.
 */
#include "command.h"
#include "rig.h"
#include "tap_rig.h"

#include "util/bytes.h"

#include <criterion/criterion.h>
#include <string.h>

#define FEATURE(bit) (1ull << (bit))
#define HASH_REPORT  FEATURE(VIRTIO_NET_F_HASH_REPORT)
#define BASIC        (FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_NET_F_CTRL_VQ))

static uint8_t sent[70000], got[70000];

/* A UDP datagram, Ethernet header first, of @length bytes; returns its hash under set_types(). */
static uint32_t make_datagram(uint8_t *frame, size_t length, unsigned port)
{
	struct net_toeplitz toeplitz;
	uint8_t key[NET_TOEPLITZ_KEY_MAX], input[12];

	for (size_t i = 0; i < length; i++)
		frame[i] = (uint8_t)(port + i * 11);
	memcpy(frame, ((uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0}), 14);
	memset(frame + 14, 0, 28);
	frame[14] = 0x45;
	frame[16] = (uint8_t)((length - 14) >> 8);
	frame[17] = (uint8_t)(length - 14);
	frame[22] = 64;
	frame[23] = 17;
	memcpy(frame + 26, ((uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}), 8);
	put_le16(frame + 34, (uint16_t)port);
	put_le16(frame + 36, 0x3412);
	frame[38] = (uint8_t)((length - 34) >> 8);
	frame[39] = (uint8_t)(length - 34);
	memset(key, 0x5a, sizeof(key));
	key[3] = 0x77;
	net_toeplitz_init(&toeplitz, key, sizeof(key));
	memcpy(input, frame + 26, 12);
	return net_toeplitz_hash(&toeplitz, input, sizeof(input));
}

/* HASH_CONFIG with the key of make_datagram(). */
static uint8_t set_types(struct mock_driver *driver, uint32_t types)
{
	uint8_t data[12 + 1 + NET_TOEPLITZ_KEY_MAX] = {0};

	put_le32(data, types);
	data[12] = NET_TOEPLITZ_KEY_MAX;
	memset(data + 13, 0x5a, NET_TOEPLITZ_KEY_MAX);
	data[13 + 3] = 0x77;
	return control_command(
		driver, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, data, sizeof(data));
}

static void expect_report(uint32_t value, unsigned report)
{
	cr_expect_eq(get_le32(got + 12), value, "hash %#x, not %#x", get_le32(got + 12), value);
	cr_expect_eq(get_le16(got + 16), report);
	cr_expect_eq(get_le16(got + 18), 0);
}

/* ---- on a socket pair ---- */

static struct rig rig;

static void setup(void)
{
	rig_init(&rig, RIG_FEATURES | HASH_REPORT);
}

static void teardown(void)
{
	rig_deinit(&rig);
}

TestSuite(hash_report, .init = setup, .fini = teardown, .timeout = 60);

/* A frame with 20 bytes of header, of which the "tap" has not touched the last ones. */
static uint32_t host_send(size_t length, unsigned port)
{
	uint32_t hash;

	memset(sent, 0, 12);
	memset(sent + 12, 0xee, 8);
	hash = make_datagram(sent + 20, length, port);
	rig_host_send(&rig, sent, 20 + length);
	return hash;
}

static void expect_datagram(size_t length, unsigned buffers)
{
	unsigned num_buffers;

	cr_assert_eq(rig_receive(&rig, got, sizeof(got), &num_buffers), 20 + length);
	cr_expect_eq(num_buffers, buffers);
	cr_expect_arr_eq(got + 20, sent + 20, length);
}

Test(hash_report, nothing_is_reported_before_the_driver_asks)
{
	rig_post(&rig, 64, 1536);
	host_send(100, 1);
	expect_datagram(100, 1);
	expect_report(0, VIRTIO_NET_HASH_REPORT_NONE);
	cr_expect_eq(counter_read(&rig.rx->counters.bytes), 100, "without the header");
}

Test(hash_report, in_buffers_of_any_size)
{
	static const uint32_t sizes[] = {1536, 4096, 21, 19, 13, 7, 64};

	cr_assert_eq(set_types(&rig.driver, NET_HASH_TYPES), VIRTIO_NET_OK);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t length = 100 + 10 * i;
		uint32_t hash;

		if (sizes[i] < 12)
			continue; /* the rig looks at num_buffers in the first one */
		rig_restart(&rig, RIG_FEATURES | HASH_REPORT);
		cr_assert_eq(set_types(&rig.driver, NET_HASH_TYPES), VIRTIO_NET_OK);
		rig_post(&rig, 200, sizes[i]);
		hash = host_send(length, 7000 + (unsigned)i);
		expect_datagram(length, (unsigned)((20 + length + sizes[i] - 1) / sizes[i]));
		expect_report(hash, VIRTIO_NET_HASH_REPORT_UDPv4);
	}
}

Test(hash_report, types_are_followed)
{
	cr_assert_eq(set_types(&rig.driver, VIRTIO_NET_RSS_HASH_TYPE_IPv6), VIRTIO_NET_OK);
	rig_post(&rig, 64, 1536);
	host_send(100, 1);
	expect_datagram(100, 1);
	expect_report(0, VIRTIO_NET_HASH_REPORT_NONE);
	cr_assert_eq(set_types(&rig.driver, VIRTIO_NET_RSS_HASH_TYPE_IPv4), VIRTIO_NET_OK);
	host_send(100, 2);
	expect_datagram(100, 1);
	cr_expect_eq(get_le16(got + 16), VIRTIO_NET_HASH_REPORT_IPv4);
	cr_assert_eq(set_types(&rig.driver, 1u << 20), VIRTIO_NET_ERR);
	host_send(100, 3);
	expect_datagram(100, 1);
	cr_expect_eq(get_le16(got + 16), VIRTIO_NET_HASH_REPORT_IPv4, "nothing has changed");
}

/* A frame of which only the start fits until buffers come. */
Test(hash_report, of_a_frame_that_had_to_wait)
{
	uint32_t hash;

	cr_assert_eq(set_types(&rig.driver, NET_HASH_TYPES), VIRTIO_NET_OK);
	rig_post(&rig, 1, 30);
	hash = host_send(500, 5);
	rig_wait_counter(&rig.rx->counters.starved, 1);
	rig_post(&rig, 20, 30);
	expect_datagram(500, (520 + 29) / 30);
	expect_report(hash, VIRTIO_NET_HASH_REPORT_UDPv4);
}

/* Each header length keeps to itself: short frames are refused by it, counters leave it out. */
Test(hash_report, transmitted_frames_have_the_same_header)
{
	uint64_t gpa = mock_guest_alloc(&rig.guest, 200, 64);
	struct mock_segment segment = {gpa, 20 + 13, false};
	uint32_t written;

	cr_assert_eq(
		mock_driver_request(&rig.driver, RIG_TX, &segment, 1, RIG_TIMEOUT_MS, &written), 0);
	cr_expect_eq(counter_read(&rig.tx->counters.rejected), 1);
	segment.length = 20 + 60;
	cr_assert_eq(
		mock_driver_request(&rig.driver, RIG_TX, &segment, 1, RIG_TIMEOUT_MS, &written), 0);
	cr_expect_eq(rig_host_receive(&rig, got, sizeof(got)), 80);
	cr_expect_eq(counter_read(&rig.tx->counters.bytes), 60);
}

/* ---- through a tap ---- */

static struct tap_rig tap_rig;

static void tap_setup(void)
{
	tap_rig_namespace();
}

static void tap_teardown(void)
{
	tap_rig_deinit(&tap_rig);
}

TestSuite(hash_report_tap, .init = tap_setup, .fini = tap_teardown, .timeout = 60);

static void there_and_back(bool reported, unsigned port)
{
	unsigned header = reported ? NET_HEADER_HASH_BYTES : NET_HEADER_BYTES;
	uint32_t hash;

	tap_rig_post(&tap_rig, 0, 8, 1536);
	memset(sent, 0, 10);
	hash = make_datagram(sent + 10, 600, port);
	tap_rig_host_send(&tap_rig, sent, 610);
	cr_assert_eq(tap_rig_receive(&tap_rig, 0, got, sizeof(got), NULL), header + 600);
	cr_expect_arr_eq(got + header, sent + 10, 600);
	if (reported)
		expect_report(hash, VIRTIO_NET_HASH_REPORT_UDPv4);
	memset(sent, 0, header);
	make_datagram(sent + header, 700, port);
	tap_rig_transmit(&tap_rig, 0, sent, header + 700);
	cr_assert_eq(tap_rig_host_receive(&tap_rig, got, sizeof(got)), 10 + 700);
	cr_expect_arr_eq(got + 10, sent + header, 700);
}

Test(hash_report_tap, the_header_follows_the_driver)
{
	struct virtio_net_config config;

	tap_rig_init(&tap_rig, "tap=t0,queues=2", BASIC);
	cr_expect_not(tap_rig.virtio->features_offered & (HASH_REPORT | FEATURE(VIRTIO_NET_F_RSS)));
	tap_rig_deinit(&tap_rig);
	tap_rig_init(&tap_rig, "tap=t0,rss=on,mac=" TAP_RIG_MAC, BASIC | HASH_REPORT);
	cr_expect(tap_rig.virtio->features_offered & HASH_REPORT);
	cr_expect_not(tap_rig.virtio->features_offered & FEATURE(VIRTIO_NET_F_RSS), "one pair");
	virtio_device_config_read(tap_rig.virtio, 0, &config, sizeof(config));
	cr_expect_eq(config.rss_max_key_size, 40);
	cr_expect_eq(config.rss_max_indirection_table_length, 0);
	cr_expect_eq(config.supported_hash_types, 0x3f);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(set_types(&tap_rig.driver, NET_HASH_TYPES), VIRTIO_NET_OK);
		there_and_back(true, 100 + i);
		tap_rig_restart(&tap_rig, BASIC);
		cr_expect_eq(set_types(&tap_rig.driver, NET_HASH_TYPES), VIRTIO_NET_ERR);
		there_and_back(false, 200 + i);
		tap_rig_restart(&tap_rig, BASIC | HASH_REPORT);
	}
}
