/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An MC146818 (and the 128 bytes of a PC) computed on demand: nothing ticks. The guest's clock is
 * the host's plus an offset that the guest sets. Each access works out which events (end of an
 * update, alarm, periodic tick) lie between the last look and now and sets their flags in register
 * C. Only when the guest enables an interrupt does a timer run, up to the next such event.
 *
 * Two scales: `time` is host nanoseconds plus offset_ns (0 to 10^9), whose multiples of 10^9 are
 * the guest's second boundaries; guest seconds since 1970 are time / 10^9 + offset_seconds, which
 * may be any year that the registers can hold.
 */
#include "machine/cmos.h"

#include "util/checked.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_SIZE 128
#define SECOND_NS   1000000000u
#define CRYSTAL_HZ  32768u
#define DAY_SECONDS 86400

/* Registers. */
#define SECONDS       0x00
#define SECONDS_ALARM 0x01
#define MINUTES       0x02
#define MINUTES_ALARM 0x03
#define HOURS         0x04
#define HOURS_ALARM   0x05
#define WEEKDAY       0x06
#define DAY           0x07
#define MONTH         0x08
#define YEAR          0x09
#define REGISTER_A    0x0a
#define REGISTER_B    0x0b
#define REGISTER_C    0x0c
#define REGISTER_D    0x0d
#define CENTURY       0x32

#define A_UPDATING    0x80
#define A_DIVIDER     0x70
#define A_DIVIDER_OFF 0x60 /* both upper bits: the divider is held in reset */
#define A_RATE        0x0f
#define A_START       0x26 /* 32.768 kHz crystal, 1024 Hz */
#define B_SET         0x80 /* updates are off while the guest sets the time */
#define B_BINARY      0x04
#define B_24_HOURS    0x02
#define C_INTERRUPT   0x80
#define C_PERIODIC    0x40
#define C_ALARM       0x20
#define C_UPDATED     0x10
#define C_EVENTS      (C_PERIODIC | C_ALARM | C_UPDATED) /* their enable bits in B are the same */
#define D_VALID       0x80
#define HOUR_PM       0x80
#define ALARM_ANY     0xc0

/* The data sheet's 244 us of warning and 1984 us of update before the new time shows. */
#define UPDATE_NS 2228000u

struct cmos {
	pthread_mutex_t lock; /* all of the following */
	struct cmos_config config;
	int timer_fd;
	uint8_t index;
	bool level;             /* of the interrupt line */
	bool alarm_pending;     /* the alarm is among what holds it high */
	bool divider_was_off;   /* since B_SET was set */
	int64_t offset_seconds; /* guest minus host */
	uint32_t offset_ns;     /* below 10^9 */
	uint64_t seen;          /* the time up to which register C has been brought */
	uint64_t armed;         /* for when the timer is set; 0: not */
	/* Time registers in here count only while B_SET is on. */
	uint8_t memory[MEMORY_SIZE];
};

/* One field of the alarm: a value, any, or one that never comes. */
struct alarm_field {
	bool any;
	int value; /* -1: never */
};

