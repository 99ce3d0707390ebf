/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console between a UART and all kinds of file descriptors. The test plays the guest in
 * handlers of the same event loop; each test ends when what it waits for has happened.
 */
#include "machine/console.h"
#include "machine/serial.h"
#include "util/error.h"
#include "util/evloop.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define BIG 20000u

static struct evloop *loop;
static struct serial *serial;
static struct console *console;
static struct error error;
static int irq_fd;         /* signalled when the UART's line rises */
static char seen[BIG + 1]; /* by whoever is at the other end */
static size_t seen_count, wanted;
static unsigned left, presses;

static void set_line(void *context, bool level)
{
	(void)context;
	if (level)
		fd_signal(irq_fd);
}

static uint8_t get(unsigned offset)
{
	uint8_t value;

	serial_read(serial, offset, &value, 1);
	return value;
}

static void put(unsigned offset, uint8_t value)
{
	serial_write(serial, offset, &value, 1);
}

static void note(const char *bytes, size_t count)
{
	cr_assert_leq(seen_count + count, sizeof(seen) - 1);
	memcpy(seen + seen_count, bytes, count);
	seen_count += count;
	if (seen_count >= wanted)
		evloop_stop(loop, 0);
}

/* The guest's interrupt handler: reads all there is. */
static void guest_reads(void *context, uint32_t events)
{
	(void)context, (void)events;
	fd_drain(irq_fd);
	while (get(UART_LSR) & UART_LSR_DR) {
		char byte = (char)get(UART_RX);

		note(&byte, 1);
	}
}

/* The other end of the output. */
static void host_reads(void *context, uint32_t events)
{
	char bytes[4096];
	ssize_t count = read(*(int *)context, bytes, sizeof(bytes));

	(void)events;
	cr_assert_gt(count, 0);
	note(bytes, (size_t)count);
}

static void leave(void *context)
{
	(void)context;
	left++;
	evloop_stop(loop, 0);
}

static void press_power(void *context)
{
	(void)context;
	presses++;
}

static void set_up(void)
{
	const struct irq_line irq = {.set = set_line};

	signal(SIGPIPE, SIG_IGN);
	irq_fd = fd_eventfd();
	cr_assert_eq(serial_create(&irq, &serial), 0);
	cr_assert_eq(evloop_create(&loop), 0);
	cr_assert_eq(evloop_add(loop, irq_fd, EPOLLIN, guest_reads, NULL), 0);
}

static void tear_down(void)
{
	console_destroy(console);
	serial_destroy(serial);
	evloop_destroy(loop);
	close(irq_fd);
}

TestSuite(console, .init = set_up, .fini = tear_down, .timeout = 60);

static void connect_console(int input, int output, bool escape_keys)
{
	const struct console_options options = {
		.loop = loop,
		.serial = serial,
		.name = "the test",
		.input_fd = input,
		.output_fd = output,
		.escape_keys = escape_keys,
		.leave = leave,
		.press_power = press_power,
	};

	cr_assert_eq(console_create(&options, &console, &error), 0, "%s", error.text);
}

static void guest_listens(void)
{
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	put(UART_IER, UART_IER_RDI);
}

static void guest_says(const char *text)
{
	for (; *text; text++)
		put(UART_TX, (uint8_t)*text);
}

/* Runs until the observer has seen @text in all. */
static void run_until_seen(const char *text)
{
	wanted = strlen(text);
	cr_assert_eq(evloop_run(loop), 0);
	seen[seen_count] = 0;
	cr_assert_str_eq(seen, text);
	seen_count = 0;
}

static void send_text(int fd, const char *text, size_t length)
{
	cr_assert_eq(write(fd, text, length), (ssize_t)length);
}

static void check_output_to(int write_end, int read_end)
{
	int flags = fcntl(write_end, F_GETFL);

	connect_console(-1, write_end, false);
	cr_assert_eq(evloop_add(loop, read_end, EPOLLIN, host_reads, &read_end), 0);
	guest_says("a");
	run_until_seen("a");
	guest_says("hello, ");
	guest_says("world\n");
	run_until_seen("hello, world\n");
	cr_assert_eq(fcntl(write_end, F_GETFL), flags, "a description that others share");
}

