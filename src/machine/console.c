/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output: the serial port signals its first byte; that is written at once, and whatever follows
 * within a few milliseconds is written together. So a lone character appears without delay, and a
 * guest that prints character by character (as kernels do) costs few wake-ups and few writes.
 *
 * No write blocks, and no O_NONBLOCK is set on a file description that other processes share:
 * terminals and pipes are opened anew through /proc, sockets are written with MSG_DONTWAIT, and
 * regular files never block for long. Where opening anew is not permitted, poll(2) decides and
 * writes are small.
 *
 * Input: read only as fast as the guest takes it, except from a terminal.
 */
#include "machine/console.h"

#include "machine/serial.h"
#include "util/checked.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/evloop.h"
#include "util/fd.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH_NS      2000000 /* how long output gathers while it keeps coming */
#define OUTPUT_CHUNK  16384u
#define CHUNKS_A_TURN 4u   /* of the event loop */
#define CAREFUL_CHUNK 256u /* what a terminal that poll(2) calls writable takes at once */
#define INPUT_CHUNK   256u
#define ESCAPE        0x01 /* Ctrl-a */

enum output_kind {
	OUTPUT_NONE,    /* taken and dropped */
	OUTPUT_PLAIN,   /* write(2) returns at once, if need be with EAGAIN */
	OUTPUT_SOCKET,  /* send(2) can be told not to block */
	OUTPUT_CAREFUL, /* write(2) might block */
};

struct console {
	struct console_options options;
	char *name;
	int timer_fd;
	bool gathering; /* the timer runs */

	enum output_kind output_kind;
	int output; /* a descriptor of our own, or -1 */
	bool output_watched;
	size_t output_at, output_end; /* of output_bytes, what is not yet written */

	bool input_open, input_watched;
	bool input_is_terminal;
	bool input_is_file;         /* epoll does not know it: always readable */
	bool escaped;               /* the last byte was the escape key */
	size_t input_at, input_end; /* of input_bytes, what the serial port has not yet taken */

	uint8_t input_bytes[INPUT_CHUNK + 1];
	uint8_t output_bytes[OUTPUT_CHUNK];
};

static void on_output_ready(void *context, uint32_t events);
static void on_input_ready(void *context, uint32_t events);

static const char keys_help[] =
	"\r\n"
	"Ctrl-a x       leave: stop the machine\r\n"
	"Ctrl-a p       press the power button: ask the guest to shut down\r\n"
	"Ctrl-a h       this help\r\n"
	"Ctrl-a Ctrl-a  send Ctrl-a to the guest\r\n";

static void fail_output(struct console *console, int code)
{
	log_warning("%s: cannot write the guest's output: %s; dropping it from now on",
		console->name, strerror(-code));
	console->output_kind = OUTPUT_NONE;
	console->output_at = console->output_end = 0;
}

