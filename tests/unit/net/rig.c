/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "net/virtio_net_abi.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

const uint8_t rig_mac[NET_MAC_LENGTH] = {0x02, 0, 0, 0, 0, 1};

static struct rig *rig_of(struct virtio_device *device)
{
	return container_of(device, struct rig, virtio);
}

static void no_config_read(
	struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)length;
}

static void no_config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)length;
}

static int activate(struct virtio_device *device)
{
	struct rig *rig = rig_of(device);

	rig->shared.hash_report = virtio_device_has(device, VIRTIO_NET_F_HASH_REPORT);
	net_control_queue_reset(rig->control, device->features, rig_mac);
	return 0;
}

static int queue_start(struct virtio_device *device, unsigned index)
{
	struct rig *rig = rig_of(device);
	struct virtio_queue *queue = &device->queues[index];

	if (index == RIG_RX)
		return net_rx_start(rig->rx, rig->worker);
	if (index == RIG_TX)
		return net_tx_start(rig->tx, rig->worker);
	return net_control_queue_start(
		rig->control, rig->worker, &queue->virtqueue, queue->kick_fd, queue->call_fd);
}

static void queue_stop(struct virtio_device *device, unsigned index)
{
	struct rig *rig = rig_of(device);

	if (index == RIG_RX)
		net_rx_stop(rig->rx);
	else if (index == RIG_TX)
		net_tx_stop(rig->tx);
	else
		net_control_queue_stop(rig->control);
}

static const struct virtio_device_ops ops = {
	.config_read = no_config_read,
	.config_write = no_config_write,
	.activate = activate,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

static void *new_object(size_t size)
{
	void *object = aligned_alloc(CACHE_LINE, align_up(size, CACHE_LINE));

	cr_assert(object);
	memset(object, 0, size);
	return object;
}

static void make_sockets(struct rig *rig)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	rig->tap = (struct tap){.name = "socket", .count = 1, .adopted = true};
	rig->tap.queues[0] = (struct tap_queue){.fd = ends[0], .enabled = true};
	rig->host = ends[1];
}

static void make_parts(struct rig *rig)
{
	const struct virtio_queue *queues = rig->virtio.queues;

	rig->rx = new_object(sizeof(*rig->rx));
	rig->tx = new_object(sizeof(*rig->tx));
	rig->control = new_object(sizeof(*rig->control));
	rig->shared = (struct net_shared){.device = &rig->virtio,
		.tap = &rig->tap,
		.pairs = 1,
		.frame_mtu = 1500,
		.control_fd = queues[RIG_CONTROL].kick_fd,
		.status = VIRTIO_NET_S_LINK_UP};
	net_rx_init(rig->rx, &rig->shared, 0, queues[RIG_RX].kick_fd, queues[RIG_RX].call_fd,
		&rig->virtio.queues[RIG_RX].virtqueue, 0);
	net_tx_init(rig->tx, &rig->shared, 0, queues[RIG_TX].kick_fd, queues[RIG_TX].call_fd,
		&rig->virtio.queues[RIG_TX].virtqueue, 0);
	net_control_queue_init(rig->control, &rig->shared, &rig->rx);
}

static void start_driver(struct rig *rig, uint64_t features)
{
	cr_assert_eq(mock_driver_start(&rig->driver, &rig->virtio, &rig->guest,
			     features | RIG_RING_FEATURES, 3, RIG_QUEUE_SIZE),
		0);
}

void rig_init(struct rig *rig, uint64_t features)
{
	const struct io_worker_options options = {.name = "net", .cpu = -1};
	struct error error = ERROR_INIT;

	*rig = (struct rig){.host = -1};
	mock_guest_init(&rig->guest, 64 << 20);
	cr_assert_eq(io_worker_create(&options, &rig->worker, &error), 0, "%s", error.text);
	make_sockets(rig);
	cr_assert_eq(virtio_device_init(&rig->virtio, &ops, rig->guest.memory, 1, "net0", 3,
			     RIG_QUEUE_SIZE, UINT64_MAX),
		0);
	make_parts(rig);
	start_driver(rig, features);
}

void rig_restart(struct rig *rig, uint64_t features)
{
	mock_driver_deinit(&rig->driver);
	start_driver(rig, features);
}