static uint64_t host_ns(const struct cmos *cmos)
{
	struct timespec now;

	if (cmos->config.now_ns)
		return cmos->config.now_ns(cmos->config.now_context);
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static uint64_t current_time(const struct cmos *cmos)
{
	return host_ns(cmos) + cmos->offset_ns;
}

static bool binary_mode(const struct cmos *cmos)
{
	return cmos->memory[REGISTER_B] & B_BINARY;
}

static bool updates_run(const struct cmos *cmos)
{
	return !(cmos->memory[REGISTER_B] & B_SET) &&
	       (cmos->memory[REGISTER_A] & A_DIVIDER_OFF) != A_DIVIDER_OFF;
}

static uint8_t encode(const struct cmos *cmos, int value)
{
	return (uint8_t)(binary_mode(cmos) ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct cmos *cmos, uint8_t value)
{
	return binary_mode(cmos) ? value : (value >> 4) * 10 + (value & 0x0f);
}

static uint8_t encode_hour(const struct cmos *cmos, int hour)
{
	if (cmos->memory[REGISTER_B] & B_24_HOURS)
		return encode(cmos, hour);
	return encode(cmos, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct cmos *cmos, uint8_t value)
{
	if (cmos->memory[REGISTER_B] & B_24_HOURS)
		return decode(cmos, value);
	return decode(cmos, value & (uint8_t)~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static int64_t guest_seconds(const struct cmos *cmos, uint64_t time)
{
	return (int64_t)(time / SECOND_NS) + cmos->offset_seconds;
}

/* Writes the time registers as they show at @time. */
static void store_time(struct cmos *cmos, uint64_t time)
{
	time_t seconds = guest_seconds(cmos, time);
	struct tm date;

	if (!gmtime_r(&seconds, &date))
		return;
	cmos->memory[SECONDS] = encode(cmos, date.tm_sec);
	cmos->memory[MINUTES] = encode(cmos, date.tm_min);
	cmos->memory[HOURS] = encode_hour(cmos, date.tm_hour);
	cmos->memory[WEEKDAY] = encode(cmos, date.tm_wday + 1);
	cmos->memory[DAY] = encode(cmos, date.tm_mday);
	cmos->memory[MONTH] = encode(cmos, date.tm_mon + 1);
	cmos->memory[YEAR] = encode(cmos, (date.tm_year + 1900) % 100);
	cmos->memory[CENTURY] = encode(cmos, (date.tm_year + 1900) / 100 % 100);
}

/* Makes the time registers the guest's time, @subsecond_ns into that second. */
static void adopt_time(struct cmos *cmos, uint32_t subsecond_ns)
{
	const uint8_t *memory = cmos->memory;
	struct tm date = {
		.tm_sec = decode(cmos, memory[SECONDS]),
		.tm_min = decode(cmos, memory[MINUTES]),
		.tm_hour = decode_hour(cmos, memory[HOURS]),
		.tm_mday = decode(cmos, memory[DAY]),
		.tm_mon = decode(cmos, memory[MONTH]) - 1,
		.tm_year = decode(cmos, memory[CENTURY]) * 100 + decode(cmos, memory[YEAR]) - 1900,
	};
	uint64_t host = host_ns(cmos);

	/* Nonsense in the registers gives a time that is wrong, as on the real chip, but a time. */
	cmos->offset_ns = (uint32_t)((SECOND_NS + subsecond_ns - host % SECOND_NS) % SECOND_NS);
	cmos->seen = host + cmos->offset_ns;
	cmos->offset_seconds = (int64_t)timegm(&date) - (int64_t)(cmos->seen / SECOND_NS);
}

static struct alarm_field alarm_field(uint8_t raw, int value, int limit)
{
	if ((raw & ALARM_ANY) == ALARM_ANY)
		return (struct alarm_field){.any = true};
	return (struct alarm_field){.value = value < limit ? value : -1};
}

static bool matches(struct alarm_field field, int value)
{
	return field.any || field.value == value;
}

/* The first second of the day from @from on that the alarm names, or -1. At most 24 * 60 steps. */
static int find_alarm(const struct cmos *cmos, int from)
{
	const uint8_t *memory = cmos->memory;
	struct alarm_field hours =
		alarm_field(memory[HOURS_ALARM], decode_hour(cmos, memory[HOURS_ALARM]), 24);
	struct alarm_field minutes =
		alarm_field(memory[MINUTES_ALARM], decode(cmos, memory[MINUTES_ALARM]), 60);
	struct alarm_field seconds =
		alarm_field(memory[SECONDS_ALARM], decode(cmos, memory[SECONDS_ALARM]), 60);

	for (int minute = from / 60; minute < DAY_SECONDS / 60; minute++) {
		int least = minute == from / 60 ? from % 60 : 0;

		if (!matches(hours, minute / 60) || !matches(minutes, minute % 60))
			continue;
		if (seconds.any)
			return minute * 60 + least;
		if (seconds.value >= least)
			return minute * 60 + seconds.value;
	}
	return -1;
}

/* The first guest second after @after that the alarm names, or -1. */
static int64_t next_alarm(const struct cmos *cmos, int64_t after)
{
	int64_t day = after / DAY_SECONDS;
	int found;

	if (after < 0)
		return -1; /* before 1970 there are no alarms */
	found = (after + 1) % DAY_SECONDS ? find_alarm(cmos, (int)(after % DAY_SECONDS) + 1) : -1;
	if (found >= 0)
		return day * DAY_SECONDS + found;
	found = find_alarm(cmos, 0);
	return found < 0 ? -1 : (day + 1) * DAY_SECONDS + found;
}

static uint64_t crystal_ticks(uint64_t time)
{
	return time / SECOND_NS * CRYSTAL_HZ + time % SECOND_NS * CRYSTAL_HZ / SECOND_NS;
}

/* The first time at which the crystal has made @ticks. */
static uint64_t ticks_to_time(uint64_t ticks)
{
	return ticks / CRYSTAL_HZ * SECOND_NS +
	       (ticks % CRYSTAL_HZ * SECOND_NS + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

/* log2 of the crystal ticks in a period; -1: no periodic event. */
static int period_shift(const struct cmos *cmos)
{
	int rate = cmos->memory[REGISTER_A] & A_RATE;

	if (!rate || (cmos->memory[REGISTER_A] & A_DIVIDER_OFF) == A_DIVIDER_OFF)
		return -1;
	return rate < 3 ? rate + 6 : rate - 1;
}

/* Sets the flags of the events that have happened since the last look. */
static void collect_events(struct cmos *cmos)
{
	uint64_t now = current_time(cmos), seen = cmos->seen;
	int shift = period_shift(cmos);
	uint8_t events = 0;
	int64_t alarm;

	cmos->seen = now;
	if (now <= seen) /* the host's clock was set back */
		return;
	if (shift >= 0 && crystal_ticks(now) >> shift != crystal_ticks(seen) >> shift)
		events |= C_PERIODIC;
	if (updates_run(cmos) && now / SECOND_NS != seen / SECOND_NS) {
		events |= C_UPDATED;
		alarm = next_alarm(cmos, guest_seconds(cmos, seen));
		if (alarm >= 0 && alarm <= guest_seconds(cmos, now))
			events |= C_ALARM;
	}
	cmos->memory[REGISTER_C] |= events;
}

/* The time of the next event whose interrupt is enabled; 0: none. */
static uint64_t next_deadline(const struct cmos *cmos)
{
	uint8_t enabled = cmos->memory[REGISTER_B] & C_EVENTS;
	uint64_t deadline = UINT64_MAX;
	int shift = period_shift(cmos);
	int64_t alarm;

	if ((enabled & C_PERIODIC) && shift >= 0)
		deadline = ticks_to_time(((crystal_ticks(cmos->seen) >> shift) + 1) << shift);
	if (updates_run(cmos) && (enabled & C_UPDATED))
		deadline = min_of(deadline, (cmos->seen / SECOND_NS + 1) * SECOND_NS);
	if (updates_run(cmos) && (enabled & C_ALARM)) {
		alarm = next_alarm(cmos, guest_seconds(cmos, cmos->seen));
		if (alarm >= 0)
			deadline = min_of(
				deadline, (uint64_t)(alarm - cmos->offset_seconds) * SECOND_NS);
	}
	return deadline == UINT64_MAX ? 0 : deadline;
}

/*
 * On the host's real-time clock, which this clock follows; a clock that is set wakes the timer. An
 * interrupt that is already pending needs none.
 */
static void arm_timer(struct cmos *cmos)
{
	uint64_t deadline = cmos->level ? 0 : next_deadline(cmos);
	struct itimerspec when = {0};

	if (deadline == cmos->armed)
		return;
	cmos->armed = deadline;
	if (deadline > cmos->offset_ns) {
		deadline -= cmos->offset_ns;
		when.it_value.tv_sec = (time_t)(deadline / SECOND_NS);
		when.it_value.tv_nsec = (long)(deadline % SECOND_NS);
	}
	timerfd_settime(cmos->timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

/* After any change: the line and the timer follow the registers. */
static void update(struct cmos *cmos)
{
	uint8_t *c = &cmos->memory[REGISTER_C];
	uint8_t pending = *c & cmos->memory[REGISTER_B] & C_EVENTS;
	bool level = pending, alarm = pending & C_ALARM;

	if (alarm && !cmos->alarm_pending && cmos->config.alarm)
		cmos->config.alarm(cmos->config.alarm_context);
	cmos->alarm_pending = alarm;
	*c = (uint8_t)((*c & C_EVENTS) | (level ? C_INTERRUPT : 0));
	if (level != cmos->level) {
		cmos->level = level;
		irq_line_set(&cmos->config.irq, level);
	}
	arm_timer(cmos);
}

static bool is_time_register(unsigned index)
{
	return index == SECONDS || index == MINUTES || index == HOURS ||
	       (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

static void write_register_b(struct cmos *cmos, uint8_t value)
{
	bool was_setting = cmos->memory[REGISTER_B] & B_SET, setting = value & B_SET;

	if (!was_setting && setting) {
		store_time(cmos, current_time(cmos));
		cmos->divider_was_off = false;
	} else if (was_setting && !setting) {
		/* A divider that comes out of reset updates half a second later. */
		adopt_time(cmos, cmos->divider_was_off ? SECOND_NS / 2 : 0);
	}
	cmos->memory[REGISTER_B] = value;
}

static void write_memory(struct cmos *cmos, unsigned index, uint8_t value)
{
	bool setting = cmos->memory[REGISTER_B] & B_SET;

	if (index == REGISTER_A) {
		cmos->memory[REGISTER_A] = value & (A_DIVIDER | A_RATE);
		if ((value & A_DIVIDER_OFF) == A_DIVIDER_OFF)
			cmos->divider_was_off = true;
	} else if (index == REGISTER_B) {
		write_register_b(cmos, value);
	} else if (index == REGISTER_C || index == REGISTER_D) {
		return; /* read-only */
	} else if (is_time_register(index) && !setting) {
		uint64_t time = current_time(cmos);

		store_time(cmos, time);
		cmos->memory[index] = value;
		adopt_time(cmos, (uint32_t)(time % SECOND_NS));
	} else {
		cmos->memory[index] = value;
	}
}

static uint8_t read_memory(struct cmos *cmos, unsigned index)
{
	uint64_t time = current_time(cmos);
	uint8_t value;

	if (is_time_register(index) && !(cmos->memory[REGISTER_B] & B_SET))
		store_time(cmos, time);
	value = cmos->memory[index];
	if (index == REGISTER_A && updates_run(cmos) && time % SECOND_NS >= SECOND_NS - UPDATE_NS)
		value |= A_UPDATING;
	if (index == REGISTER_C)
		cmos->memory[REGISTER_C] = 0;
	return value;
}

static void put_memory_16(struct cmos *cmos, unsigned index, uint64_t value)
{
	cmos->memory[index] = (uint8_t)value;
	cmos->memory[index + 1] = (uint8_t)(value >> 8);
}

/* What a PC's firmware leaves there about memory; the places are the usual ones. */
static void fill_memory(struct cmos *cmos)
{
	uint64_t low = cmos->config.low_ram_size, high = cmos->config.high_ram_size >> 16;
	uint64_t above_1m = low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0;
	uint64_t above_16m = low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0;

	cmos->memory[REGISTER_A] = A_START;
	cmos->memory[REGISTER_B] = B_24_HOURS;
	cmos->memory[REGISTER_D] = D_VALID;
	put_memory_16(cmos, 0x15, 640);
	put_memory_16(cmos, 0x17, min_of(above_1m, (uint64_t)UINT16_MAX));
	put_memory_16(cmos, 0x30, min_of(above_1m, (uint64_t)UINT16_MAX));
	put_memory_16(cmos, 0x34, min_of(above_16m, (uint64_t)UINT16_MAX));
	put_memory_16(cmos, 0x5b, high);
	cmos->memory[0x5d] = (uint8_t)(high >> 16);
	cmos->memory[0x5f] = (uint8_t)(cmos->config.cpu_count - 1);
}

int cmos_create(const struct cmos_config *config, struct cmos **ret_cmos)
{
	struct cmos *cmos = calloc(1, sizeof(*cmos));

	if (!cmos)
		return -ENOMEM;
	cmos->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (cmos->timer_fd < 0) {
		int code = -errno;

		free(cmos);
		return code;
	}
	pthread_mutex_init(&cmos->lock, NULL);
	cmos->config = *config;
	fill_memory(cmos);
	cmos->seen = current_time(cmos);
	*ret_cmos = cmos;
	return 0;
}

void cmos_destroy(struct cmos *cmos)
{
	if (!cmos)
		return;
	close(cmos->timer_fd);
	pthread_mutex_destroy(&cmos->lock);
	free(cmos);
}

void cmos_reset(struct cmos *cmos)
{
	pthread_mutex_lock(&cmos->lock);
	/* The guest may have died in the middle of setting the time. */
	write_register_b(cmos, B_24_HOURS);
	cmos->memory[REGISTER_A] = A_START;
	cmos->memory[REGISTER_C] = 0;
	cmos->index = 0;
	update(cmos);
	pthread_mutex_unlock(&cmos->lock);
}

void cmos_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct cmos *cmos = context;
	uint8_t *bytes = data;

	for (unsigned i = 0; i < length; i++)
		bytes[i] = 0xff; /* the index register is write-only */
	if (offset > 1 || offset + length <= 1)
		return;
	pthread_mutex_lock(&cmos->lock);
	collect_events(cmos);
	bytes[1 - offset] = read_memory(cmos, cmos->index);
	update(cmos);
	pthread_mutex_unlock(&cmos->lock);
}

void cmos_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct cmos *cmos = context;
	const uint8_t *bytes = data;

	pthread_mutex_lock(&cmos->lock);
	for (unsigned i = 0; i < length; i++) {
		if (offset + i == 0) { /* bit 7 would mask NMIs, of which there are none */
			cmos->index = bytes[i] & (MEMORY_SIZE - 1);
		} else if (offset + i == 1) {
			collect_events(cmos);
			write_memory(cmos, cmos->index, bytes[i]);
			update(cmos);
		}
	}
	pthread_mutex_unlock(&cmos->lock);
}

int cmos_timer_fd(const struct cmos *cmos)
{
	return cmos->timer_fd;
}

void cmos_timer_expired(void *context, uint32_t events)
{
	struct cmos *cmos = context;
	uint64_t expirations;

	(void)events;
	/* EAGAIN and ECANCELED (the clock was set) are as good: the registers say what is due. */
	if (read(cmos->timer_fd, &expirations, sizeof(expirations)) < 0 && errno == EBADF)
		return;
	pthread_mutex_lock(&cmos->lock);
	cmos->armed = 0;
	collect_events(cmos);
	update(cmos);
	pthread_mutex_unlock(&cmos->lock);
}
