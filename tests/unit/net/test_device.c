/* SPDX-License-Identifier: Apache-2.0 */
/* The whole device on a tap in a network namespace of its own. Skipped without root. */
#include "command.h"
#include "tap_rig.h"

#include "util/bytes.h"
#include "util/checked.h"
#include "util/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FEATURE(bit) (1ull << (bit))

#define BASIC                                                                                      \
	(FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_NET_F_STATUS) |                          \
		FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_RX) |                    \
		FEATURE(VIRTIO_NET_F_CTRL_VLAN) | FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |            \
		FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define OFFLOADS                                                                                   \
	(FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM) |                           \
		FEATURE(VIRTIO_NET_F_HOST_TSO4) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |               \
		FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

static struct tap_rig rig;
static bool ready;
static uint8_t sent[70000], got[70000];

static void setup(void)
{
	ready = tap_rig_namespace();
}

static void teardown(void)
{
	tap_rig_deinit(&rig);
}

TestSuite(device, .init = setup, .fini = teardown, .timeout = 60);

static void start(const char *options, uint64_t features)
{
	char text[200];

	cr_assert(ready);
	snprintf(text, sizeof(text), "tap=t0,mac=" TAP_RIG_MAC "%s", options);
	tap_rig_init(&rig, text, features);
}

/* Bytes @from to the end of an Ethernet frame of a local protocol, to the guest. */
static void make_frame(uint8_t *at, size_t length, unsigned seed)
{
	static const uint8_t header[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xb5};

	for (size_t i = 0; i < length; i++)
		at[i] = (uint8_t)(seed + i * 13 + i / 256);
	memcpy(at, header, sizeof(header));
}

/* From the host: 10 bytes of header, then the frame. What arrives has 12 bytes of header. */
static void host_send(size_t length, unsigned seed)
{
	memset(sent, 0, 10);
	make_frame(sent + 10, length, seed);
	tap_rig_host_send(&rig, sent, 10 + length);
}

static void expect_frame(unsigned pair, size_t length)
{
	cr_assert_eq(
		tap_rig_receive(&rig, pair, got, sizeof(got), NULL), NET_HEADER_BYTES + length);
	cr_expect_arr_eq(got + NET_HEADER_BYTES, sent + 10, length);
}

static struct virtio_net_config config_space(void)
{
	struct virtio_net_config config;

	virtio_device_config_read(rig.virtio, 0, &config, sizeof(config));
	return config;
}

/* ---- what is offered and shown ---- */

Test(device, configuration_space)
{
	struct virtio_net_config config;
	uint8_t byte;

	start(",queues=4,mtu=1400", BASIC);
	config = config_space();
	cr_expect_arr_eq(config.mac, ((uint8_t[]){2, 0, 0, 0, 0, 1}), 6);
	cr_expect_eq(config.status, VIRTIO_NET_S_LINK_UP);
	cr_expect_eq(config.max_virtqueue_pairs, 4);
	cr_expect_eq(config.mtu, 1400);
	cr_expect_eq(rig.tap.mtu, 1400);
	cr_expect_eq(config.speed, 10000);
	cr_expect_eq(config.duplex, 1);
	virtio_device_config_read(rig.virtio, 10, &byte, 1);
	cr_expect_eq(byte, 1400 & 0xff);
	virtio_device_config_read(rig.virtio, 4000, &byte, 1);
	cr_expect_eq(byte, 0);
}

Test(device, features_follow_options)
{
	uint64_t offered, offloads = OFFLOADS & ~FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);

	start("", BASIC);
	offered = rig.virtio->features_offered;
	cr_expect_eq(offered & OFFLOADS, OFFLOADS);
	cr_expect_eq(offered & BASIC, BASIC);
	cr_expect_not(offered & FEATURE(VIRTIO_NET_F_MQ), "there is one pair");
	cr_expect(offered & FEATURE(VIRTIO_NET_F_MTU));
	tap_rig_deinit(&rig);
	start(",offload=off,queues=2", BASIC);
	offered = rig.virtio->features_offered;
	cr_expect_eq(offered & OFFLOADS, 0);
	cr_expect(offered & FEATURE(VIRTIO_NET_F_MQ));
	tap_rig_deinit(&rig);
	start(",offload=csum:tso4", BASIC);
	offered = rig.virtio->features_offered;
	cr_expect_eq(offered & offloads, offloads);
	cr_expect_not(offered & (FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_ECN) |
					FEATURE(VIRTIO_NET_F_HOST_USO)));
}

