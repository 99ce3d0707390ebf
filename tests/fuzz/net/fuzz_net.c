/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest and a hostile network against one queue pair and the control queue, with a
 * worker's thread on the device's side and a socket pair in place of the tap. The input is a set of
 * features and a program: commands, transmit chains, receive buffers, frames from the host, bytes
 * written anywhere in the guest's RAM, resets. Checked is what must hold whatever the guest does:
 * a reset always comes to its end; frames that leave are as long as frames may be; and as long as
 * the guest has not scribbled over its own rings, frames that arrive are as long as they were and
 * in one piece, commands are answered with one of the two answers, and nothing is used that was
 * not added.
 */
#include "fuzz_input.h"
#include "net/net_control_queue.h"
#include "net/net_rx.h"
#include "net/net_tx.h"
#include "support/mock_driver.h"
#include "util/bytes.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAM_BYTES    0x100000u
#define QUEUE_SIZE   64u
#define SEGMENTS_MAX 12u
#define STEPS_MAX    300u
#define FRAME_MAX    80000u
#define COMMAND_MAX  1024u

enum { RX, TX, CONTROL, QUEUES };

struct world {
	struct mock_guest guest;
	struct io_worker *worker;
	struct virtio_device device;
	struct net_shared shared;
	struct tap tap;
	int host;
	struct net_rx *rx;
	struct net_tx *tx;
	struct net_control_queue *control;
	struct mock_driver driver;
	uint64_t start_gpa;

	/* of one input */
	bool scribbled;
	uint32_t room[QUEUE_SIZE];   /* writable bytes of each receive buffer, by token */
	uint64_t gpa[QUEUE_SIZE];    /* and where it starts */
	uint64_t answer[QUEUE_SIZE]; /* of each command */
};

static struct world world;
static uint8_t scratch[FRAME_MAX];
static const uint8_t mac[NET_MAC_LENGTH] = {2, 0, 0, 0, 0, 1};

static void config_access(
	struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	(void)device;
	(void)offset;
	memset(data, 0, length);
}

static void config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)length;
}

static int activate(struct virtio_device *device)
{
	world.shared.hash_report = virtio_device_has(device, VIRTIO_NET_F_HASH_REPORT);
	net_control_queue_reset(world.control, device->features, mac);
	return 0;
}

static int queue_start(struct virtio_device *device, unsigned index)
{
	struct virtio_queue *queue = &device->queues[index];

	return index == RX   ? net_rx_start(world.rx, world.worker)
	       : index == TX ? net_tx_start(world.tx, world.worker)
	                     : net_control_queue_start(world.control, world.worker,
				       &queue->virtqueue, queue->kick_fd, queue->call_fd);
}

static void queue_stop(struct virtio_device *device, unsigned index)
{
	(void)device;
	if (index == RX)
		net_rx_stop(world.rx);
	else if (index == TX)
		net_tx_stop(world.tx);
	else
		net_control_queue_stop(world.control);
}

static const struct virtio_device_ops ops = {
	.config_read = config_access,
	.config_write = config_write,
	.activate = activate,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

static void *new_object(size_t size)
{
	void *object = aligned_alloc(CACHE_LINE, align_up(size, CACHE_LINE));

	fuzz_require(object);
	memset(object, 0, size);
	return object;
}

static void make_world(void)
{
	const struct io_worker_options options = {.name = "net", .cpu = -1};
	struct virtio_queue *queues;
	int ends[2];

	log_set_level(LOG_ERROR);
	mock_guest_init(&world.guest, RAM_BYTES);
	world.start_gpa = world.guest.next_gpa;
	fuzz_require(!io_worker_create(&options, &world.worker, NULL));
	fuzz_require(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends));
	world.host = ends[1];
	world.tap = (struct tap){.count = 1, .adopted = true};
	world.tap.queues[0] = (struct tap_queue){.fd = ends[0], .enabled = true};
	fuzz_require(!virtio_device_init(&world.device, &ops, world.guest.memory, 1, "net0", QUEUES,
		QUEUE_SIZE, UINT64_MAX));
	queues = world.device.queues;
	world.shared = (struct net_shared){.device = &world.device,
		.tap = &world.tap,
		.pairs = 1,
		.frame_mtu = 1500,
		.control_fd = queues[CONTROL].kick_fd};
	world.rx = new_object(sizeof(*world.rx));
	world.tx = new_object(sizeof(*world.tx));
	world.control = new_object(sizeof(*world.control));
	net_rx_init(world.rx, &world.shared, 0, queues[RX].kick_fd, queues[RX].call_fd,
		&queues[RX].virtqueue, 0);
	net_tx_init(world.tx, &world.shared, 0, queues[TX].kick_fd, queues[TX].call_fd,
		&queues[TX].virtqueue, 0);
	net_control_queue_init(world.control, &world.shared, &world.rx);
}

