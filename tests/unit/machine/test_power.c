/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI power management, the ways to reset, pvpanic. */
#include "machine/layout.h"
#include "machine/power.h"
#include "machine/pvpanic.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define EVT     0
#define ENABLE  2
#define CONTROL (LAYOUT_PORT_PM1_CNT - LAYOUT_PORT_PM1_EVT)
#define TIMER   (LAYOUT_PORT_PM_TMR - LAYOUT_PORT_PM1_EVT)
#define BUTTON  0x100
#define S       1000000000ull

static struct power *power;
static unsigned power_offs, resets;
static uint64_t now = 12345;
static bool line;

static void count(void *context)
{
	++*(unsigned *)context;
}

static void count_power_off(void *context)
{
	(void)context;
	count(&power_offs);
}

static void count_reset(void *context)
{
	(void)context;
	count(&resets);
}

static void set_line(void *context, bool level)
{
	(void)context;
	cr_assert_neq(line, level);
	line = level;
}

static uint64_t read_clock(void *context)
{
	(void)context;
	return now;
}

static void set_up(void)
{
	const struct power_config config = {
		.sci = {.set = set_line},
		.power_off = count_power_off,
		.reset = count_reset,
		.now_ns = read_clock,
	};

	cr_assert_eq(power_create(&config, &power), 0);
}

static void tear_down(void)
{
	power_destroy(power);
}

TestSuite(power, .init = set_up, .fini = tear_down);

static uint32_t get(unsigned offset, unsigned length)
{
	uint32_t value = 0;

	power_pm_read(power, offset, &value, length);
	return value;
}

static void put(unsigned offset, uint32_t value, unsigned length)
{
	power_pm_write(power, offset, &value, length);
}

Test(power, power_off_as_the_dsdt_says)
{
	cr_assert_eq(get(CONTROL, 2), 1, "in ACPI mode");
	put(CONTROL, 0x2000, 2);
	cr_assert_eq(power_offs, 1);
	cr_assert_eq(get(CONTROL, 2), 1, "SLP_EN reads as 0");
	cr_assert_eq(resets, 0);
}

/* ACPICA writes SLP_TYP first, then SLP_TYP and SLP_EN. */
Test(power, power_off_in_two_steps_and_by_bytes)
{
	put(CONTROL, 0x0001, 2);
	cr_assert_eq(power_offs, 0);
	put(CONTROL, 0x2001, 2);
	cr_assert_eq(power_offs, 1);
	put(CONTROL + 1, 0x20, 1);
	cr_assert_eq(power_offs, 2);
	put(CONTROL, 0x20, 1);
	cr_assert_eq(power_offs, 2, "bit 5 of the low byte is another bit");
}

Test(power, other_sleep_types_do_nothing)
{
	for (uint32_t type = 1; type < 8; type++) {
		put(CONTROL, 0x2000 | type << 10, 2);
		cr_assert_eq(power_offs, 0);
		cr_assert_eq(get(CONTROL, 2), type << 10 | 1);
	}
}

Test(power, button)
{
	power_press_button(power);
	cr_assert_not(line, "nobody has asked for it");
	cr_assert_eq(get(EVT, 2), BUTTON);
	put(ENABLE, BUTTON, 2);
	cr_assert(line);
	put(EVT, 0xfeff, 2);
	cr_assert(line, "zeros clear nothing");
	put(EVT, BUTTON, 2);
	cr_assert_not(line);
	cr_assert_eq(get(EVT, 2), 0);
	power_press_button(power);
	cr_assert(line);
	put(ENABLE, 0, 2);
	cr_assert_not(line);
}

Test(power, rtc_alarm)
{
	power_rtc_alarm(power);
	cr_assert_not(line);
	cr_assert_eq(get(EVT, 2), 0x400);
	put(ENABLE, 0x400, 2);
	cr_assert(line);
	put(EVT, 0x400, 2);
	cr_assert_not(line);
}

Test(power, events_by_bytes_and_double_words)
{
	power_press_button(power);
	put(ENABLE + 1, 1, 1);
	cr_assert(line);
	cr_assert_eq(get(EVT + 1, 1), 1);
	cr_assert_eq(get(EVT, 4), (uint32_t)BUTTON << 16 | BUTTON);
	put(EVT + 1, 1, 1);
	cr_assert_not(line);
	put(EVT, 0xffffffff, 4);
	cr_assert_eq(get(EVT, 4), 0x05210000, "timer, global lock, button and clock exist");
}

Test(power, timer_counts_at_its_frequency)
{
	uint32_t start = get(TIMER, 4);

	now += S;
	cr_assert_eq(get(TIMER, 4) - start, 3579545);
	now += 1000 * S;
	cr_assert_eq(get(TIMER, 4) - start, (uint32_t)(1001ull * 3579545));
	now += 1000000 * S;
	cr_assert_eq(get(TIMER, 4) - start, (uint32_t)(1001001ull * 3579545), "it wraps");
	put(TIMER, 0, 4);
	cr_assert_eq(get(TIMER, 4) - start, (uint32_t)(1001001ull * 3579545), "read-only");
}

