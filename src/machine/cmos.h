/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MC146818 real-time clock and its CMOS memory. Time is the host's, in UTC, plus whatever the
 * guest has set. Alarm, periodic and update-ended interrupts are real: they are timed by a timerfd
 * that the machine's event loop watches and that is armed only while the guest asks for one.
 */
#pragma once

#include "machine/irq_line.h"
#include "machine/layout.h"

#include <stdint.h>

struct cmos;

#define CMOS_PORT_COUNT 2
#define CMOS_IRQ        LAYOUT_IRQ_RTC

struct cmos_config {
	struct irq_line irq;    /* IRQ 8; copied */
	uint64_t low_ram_size;  /* bytes of RAM below 4 GiB */
	uint64_t high_ram_size; /* bytes of RAM above 4 GiB */
	unsigned cpu_count;
	/*
	 * May be NULL. Called when an alarm raises its interrupt, from any thread and under the
	 * clock's lock: for the ACPI event of the same name.
	 */
	void (*alarm)(void *context);
	void *alarm_context;
	/* Nanoseconds since 1970, UTC. NULL: the host's CLOCK_REALTIME. Tests bring their own. */
	uint64_t (*now_ns)(void *context);
	void *now_context;
};

/* Returns 0 or negative errno. */
int cmos_create(const struct cmos_config *config, struct cmos **ret_cmos);

/* Accepts NULL. No other thread may use the object any more. */
void cmos_destroy(struct cmos *cmos);

/* Interrupts off, as on a system reset; the time and the memory stay. Main thread. */
void cmos_reset(struct cmos *cmos);

/* Ports 0x70 and 0x71; @context is the cmos. vCPU threads. */
void cmos_read(void *context, uint64_t offset, void *data, unsigned length);
void cmos_write(void *context, uint64_t offset, const void *data, unsigned length);

/* To be watched for EPOLLIN with cmos_timer_expired() as the handler. Owned by the cmos. */
int cmos_timer_fd(const struct cmos *cmos);

/* An evloop_handler; @context is the cmos. Main thread. */
void cmos_timer_expired(void *context, uint32_t events);