void rig_deinit(struct rig *rig)
{
	mock_driver_deinit(&rig->driver);
	virtio_device_deinit(&rig->virtio);
	io_worker_destroy(rig->worker);
	tap_deinit(&rig->tap);
	close(rig->host);
	free(rig->rx);
	free(rig->tx);
	free(rig->control);
	mock_guest_deinit(&rig->guest);
}

void rig_add(struct rig *rig, unsigned count, uint32_t length)
{
	uint64_t gpa = mock_guest_alloc(&rig->guest, (uint64_t)count * length, 64);

	for (unsigned i = 0; i < count; i++, gpa += length) {
		const struct mock_segment segment = {gpa, length, true};
		int token = mock_queue_add(rig->driver.queues[RIG_RX], &segment, 1);

		cr_assert_geq(token, 0);
		rig->posted[token] = (struct rig_buffer){gpa, length};
	}
}

void rig_kick(struct rig *rig, unsigned queue)
{
	mock_driver_kick(&rig->driver, queue);
}

void rig_post(struct rig *rig, unsigned count, uint32_t length)
{
	rig_add(rig, count, length);
	rig_kick(rig, RIG_RX);
}

/* Waits for the next used receive buffer and copies it to @at. */
static size_t take_buffer(struct rig *rig, uint8_t *at, size_t room)
{
	const struct rig_buffer *buffer;
	struct mock_used used;

	cr_assert_eq(
		mock_driver_wait_used(&rig->driver, RIG_RX, RIG_TIMEOUT_MS, &used), 0, "no frame");
	buffer = &rig->posted[used.token];
	cr_assert_leq(used.written, buffer->length);
	cr_assert_leq(used.written, room);
	memcpy(at, mock_guest_pointer(&rig->guest, buffer->gpa, buffer->length), used.written);
	return used.written;
}

size_t rig_receive(struct rig *rig, uint8_t *frame, size_t size, unsigned *ret_num_buffers)
{
	size_t length = take_buffer(rig, frame, size);
	unsigned buffers;

	cr_assert_geq(length, NET_HEADER_BYTES);
	buffers = get_le16(frame + NET_HEADER_NUM_BUFFERS);
	cr_assert_geq(buffers, 1);
	for (unsigned i = 1; i < buffers; i++)
		length += take_buffer(rig, frame + length, size - length);
	if (ret_num_buffers)
		*ret_num_buffers = buffers;
	return length;
}

bool rig_nothing_received(struct rig *rig)
{
	struct mock_used used;

	return !mock_queue_get_used(rig->driver.queues[RIG_RX], &used);
}

void rig_host_send(struct rig *rig, const void *frame, size_t length)
{
	cr_assert_eq(send(rig->host, frame, length, 0), (ssize_t)length);
}

size_t rig_host_receive(struct rig *rig, void *frame, size_t size)
{
	ssize_t length = recv(rig->host, frame, size, 0);

	cr_assert_gt(length, 0);
	return (size_t)length;
}

void rig_wait_counter(const struct counter *counter, uint64_t value)
{
	uint64_t start = clock_ns();

	while (counter_read(counter) < value) {
		cr_assert_lt(clock_ns() - start, RIG_TIMEOUT_MS * 1000000ull,
			"the counter stays at %llu of %llu",
			(unsigned long long)counter_read(counter), (unsigned long long)value);
		sched_yield();
	}
}

void rig_make_frame(uint8_t *frame, size_t length, const uint8_t to[NET_MAC_LENGTH], unsigned seed)
{
	memset(frame, 0, NET_HEADER_BYTES);
	for (size_t i = NET_HEADER_BYTES; i < length; i++)
		frame[i] = (uint8_t)(seed + i * 7 + i / 256);
	memcpy(frame + NET_HEADER_BYTES, to, NET_MAC_LENGTH);
	memcpy(frame + NET_HEADER_BYTES + NET_MAC_LENGTH, ((uint8_t[]){2, 0, 0, 0, 0, 9}),
		NET_MAC_LENGTH);
	frame[NET_HEADER_BYTES + 12] = 0x88;
	frame[NET_HEADER_BYTES + 13] = 0xb5; /* local experiments */
}