Test(console, output_to_a_pipe)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	check_output_to(ends[1], ends[0]);
}

Test(console, output_to_a_socket)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	check_output_to(ends[1], ends[0]);
}

Test(console, output_to_a_terminal)
{
	int master, slave;
	struct termios settings;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	cr_assert_eq(tcgetattr(slave, &settings), 0);
	cfmakeraw(&settings);
	cr_assert_eq(tcsetattr(slave, TCSANOW, &settings), 0);
	check_output_to(slave, master);
}

Test(console, output_to_a_file_is_appended_where_it_stands)
{
	char text[64] = "";
	int fd = memfd_create("out", MFD_CLOEXEC);

	send_text(fd, "before ", 7);
	connect_console(-1, fd, false);
	guest_says("after");
	console_flush(console, 1000);
	cr_assert_eq(pread(fd, text, sizeof(text) - 1, 0), 12);
	cr_assert_str_eq(text, "before after");
}

Test(console, no_output_at_all)
{
	connect_console(-1, -1, false);
	for (unsigned i = 0; i < 200000; i++)
		put(UART_TX, 'x');
	console_flush(console, 1000);
	cr_assert(get(UART_LSR) & UART_LSR_THRE);
}

Test(console, dev_null_both_ways)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	guest_listens();
	connect_console(fd, fd, true);
	guest_says("nobody hears this");
	console_flush(console, 1000);
	cr_assert_not(get(UART_LSR) & UART_LSR_DR);
	close(fd);
}

/* A reader that does not read: the flush gives up, the guest sees a busy line, nothing is lost. */
Test(console, stuck_output)
{
	unsigned sent = 0, received = 0;
	char bytes[4096];
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	connect_console(-1, ends[1], false);
	while (get(UART_LSR) & UART_LSR_THRE) {
		for (unsigned i = 0; i < 16; i++, sent++)
			put(UART_TX, (uint8_t)(sent % 251));
		if (sent % 4096 == 0)
			console_flush(console, 1);
		cr_assert_lt(sent, 10u << 20);
	}
	cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	while (received < sent) {
		ssize_t count = read(ends[0], bytes, sizeof(bytes));

		if (count < 0) {
			cr_assert_eq(errno, EAGAIN);
			console_flush(console, 1);
			continue;
		}
		for (ssize_t i = 0; i < count; i++, received++)
			cr_assert_eq((uint8_t)bytes[i], received % 251);
	}
	cr_assert(get(UART_LSR) & UART_LSR_THRE);
	cr_assert_eq(serial_dropped(serial), 0);
}

/* The same in the event loop: EPOLLOUT resumes it. */
Test(console, stuck_output_resumes)
{
	static char text[BIG + 1];
	int ends[2];

	memset(text, 'r', BIG);
	cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
	cr_assert_geq(fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
	connect_console(-1, ends[1], false);
	cr_assert_eq(evloop_add(loop, ends[0], EPOLLIN, host_reads, &ends[0]), 0);
	guest_says(text);
	run_until_seen(text);
}

Test(console, reader_gone)
{
	static char messages[65536];
	int log = memfd_create("log", MFD_CLOEXEC), ends[2];
	const char *message;

	cr_assert_eq(dup2(log, STDERR_FILENO), STDERR_FILENO);
	cr_assert_eq(pipe(ends), 0);
	connect_console(-1, ends[1], false);
	close(ends[0]);
	for (unsigned i = 0; i < 300000; i++) {
		put(UART_TX, 'x');
		if (i % 10000 == 0)
			console_flush(console, 1000);
	}
	console_flush(console, 1000);
	cr_assert(get(UART_LSR) & UART_LSR_THRE);
	cr_assert_eq(serial_dropped(serial), 0);
	cr_assert_gt(pread(log, messages, sizeof(messages) - 1, 0), 0);
	message = strstr(messages, "the test: cannot write the guest's output: Broken pipe");
	cr_assert_not_null(message, "%s", messages);
	cr_assert_null(strstr(message + 20, "cannot write"), "said once");
}

Test(console, input_from_a_pipe)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	guest_listens();
	connect_console(ends[0], -1, false);
	send_text(ends[1], "one ", 4);
	run_until_seen("one ");
	send_text(ends[1], "two", 3);
	close(ends[1]);
	run_until_seen("two");
}