Test(device, features_that_do_not_go_together_are_refused)
{
	static const uint64_t sets[] = {
		FEATURE(VIRTIO_NET_F_HOST_TSO4),
		FEATURE(VIRTIO_NET_F_GUEST_TSO4),
		FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_ECN),
		FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_ECN),
		FEATURE(VIRTIO_NET_F_MQ),
		FEATURE(VIRTIO_NET_F_CTRL_RX),
		FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE),
		FEATURE(VIRTIO_NET_F_NOTF_COAL),
		FEATURE(VIRTIO_NET_F_VQ_NOTF_COAL),
	};

	start(",queues=2", BASIC);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		mock_driver_deinit(&rig.driver);
		cr_expect_eq(mock_driver_init(&rig.driver, rig.virtio, &rig.guest, sets[i]),
			-EOPNOTSUPP, "set %zu", i);
	}
	tap_rig_restart(&rig, 0);
}

/* ---- frames ---- */

Test(device, transmits)
{
	start("", BASIC);
	for (unsigned i = 0; i < 20; i++) {
		size_t length = 60 + 70 * i;

		memset(sent, 0, NET_HEADER_BYTES);
		make_frame(sent + NET_HEADER_BYTES, length, i);
		tap_rig_transmit(&rig, 0, sent, NET_HEADER_BYTES + length);
		cr_assert_eq(tap_rig_host_receive(&rig, got, sizeof(got)), 10 + length);
		cr_expect_arr_eq(got + 10, sent + NET_HEADER_BYTES, length);
	}
	cr_expect_eq(counter_read(&net_device_tx_counters(rig.device, 0)->frames), 20);
}

