/* SPDX-License-Identifier: Apache-2.0 */
/* The clock with a time of the test's own, and its timer with the real one. */
#include "machine/cmos.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define MS 1000000ull
#define S  1000000000ull

/* 2024-02-28 (a Wednesday) 23:59:58 UTC, and 1 ms. */
#define START (1709164798ull * S + MS)

static struct cmos *cmos;
static uint64_t now;
static bool line;
static unsigned alarms;

static uint64_t read_clock(void *context)
{
	(void)context;
	return now;
}

static void set_line(void *context, bool level)
{
	(void)context;
	line = level;
}

static void count_alarm(void *context)
{
	++*(unsigned *)context;
}

static void create(uint64_t (*clock)(void *))
{
	const struct cmos_config config = {
		.irq = {.set = set_line},
		.low_ram_size = 3ull << 30,
		.high_ram_size = 5ull << 30,
		.cpu_count = 4,
		.alarm = count_alarm,
		.alarm_context = &alarms,
		.now_ns = clock,
	};

	line = false;
	cr_assert_eq(cmos_create(&config, &cmos), 0);
}

static void set_up(void)
{
	now = START;
	create(read_clock);
}

static void tear_down(void)
{
	cmos_destroy(cmos);
}

TestSuite(cmos, .init = set_up, .fini = tear_down);

static uint8_t get(uint8_t index)
{
	uint8_t value = 0x55;

	cmos_write(cmos, 0, &index, 1);
	cmos_read(cmos, 1, &value, 1);
	return value;
}

static void put(uint8_t index, uint8_t value)
{
	cmos_write(cmos, 0, &index, 1);
	cmos_write(cmos, 1, &value, 1);
}

/* Where time passes, what the timer does when it is due. */
static void pass(uint64_t ns)
{
	now += ns;
	cmos_timer_expired(cmos, 0);
}

static void check_time(uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t hours,
	uint8_t minutes, uint8_t seconds)
{
	cr_assert_eq(get(0x32), century, "century %02x", get(0x32));
	cr_assert_eq(get(9), year, "year %02x", get(9));
	cr_assert_eq(get(8), month, "month %02x", get(8));
	cr_assert_eq(get(7), day, "day %02x", get(7));
	cr_assert_eq(get(4), hours, "hours %02x", get(4));
	cr_assert_eq(get(2), minutes, "minutes %02x", get(2));
	cr_assert_eq(get(0), seconds, "seconds %02x", get(0));
}

Test(cmos, host_time_in_bcd)
{
	check_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58);
	cr_assert_eq(get(6), 4, "Wednesday, counted from Sunday = 1");
	pass(2 * S);
	check_time(0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00);
	cr_assert_eq(get(6), 5);
}

Test(cmos, binary_and_12_hours)
{
	put(0x0b, 0x06);
	check_time(20, 24, 2, 28, 23, 59, 58);
	put(0x0b, 0x04);
	cr_assert_eq(get(4), 0x80 | 11);
	pass(2 * S);
	cr_assert_eq(get(4), 12, "midnight is 12 am");
	pass(12 * 3600 * S);
	cr_assert_eq(get(4), 0x80 | 12, "noon is 12 pm");
	put(0x0b, 0x00);
	cr_assert_eq(get(4), 0x80 | 0x12, "the same in BCD");
}

Test(cmos, update_in_progress_before_the_second_turns)
{
	cr_assert_eq(get(0x0a), 0x26);
	pass(S - 2 * MS);
	cr_assert_eq(get(0x0a), 0xa6, "1 ms to go");
	cr_assert_eq(get(0), 0x58);
	pass(MS);
	cr_assert_eq(get(0x0a), 0x26);
	cr_assert_eq(get(0), 0x59);
	put(0x0b, 0x82);
	pass(S - MS);
	cr_assert_eq(get(0x0a) & 0x80, 0, "no updates while the time is being set");
}

/* mc146818_set_time() of Linux: SET, divider into reset, the time, and back. */
Test(cmos, linux_sets_the_time)
{
	put(0x0b, 0x82);
	put(0x0a, 0x76);
	put(9, 0x31);
	put(8, 0x12);
	put(7, 0x31);
	put(4, 0x12);
	put(2, 0x34);
	put(0, 0x56);
	put(0x32, 0x20);
	pass(3 * S);
	check_time(0x20, 0x31, 0x12, 0x31, 0x12, 0x34, 0x56);
	put(0x0b, 0x02);
	put(0x0a, 0x26);
	check_time(0x20, 0x31, 0x12, 0x31, 0x12, 0x34, 0x56);
	pass(500 * MS - 1);
	cr_assert_eq(get(0), 0x56);
	pass(1);
	cr_assert_eq(get(0), 0x57, "half a second after the divider came out of reset");
	pass(86400 * S);
	check_time(0x20, 0x32, 0x01, 0x01, 0x12, 0x34, 0x57);
}

