/* SPDX-License-Identifier: Apache-2.0 */
/* The UART register by register, as drivers use it and as they probe for it. */
#include "machine/serial.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define BURST 16

static struct serial *serial;
static bool line;
static unsigned edges; /* rising ones */

static void set_line(void *context, bool level)
{
	(void)context;
	cr_assert_neq(level, line, "called for changes only");
	line = level;
	edges += level;
}

static void set_up(void)
{
	const struct irq_line irq = {.set = set_line};

	line = false;
	edges = 0;
	cr_assert_eq(serial_create(&irq, &serial), 0);
}

static void tear_down(void)
{
	serial_destroy(serial);
}

TestSuite(serial, .init = set_up, .fini = tear_down);

static uint8_t get(unsigned offset)
{
	uint8_t value = 0x55;

	serial_read(serial, offset, &value, 1);
	return value;
}

static void put(unsigned offset, uint8_t value)
{
	serial_write(serial, offset, &value, 1);
}

static size_t type(const char *text)
{
	return serial_put_input(serial, text, strlen(text));
}

static void check_output(const char *expected)
{
	char text[256] = "";
	size_t count = serial_take_output(serial, text, sizeof(text) - 1);

	cr_assert_eq(count, strlen(expected));
	cr_assert_str_eq(text, expected);
}