Test(device, header_that_contradicts_the_frame_is_rejected)
{
	start("", BASIC | OFFLOADS);
	memset(sent, 0, NET_HEADER_BYTES);
	make_frame(sent + NET_HEADER_BYTES, 100, 1);
	sent[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	put_le16(sent + 6, 5000); /* csum_start behind the end */
	tap_rig_transmit(&rig, 0, sent, NET_HEADER_BYTES + 100);
	cr_expect_eq(counter_read(&net_device_tx_counters(rig.device, 0)->rejected), 1);
	memset(sent, 0, NET_HEADER_BYTES);
	tap_rig_transmit(&rig, 0, sent, NET_HEADER_BYTES + 100);
	cr_expect_eq(counter_read(&net_device_tx_counters(rig.device, 0)->frames), 1);
}

Test(device, receives)
{
	start("", BASIC);
	tap_rig_post(&rig, 0, 100, 1536);
	for (unsigned i = 0; i < 20; i++) {
		host_send(60 + 70 * i, i);
		expect_frame(0, 60 + 70 * i);
	}
	cr_expect_eq(counter_read(&net_device_rx_counters(rig.device, 0)->frames), 20);
}

/* Nothing of what was sent while no driver was there reaches the next driver. */
Test(device, nothing_is_kept_for_a_later_driver)
{
	start("", BASIC);
	mock_driver_deinit(&rig.driver);
	memset(sent, 0, 10);
	make_frame(sent + 10, 60, 1);
	tap_rig_host_send(&rig, sent, 70);
	tap_rig_restart(&rig, BASIC);
	tap_rig_post(&rig, 0, 10, 1536);
	host_send(100, 2);
	expect_frame(0, 100);
}

/* An IPv4 TCP segment of 40 KiB with its header, as the host's stack would leave it to the tap. */
static size_t make_segment(uint8_t *frame, size_t payload, uint16_t mss)
{
	uint8_t *ethernet = frame + 10, *ip = ethernet + 14, *tcp = ip + 20;

	memset(frame, 0, 10);
	frame[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	frame[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	put_le16(frame + 2, 54);  /* hdr_len */
	put_le16(frame + 4, mss); /* gso_size */
	put_le16(frame + 6, 34);  /* csum_start */
	put_le16(frame + 8, 16);  /* csum_offset */
	make_frame(ethernet, 54 + payload, 3);
	ethernet[12] = 0x08;
	ethernet[13] = 0x00;
	memset(ip, 0, 40);
	ip[0] = 0x45;
	ip[2] = (uint8_t)((40 + payload) >> 8);
	ip[3] = (uint8_t)(40 + payload);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, ((uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}), 8);
	tcp[12] = 0x50;
	tcp[13] = 0x10;
	return 10 + 54 + payload;
}

Test(device, long_segments_over_many_buffers)
{
	size_t length = make_segment(sent, 40000, 1448);
	unsigned buffers;

	start("", BASIC | OFFLOADS);
	tap_rig_post(&rig, 0, 128, 1536);
	tap_rig_host_send(&rig, sent, length);
	cr_assert_eq(tap_rig_receive(&rig, 0, got, sizeof(got), &buffers), length + 2);
	cr_expect_eq(buffers, (length + 2 + 1535) / 1536);
	cr_expect_eq(got[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
	cr_expect_eq(got[1], VIRTIO_NET_HDR_GSO_TCPV4);
	cr_expect_eq(get_le16(got + 4), 1448);
	cr_expect_arr_eq(got + NET_HEADER_BYTES + 54, sent + 10 + 54, 40000);
}

static uint8_t set_offloads(uint64_t offloads)
{
	uint8_t data[8];

	put_le64(data, offloads);
	return control_command(&rig.driver, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
		VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, data, sizeof(data));
}

/* What the tap does after a change of offloads is what the guest asked for. */
Test(device, offload_changes_reach_the_tap)
{
	size_t length = make_segment(sent, 3 * 1000, 1000);

	start("", BASIC | OFFLOADS);
	tap_rig_post(&rig, 0, 200, 1536);
	tap_rig_host_send(&rig, sent, length);
	cr_expect_eq(tap_rig_receive(&rig, 0, got, sizeof(got), NULL), length + 2);

	cr_assert_eq(set_offloads(FEATURE(VIRTIO_NET_F_GUEST_CSUM)), VIRTIO_NET_OK);
	tap_rig_host_send(&rig, sent, length);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(tap_rig_receive(&rig, 0, got, sizeof(got), NULL), 12 + 54 + 1000);
		cr_expect_eq(got[1], VIRTIO_NET_HDR_GSO_NONE);
		cr_expect_arr_eq(got + 12 + 54, sent + 10 + 54 + 1000 * i, 1000);
	}

	cr_assert_eq(set_offloads(0), VIRTIO_NET_OK);
	tap_rig_host_send(&rig, sent, length);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(tap_rig_receive(&rig, 0, got, sizeof(got), NULL), 12 + 54 + 1000);
		cr_expect_eq(got[0], 0, "the checksum is there");
	}

	cr_assert_eq(
		set_offloads(FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4)),
		VIRTIO_NET_OK);
	tap_rig_host_send(&rig, sent, length);
	cr_expect_eq(tap_rig_receive(&rig, 0, got, sizeof(got), NULL), length + 2);
	cr_expect_eq(got[1], VIRTIO_NET_HDR_GSO_TCPV4);
	cr_expect_eq(
		set_offloads(FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO6)),
		VIRTIO_NET_ERR, "was not negotiated");
	cr_expect_eq(counter_read(&net_device_rx_counters(rig.device, 0)->stale), 0);
}

/* ---- queue pairs ---- */

static uint8_t set_pairs(uint16_t pairs)
{
	return control_command(&rig.driver, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
		&pairs, sizeof(pairs));
}