Test(cmos, single_registers_can_be_set)
{
	put(2, 0x10);
	check_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x10, 0x58);
	pass(S - 2 * MS);
	cr_assert_eq(get(0), 0x58, "the second goes on from where it was");
	pass(MS);
	cr_assert_eq(get(0), 0x59);
}

Test(cmos, nonsense_times_do_no_harm)
{
	for (unsigned value = 0; value < 256; value++) {
		put(0x0b, (uint8_t)(0x80 | (value & 6)));
		for (uint8_t index = 0; index < 10; index++)
			put(index, (uint8_t)(value + index));
		put(0x32, (uint8_t)~value);
		put(0x0b, 0x72);
		pass(S);
		for (unsigned index = 0; index < 128; index++)
			get((uint8_t)index);
	}
	cmos_reset(cmos);
	cr_assert_not(line);
}

Test(cmos, host_clock_may_be_set_back)
{
	put(0x0b, 0x72);
	get(0x0c);
	now -= 1000 * S;
	cmos_timer_expired(cmos, 0);
	cr_assert_not(line, "nothing has happened");
	check_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x43, 0x18);
	cr_assert_eq(get(0x0c), 0);
	pass(S);
	cr_assert_eq(get(0x0c) & 0x10, 0x10);
}

Test(cmos, update_ended)
{
	get(0x0c);
	pass(998 * MS);
	cr_assert_eq(get(0x0c) & 0x10, 0);
	pass(MS);
	cr_assert_eq(get(0x0c) & 0x90, 0x10, "the flag shows without its interrupt");
	cr_assert_eq(get(0x0c) & 0x10, 0, "reading clears it");
	cr_assert_not(line);
	put(0x0b, 0x12);
	cr_assert_not(line);
	pass(S);
	cr_assert(line);
	pass(S);
	cr_assert(line);
	cr_assert_eq(get(0x0c) & 0x90, 0x90);
	cr_assert_not(line);
}

Test(cmos, enabling_an_interrupt_whose_flag_is_set_raises_it)
{
	get(0x0c);
	pass(S);
	put(0x0b, 0x12);
	cr_assert(line);
}

static void set_alarm(uint8_t hours, uint8_t minutes, uint8_t seconds)
{
	put(0x05, hours);
	put(0x03, minutes);
	put(0x01, seconds);
	put(0x0b, 0x22);
	get(0x0c);
	cr_assert_not(line);
}

Test(cmos, alarm)
{
	set_alarm(0x00, 0x00, 0x01);
	pass(2 * S);
	cr_assert_not(line);
	cr_assert_eq(alarms, 0);
	pass(S);
	cr_assert(line);
	cr_assert_eq(alarms, 1);
	cr_assert_eq(get(0x0c) & 0xa0, 0xa0);
	cr_assert_not(line);
	pass(86399 * S);
	cr_assert_not(line, "once a day");
	pass(S);
	cr_assert(line);
	cr_assert_eq(alarms, 2);
	pass(S);
	cr_assert_eq(alarms, 2, "told once, as long as it is pending");
	put(0x0b, 0x12);
	get(0x0c);
	pass(86400 * S);
	cr_assert_eq(alarms, 2, "an alarm without its interrupt is not told");
}

Test(cmos, alarm_that_has_long_passed_when_looked_at)
{
	set_alarm(0x12, 0x00, 0x00);
	pass(3 * 86400 * S);
	cr_assert(line);
}

Test(cmos, alarm_with_any)
{
	set_alarm(0xff, 0xff, 0x30); /* every minute, at 30 seconds */
	pass(31 * S);
	cr_assert_not(line);
	pass(S);
	cr_assert(line);
	set_alarm(0xff, 0x00, 0x00); /* every full hour */
	pass(3599 * S - 30 * S);
	cr_assert_not(line);
	pass(S);
	cr_assert(line);
	set_alarm(0xc0, 0xc5, 0xff); /* every second */
	pass(S);
	cr_assert(line);
}