/* One attempt. Bytes written, -EAGAIN, or another negative errno. */
static ssize_t try_write(struct console *console, const void *data, size_t length)
{
	struct pollfd writable = {.fd = console->output, .events = POLLOUT};
	ssize_t done;

	if (console->output_kind == OUTPUT_CAREFUL) {
		length = min_of(length, (size_t)CAREFUL_CHUNK);
		if (poll(&writable, 1, 0) == 0)
			return -EAGAIN;
	}
	do {
		if (console->output_kind == OUTPUT_SOCKET)
			done = send(console->output, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			done = write(console->output, data, length);
	} while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

/* Writes what is buffered. 0 when all is gone (or the output has failed), -EAGAIN otherwise. */
static int write_buffered(struct console *console)
{
	while (console->output_at < console->output_end) {
		ssize_t done;

		if (console->output_kind == OUTPUT_NONE)
			break;
		done = try_write(console, console->output_bytes + console->output_at,
			console->output_end - console->output_at);
		if (done == -EAGAIN)
			return -EAGAIN;
		if (done < 0)
			fail_output(console, (int)done);
		else
			console->output_at += (size_t)done;
	}
	console->output_at = console->output_end = 0;
	return 0;
}

static void watch_output(struct console *console, bool watch)
{
	int result = 0;

	if (watch == console->output_watched)
		return;
	if (watch)
		result = evloop_add(
			console->options.loop, console->output, EPOLLOUT, on_output_ready, console);
	else
		evloop_remove(console->options.loop, console->output);
	if (result) {
		fail_output(console, result); /* no way to learn when it could go on */
		return;
	}
	console->output_watched = watch;
}

static void gather(struct console *console)
{
	static const struct itimerspec later = {.it_value.tv_nsec = BATCH_NS};

	console->gathering = !timerfd_settime(console->timer_fd, 0, &later, NULL);
}

/* Writes what is buffered. False where the rest has to wait, for on_output_ready(). */
static bool flush_output(struct console *console)
{
	if (!write_buffered(console))
		return true;
	watch_output(console, true);
	return !console->output_watched; /* it has failed: what comes is dropped */
}

/*
 * Writes what is there, then leaves the rest of the burst to the timer: a guest that prints faster
 * than its output is written must not hold the event loop up. When the serial port turns out to be
 * empty, its notification is armed and nothing runs any more.
 */
static void pump_output(struct console *console)
{
	size_t count = OUTPUT_CHUNK;

	if (!flush_output(console))
		return;
	for (unsigned i = 0; i < CHUNKS_A_TURN && count == OUTPUT_CHUNK; i++) {
		count = serial_take_output(
			console->options.serial, console->output_bytes, OUTPUT_CHUNK);
		console->output_end = count;
		if (!flush_output(console))
			return;
	}
	if (count)
		gather(console);
}

static void on_output_ready(void *context, uint32_t events)
{
	struct console *console = context;

	(void)events;
	watch_output(console, false);
	pump_output(console);
}

static void on_timer(void *context, uint32_t events)
{
	struct console *console = context;
	uint64_t expirations;

	(void)events;
	if (read(console->timer_fd, &expirations, sizeof(expirations)) < 0)
		return;
	console->gathering = false;
	if (!console->output_watched)
		pump_output(console);
}

static void print_help(struct console *console)
{
	/* A stopped terminal may miss it; nothing depends on it. */
	if (console->output_kind != OUTPUT_NONE)
		(void)try_write(console, keys_help, sizeof(keys_help) - 1);
}

static void queue_input(struct console *console, uint8_t byte)
{
	console->input_bytes[console->input_end++] = byte;
}

/* The byte after the escape key. */
static void act_on_key(struct console *console, uint8_t key)
{
	switch (key) {
	case 'x':
		if (console->options.leave)
			console->options.leave(console->options.context);
		break;
	case 'p':
		if (console->options.press_power)
			console->options.press_power(console->options.context);
		break;
	case 'h':
	case '?':
		print_help(console);
		break;
	case ESCAPE:
		queue_input(console, ESCAPE);
		break;
	default:
		queue_input(console, ESCAPE);
		queue_input(console, key);
		break;
	}
}

/* Puts what was read into input_bytes; an escape held over makes it one byte longer at most. */
static void take_keys(struct console *console, const uint8_t *keys, size_t count)
{
	console->input_at = console->input_end = 0;
	for (size_t i = 0; i < count; i++) {
		if (console->escaped) {
			console->escaped = false;
			act_on_key(console, keys[i]);
		} else if (keys[i] == ESCAPE && console->options.escape_keys) {
			console->escaped = true;
		} else {
			queue_input(console, keys[i]);
		}
	}
}

/* True where the serial port has taken everything, or where what it has not is dropped. */
static bool deliver_input(struct console *console)
{
	size_t count = console->input_end - console->input_at;
	size_t taken = serial_put_input(
		console->options.serial, console->input_bytes + console->input_at, count);

	console->input_at += taken;
	return taken == count || console->input_is_terminal;
}

static void watch_input(struct console *console, bool watch)
{
	if (watch == console->input_watched || console->input_is_file)
		return;
	if (!watch)
		evloop_remove(console->options.loop, console->options.input_fd);
	console->input_watched =
		watch && !evloop_add(console->options.loop, console->options.input_fd, EPOLLIN,
				 on_input_ready, console);
	console->input_is_file = watch && !console->input_watched;
}

/* One read. True where there may be more to read at once. */
static bool read_input(struct console *console)
{
	uint8_t keys[INPUT_CHUNK];
	ssize_t count = read(console->options.input_fd, keys, sizeof(keys));

	if (count < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (count <= 0) {
		console->input_open = false;
		watch_input(console, false);
		return false;
	}
	take_keys(console, keys, (size_t)count);
	return true;
}

static void on_input_ready(void *context, uint32_t events)
{
	struct console *console = context;

	(void)events;
	if (read_input(console) && !deliver_input(console))
		watch_input(console, false);
}

/* Goes on with the input when the serial port has room (again). */
static void pump_input(struct console *console)
{
	if (!console->input_open || console->input_watched)
		return;
	while (console->input_open && deliver_input(console)) {
		watch_input(console, true);
		if (console->input_watched || !read_input(console))
			return;
	}
}

static void on_notify(void *context, uint32_t events)
{
	struct console *console = context;

	(void)events;
	fd_drain(serial_notify_fd(console->options.serial));
	pump_input(console);
	if (!console->gathering && !console->output_watched)
		pump_output(console);
}

/* A descriptor of our own for @fd, and how it is to be written to. */
static int open_output(int fd, enum output_kind *ret_kind)
{
	char path[32];
	struct stat status;
	int own = -1;

	if (fstat(fd, &status))
		return -errno;
	*ret_kind = OUTPUT_PLAIN;
	if (S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (own < 0)
			*ret_kind = OUTPUT_CAREFUL;
	} else if (S_ISSOCK(status.st_mode)) {
		*ret_kind = OUTPUT_SOCKET;
	}
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return own < 0 ? -errno : own;
}

static int set_up(struct console *console, struct error *error)
{
	const struct console_options *options = &console->options;
	int result;

	console->name = strdup(options->name);
	console->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (!console->name || console->timer_fd < 0)
		return error_set(error, -ENOMEM, "%s: out of memory", options->name);
	if (options->output_fd >= 0) {
		result = open_output(options->output_fd, &console->output_kind);
		if (result < 0)
			return error_set(error, result,
				"%s: cannot use it for the guest's output: %s", options->name,
				strerror(-result));
		console->output = result;
	}
	result = evloop_add(options->loop, console->timer_fd, EPOLLIN, on_timer, console);
	if (!result)
		result = evloop_add(options->loop, serial_notify_fd(options->serial), EPOLLIN,
			on_notify, console);
	if (result)
		return error_set(
			error, result, "%s: cannot watch it: %s", options->name, strerror(-result));
	console->input_open = options->input_fd >= 0;
	console->input_is_terminal = options->input_fd >= 0 && isatty(options->input_fd);
	return 0;
}

int console_create(
	const struct console_options *options, struct console **ret_console, struct error *error)
{
	struct console *console = calloc(1, sizeof(*console));
	int result;

	if (!console)
		return -ENOMEM;
	console->options = *options;
	console->timer_fd = console->output = -1;
	result = set_up(console, error);
	if (result) {
		console_destroy(console);
		return result;
	}
	pump_input(console);
	pump_output(console); /* arms the notification, at the latest */
	*ret_console = console;
	return 0;
}

void console_flush(struct console *console, int timeout_ms)
{
	uint64_t deadline = clock_ns() + (uint64_t)timeout_ms * 1000000u;
	struct pollfd writable = {.fd = console->output, .events = POLLOUT};

	for (;;) {
		uint64_t now = clock_ns();

		if (!write_buffered(console)) {
			console->output_end = serial_take_output(
				console->options.serial, console->output_bytes, OUTPUT_CHUNK);
			if (!console->output_end)
				return;
		} else if (now >= deadline ||
			   poll(&writable, 1, (int)((deadline - now) / 1000000u + 1)) == 0) {
			return;
		}
	}
}

void console_destroy(struct console *console)
{
	if (!console)
		return;
	evloop_remove(console->options.loop, serial_notify_fd(console->options.serial));
	evloop_remove(console->options.loop, console->timer_fd);
	watch_input(console, false);
	watch_output(console, false);
	if (console->timer_fd >= 0)
		close(console->timer_fd);
	if (console->output >= 0)
		close(console->output);
	free(console->name);
	free(console);
}
