/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of the control queue, which is the last queue of any network device. */
#pragma once

#include "support/mock_driver.h"

#include <stdint.h>

/*
 * Runs a command on an otherwise idle control queue and returns the answer, VIRTIO_NET_OK or
 * VIRTIO_NET_ERR. Fails the test where none comes.
 */
uint8_t control_command(struct mock_driver *driver, uint8_t class, uint8_t command,
	const void *data, uint32_t length);
