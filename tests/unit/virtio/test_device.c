/* SPDX-License-Identifier: Apache-2.0 */
/* A device without transport: negotiation, the status machine, queues' lives, failures. */
#include "test_device_type.h"

#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>

static struct test_device test;
static struct mock_driver driver;

static void setup(void)
{
	test_device_init(&test);
}

static void teardown(void)
{
	mock_driver_deinit(&driver);
	test_device_deinit(&test);
}

TestSuite(device, .init = setup, .fini = teardown);

static uint8_t status(void)
{
	return virtio_device_status(&test.device);
}

static void set_status(uint8_t bits)
{
	virtio_device_set_status(&test.device, bits);
}

static const uint64_t common_features = 1ull << VIRTIO_F_VERSION_1 |
                                        1ull << VIRTIO_RING_F_EVENT_IDX |
                                        1ull << VIRTIO_RING_F_INDIRECT_DESC;

Test(device, bad_parameters_are_refused)
{
	struct virtio_device device = {0};

	cr_expect_eq(
		virtio_device_init(&device, test.device.ops, test.guest.memory, 2, "x", 0, 8, 0),
		-EINVAL);
	cr_expect_eq(virtio_device_init(&device, test.device.ops, test.guest.memory, 2, "x",
			     VIRTIO_QUEUES_MAX + 1, 8, 0),
		-EINVAL);
	cr_expect_eq(
		virtio_device_init(&device, test.device.ops, test.guest.memory, 2, "x", 1, 0, 0),
		-EINVAL);
	cr_expect_eq(virtio_device_init(&device, test.device.ops, test.guest.memory, 2, "x", 1,
			     VIRTQUEUE_SIZE_MAX + 1, 0),
		-EINVAL);
	virtio_device_deinit(&device); /* a zeroed object; must not close descriptor 0 */
	cr_expect_geq(fd_eventfd(), 0);
}

Test(device, common_features_are_offered)
{
	uint64_t expected = common_features | 1ull << VIRTIO_F_RING_RESET | 1ull << TEST_FEATURE;

	cr_expect_eq(test.device.features_offered & expected, expected);
}

