/* SPDX-License-Identifier: Apache-2.0 */
#include "tap_rig.h"

#include "io/worker.h"
#include "util/bytes.h"
#include "util/error.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_HEADER_BYTES 10

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return written;
}

bool tap_rig_namespace(void)
{
	if (unshare(CLONE_NEWNET)) {
		cr_skip_test("needs root, for a network namespace of its own");
		return false;
	}
	if (access("/dev/net/tun", R_OK | W_OK)) {
		cr_skip_test("needs /dev/net/tun");
		return false;
	}
	/* Where there is no IPv6, there is no chatter either. */
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	return true;
}

static void open_packet(struct tap_rig *rig)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = rig->tap.index};
	int on = 1;

	rig->packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	cr_assert_geq(rig->packet, 0);
	cr_assert_eq(setsockopt(rig->packet, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	cr_assert_eq(
		setsockopt(rig->packet, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	cr_assert_eq(bind(rig->packet, (struct sockaddr *)&address, sizeof(address)), 0);
}

void tap_rig_init(struct tap_rig *rig, const char *net, uint64_t features)
{
	struct error error = ERROR_INIT;
	struct net_config config;

	*rig = (struct tap_rig){.packet = -1};
	mock_guest_init(&rig->guest, 64 << 20);
	for (unsigned i = 0; i < TAP_RIG_WORKERS; i++) {
		const struct io_worker_options options = {.name = "net", .cpu = -1};

		cr_assert_eq(
			io_worker_create(&options, &rig->workers[i], &error), 0, "%s", error.text);
	}
	cr_assert_eq(net_config_parse(net, &config, &error), 0, "%s", error.text);
	if (!config.queues)
		config.queues = 1; /* as the machine would fill it in */
	cr_assert_eq(net_device_create(&config, "net0", rig->guest.memory, rig->workers,
			     TAP_RIG_WORKERS, &rig->device, &error),
		0, "%s", error.text);
	rig->virtio = net_device_virtio(rig->device);
	cr_assert_eq(netlink_create(&rig->netlink), 0);
	cr_assert_eq(netlink_find(rig->netlink, net_device_tap_name(rig->device), &rig->tap), 0);
	open_packet(rig);
	cr_assert_eq(mock_driver_start(&rig->driver, rig->virtio, &rig->guest, features,
			     rig->virtio->queue_count, 256),
		0);
}

void tap_rig_restart(struct tap_rig *rig, uint64_t features)
{
	mock_driver_deinit(&rig->driver);
	cr_assert_eq(mock_driver_start(&rig->driver, rig->virtio, &rig->guest, features,
			     rig->virtio->queue_count, 256),
		0);
}

void tap_rig_deinit(struct tap_rig *rig)
{
	if (!rig->device)
		return; /* skipped */
	mock_driver_deinit(&rig->driver);
	net_device_destroy(rig->device);
	for (unsigned i = 0; i < TAP_RIG_WORKERS; i++)
		io_worker_destroy(rig->workers[i]);
	netlink_destroy(rig->netlink);
	close(rig->packet);
	mock_guest_deinit(&rig->guest);
}

void tap_rig_post(struct tap_rig *rig, unsigned pair, unsigned count, uint32_t length)
{
	uint64_t gpa = mock_guest_alloc(&rig->guest, (uint64_t)count * length, 64);

	for (unsigned i = 0; i < count; i++, gpa += length) {
		const struct mock_segment segment = {gpa, length, true};
		int token = mock_queue_add(rig->driver.queues[2 * pair], &segment, 1);

		cr_assert_geq(token, 0);
		rig->posted[2 * pair][token] = (struct tap_rig_buffer){gpa, length};
	}
	mock_driver_kick(&rig->driver, 2 * pair);
}

static size_t take_buffer(struct tap_rig *rig, unsigned pair, uint8_t *at, size_t room)
{
	const struct tap_rig_buffer *buffer;
	struct mock_used used;

	cr_assert_eq(mock_driver_wait_used(&rig->driver, 2 * pair, TAP_RIG_TIMEOUT_MS, &used), 0,
		"no frame on queue pair %u", pair);
	buffer = &rig->posted[2 * pair][used.token];
	cr_assert_leq(used.written, buffer->length);
	cr_assert_leq(used.written, room);
	memcpy(at, mock_guest_pointer(&rig->guest, buffer->gpa, buffer->length), used.written);
	return used.written;
}

size_t tap_rig_receive(
	struct tap_rig *rig, unsigned pair, uint8_t *frame, size_t size, unsigned *ret_num_buffers)
{
	size_t length = take_buffer(rig, pair, frame, size);
	unsigned buffers;

	cr_assert_geq(length, NET_HEADER_BYTES);
	buffers = get_le16(frame + NET_HEADER_NUM_BUFFERS);
	cr_assert_geq(buffers, 1);
	for (unsigned i = 1; i < buffers; i++)
		length += take_buffer(rig, pair, frame + length, size - length);
	if (ret_num_buffers)
		*ret_num_buffers = buffers;
	return length;
}

void tap_rig_transmit(struct tap_rig *rig, unsigned pair, const uint8_t *frame, size_t length)
{
	uint64_t gpa = mock_guest_alloc(&rig->guest, length, 64);
	const struct mock_segment segment = {gpa, (uint32_t)length, false};
	uint32_t written;

	memcpy(mock_guest_pointer(&rig->guest, gpa, length), frame, length);
	cr_assert_eq(mock_driver_request(
			     &rig->driver, 2 * pair + 1, &segment, 1, TAP_RIG_TIMEOUT_MS, &written),
		0, "not transmitted");
}

void tap_rig_host_send(struct tap_rig *rig, const uint8_t *frame, size_t length)
{
	cr_assert_eq(send(rig->packet, frame, length, 0), (ssize_t)length);
}

size_t tap_rig_host_receive(struct tap_rig *rig, uint8_t *frame, size_t size)
{
	ssize_t length = recv(rig->packet, frame, size, 0);

	cr_assert_gt(length, HOST_HEADER_BYTES);
	return (size_t)length;
}