Test(serial, power_on_state)
{
	cr_assert_eq(get(UART_IER), 0);
	cr_assert_eq(get(UART_IIR), UART_IIR_NO_INT);
	cr_assert_eq(get(UART_LCR), 0);
	cr_assert_eq(get(UART_MCR), 0);
	cr_assert_eq(get(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	cr_assert_eq(get(UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	cr_assert_eq(get(UART_RX), 0);
	cr_assert_not(line);
}

Test(serial, scratch_and_mask_bits)
{
	put(UART_SCR, 0xa5);
	cr_assert_eq(get(UART_SCR), 0xa5);
	put(UART_IER, 0xf0);
	cr_assert_eq(get(UART_IER), 0, "the upper bits do not exist: no 16750, no sleep mode");
	put(UART_MCR, 0xe0);
	cr_assert_eq(get(UART_MCR), 0, "no automatic flow control");
	put(UART_LSR, 0);
	cr_assert_eq(get(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT, "read-only");
}

Test(serial, divisor_latch)
{
	put(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	put(UART_DLL, 0x34);
	put(UART_DLM, 0x12);
	cr_assert_eq(get(UART_DLL), 0x34);
	cr_assert_eq(get(UART_DLM), 0x12);
	put(UART_LCR, UART_LCR_WLEN8);
	cr_assert_eq(get(UART_IER), 0, "IER is another register at the same place");
	check_output("");
}

/* What Linux does in autoconfig(): 8250.c tells a 16550A by these answers. */
Test(serial, linux_finds_a_16550a)
{
	put(UART_IER, 0);
	cr_assert_eq(get(UART_IER) & 0x0f, 0);
	put(UART_IER, 0x0f);
	cr_assert_eq(get(UART_IER) & 0x0f, 0x0f);
	put(UART_IER, 0);
	put(UART_MCR, UART_MCR_LOOP | 0x0a);
	cr_assert_eq(get(UART_MSR) & 0xf0, 0x90);
	put(UART_MCR, 0);
	put(UART_LCR, 0xbf);
	put(UART_FCR, 0);
	put(UART_LCR, 0);
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	cr_assert_eq(get(UART_IIR) >> 6, 3);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	cr_assert_eq(get(UART_IIR) >> 5, 6, "no 16750: no 64-byte FIFO");
}

Test(serial, loopback_of_modem_lines)
{
	static const uint8_t pairs[][2] = {
		{UART_MCR_RTS, UART_MSR_CTS},
		{UART_MCR_DTR, UART_MSR_DSR},
		{UART_MCR_OUT1, UART_MSR_RI},
		{UART_MCR_OUT2, UART_MSR_DCD},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		put(UART_MCR, UART_MCR_LOOP | pairs[i][0]);
		cr_assert_eq(get(UART_MSR) & 0xf0, pairs[i][1]);
	}
	put(UART_MCR, UART_MCR_LOOP);
	get(UART_MSR);
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	cr_assert_eq(get(UART_MSR), UART_MSR_CTS | UART_MSR_DCTS);
	cr_assert_eq(get(UART_MSR), UART_MSR_CTS, "reading clears the delta bits");
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	cr_assert_eq(get(UART_MSR), UART_MSR_RI | UART_MSR_DCTS, "no delta for a rising ring line");
	put(UART_MCR, UART_MCR_LOOP);
	cr_assert_eq(get(UART_MSR), UART_MSR_TERI);
	put(UART_IER, UART_IER_MSI);
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_DTR);
	cr_assert(line);
	cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_MSI);
	get(UART_MSR);
	cr_assert_not(line);
}

Test(serial, loopback_of_data)
{
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_MCR, UART_MCR_LOOP);
	for (unsigned i = 0; i < BURST; i++)
		put(UART_TX, (uint8_t)('a' + i));
	cr_assert_eq(get(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT | UART_LSR_DR);
	put(UART_TX, 'x');
	cr_assert(get(UART_LSR) & UART_LSR_OE, "the 17th byte overruns the FIFO");
	cr_assert_not(get(UART_LSR) & UART_LSR_OE, "reading clears it");
	for (unsigned i = 0; i < BURST; i++)
		cr_assert_eq(get(UART_RX), 'a' + i);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	check_output("");
	put(UART_MCR, 0);
	put(UART_TX, 'y');
	check_output("y");
}

Test(serial, loopback_keeps_real_input_out)
{
	put(UART_IER, UART_IER_RDI);
	put(UART_MCR, UART_MCR_LOOP);
	cr_assert_eq(type("real"), 4);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	put(UART_MCR, 0);
	cr_assert(get(UART_LSR) & UART_LSR_DR);
	cr_assert_eq(get(UART_RX), 'r');
}

Test(serial, output_in_order_and_notified_once)
{
	char byte;

	cr_assert_eq(serial_take_output(serial, &byte, 1), 0);
	cr_assert_not(fd_is_signalled(serial_notify_fd(serial)));
	put(UART_TX, 'h');
	cr_assert(fd_drain(serial_notify_fd(serial)));
	put(UART_TX, 'i');
	cr_assert_not(
		fd_is_signalled(serial_notify_fd(serial)), "armed again by an empty look only");
	check_output("hi");
	check_output("");
	put(UART_TX, '!');
	cr_assert(fd_drain(serial_notify_fd(serial)));
	check_output("!");
}

Test(serial, thr_interrupt)
{
	put(UART_IER, UART_IER_THRI);
	cr_assert(line, "enabling it while THR is empty raises it");
	cr_assert_eq(get(UART_IIR), UART_IIR_THRI);
	cr_assert_not(line, "reading IIR takes it back");
	cr_assert_eq(get(UART_IIR), UART_IIR_NO_INT);
	put(UART_TX, 'a');
	cr_assert(line, "the byte is gone at once");
	put(UART_IER, 0);
	cr_assert_not(line);
	put(UART_IER, UART_IER_THRI);
	cr_assert(line);
	cr_assert_eq(edges, 3);
}

/* Fills the transmitter until it shows busy; returns how many bytes that took. */
static size_t fill_output(void)
{
	size_t count = 0;

	while (get(UART_LSR) & UART_LSR_THRE) {
		for (unsigned i = 0; i < BURST; i++)
			put(UART_TX, (uint8_t)count++);
		cr_assert_lt(count, 1u << 20, "there must be an end");
	}
	return count;
}

Test(serial, stuck_output_makes_the_transmitter_busy_and_loses_nothing)
{
	uint8_t bytes[1000];
	size_t total, taken = 0, count;

	total = fill_output();
	cr_assert_eq(serial_dropped(serial), 0, "a driver that waits for THRE loses nothing");
	put(UART_IER, UART_IER_THRI);
	cr_assert_not(line, "THR is not empty");
	while ((count = serial_take_output(serial, bytes, sizeof(bytes)))) {
		if (!taken)
			cr_assert(line, "room again: the interrupt comes from the host's side");
		for (size_t i = 0; i < count; i++)
			cr_assert_eq(bytes[i], (uint8_t)(taken + i));
		taken += count;
	}
	cr_assert_eq(taken, total);
	cr_assert(get(UART_LSR) & UART_LSR_THRE);
}

Test(serial, a_guest_that_does_not_wait_loses_bytes_and_nothing_else)
{
	uint8_t bytes[256];
	size_t total = fill_output(), taken = 0, count;

	for (unsigned i = 0; i < 100; i++)
		put(UART_TX, 'z');
	cr_assert_gt(serial_dropped(serial), 0);
	while ((count = serial_take_output(serial, bytes, sizeof(bytes))))
		taken += count;
	cr_assert_eq(taken + serial_dropped(serial), total + 100);
}

Test(serial, receive_interrupt_and_trigger_levels)
{
	static const uint8_t triggers[][2] = {
		{UART_FCR_TRIGGER_1, 1},
		{UART_FCR_TRIGGER_4, 4},
		{UART_FCR_TRIGGER_8, 8},
		{UART_FCR_TRIGGER_14, 14},
	};

	for (size_t i = 0; i < sizeof(triggers) / sizeof(triggers[0]); i++) {
		unsigned level = triggers[i][1];

		put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | triggers[i][0]);
		put(UART_IER, UART_IER_RDI);
		cr_assert_not(line);
		for (unsigned j = 1; j < level; j++) {
			type("x");
			cr_assert(line, "less than the level comes by time-out");
			cr_assert_eq(get(UART_IIR) & 0x0f, 0x0c);
		}
		type("x");
		cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_RDI);
		for (unsigned j = 0; j < level; j++) {
			cr_assert(line);
			cr_assert_eq(get(UART_RX), 'x');
		}
		cr_assert_not(line);
		cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_NO_INT);
	}
}

Test(serial, priorities)
{
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_MCR, UART_MCR_LOOP);
	get(UART_MSR);
	for (unsigned i = 0; i < BURST + 1; i++)
		put(UART_TX, 'a');
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	put(UART_IER, UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI);
	cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_RLSI);
	get(UART_LSR);
	cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_RDI);
	for (unsigned i = 0; i < BURST; i++)
		get(UART_RX);
	cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_THRI);
	cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_MSI);
	get(UART_MSR);
	cr_assert_eq(get(UART_IIR) & 0x0f, UART_IIR_NO_INT);
	cr_assert_not(line);
	cr_assert_eq(edges, 1, "the line stayed high all the time");
}