/* A flow that the guest sends on a queue pair comes back on it; UDP, so that there is a flow. */
static size_t make_flow(uint8_t *frame, unsigned port, bool to_guest)
{
	uint8_t *ethernet = frame, *ip = ethernet + 14, *udp = ip + 20;

	make_frame(ethernet, 100, port);
	if (!to_guest) {
		memcpy(ethernet, ((uint8_t[]){2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1}), 12);
	}
	ethernet[12] = 0x08;
	ethernet[13] = 0x00;
	memset(ip, 0, 28);
	ip[0] = 0x45;
	ip[3] = 86;
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12,
		to_guest ? ((uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2})
			 : ((uint8_t[]){10, 0, 0, 2, 10, 0, 0, 1}),
		8);
	put_le16(udp + (to_guest ? 2 : 0), (uint16_t)port);
	put_le16(udp + (to_guest ? 0 : 2), 0x1234);
	udp[5] = 66;
	return 100;
}

static void flow_there_and_back(unsigned pair, unsigned port)
{
	size_t length;

	memset(sent, 0, NET_HEADER_BYTES);
	length = make_flow(sent + NET_HEADER_BYTES, port, false);
	tap_rig_transmit(&rig, pair, sent, NET_HEADER_BYTES + length);
	cr_assert_eq(tap_rig_host_receive(&rig, got, sizeof(got)), 10 + length);
	memset(sent, 0, 10);
	length = make_flow(sent + 10, port, true);
	tap_rig_host_send(&rig, sent, 10 + length);
	expect_frame(pair, length);
}

Test(device, flows_come_back_on_their_queue_pair)
{
	start(",queues=4", BASIC | FEATURE(VIRTIO_NET_F_MQ));
	cr_expect_eq(rig.tap.tap_queues, 4);
	for (unsigned pair = 0; pair < 4; pair++)
		tap_rig_post(&rig, pair, 64, 1536);
	cr_assert_eq(set_pairs(4), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 40; i++)
		flow_there_and_back(i % 4, 5000 + i);
}

/* Takes what has arrived on a pair and gives as many buffers back. Returns how many frames. */
static unsigned take_frames(unsigned pair)
{
	struct mock_used used;
	unsigned frames = 0;

	while (mock_queue_get_used(rig.driver.queues[2 * pair], &used))
		frames++;
	if (frames)
		tap_rig_post(&rig, pair, frames, 1536);
	return frames;
}

/*
 * Whatever the number of pairs, everything that is sent to the guest arrives on one of them. Waited
 * for is what the guest sees: the device counts a frame before it publishes it.
 */
static void expect_all_on(unsigned pairs)
{
	const uint64_t deadline = clock_ns() + TAP_RIG_TIMEOUT_MS * 1000000ull;
	unsigned arrived = 0;

	for (unsigned i = 0; i < 40; i++) {
		size_t length = make_flow(sent + 10, 6000 + i, true);

		memset(sent, 0, 10);
		tap_rig_host_send(&rig, sent, 10 + length);
	}
	while (arrived < 40) {
		cr_assert_lt(clock_ns(), deadline, "%u of 40 frames arrived", arrived);
		for (unsigned i = 0; i < 4; i++) {
			unsigned frames = take_frames(i);

			cr_expect(i < pairs || !frames, "%u frames on pair %u of %u", frames, i,
				pairs);
			arrived += frames;
		}
	}
}

Test(device, pairs_go_down_and_up)
{
	static const uint16_t pairs[] = {4, 1, 2, 4, 3, 1, 4};

	start(",queues=4", BASIC | FEATURE(VIRTIO_NET_F_MQ));
	for (unsigned pair = 0; pair < 4; pair++)
		tap_rig_post(&rig, pair, 128, 1536);
	expect_all_on(1); /* before any command */
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		cr_assert_eq(set_pairs(pairs[i]), VIRTIO_NET_OK);
		expect_all_on(pairs[i]);
	}
	cr_expect_eq(set_pairs(5), VIRTIO_NET_ERR);
	cr_expect_eq(set_pairs(0), VIRTIO_NET_ERR);
	expect_all_on(4);
}