Test(device, a_full_bring_up_starts_the_enabled_queues)
{
	cr_assert_eq(mock_driver_init(&driver, &test.device, &test.guest, common_features), 0);
	mock_driver_enable_queue(&driver, 0, 16);
	mock_driver_enable_queue(&driver, 2, 0);
	cr_expect_eq(test.starts[0], 0);
	cr_expect_not(virtio_device_live(&test.device));
	mock_driver_ready(&driver);
	cr_expect(virtio_device_live(&test.device));
	cr_expect_eq(test.activations, 1);
	cr_expect_eq(test.starts[0], 1);
	cr_expect_eq(test.starts[1], 0);
	cr_expect_eq(test.starts[2], 1);
	cr_expect_eq(test.device.queues[0].virtqueue.layout.size, 16);
	cr_expect(test.device.queues[0].virtqueue.layout.event_idx);
	cr_expect_not(test.device.queues[0].virtqueue.layout.packed);
	cr_expect_eq(test.device.queues[2].virtqueue.layout.size, TEST_DEVICE_QUEUE_SIZE);
	cr_expect_eq(status(), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				       VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

Test(device, a_request_goes_through)
{
	struct mock_segment segment;
	struct virtqueue_entry entry;
	struct mock_used used;

	cr_assert_eq(mock_driver_start(&driver, &test.device, &test.guest,
			     1ull << VIRTIO_F_RING_PACKED | common_features, 1, 8),
		0);
	segment = (struct mock_segment){
		.gpa = mock_guest_alloc(&test.guest, 64, 64), .length = 64, .writable = true};
	cr_assert_geq(mock_queue_add(driver.queues[0], &segment, 1), 0);
	cr_expect(mock_driver_kick(&driver, 0));
	cr_expect(fd_drain(test.device.queues[0].kick_fd));
	cr_assert_eq(virtqueue_pop_batch(&test.device.queues[0].virtqueue, &entry, 1), 1);
	virtqueue_push(&test.device.queues[0].virtqueue, &entry, 3);
	virtqueue_publish(&test.device.queues[0].virtqueue);
	cr_expect(virtqueue_need_interrupt(&test.device.queues[0].virtqueue));
	fd_signal(test.device.queues[0].call_fd);
	cr_assert_eq(mock_driver_wait_used(&driver, 0, 1000, &used), 0);
	cr_expect_eq(used.written, 3);
}

Test(device, all_layout_features_reach_the_queue)
{
	const struct virtqueue_layout *layout = &test.device.queues[0].virtqueue.layout;

	cr_assert_eq(mock_driver_start(&driver, &test.device, &test.guest,
			     1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_IN_ORDER, 1, 7),
		0);
	cr_expect(layout->packed);
	cr_expect(layout->in_order);
	cr_expect_not(layout->event_idx);
	cr_expect_not(layout->indirect);
	cr_expect_eq(layout->size, 7);
}

/* ---- features ---- */

static bool accepts(uint64_t features)
{
	set_status(0);
	set_status(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_device_set_features(&test.device, features);
	set_status(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	return status() & VIRTIO_STATUS_FEATURES_OK;
}

Test(device, feature_sets)
{
	const uint64_t version_1 = 1ull << VIRTIO_F_VERSION_1;

	cr_expect(accepts(version_1));
	cr_expect_not(accepts(0), "a legacy driver");
	cr_expect_not(accepts(version_1 | 1ull << TEST_FEATURE_MISSING));
	cr_expect_not(accepts(version_1 | 1ull << 63));
	cr_expect(accepts(version_1 | 1ull << TEST_FEATURE));
	cr_expect(accepts(version_1 | 1ull << TEST_FEATURE | 1ull << TEST_FEATURE_PARTNER));
	cr_expect_not(accepts(version_1 | 1ull << TEST_FEATURE_PARTNER), "the type refuses");
	cr_expect(accepts(test.device.features_offered));
}

Test(device, a_refused_driver_may_try_again)
{
	cr_expect_not(accepts(0));
	virtio_device_set_features(&test.device, common_features);
	set_status(status() | VIRTIO_STATUS_FEATURES_OK);
	cr_expect(status() & VIRTIO_STATUS_FEATURES_OK);
}

Test(device, features_are_fixed_by_features_ok)
{
	cr_assert(accepts(common_features));
	virtio_device_set_features(&test.device, 1ull << TEST_FEATURE);
	cr_expect_eq(virtio_device_features(&test.device), common_features);
	set_status(0);
	cr_expect_eq(virtio_device_features(&test.device), 0);
}

/* ---- status ---- */

Test(device, status_bits_only_come)
{
	set_status(VIRTIO_STATUS_ACKNOWLEDGE);
	set_status(VIRTIO_STATUS_DRIVER);
	cr_expect_eq(status(), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	set_status(VIRTIO_STATUS_FAILED);
	cr_expect_eq(
		status(), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
	set_status(0);
	cr_expect_eq(status(), 0);
}

Test(device, a_driver_cannot_set_needs_reset_or_unknown_bits)
{
	set_status(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_NEEDS_RESET | 16 | 32);
	cr_expect_eq(status(), VIRTIO_STATUS_ACKNOWLEDGE);
}

Test(device, driver_ok_needs_features_ok)
{
	set_status(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK);
	cr_expect_not(status() & VIRTIO_STATUS_DRIVER_OK);
	cr_expect_eq(test.activations, 0);
}

Test(device, features_and_driver_ok_in_one_write)
{
	virtio_device_set_features(&test.device, common_features);
	set_status(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
		   VIRTIO_STATUS_DRIVER_OK);
	cr_expect(virtio_device_live(&test.device));
}

Test(device, a_reset_stops_started_queues_and_clears_registers)
{
	struct virtio_queue_registers registers;

	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 2, 16), 0);
	set_status(0);
	cr_expect_eq(test.stops[0], 1);
	cr_expect_eq(test.stops[1], 1);
	cr_expect_eq(test.stops[2], 0);
	cr_expect_eq(test.resets, 2, "once by the driver's start, once now");
	virtio_device_queue_registers(&test.device, 0, &registers);
	cr_expect_eq(registers.size, TEST_DEVICE_QUEUE_SIZE);
	cr_expect_not(registers.enabled);
	cr_expect_eq(registers.desc_gpa, 0);
	set_status(0);
	cr_expect_eq(test.stops[0], 1, "nothing was running");
	cr_expect_not(virtqueue_has_work(&test.device.queues[0].virtqueue));
}

Test(device, it_can_be_brought_up_again)
{
	for (unsigned i = 1; i <= 3; i++) {
		cr_assert_eq(mock_driver_start(&driver, &test.device, &test.guest, common_features,
				     TEST_DEVICE_QUEUES, 8),
			0);
		cr_expect_eq(test.starts[3], i);
		mock_driver_deinit(&driver);
		cr_expect_eq(test.stops[3], i);
	}
}

/* ---- queues ---- */

Test(device, registers_of_an_enabled_queue_are_fixed)
{
	struct virtio_queue_registers registers;

	virtio_device_queue_set_size(&test.device, 1, 32);
	virtio_device_queue_set_size(&test.device, 1, 0);
	virtio_device_queue_set_size(&test.device, 1, TEST_DEVICE_QUEUE_SIZE + 1);
	virtio_device_queue_set_addresses(&test.device, 1, 1, 2, 3);
	virtio_device_queue_enable(&test.device, 1);
	virtio_device_queue_set_size(&test.device, 1, 8);
	virtio_device_queue_set_addresses(&test.device, 1, 4, 5, 6);
	virtio_device_queue_registers(&test.device, 1, &registers);
	cr_expect_eq(registers.size, 32);
	cr_expect(registers.enabled);
	cr_expect_eq(registers.desc_gpa, 1);
	cr_expect_eq(registers.driver_gpa, 2);
	cr_expect_eq(registers.device_gpa, 3);
}

Test(device, a_queue_enabled_late_starts_at_once)
{
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	mock_driver_enable_queue(&driver, 3, 8);
	cr_expect_eq(test.starts[3], 1);
	virtio_device_queue_enable(&test.device, 3);
	cr_expect_eq(test.starts[3], 1, "once");
}

Test(device, one_queue_is_reset_and_enabled_again)
{
	struct virtio_queue_registers registers;

	cr_assert_eq(mock_driver_start(&driver, &test.device, &test.guest,
			     common_features | 1ull << VIRTIO_F_RING_RESET, 2, 8),
		0);
	cr_expect(virtio_device_queue_reset(&test.device, 1));
	cr_expect_eq(test.stops[1], 1);
	cr_expect_eq(test.stops[0], 0);
	virtio_device_queue_registers(&test.device, 1, &registers);
	cr_expect_not(registers.enabled);
	cr_expect_eq(registers.size, TEST_DEVICE_QUEUE_SIZE);
	cr_expect(virtio_device_queue_reset(&test.device, 1), "again, while not running");
	cr_expect_eq(test.stops[1], 1);
	mock_driver_enable_queue(&driver, 1, 4);
	cr_expect_eq(test.starts[1], 2);
	cr_expect_eq(test.device.queues[1].virtqueue.layout.size, 4);
}

Test(device, a_queue_reset_needs_the_feature)
{
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	cr_expect_not(virtio_device_queue_reset(&test.device, 0));
	cr_expect_eq(test.stops[0], 0);
}

/* ---- failures ---- */

static bool config_interrupt(void)
{
	return fd_drain(test.device.config_call_fd);
}

Test(device, bad_ring_addresses_make_it_need_a_reset)
{
	cr_assert_eq(mock_driver_init(&driver, &test.device, &test.guest, common_features), 0);
	virtio_device_queue_set_addresses(&test.device, 0, 0xdead0000, 0, 0);
	virtio_device_queue_enable(&test.device, 0);
	mock_driver_enable_queue(&driver, 1, 8);
	mock_driver_ready(&driver);
	cr_expect(status() & VIRTIO_STATUS_NEEDS_RESET);
	cr_expect_not(virtio_device_live(&test.device));
	cr_expect(config_interrupt());
	cr_expect_eq(test.starts[0], 0);
	cr_expect_eq(test.starts[1], 0, "the rest is not started either");
	set_status(0);
	cr_expect_eq(status(), 0);
	cr_expect_eq(test.stops[0], 0);
}

Test(device, a_worker_that_cannot_start_makes_it_need_a_reset)
{
	test.start_fault = -ENOMEM;
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	cr_expect(status() & VIRTIO_STATUS_NEEDS_RESET);
	set_status(0);
	cr_expect_eq(test.stops[0], 0, "what did not start is not stopped");
}

Test(device, a_failed_activation_starts_nothing)
{
	test.activate_fault = -EIO;
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	cr_expect(status() & VIRTIO_STATUS_NEEDS_RESET);
	cr_expect_eq(test.starts[0], 0);
}

Test(device, a_failure_is_told_once_and_only_to_a_live_driver)
{
	virtio_device_fail(&test.device, "before %s", "time");
	cr_expect(status() & VIRTIO_STATUS_NEEDS_RESET);
	cr_expect_not(config_interrupt());
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	virtio_device_fail(&test.device, "queue %d", 0);
	cr_expect(config_interrupt());
	virtio_device_fail(&test.device, "queue %d", 0);
	cr_expect_not(config_interrupt());
}

Test(device, nothing_starts_while_it_needs_a_reset)
{
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	virtio_device_fail(&test.device, "on purpose");
	mock_driver_enable_queue(&driver, 1, 8);
	cr_expect_eq(test.starts[1], 0);
}

Test(device, a_quiesced_device_waits_for_a_reset)
{
	virtio_device_quiesce(&test.device);
	cr_expect_eq(status(), 0, "there was nothing to stop");
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 2, 8), 0);
	virtio_device_quiesce(&test.device);
	cr_expect_eq(test.stops[0], 1);
	cr_expect_eq(test.stops[1], 1);
	cr_expect_not(virtio_device_live(&test.device));
	cr_expect_not(fd_drain(test.device.config_call_fd), "nobody is told");
	set_status(status() | VIRTIO_STATUS_DRIVER_OK);
	cr_expect_eq(test.activations, 1);
	cr_expect_eq(test.starts[0], 1);
	set_status(0);
	cr_expect_eq(status(), 0);
}

/* ---- configuration ---- */

Test(device, configuration_accesses_reach_the_type)
{
	uint32_t value = 0x44332211;
	uint8_t bytes[4] = {9, 9, 9, 9};

	virtio_device_config_write(&test.device, 0, &value, 4);
	virtio_device_config_write(&test.device, 4, &value, 4); /* read-only */
	virtio_device_config_read(&test.device, 2, bytes, 4);
	cr_expect_eq(bytes[0], 0x33);
	cr_expect_eq(bytes[1], 0x44);
	cr_expect_eq(bytes[2], 0x14);
	virtio_device_config_read(&test.device, TEST_DEVICE_CONFIG - 1, bytes, 4);
	cr_expect_eq(bytes[0], 0x10 + TEST_DEVICE_CONFIG - 1);
	cr_expect_eq(bytes[1], 0);
}

Test(device, a_change_is_a_new_generation_and_an_interrupt)
{
	uint32_t before = virtio_device_config_generation(&test.device);

	virtio_device_config_changed(&test.device);
	cr_expect_neq(virtio_device_config_generation(&test.device), before);
	cr_expect_not(config_interrupt(), "nobody listens yet");
	cr_assert_eq(
		mock_driver_start(&driver, &test.device, &test.guest, common_features, 1, 8), 0);
	pthread_mutex_lock(&test.device.lock);
	virtio_device_config_changed(&test.device); /* with the lock as well as without */
	pthread_mutex_unlock(&test.device.lock);
	cr_expect(config_interrupt());
}