static int nothing(struct io_worker *worker, void *argument)
{
	(void)worker;
	(void)argument;
	return 0;
}

/* Lets the worker make some turns. */
static void turns(unsigned count)
{
	while (count--)
		io_worker_call(world.worker, nothing, NULL);
}

/* Everything that the guest sent, so that the socket does not stay full. */
static void drain_host(void)
{
	ssize_t length;

	while ((length = recv(world.host, scratch, sizeof(scratch), 0)) > 0)
		fuzz_require(length >= (ssize_t)NET_HEADER_BYTES + 14 &&
			     length <= (ssize_t)NET_GSO_FRAME_BYTES);
}

static void start_driver(struct fuzz_input *input)
{
	/* The bits of the device type: 0 to 23 and the offloads from 50 up; then ring features. */
	uint64_t features = fuzz_take(input, 3) | fuzz_take(input, 1) << 50;

	/* The bit of RSS is not among them: it comes along with that of NOTF_COAL. */
	features |= (features >> VIRTIO_NET_F_NOTF_COAL & 1) << VIRTIO_NET_F_RSS;
	if (fuzz_take(input, 1) & 1)
		features |= 1ull << 28; /* INDIRECT_DESC */
	if (fuzz_take(input, 1) & 1)
		features |= 1ull << 29; /* EVENT_IDX */
	if (fuzz_take(input, 1) & 1)
		features |= 1ull << 34; /* RING_PACKED */
	world.guest.next_gpa = world.start_gpa;
	memset(mock_guest_pointer(&world.guest, world.start_gpa, RAM_BYTES - 0x1000), 0,
		RAM_BYTES - 0x1000);
	world.scribbled = false;
	fuzz_require(!mock_driver_start(
		&world.driver, &world.device, &world.guest, features, QUEUES, QUEUE_SIZE));
}

/* A piece of RAM, or 0 where the input has used it all up. */
static uint64_t allocate(uint64_t bytes)
{
	struct mock_guest *guest = &world.guest;

	if (bytes + 64 > guest->end_gpa - guest->next_gpa)
		return 0;
	return mock_guest_alloc(guest, bytes, 1u << bytes % 7);
}

/* @count segments of up to @most bytes each, filled with the input's bytes. 0: no room. */
static unsigned make_segments(struct fuzz_input *input, struct mock_segment *segments,
	unsigned count, bool writable, uint32_t most)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t length = (uint32_t)fuzz_take(input, 2) % most + 1;
		uint64_t gpa = allocate(length);
		uint8_t *bytes;

		if (!gpa)
			return 0;
		segments[i] = (struct mock_segment){gpa, length, writable};
		bytes = mock_guest_pointer(&world.guest, gpa, length);
		for (uint32_t at = 0; at < length && at < 16 && !writable; at++)
			bytes[at] = (uint8_t)fuzz_take(input, 1);
	}
	return count;
}