/* Offered where it was asked for; frames both ways, a command, and another driver's life. */
Test(device, packed_rings)
{
	const uint64_t features = BASIC | FEATURE(VIRTIO_NET_F_MQ) | FEATURE(VIRTIO_F_RING_PACKED) |
	                          FEATURE(VIRTIO_RING_F_EVENT_IDX);

	start(",queues=2", BASIC);
	cr_expect_not(rig.virtio->features_offered & FEATURE(VIRTIO_F_RING_PACKED));
	tap_rig_deinit(&rig);
	start(",queues=2,packed=on", features);
	cr_expect(rig.virtio->features_offered & FEATURE(VIRTIO_F_RING_PACKED));
	for (unsigned life = 0; life < 2; life++) {
		cr_expect(rig.virtio->queues[0].virtqueue.layout.packed);
		for (unsigned pair = 0; pair < 2; pair++)
			tap_rig_post(&rig, pair, 128, 256);
		cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
		for (unsigned i = 0; i < 100; i++)
			flow_there_and_back(i % 2, 5000 + i);
		tap_rig_restart(&rig, features);
	}
}

/* Interrupts that come by the clock, of queues that belong to several workers. */
Test(device, coalesced_notifications)
{
	uint8_t limits[8];

	start(",queues=2", BASIC | FEATURE(VIRTIO_NET_F_MQ) | FEATURE(VIRTIO_NET_F_NOTF_COAL));
	put_le32(limits, 1000);
	put_le32(limits + 4, 2000);
	for (uint8_t command = 0; command < 2; command++)
		cr_assert_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_NOTF_COAL, command,
				     limits, sizeof(limits)),
			VIRTIO_NET_OK);
	for (unsigned pair = 0; pair < 2; pair++)
		tap_rig_post(&rig, pair, 128, 1536);
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 40; i++)
		flow_there_and_back(i % 2, 5000 + i);
}

Test(device, a_driver_without_mq_has_one_pair_and_its_control_queue_third)
{
	const uint64_t features = BASIC;
	struct mock_segment segments[2];
	uint32_t written;
	uint64_t gpa;
	uint8_t *bytes;

	start(",queues=4", features);
	tap_rig_post(&rig, 0, 128, 1536);
	expect_all_on(1);
	gpa = mock_guest_alloc(&rig.guest, 8, 8);
	bytes = mock_guest_pointer(&rig.guest, gpa, 8);
	bytes[2] = 0;
	bytes[3] = 0xaa;
	segments[0] = (struct mock_segment){gpa, 3, false};
	segments[1] = (struct mock_segment){gpa + 3, 1, true};
	cr_assert_eq(
		mock_driver_request(&rig.driver, 2, segments, 2, TAP_RIG_TIMEOUT_MS, &written), 0);
	cr_expect_eq(bytes[3], VIRTIO_NET_OK);
}

/* ---- the link ---- */

static void link_event(void)
{
	struct pollfd pollfd = {.fd = net_device_link_fd(rig.device), .events = POLLIN};

	cr_assert_eq(poll(&pollfd, 1, TAP_RIG_TIMEOUT_MS), 1);
	net_device_link_event(rig.device);
}

static bool config_interrupt(void)
{
	uint64_t count;

	return read(rig.virtio->config_call_fd, &count, sizeof(count)) == sizeof(count);
}

