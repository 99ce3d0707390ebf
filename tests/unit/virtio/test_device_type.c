/* SPDX-License-Identifier: Apache-2.0 */
#include "test_device_type.h"

#include "util/checked.h"

#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <string.h>

static struct test_device *from_device(struct virtio_device *device)
{
	return container_of(device, struct test_device, device);
}

static void config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	struct test_device *test = from_device(device);

	for (uint32_t i = 0; i < length; i++)
		((uint8_t *)data)[i] =
			offset + i < TEST_DEVICE_CONFIG ? test->config[offset + i] : 0;
}

/* Only the first four bytes can be written. */
static void config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	struct test_device *test = from_device(device);

	if (range_within(offset, length, 4))
		memcpy(&test->config[offset], data, length);
}

static bool features_valid(struct virtio_device *device, uint64_t features)
{
	(void)device;
	return !(features >> TEST_FEATURE_PARTNER & 1) || (features >> TEST_FEATURE & 1);
}

static int activate(struct virtio_device *device)
{
	struct test_device *test = from_device(device);

	test->activations++;
	return test->activate_fault;
}

static int queue_start(struct virtio_device *device, unsigned index)
{
	struct test_device *test = from_device(device);

	test->starts[index]++;
	return test->start_fault;
}

static void queue_stop(struct virtio_device *device, unsigned index)
{
	from_device(device)->stops[index]++;
}

static void reset(struct virtio_device *device)
{
	from_device(device)->resets++;
}

static const struct virtio_device_ops ops = {
	.config_read = config_read,
	.config_write = config_write,
	.features_valid = features_valid,
	.activate = activate,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.reset = reset,
};

void test_device_init(struct test_device *test)
{
	memset(test, 0, sizeof(*test));
	mock_guest_init(&test->guest, 1 << 20);
	for (unsigned i = 0; i < TEST_DEVICE_CONFIG; i++)
		test->config[i] = (uint8_t)(0x10 + i);
	cr_assert_eq(virtio_device_init(&test->device, &ops, test->guest.memory, VIRTIO_ID_BLOCK,
			     "test0", TEST_DEVICE_QUEUES, TEST_DEVICE_QUEUE_SIZE,
			     1ull << TEST_FEATURE | 1ull << TEST_FEATURE_PARTNER |
				     1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER),
		0);
}

void test_device_deinit(struct test_device *test)
{
	virtio_device_deinit(&test->device);
	mock_guest_deinit(&test->guest);
}