static int add(struct fuzz_input *input, unsigned queue, const struct mock_segment *segments,
	unsigned count)
{
	bool indirect = fuzz_take(input, 1) & 1 &&
	                mock_queue_layout(world.driver.queues[queue])->indirect &&
	                world.guest.end_gpa - world.guest.next_gpa > 4096;

	return indirect ? mock_queue_add_indirect(world.driver.queues[queue], segments, count)
	                : mock_queue_add(world.driver.queues[queue], segments, count);
}

static void step_transmit(struct fuzz_input *input)
{
	struct mock_segment segments[SEGMENTS_MAX];
	unsigned count = make_segments(
		input, segments, 1 + (unsigned)fuzz_take(input, 1) % SEGMENTS_MAX, false, 9000);

	if (count && fuzz_take(input, 1) % 8 == 1)
		segments[count - 1].writable = true;
	if (count)
		add(input, TX, segments, count);
}

static void step_buffer(struct fuzz_input *input)
{
	struct mock_segment segments[SEGMENTS_MAX];
	unsigned count = make_segments(
		input, segments, 1 + (unsigned)fuzz_take(input, 1) % SEGMENTS_MAX, true, 4096);
	int token = count ? add(input, RX, segments, count) : -1;

	if (token < 0)
		return;
	world.room[token] = 0;
	world.gpa[token] = segments[0].gpa;
	for (unsigned i = 0; i < count; i++)
		world.room[token] += segments[i].length;
	if (segments[0].length < NET_HEADER_BYTES)
		world.gpa[token] = 0; /* its header is in pieces */
}

/* A command in about the right form, or of random bytes. Returns its length. */
static uint32_t make_command(struct fuzz_input *input, uint8_t *bytes)
{
	static const struct {
		uint8_t class, command, data;
	} forms[] = {
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 1},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, 1},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 6},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 2},
		{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2},
		{VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8},
		{VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0},
		{VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8},
		{VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8},
		{VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 12},
		{VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, 4},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 0},
	};
	unsigned form = (unsigned)fuzz_take(input, 1) % (ARRAY_SIZE(forms) + 2);
	uint32_t length = 2;

	memset(bytes, 0, COMMAND_MAX);
	if (form >= ARRAY_SIZE(forms)) {
		length = (uint32_t)fuzz_take(input, 1) % 40;
		for (uint32_t i = 0; i < length; i++)
			bytes[i] = (uint8_t)fuzz_take(input, 1);
		return length;
	}
	bytes[0] = forms[form].class;
	bytes[1] = forms[form].command;
	for (unsigned i = 0; i < forms[form].data; i++)
		bytes[length++] = (uint8_t)fuzz_take(input, 1);
	for (unsigned table = 0; table < 2 && form == ARRAY_SIZE(forms) - 1; table++) {
		uint32_t entries = (uint32_t)fuzz_take(input, 1) % 80;

		put_le32(bytes + length, entries);
		length += 4;
		for (uint32_t i = 0; i < entries; i++, length += 6)
			put_le32(bytes + length, (uint32_t)(i < 2 ? fuzz_take(input, 4) : i));
	}
	return length + (fuzz_take(input, 1) == 1); /* now and then a byte too many */
}

static void step_command(struct fuzz_input *input)
{
	uint8_t bytes[COMMAND_MAX];
	uint32_t length = make_command(input, bytes), done = 0;
	struct mock_segment segments[SEGMENTS_MAX];
	uint64_t gpa = allocate(COMMAND_MAX + SEGMENTS_MAX), answer = allocate(1);
	unsigned count = 0;
	int token;

	if (!gpa || !answer)
		return;
	while (done < length) {
		uint32_t part = (uint32_t)fuzz_take(input, 1) + 1;

		/* Behind a gap of one byte, so that it does not join the segment before. */
		if (part > length - done || count == SEGMENTS_MAX - 2)
			part = length - done;
		segments[count] = (struct mock_segment){gpa + done + count, part, false};
		memcpy(mock_guest_pointer(&world.guest, segments[count].gpa, part), bytes + done,
			part);
		count++;
		done += part;
	}
	*(uint8_t *)mock_guest_pointer(&world.guest, answer, 1) = 0xaa;
	if (fuzz_take(input, 1) % 16 != 15)
		segments[count++] = (struct mock_segment){answer, 1, true};
	token = count ? add(input, CONTROL, segments, count) : -1;
	if (token >= 0)
		world.answer[token] = answer;
}

