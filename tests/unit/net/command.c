/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include "virtio/device.h"

#include <criterion/criterion.h>
#include <string.h>

#define TIMEOUT_MS 20000
#define NO_ANSWER  0xaa

uint8_t control_command(struct mock_driver *driver, uint8_t class, uint8_t command,
	const void *data, uint32_t length)
{
	uint64_t gpa = mock_guest_alloc(driver->guest, length + 3, 1);
	uint8_t *bytes = mock_guest_pointer(driver->guest, gpa, length + 3);
	const struct mock_segment segments[] = {
		{gpa, length + 2, false}, {gpa + length + 2, 1, true}};
	uint32_t written;

	bytes[0] = class;
	bytes[1] = command;
	memcpy(bytes + 2, data, length);
	bytes[length + 2] = NO_ANSWER;
	cr_assert_eq(mock_driver_request(driver, driver->device->queue_count - 1, segments, 2,
			     TIMEOUT_MS, &written),
		0, "no answer");
	cr_assert_eq(written, 1);
	return bytes[length + 2];
}