Test(cmos, alarm_that_never_comes)
{
	set_alarm(0x00, 0x00, 0x99);
	pass(100 * 86400 * S);
	cr_assert_not(line);
	set_alarm(0x30, 0xff, 0xff);
	pass(100 * 86400 * S);
	cr_assert_not(line);
}

Test(cmos, alarm_in_12_hour_mode)
{
	put(0x0b, 0x20);
	put(0x05, 0x12); /* 12 am */
	put(0x03, 0x00);
	put(0x01, 0x05);
	get(0x0c);
	pass(6 * S);
	cr_assert_not(line);
	pass(S);
	cr_assert(line);
	get(0x0c);
	put(0x05, 0x80 | 0x01); /* 1 pm */
	pass(13 * 3600 * S - S);
	cr_assert_not(line);
	pass(S);
	cr_assert(line);
}

Test(cmos, periodic)
{
	get(0x0c);
	put(0x0b, 0x42);
	pass(976563);
	cr_assert(line, "1024 Hz from the start");
	get(0x0c);
	cr_assert_not(line);
	put(0x0a, 0x2f); /* 2 Hz */
	get(0x0c);
	now = (now / S + 1) * S;
	get(0x0c);
	pass(499 * MS);
	cr_assert_not(line);
	pass(MS);
	cr_assert(line);
	get(0x0c);
	put(0x0a, 0x20);
	pass(10 * S);
	cr_assert_not(line, "rate 0 is none");
}

Test(cmos, memory_sizes)
{
	cr_assert_eq(get(0x15) | get(0x16) << 8, 640);
	cr_assert_eq(get(0x17) | get(0x18) << 8, 0xffff);
	cr_assert_eq(get(0x30) | get(0x31) << 8, 0xffff);
	cr_assert_eq(get(0x34) | get(0x35) << 8, (3072 - 16) * 16);
	cr_assert_eq(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 5 * 1024 * 16);
	cr_assert_eq(get(0x5f), 3);
}

Test(cmos, memory_and_read_only_registers)
{
	put(0x40, 0xab);
	cr_assert_eq(get(0x40), 0xab);
	cr_assert_eq(get(0xc0), 0xab, "bit 7 of the index is the NMI mask");
	put(0x0d, 0);
	cr_assert_eq(get(0x0d), 0x80, "battery good");
	put(0x0c, 0xff);
	cr_assert_eq(get(0x0c) & 0x60, 0);
	put(0x0a, 0xa6);
	cr_assert_eq(get(0x0a), 0x26, "the update bit is read-only");
}

Test(cmos, ports_as_words)
{
	uint16_t word = 0xcd40; /* index 0x40, then its value */
	uint8_t index_port = 0;

	cmos_write(cmos, 0, &word, 2);
	cr_assert_eq(get(0x40), 0xcd);
	cmos_read(cmos, 0, &index_port, 1);
	cr_assert_eq(index_port, 0xff);
	cmos_read(cmos, 0, &word, 2);
	cr_assert_eq(word, 0xcdff);
}

Test(cmos, reset_keeps_the_time_and_the_memory)
{
	put(0x40, 0xab);
	put(0x0b, 0x72);
	pass(S);
	cr_assert(line);
	put(0x0b, 0xf2);
	cmos_reset(cmos);
	cr_assert_not(line);
	cr_assert_eq(get(0x0b), 0x02);
	cr_assert_eq(get(0x40), 0xab);
	check_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x59);
}

/* With the host's own clock: the timer fires when it must, and is quiet when nobody asks. */
Test(cmos, real_timer, .timeout = 60)
{
	struct pollfd timer;

	cmos_destroy(cmos);
	create(NULL);
	timer = (struct pollfd){.fd = cmos_timer_fd(cmos), .events = POLLIN};
	cr_assert_eq(poll(&timer, 1, 0), 0);
	get(0x0c);
	put(0x0b, 0x12);
	while (!line) {
		cr_assert_eq(poll(&timer, 1, 30000), 1);
		cmos_timer_expired(cmos, POLLIN);
	}
	cr_assert_eq(get(0x0c) & 0x90, 0x90);
	put(0x0b, 0x42);
	get(0x0c);
	while (!line) {
		cr_assert_eq(poll(&timer, 1, 30000), 1);
		cmos_timer_expired(cmos, POLLIN);
	}
	get(0x0c); /* it is armed again, for the next tick */
	put(0x0b, 0x02);
	cr_assert_not(line);
	cr_assert_eq(poll(&timer, 1, 50), 0, "disarmed");
}