Test(power, timer_event)
{
	now += 599 * S;
	cr_assert_eq(get(EVT, 2), 0);
	now += S; /* 2^31 ticks are 599.93 s */
	cr_assert_eq(get(EVT, 2), 1);
	cr_assert_not(line);
	put(ENABLE, 1, 2);
	cr_assert(line);
	put(EVT, 1, 2);
	cr_assert_not(line);
	now += 600 * S;
	power_timer_expired(power, 0);
	cr_assert(line);
}

Test(power, timer_is_armed_only_when_asked_for)
{
	struct pollfd timer = {.fd = power_timer_fd(power), .events = POLLIN};

	cr_assert_eq(poll(&timer, 1, 0), 0);
	/* The test's clock is long before the host's, so an armed timer is due at once. */
	put(ENABLE, 1, 2);
	cr_assert_eq(poll(&timer, 1, 30000), 1);
	put(ENABLE, 0, 2);
	cr_assert_eq(poll(&timer, 1, 0), 0);
}

Test(power, out_of_range_accesses)
{
	uint32_t value = 0;

	power_pm_read(power, 10, &value, 4);
	cr_assert_eq(value, UINT32_MAX);
	put(10, 0xffffffff, 4);
	cr_assert_eq(power_offs, 0);
}

static void put_reset(uint8_t value)
{
	power_reset_port_write(power, 0, &value, 1);
}

Test(power, reset_port)
{
	uint8_t value = 0x55;

	put_reset(0x02);
	cr_assert_eq(resets, 0);
	power_reset_port_read(power, 0, &value, 1);
	cr_assert_eq(value, 0x02);
	put_reset(0x06);
	cr_assert_eq(resets, 1);
	put_reset(0x0e);
	cr_assert_eq(resets, 2);
	cr_assert_eq(power_offs, 0);
}

static uint8_t i8042_status(void)
{
	uint8_t value = 0;

	power_i8042_command_read(power, 0, &value, 1);
	return value;
}

static void i8042_command(uint8_t value)
{
	power_i8042_command_write(power, 0, &value, 1);
}

static void i8042_data(uint8_t value)
{
	power_i8042_data_write(power, 0, &value, 1);
}

Test(power, keyboard_controller_resets)
{
	cr_assert_eq(i8042_status() & 2, 0, "kb_wait() does not wait");
	i8042_command(0xfe);
	cr_assert_eq(resets, 1);
	i8042_command(0xff);
	i8042_command(0xaa);
	cr_assert_eq(resets, 1, "nor any other command");
	i8042_data(0xfe);
	cr_assert_eq(resets, 1, "data without a command");
	i8042_command(0xd1);
	i8042_data(0x01);
	i8042_data(0xfe);
	cr_assert_eq(resets, 1, "the reset line stays high, and the command is used up");
	i8042_command(0xd1);
	i8042_data(0xfe);
	cr_assert_eq(resets, 2);
}

/* i8042_flush() of Linux: at most 16 bytes are flushed, then there is no controller. */
Test(power, a_keyboard_probe_gives_up)
{
	unsigned flushed = 0;
	uint8_t value;

	while ((i8042_status() & 1) && flushed < 17) {
		power_i8042_data_read(power, 0, &value, 1);
		cr_assert_eq(value, 0xff);
		flushed++;
	}
	cr_assert_eq(flushed, 17);
}

Test(power, reset_of_the_registers)
{
	put(ENABLE, BUTTON, 2);
	power_press_button(power);
	put(CONTROL, 0x1c00, 2);
	put_reset(2);
	cr_assert(line);
	power_reset(power);
	cr_assert_not(line);
	cr_assert_eq(get(EVT, 4), 0);
	cr_assert_eq(get(CONTROL, 2), 1);
}

static unsigned panics;

static void note_panic(void *context, unsigned events)
{
	cr_assert_eq(context, &panics);
	panics = events;
}

Test(pvpanic, events)
{
	struct pvpanic pvpanic = {.event = note_panic, .context = &panics};
	uint8_t value = 0x55;

	pvpanic_read(&pvpanic, 0, &value, 1);
	cr_assert_eq(value, PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
	value = 0xfc;
	pvpanic_write(&pvpanic, 0, &value, 1);
	cr_assert_eq(panics, 0, "events that were not offered");
	value = PVPANIC_PANICKED;
	pvpanic_write(&pvpanic, 0, &value, 1);
	cr_assert_eq(panics, PVPANIC_PANICKED);
	value = PVPANIC_CRASH_LOADED;
	pvpanic_write(&pvpanic, 0, &value, 1);
	cr_assert_eq(panics, PVPANIC_CRASH_LOADED);
}
