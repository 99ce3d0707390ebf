/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power management: the ACPI PM1a event and control blocks, the PM timer, the power button, and
 * the two legacy ways to reset (port 0xcf9 and the keyboard controller).
 *
 * There is no keyboard. ACPI says so (no 8042 in the FADT), and the ports read as an empty bus
 * whose "input buffer full" bit is clear, so that a driver that probes nevertheless gives up at
 * once and a kernel that wants to reset by command 0xfe does not wait.
 */
#pragma once

#include "machine/irq_line.h"

#include <stdint.h>

struct power;

#define POWER_PM_PORT_COUNT 12 /* from LAYOUT_PORT_PM1_EVT: events, control, timer */

struct power_config {
	struct irq_line sci; /* copied; level-triggered, active high */
	/* Called on vCPU threads, outside the lock, whenever the guest asks; must not block. */
	void (*power_off)(void *context);
	void (*reset)(void *context);
	void *context;
	/* Monotonic nanoseconds. NULL: clock_ns(). Tests bring their own. */
	uint64_t (*now_ns)(void *context);
	void *now_context;
};

/* Returns 0 or negative errno. */
int power_create(const struct power_config *config, struct power **ret_power);

/* Accepts NULL. No other thread may use the object any more. */
void power_destroy(struct power *power);

/* Power-on state of all registers (the PM timer goes on). Main thread. */
void power_reset(struct power *power);

/* LAYOUT_PORT_PM1_EVT and the POWER_PM_PORT_COUNT ports from there; @context is the power. */
void power_pm_read(void *context, uint64_t offset, void *data, unsigned length);
void power_pm_write(void *context, uint64_t offset, const void *data, unsigned length);

/*
 * LAYOUT_PORT_RESET, one port: it lies inside the PCI host bridge's range of ports, whose handler
 * passes accesses of one byte on to here.
 */
void power_reset_port_read(void *context, uint64_t offset, void *data, unsigned length);
void power_reset_port_write(void *context, uint64_t offset, const void *data, unsigned length);

/* LAYOUT_PORT_I8042: the keyboard controller's data port (offset 0), one port. */
void power_i8042_data_read(void *context, uint64_t offset, void *data, unsigned length);
void power_i8042_data_write(void *context, uint64_t offset, const void *data, unsigned length);

/* LAYOUT_PORT_I8042 + 4: the keyboard controller's command and status port, one port. */
void power_i8042_command_read(void *context, uint64_t offset, void *data, unsigned length);
void power_i8042_command_write(void *context, uint64_t offset, const void *data, unsigned length);

/* Presses the ACPI power button: the guest is asked to shut down. Any thread. */
void power_press_button(struct power *power);

/* The clock's alarm has gone off: the RTC event of PM1. @context is the power. Any thread. */
void power_rtc_alarm(void *context);

/*
 * PM timer interrupts, armed only while the guest asks for them: watched for EPOLLIN with
 * power_timer_expired() as the handler. Owned by the power. Main thread.
 */
int power_timer_fd(const struct power *power);
void power_timer_expired(void *context, uint32_t events);
