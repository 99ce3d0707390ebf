/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A NIC with one queue pair and the control queue whose "tap" is one end of a socket pair: every
 * frame with its virtio header can be made and looked at by the test, and the socket can be filled.
 * Needs no rights. The worker runs in a thread of its own, as in the machine.
 */
#pragma once

#include "net/net_control_queue.h"
#include "net/net_rx.h"
#include "net/net_tx.h"
#include "support/mock_driver.h"

#include <stddef.h>
#include <stdint.h>

#define RIG_TIMEOUT_MS 20000
#define RIG_QUEUE_SIZE 256

enum { RIG_RX, RIG_TX, RIG_CONTROL };

/* What the driver knows about a receive buffer or a transmitted chain. */
struct rig_buffer {
	uint64_t gpa;
	uint32_t length;
};

struct rig {
	struct mock_guest guest;
	struct io_worker *worker;
	struct virtio_device virtio;
	struct net_shared shared;
	struct tap tap;
	int host; /* the other end, blocking */
	struct net_rx *rx;
	struct net_tx *tx;
	struct net_control_queue *control;
	struct mock_driver driver;
	struct rig_buffer posted[RIG_QUEUE_SIZE]; /* by token */
};

#define RIG_FEATURES                                                                               \
	(1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_CTRL_VQ |                           \
		1ull << VIRTIO_NET_F_CTRL_RX | 1ull << VIRTIO_NET_F_CTRL_VLAN |                    \
		1ull << VIRTIO_NET_F_CTRL_MAC_ADDR | 1ull << VIRTIO_NET_F_GUEST_CSUM |             \
		1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6 |                \
		1ull << VIRTIO_NET_F_GUEST_ECN | 1ull << VIRTIO_NET_F_GUEST_ANNOUNCE |             \
		1ull << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)

/*
 * Features of the ring that every driver accepts. The suites are built once for split rings and
 * once more for packed ones (meson.build).
 */
#ifndef RIG_RING_FEATURES
#define RIG_RING_FEATURES 0ull
#endif

extern const uint8_t rig_mac[NET_MAC_LENGTH];

/* A live device with @features of RIG_FEATURES (others as well) and RIG_RING_FEATURES accepted. */
void rig_init(struct rig *rig, uint64_t features);
void rig_deinit(struct rig *rig);

/* Resets the device and starts it again, as a reboot of the guest does. */
void rig_restart(struct rig *rig, uint64_t features);

/* Adds @count receive buffers of one segment of @length bytes each, side by side, and kicks. */
void rig_post(struct rig *rig, unsigned count, uint32_t length);

/* The same without the kick, and without making them visible: mock_driver_kick() does that. */
void rig_add(struct rig *rig, unsigned count, uint32_t length);

/*
 * The next frame in receive buffers, put together: its length with the header, and in
 * @ret_num_buffers what the header says, which is checked against the buffers that came.
 */
size_t rig_receive(struct rig *rig, uint8_t *frame, size_t size, unsigned *ret_num_buffers);

/* True where no used receive buffer waits. */
bool rig_nothing_received(struct rig *rig);

/* Sends @length bytes, header included, into the "tap". */
void rig_host_send(struct rig *rig, const void *frame, size_t length);

/* Takes what the guest transmitted, waiting for it. Returns its length, header included. */
size_t rig_host_receive(struct rig *rig, void *frame, size_t size);

/* Waits until @counter has reached @value; fails the test after RIG_TIMEOUT_MS. */
void rig_wait_counter(const struct counter *counter, uint64_t value);

/*
 * Fills @frame with a header and a frame to @to whose payload depends on @seed; @length with the
 * header.
 */
void rig_make_frame(uint8_t *frame, size_t length, const uint8_t to[NET_MAC_LENGTH], unsigned seed);

/* mock_driver's kick, for the queue RIG_TX after mock_queue_add() by the test. */
void rig_kick(struct rig *rig, unsigned queue);