#define TURNS 500 /* of the event loop: many more than it takes to read all there is */

/* Always ready, so it counts the loop's turns; then the guest opens its port. */
static void listen_late(void *context, uint32_t events)
{
	static unsigned turns;

	(void)events;
	if (++turns < TURNS)
		return;
	evloop_remove(loop, *(int *)context);
	guest_listens();
}

/* More than fits on the way, before the guest listens: all of it arrives, none too early. */
Test(console, long_input_from_a_pipe_waits)
{
	static char text[BIG + 1];
	int ends[2], always = fd_eventfd();

	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)('a' + i % 26);
	cr_assert_eq(pipe(ends), 0);
	send_text(ends[1], text, BIG);
	close(ends[1]);
	connect_console(ends[0], -1, false);
	fd_signal(always);
	cr_assert_eq(evloop_add(loop, always, EPOLLIN, listen_late, &always), 0);
	run_until_seen(text);
}

Test(console, long_input_from_a_file)
{
	static char text[BIG + 1];
	int fd = memfd_create("in", MFD_CLOEXEC);

	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)('a' + i % 26);
	send_text(fd, text, BIG);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	connect_console(fd, -1, false);
	guest_listens();
	run_until_seen(text);
}

Test(console, escape_keys)
{
	int ends[2], out[2];

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(pipe2(out, O_NONBLOCK), 0);
	guest_listens();
	connect_console(ends[0], out[1], true);
	send_text(ends[1],
		"a\x01\x01"
		"b",
		4);
	run_until_seen("a\x01"
		       "b");
	send_text(ends[1], "\x01q", 2);
	run_until_seen("\x01q");
	send_text(ends[1], "\x01p!", 3);
	run_until_seen("!");
	cr_expect_eq(presses, 1);
	send_text(ends[1], "\x01h.", 3);
	run_until_seen(".");
	cr_assert_gt(read(out[0], seen, BIG), 0);
	cr_assert(strstr(seen, "Ctrl-a x"), "%s", seen);
	cr_assert_eq(left, 0);
	send_text(ends[1], "\x01x", 2);
	wanted = SIZE_MAX;
	cr_assert_eq(evloop_run(loop), 0);
	cr_assert_eq(left, 1);
}

Test(console, escape_key_and_letter_arrive_apart)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	guest_listens();
	connect_console(ends[0], -1, true);
	send_text(ends[1], "1\x01", 2);
	run_until_seen("1");
	send_text(ends[1], "x", 1);
	wanted = SIZE_MAX;
	cr_assert_eq(evloop_run(loop), 0);
	cr_assert_eq(left, 1);
	cr_assert_eq(seen_count, 0, "neither byte is the guest's");
}

Test(console, without_escape_keys_every_byte_is_the_guests)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	guest_listens();
	connect_console(ends[0], -1, false);
	send_text(ends[1], "\x01x", 2);
	run_until_seen("\x01x");
	cr_assert_eq(left, 0);
}

/* A guest that hangs and a user who hammers on the keys: Ctrl-a x still works. */
Test(console, terminal_input_never_blocks_the_escape_keys)
{
	static char text[3000];
	int master, slave;
	struct termios settings;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	cr_assert_eq(tcgetattr(slave, &settings), 0);
	cfmakeraw(&settings);
	cr_assert_eq(tcsetattr(slave, TCSANOW, &settings), 0);
	connect_console(slave, slave, true);
	memset(text, 'k', sizeof(text));
	wanted = SIZE_MAX;
	for (unsigned i = 0; i < 4; i++) {
		/* Ctrl-a x after each heap shows that the heap was read. */
		send_text(master, text, sizeof(text));
		send_text(master, "\x01x", 2);
		cr_assert_eq(evloop_run(loop), 0);
		cr_assert_eq(left, i + 1);
	}
}
