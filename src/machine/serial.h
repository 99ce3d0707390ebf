/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A UART. The guest's side is serial_read() and serial_write(); the host's side is two byte
 * streams, serial_put_input() and serial_take_output(), with back-pressure both ways: input waits
 * with the caller while the guest does not read, and while nobody takes the output the guest sees
 * a transmitter that is busy. No call ever blocks. Any thread may make any call.
 */
#pragma once

#include "machine/irq_line.h"

#include <stddef.h>
#include <stdint.h>

struct serial;

/* Ports from the base on. */
#define SERIAL_PORT_COUNT 8

/* The interrupt line @irq is copied. Returns 0 or negative errno. */
int serial_create(const struct irq_line *irq, struct serial **ret_serial);

/* Accepts NULL. No other thread may use the object any more. */
void serial_destroy(struct serial *serial);

/* Power-on state: registers cleared, the interrupt line low. Output not yet taken stays. */
void serial_reset(struct serial *serial);

/* Port handlers; @context is the serial. Accesses of more than one byte take successive ports. */
void serial_read(void *context, uint64_t offset, void *data, unsigned length);
void serial_write(void *context, uint64_t offset, const void *data, unsigned length);

/* Queues up to @length bytes for the guest; returns how many were accepted (0: come back later). */
size_t serial_put_input(struct serial *serial, const void *data, size_t length);

/*
 * Moves up to @size bytes that the guest has sent into @buffer; returns how many. A return of 0
 * arms the notification: the next byte signals the notify eventfd.
 */
size_t serial_take_output(struct serial *serial, void *buffer, size_t size);

/*
 * The eventfd (owned by the serial) that is signalled when there is output after
 * serial_take_output() returned 0, and when there is room again after serial_put_input() accepted
 * less than it was given. Drain it with fd_drain() before looking.
 */
int serial_notify_fd(const struct serial *serial);

/* Bytes that the guest sent in spite of a busy transmitter, and that were dropped. */
uint64_t serial_dropped(struct serial *serial);
