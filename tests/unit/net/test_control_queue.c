/* SPDX-License-Identifier: Apache-2.0 */
/* The control queue's life; what commands do is in test_control.c and test_device.c. */
#include "command.h"
#include "rig.h"

#include <criterion/criterion.h>
#include <linux/virtio_config.h>

static struct rig rig;

TestSuite(control_queue, .timeout = 60);

/*
 * The driver resets the queue while a command waits for the receive queues to follow. (They follow
 * within microseconds here, so the test says itself that one waits.) The command is finished for
 * the device's sake, but its answer's buffer is not the device's any more.
 */
Test(control_queue, a_reset_in_the_middle_of_a_command)
{
	const uint8_t on = 1;

	rig_init(&rig, RIG_FEATURES | 1ull << VIRTIO_F_RING_RESET);
	for (unsigned round = 0; round < 3; round++) {
		cr_assert(virtio_device_queue_reset(&rig.virtio, RIG_CONTROL));
		rig.control->pending = true;
		rig.control->acknowledge = NULL;
		mock_driver_enable_queue(&rig.driver, RIG_CONTROL, RIG_QUEUE_SIZE);
		cr_expect_eq(control_command(&rig.driver, VIRTIO_NET_CTRL_RX,
				     VIRTIO_NET_CTRL_RX_PROMISC, &on, sizeof(on)),
			VIRTIO_NET_OK);
		cr_expect_eq(mock_queue_in_flight(rig.driver.queues[RIG_CONTROL]), 0);
		cr_expect_not(rig.control->pending);
	}
	rig_deinit(&rig);
}
