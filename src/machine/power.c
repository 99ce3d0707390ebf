/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed power management hardware of ACPI (6.3, section 4.8), always in ACPI mode. One mutex
 * guards the registers; the machine's callbacks are called after it is released, the interrupt line
 * is set under it so that levels cannot overtake each other.
 *
 * The PM timer is computed from the monotonic clock. Its status bit says that the counter's top bit
 * has changed, every 2^31 ticks (ten minutes), and is worked out on demand; a real timer runs only
 * while the guest has enabled that event.
 */
#include "machine/power.h"

#include "util/bytes.h"
#include "util/checked.h"
#include "util/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Offsets from LAYOUT_PORT_PM1_EVT. */
#define PM1_STATUS  0
#define PM1_ENABLE  2
#define PM1_CONTROL 4
#define PM_TIMER    8

/* PM1 status and enable, tables 4-15 and 4-16. */
#define EVENT_TIMER  (1u << 0)
#define EVENT_GLOBAL (1u << 5)
#define EVENT_BUTTON (1u << 8)
#define EVENT_RTC    (1u << 10)
#define EVENTS       (EVENT_TIMER | EVENT_GLOBAL | EVENT_BUTTON | EVENT_RTC)

/* PM1 control, table 4-17. */
#define CONTROL_SCI        (1u << 0) /* ACPI mode; always on */
#define CONTROL_BUS_MASTER (1u << 1)
#define CONTROL_SLEEP_TYPE (7u << 10)
#define CONTROL_SLEEP      (1u << 13) /* write-only */
#define SLEEP_TYPE_OFF     0          /* _S5 in dsdt.asl */

#define TIMER_HZ  3579545u
#define TIMER_TOP 31 /* the counter's top bit */
#define SECOND_NS 1000000000u

#define RESET_CPU 0x04 /* of port 0xcf9 */

/* The keyboard controller's port: see the header. */
#define I8042_STATUS       0xfd
#define I8042_INPUT_FULL   0x02
#define I8042_WRITE_OUTPUT 0xd1
#define I8042_RESET_LINE   0x01 /* of its output port, active low */
#define I8042_PULSE        0xf0 /* pulses the lines whose bits are 0 */

_Static_assert((I8042_STATUS & I8042_INPUT_FULL) == 0, "a kernel that resets must not wait");

/* What is to be done once the lock is released. */
enum request {
	REQUEST_NONE,
	REQUEST_POWER_OFF,
	REQUEST_RESET,
};

struct power {
	pthread_mutex_t lock; /* all of the following */
	struct power_config config;
	int timer_fd;
	uint64_t start;        /* when the PM timer was 0 */
	uint64_t half;         /* the timer's ticks >> TIMER_TOP when last looked at */
	uint64_t armed;        /* for which half the timer is set; 0: not */
	bool level;            /* of the SCI */
	bool output_port_next; /* the next byte to the data port is the 8042's output port */
	uint16_t status, enable, control;
	uint8_t reset_control;
};

static uint64_t now_ns(const struct power *power)
{
	return power->config.now_ns ? power->config.now_ns(power->config.now_context) : clock_ns();
}

static uint64_t timer_ticks(const struct power *power)
{
	uint64_t elapsed = now_ns(power) - power->start;

	return elapsed / SECOND_NS * TIMER_HZ + elapsed % SECOND_NS * TIMER_HZ / SECOND_NS;
}

/* Nanoseconds from power->start until the timer has made @ticks. */
static uint64_t ticks_to_ns(uint64_t ticks)
{
	return ticks / TIMER_HZ * SECOND_NS +
	       (ticks % TIMER_HZ * SECOND_NS + TIMER_HZ - 1) / TIMER_HZ;
}

static void collect_timer(struct power *power)
{
	uint64_t half = timer_ticks(power) >> TIMER_TOP;

	if (half != power->half)
		power->status |= EVENT_TIMER;
	power->half = half;
}