Test(serial, fifo_reset)
{
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_IER, UART_IER_RDI);
	type("abc");
	put(UART_IER, 0);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	cr_assert_eq(get(UART_RX), 0, "nothing there");
	put(UART_IER, UART_IER_RDI);
	cr_assert_eq(get(UART_RX), 'a', "bytes on the wire are not lost");
	put(UART_IER, 0);
	put(UART_FCR, 0);
	cr_assert_eq(get(UART_IIR) >> 6, 0);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR, "switching the FIFO off clears it");
	put(UART_IER, UART_IER_RDI);
	cr_assert_eq(get(UART_RX), 'b');
	cr_assert_eq(get(UART_RX), 'c');
}

Test(serial, fifo_reset_in_loopback_mode)
{
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_MCR, UART_MCR_LOOP);
	put(UART_TX, 'a');
	cr_assert(get(UART_LSR) & UART_LSR_DR);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
	cr_assert(get(UART_LSR) & UART_LSR_DR, "the other FIFO");
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	cr_assert_eq(get(UART_RX), 0);
}

Test(serial, without_the_fifo_one_byte_at_a_time)
{
	put(UART_IER, UART_IER_RDI);
	type("ab");
	cr_assert_eq(get(UART_IIR), UART_IIR_RDI);
	cr_assert_eq(get(UART_RX), 'a');
	cr_assert(line, "the next one follows");
	cr_assert_eq(get(UART_RX), 'b');
	cr_assert_not(line);
}

