/* SPDX-License-Identifier: Apache-2.0 */
/* A device type that records what is asked of it; its queues are served by the test itself. */
#pragma once

#include "support/mock_driver.h"
#include "virtio/device.h"

#define TEST_DEVICE_QUEUES     4u
#define TEST_DEVICE_QUEUE_SIZE 64
#define TEST_DEVICE_CONFIG     12u
#define TEST_FEATURE           5 /* offered */
#define TEST_FEATURE_PARTNER   6 /* offered; makes no sense without TEST_FEATURE */
#define TEST_FEATURE_MISSING   7 /* not offered */

struct test_device {
	struct virtio_device device;
	struct mock_guest guest;
	uint8_t config[TEST_DEVICE_CONFIG];
	unsigned activations, resets;
	unsigned starts[TEST_DEVICE_QUEUES];
	unsigned stops[TEST_DEVICE_QUEUES];
	/* Faults to inject: negative errno. */
	int activate_fault;
	int start_fault;
};

/* Offers TEST_FEATURE, TEST_FEATURE_PARTNER, RING_PACKED and IN_ORDER besides the common ones. */
void test_device_init(struct test_device *test);
void test_device_deinit(struct test_device *test);
