/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * A wire from a device to the interrupt controller. The machine implements set() with KVM's
 * interrupt line; a test with a variable. Devices call it under their own lock, from any thread,
 * only when the level changes; it must not call back into the device.
 */
struct irq_line {
	void (*set)(void *context, bool level);
	void *context;
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->context, level);
}