Test(device, link_goes_down_and_comes_back)
{
	uint32_t generation;

	start("", BASIC);
	tap_rig_post(&rig, 0, 100, 1536);
	while (poll(&(struct pollfd){.fd = net_device_link_fd(rig.device), .events = POLLIN}, 1, 0))
		net_device_link_event(rig.device);
	cr_expect_not(config_interrupt(), "nothing has changed yet");
	generation = virtio_device_config_generation(rig.virtio);
	netlink_set_up(rig.netlink, rig.tap.index, false);
	link_event();
	cr_expect(config_interrupt());
	cr_expect_eq(config_space().status, 0);
	cr_expect_neq(virtio_device_config_generation(rig.virtio), generation);
	/* What the guest sends meanwhile is lost and counted, and its queue does not get stuck. */
	memset(sent, 0, NET_HEADER_BYTES);
	make_frame(sent + NET_HEADER_BYTES, 100, 1);
	tap_rig_transmit(&rig, 0, sent, NET_HEADER_BYTES + 100);
	cr_expect_eq(counter_read(&net_device_tx_counters(rig.device, 0)->link_down), 1);
	netlink_set_up(rig.netlink, rig.tap.index, true);
	link_event();
	cr_expect(config_interrupt());
	cr_expect_eq(config_space().status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	cr_expect_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_ANNOUNCE,
			     VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0),
		VIRTIO_NET_OK);
	cr_expect_eq(config_space().status, VIRTIO_NET_S_LINK_UP);
	recv(rig.packet, got, sizeof(got),
		MSG_DONTWAIT); /* the error of its interface being down */
	host_send(100, 2);
	expect_frame(0, 100);
}

Test(device, a_tap_that_is_deleted_takes_the_link_down_only)
{
	start(",queues=2", BASIC | FEATURE(VIRTIO_NET_F_MQ));
	tap_rig_post(&rig, 0, 100, 1536);
	cr_assert_eq(netlink_delete(rig.netlink, rig.tap.index), 0);
	while (config_space().status & VIRTIO_NET_S_LINK_UP)
		link_event();
	cr_expect(config_interrupt());
	memset(sent, 0, NET_HEADER_BYTES);
	make_frame(sent + NET_HEADER_BYTES, 100, 1);
	tap_rig_transmit(&rig, 0, sent, NET_HEADER_BYTES + 100);
	cr_expect_eq(counter_read(&net_device_tx_counters(rig.device, 0)->link_down), 1);
	cr_expect_eq(control_command(
			     &rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		VIRTIO_NET_OK, "the control queue lives");
	/* Even a reboot of the guest works, without a link. */
	tap_rig_restart(&rig, BASIC | FEATURE(VIRTIO_NET_F_MQ));
	cr_expect_eq(config_space().status, 0);
	cr_expect_not(virtio_device_status(rig.virtio) & VIRTIO_STATUS_NEEDS_RESET);
}

Test(device, reset_restores_the_address_and_the_modes)
{
	start("", BASIC);
	tap_rig_post(&rig, 0, 10, 1536);
	cr_assert_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
			     "\2\7\7\7\7\7", 6),
		VIRTIO_NET_OK);
	cr_expect_arr_eq(config_space().mac, "\2\7\7\7\7\7", 6);
	cr_assert_eq(control_command(
			     &rig.driver, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
		VIRTIO_NET_OK);
	tap_rig_restart(&rig, BASIC);
	cr_expect_arr_eq(config_space().mac, "\2\0\0\0\0\1", 6);
	tap_rig_post(&rig, 0, 10, 1536);
	host_send(100, 1);
	expect_frame(0, 100);
}

/* Resets while frames come in: nothing hangs, nothing is touched after the reset. */
Test(device, resets_under_traffic)
{
	start(",queues=2", BASIC | FEATURE(VIRTIO_NET_F_MQ));
	for (unsigned i = 0; i < 50; i++) {
		tap_rig_post(&rig, 0, 100, 1536);
		tap_rig_post(&rig, 1, 100, 1536);
		set_pairs((uint16_t)(1 + i % 2));
		for (unsigned frame = 0; frame < 30; frame++) {
			size_t length = make_flow(sent + 10, 7000 + frame, true);

			memset(sent, 0, 10);
			tap_rig_host_send(&rig, sent, 10 + length);
		}
		tap_rig_restart(&rig, BASIC | FEATURE(VIRTIO_NET_F_MQ));
	}
}