static void step_host_frame(struct fuzz_input *input)
{
	size_t length = fuzz_take(input, 3) % FRAME_MAX;

	memset(scratch, 0, sizeof(scratch));
	for (unsigned i = 0; i < NET_HEADER_BYTES + NET_L2_BYTES; i++)
		scratch[i] = (uint8_t)fuzz_take(input, 1);
	(void)!send(world.host, scratch, length, 0);
}

static void step_scribble(struct fuzz_input *input)
{
	uint64_t gpa = world.start_gpa + fuzz_take(input, 2);
	unsigned length = 1 + (unsigned)fuzz_take(input, 1) % 4;

	put_le(mock_guest_pointer(&world.guest, gpa, 8), length, fuzz_take(input, length));
	world.scribbled = true;
}

/* ---- what must hold while the guest keeps to the rules ---- */

static unsigned buffers_of(uint16_t token)
{
	const uint8_t *header;

	if (!world.gpa[token])
		return 0;
	header = mock_guest_pointer(&world.guest, world.gpa[token], NET_HEADER_BYTES);
	return get_le16(header + NET_HEADER_NUM_BUFFERS);
}

/* Frames come in one piece: as many buffers as their header says, each but the last one full. */
static void check_received(void)
{
	struct mock_used used;
	unsigned left = 0;

	while (mock_queue_get_used(world.driver.queues[RX], &used)) {
		fuzz_require(used.written && used.written <= world.room[used.token]);
		if (!left) {
			left = buffers_of(used.token);
			if (!left)
				return; /* cannot be followed */
		}
		left--;
		fuzz_require(!left || used.written == world.room[used.token]);
	}
	fuzz_require(!left);
}

static void check_answers(void)
{
	struct mock_used used;

	while (mock_queue_get_used(world.driver.queues[CONTROL], &used)) {
		uint8_t answer =
			*(uint8_t *)mock_guest_pointer(&world.guest, world.answer[used.token], 1);

		fuzz_require(used.written == 1);
		fuzz_require(answer == VIRTIO_NET_OK || answer == VIRTIO_NET_ERR);
	}
}

static void check(void)
{
	struct mock_used used;

	drain_host();
	if (world.scribbled)
		return;
	check_received();
	check_answers();
	while (mock_queue_get_used(world.driver.queues[TX], &used))
		fuzz_require(!used.written);
}

static void stop_driver(void)
{
	mock_driver_deinit(&world.driver);
	drain_host();
	while (recv(world.tap.queues[0].fd, scratch, sizeof(scratch), 0) >= 0)
		continue;
}

static void step(struct fuzz_input *input)
{
	switch (fuzz_take(input, 1) % 8) {
	case 0:
		step_transmit(input);
		break;
	case 1:
	case 2:
		step_buffer(input);
		break;
	case 3:
		step_command(input);
		break;
	case 4:
		step_host_frame(input);
		break;
	case 5:
		step_scribble(input);
		break;
	case 6:
		for (unsigned queue = 0; queue < QUEUES; queue++)
			mock_driver_kick(&world.driver, queue);
		turns(4);
		check();
		break;
	default:
		if (fuzz_take(input, 1) % 4)
			break;
		stop_driver();
		start_driver(input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .size = size};

	if (!world.worker)
		make_world();
	start_driver(&input);
	for (unsigned i = 0; i < STEPS_MAX && fuzz_more(&input); i++)
		step(&input);
	for (unsigned queue = 0; queue < QUEUES; queue++)
		mock_driver_kick(&world.driver, queue);
	turns(4);
	check();
	stop_driver();
	return 0;
}