/* The sequence of serial8250_do_startup(): what was typed before it survives it. */
Test(serial, early_input_survives_a_driver_that_sets_up)
{
	type("poweroff\n");
	for (unsigned i = 0; i < 50; i++) { /* the boot messages */
		while (!(get(UART_LSR) & UART_LSR_THRE))
			;
		put(UART_TX, 'k');
	}
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	put(UART_FCR, 0);
	for (unsigned i = 0; i < 2; i++) {
		get(UART_LSR);
		get(UART_RX);
		get(UART_IIR);
		get(UART_MSR);
	}
	put(UART_IER, UART_IER_RLSI | UART_IER_RDI); /* set_termios(): interrupts, then the FIFO */
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	cr_assert(line);
	for (const char *at = "poweroff\n"; *at; at++)
		cr_assert_eq(get(UART_RX), *at);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
}

Test(serial, a_guest_that_polls_gets_its_input)
{
	unsigned looks = 0;

	type("ok");
	for (const char *at = "ok"; *at; at++) {
		while (!(get(UART_LSR) & UART_LSR_DR))
			cr_assert_lt(looks++, 100);
		cr_assert_eq(get(UART_RX), *at);
		put(UART_TX, *at); /* an echo */
	}
	check_output("ok");
}

Test(serial, input_waits_with_the_caller)
{
	static char text[8192];
	size_t accepted, more;

	memset(text, 'q', sizeof(text));
	accepted = serial_put_input(serial, text, sizeof(text));
	cr_assert_gt(accepted, 0);
	cr_assert_lt(accepted, sizeof(text));
	cr_assert_eq(serial_put_input(serial, text, 1), 0);
	cr_assert_not(fd_is_signalled(serial_notify_fd(serial)));
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_IER, UART_IER_RDI);
	for (size_t i = 0; i < accepted; i++)
		cr_assert_eq(get(UART_RX), 'q');
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	cr_assert(fd_drain(serial_notify_fd(serial)), "there is room again");
	more = serial_put_input(serial, text, 10);
	cr_assert_eq(more, 10);
}

Test(serial, reset)
{
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_LCR, UART_LCR_WLEN8);
	put(UART_IER, UART_IER_RDI | UART_IER_THRI);
	put(UART_TX, 'l');
	put(UART_MCR, UART_MCR_DTR);
	type("x");
	cr_assert(line);
	serial_reset(serial);
	cr_assert_not(line);
	cr_assert_eq(get(UART_IER), 0);
	cr_assert_eq(get(UART_LCR), 0);
	cr_assert_eq(get(UART_MCR), 0);
	cr_assert_eq(get(UART_IIR), UART_IIR_NO_INT);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	check_output("l");
}

Test(serial, wide_accesses_take_successive_ports)
{
	uint16_t both = 0;

	put(UART_SCR, 0x77);
	serial_read(serial, UART_MSR, &both, 2);
	cr_assert_eq(both, 0x77b0);
	both = 0x0041; /* 'A' to THR, 0 to IER */
	serial_write(serial, UART_TX, &both, 2);
	check_output("A");
}

#define STRESS 200000u

static void *guest(void *argument)
{
	(void)argument;
	for (unsigned i = 0; i < STRESS; i++) {
		while (!(get(UART_LSR) & UART_LSR_THRE))
			;
		put(UART_TX, (uint8_t)(i * 31));
	}
	return NULL;
}

/* A vCPU that sends and a host that takes, at once: nothing lost, nothing torn, no missed wake-up.
 */
Test(serial, two_threads)
{
	uint8_t bytes[512];
	pthread_t thread;
	unsigned next = 0;

	cr_assert_eq(pthread_create(&thread, NULL, guest, NULL), 0);
	while (next < STRESS) {
		struct pollfd notified = {.fd = serial_notify_fd(serial), .events = POLLIN};
		size_t count = serial_take_output(serial, bytes, sizeof(bytes));

		for (size_t i = 0; i < count; i++, next++)
			cr_assert_eq(bytes[i], (uint8_t)(next * 31));
		if (!count) {
			cr_assert_eq(poll(&notified, 1, 60000), 1, "a wake-up got lost");
			fd_drain(notified.fd);
		}
	}
	pthread_join(thread, NULL);
	cr_assert_eq(serial_dropped(serial), 0);
	check_output("");
}
