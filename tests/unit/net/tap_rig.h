/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole network device on a real tap, in a network namespace of the test process's own, with a
 * packet socket on the host's side of the tap and a mock driver on the guest's. Needs root.
 */
#pragma once

#include "net/net_device.h"
#include "net/netlink.h"
#include "net/virtio_net_abi.h"
#include "support/mock_driver.h"
#include "virtio/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAP_RIG_TIMEOUT_MS 20000
#define TAP_RIG_WORKERS    2
#define TAP_RIG_MAC        "02:00:00:00:00:01"
#define TAP_RIG_QUEUES     9 /* of four pairs */

struct tap_rig_buffer {
	uint64_t gpa;
	uint32_t length;
};

struct tap_rig {
	struct mock_guest guest;
	struct io_worker *workers[TAP_RIG_WORKERS];
	struct net_device *device;
	struct virtio_device *virtio;
	struct mock_driver driver;
	struct netlink *netlink;
	struct netlink_link tap;
	int packet; /* sends into the tap, receives what the guest transmits; with vnet headers */
	struct tap_rig_buffer posted[TAP_RIG_QUEUES][256];
};

/*
 * True where this process is in a fresh network namespace without IPv6 chatter now; else the
 * running test is marked as skipped.
 */
bool tap_rig_namespace(void);

/* Makes the device with the --net text and starts a driver that accepts @features. */
void tap_rig_init(struct tap_rig *rig, const char *net, uint64_t features);
void tap_rig_deinit(struct tap_rig *rig);

/* Resets the device and starts the driver again with other features. */
void tap_rig_restart(struct tap_rig *rig, uint64_t features);

/* Adds @count receive buffers of @length bytes to receive queue @pair. */
void tap_rig_post(struct tap_rig *rig, unsigned pair, unsigned count, uint32_t length);

/* The next frame from receive queue @pair: header and frame; how many buffers it took. */
size_t tap_rig_receive(
	struct tap_rig *rig, unsigned pair, uint8_t *frame, size_t size, unsigned *ret_num_buffers);

/* Transmits header and frame on queue @pair and waits until the device is done with it. */
void tap_rig_transmit(struct tap_rig *rig, unsigned pair, const uint8_t *frame, size_t length);

/* Sends a frame into the tap as the host would; the first 10 bytes are a virtio header. */
void tap_rig_host_send(struct tap_rig *rig, const uint8_t *frame, size_t length);

/* What the guest sent, as the host sees it, behind a virtio header of 10 bytes. */
size_t tap_rig_host_receive(struct tap_rig *rig, uint8_t *frame, size_t size);