static void arm_timer(struct power *power)
{
	bool wanted = (power->enable & EVENT_TIMER) && !(power->status & EVENT_TIMER);
	uint64_t half = wanted ? power->half + 1 : 0;
	struct itimerspec when = {0};
	uint64_t deadline;

	if (half == power->armed)
		return;
	power->armed = half;
	if (half) {
		deadline = power->start + ticks_to_ns(half << TIMER_TOP);
		when.it_value.tv_sec = (time_t)(deadline / SECOND_NS);
		when.it_value.tv_nsec = (long)(deadline % SECOND_NS);
	}
	timerfd_settime(power->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* After any change: the SCI and the timer follow the registers. */
static void update(struct power *power)
{
	bool level = power->status & power->enable & EVENTS;

	if (level != power->level) {
		power->level = level;
		irq_line_set(&power->config.sci, level);
	}
	arm_timer(power);
}

static void act_on(const struct power *power, enum request request)
{
	const struct power_config *config = &power->config;

	if (request == REQUEST_POWER_OFF && config->power_off)
		config->power_off(config->context);
	else if (request == REQUEST_RESET && config->reset)
		config->reset(config->context);
}

int power_create(const struct power_config *config, struct power **ret_power)
{
	struct power *power = calloc(1, sizeof(*power));

	if (!power)
		return -ENOMEM;
	power->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (power->timer_fd < 0) {
		int code = -errno;

		free(power);
		return code;
	}
	pthread_mutex_init(&power->lock, NULL);
	power->config = *config;
	power->start = now_ns(power);
	power->control = CONTROL_SCI;
	*ret_power = power;
	return 0;
}

void power_destroy(struct power *power)
{
	if (!power)
		return;
	close(power->timer_fd);
	pthread_mutex_destroy(&power->lock);
	free(power);
}

void power_reset(struct power *power)
{
	pthread_mutex_lock(&power->lock);
	power->status = power->enable = 0;
	power->control = CONTROL_SCI;
	power->reset_control = 0;
	power->output_port_next = false;
	power->half = timer_ticks(power) >> TIMER_TOP;
	update(power);
	pthread_mutex_unlock(&power->lock);
}

void power_pm_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct power *power = context;
	uint8_t ports[POWER_PM_PORT_COUNT] = {0};

	memset(data, 0xff, length);
	if (!range_within(offset, length, sizeof(ports)))
		return;
	pthread_mutex_lock(&power->lock);
	collect_timer(power);
	put_le16(ports + PM1_STATUS, power->status);
	put_le16(ports + PM1_ENABLE, power->enable);
	put_le16(ports + PM1_CONTROL, power->control);
	put_le32(ports + PM_TIMER, (uint32_t)timer_ticks(power));
	update(power);
	pthread_mutex_unlock(&power->lock);
	memcpy(data, ports + offset, length);
}

/* @written holds the new bytes, @mask has all ones where there are any. Lock held. */
static enum request write_control(struct power *power, uint16_t written, uint16_t mask)
{
	uint16_t value = (uint16_t)((power->control & ~mask) | (written & mask));
	uint16_t type = (value & CONTROL_SLEEP_TYPE) >> 10;

	power->control =
		(uint16_t)((value & (CONTROL_BUS_MASTER | CONTROL_SLEEP_TYPE)) | CONTROL_SCI);
	return (written & mask & CONTROL_SLEEP) && type == SLEEP_TYPE_OFF ? REQUEST_POWER_OFF
	                                                                  : REQUEST_NONE;
}

void power_pm_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct power *power = context;
	uint8_t written[POWER_PM_PORT_COUNT] = {0}, mask[POWER_PM_PORT_COUNT] = {0};
	enum request request;

	if (!range_within(offset, length, sizeof(written)))
		return;
	memcpy(written + offset, data, length);
	memset(mask + offset, 0xff, length);
	pthread_mutex_lock(&power->lock);
	collect_timer(power);
	power->status &= (uint16_t)~get_le16(written + PM1_STATUS); /* a 1 clears */
	power->enable &= (uint16_t)~get_le16(mask + PM1_ENABLE);
	power->enable |= get_le16(written + PM1_ENABLE) & EVENTS;
	request =
		write_control(power, get_le16(written + PM1_CONTROL), get_le16(mask + PM1_CONTROL));
	update(power);
	pthread_mutex_unlock(&power->lock);
	act_on(power, request);
}

void power_reset_port_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct power *power = context;

	(void)offset;
	memset(data, 0xff, length);
	pthread_mutex_lock(&power->lock);
	*(uint8_t *)data = power->reset_control;
	pthread_mutex_unlock(&power->lock);
}

void power_reset_port_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct power *power = context;
	uint8_t value = *(const uint8_t *)data;

	(void)offset, (void)length;
	pthread_mutex_lock(&power->lock);
	power->reset_control = value & (uint8_t)~RESET_CPU;
	pthread_mutex_unlock(&power->lock);
	act_on(power, value & RESET_CPU ? REQUEST_RESET : REQUEST_NONE);
}

void power_i8042_data_read(void *context, uint64_t offset, void *data, unsigned length)
{
	(void)context, (void)offset;
	memset(data, 0xff, length);
}

void power_i8042_data_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct power *power = context;
	uint8_t value = *(const uint8_t *)data;
	bool reset;

	(void)offset, (void)length;
	pthread_mutex_lock(&power->lock);
	reset = power->output_port_next && !(value & I8042_RESET_LINE);
	power->output_port_next = false;
	pthread_mutex_unlock(&power->lock);
	act_on(power, reset ? REQUEST_RESET : REQUEST_NONE);
}

void power_i8042_command_read(void *context, uint64_t offset, void *data, unsigned length)
{
	(void)context, (void)offset;
	memset(data, 0xff, length);
	*(uint8_t *)data = I8042_STATUS;
}

void power_i8042_command_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct power *power = context;
	uint8_t command = *(const uint8_t *)data;
	bool reset = (command & I8042_PULSE) == I8042_PULSE && !(command & I8042_RESET_LINE);

	(void)offset, (void)length;
	pthread_mutex_lock(&power->lock);
	power->output_port_next = command == I8042_WRITE_OUTPUT;
	pthread_mutex_unlock(&power->lock);
	act_on(power, reset ? REQUEST_RESET : REQUEST_NONE);
}

static void raise_event(struct power *power, uint16_t event)
{
	pthread_mutex_lock(&power->lock);
	power->status |= event;
	update(power);
	pthread_mutex_unlock(&power->lock);
}

void power_press_button(struct power *power)
{
	raise_event(power, EVENT_BUTTON);
}

void power_rtc_alarm(void *context)
{
	raise_event(context, EVENT_RTC);
}

int power_timer_fd(const struct power *power)
{
	return power->timer_fd;
}

void power_timer_expired(void *context, uint32_t events)
{
	struct power *power = context;
	uint64_t expirations;

	(void)events;
	if (read(power->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&power->lock);
	power->armed = 0;
	collect_timer(power);
	update(power);
	pthread_mutex_unlock(&power->lock);
}
