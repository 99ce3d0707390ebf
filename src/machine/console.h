/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects a serial port with file descriptors: input_fd feeds the guest, what the guest sends
 * goes to output_fd. Runs on the main thread's event loop; every function is called by that
 * thread. Terminals, pipes, sockets, regular files and /dev/null all work; end of input just ends
 * the input. Input that the guest does not read waits in its pipe or file; from a terminal it is
 * dropped, so that the escape keys always get through. A full pipe or a stopped terminal makes the
 * guest's transmitter busy and nothing else; an output that has failed for good (EPIPE, EIO) is
 * dropped from then on, and that is logged once. SIGPIPE must be ignored.
 */
#pragma once

#include <stdbool.h>

struct console;
struct error;
struct evloop;
struct serial;

struct console_options {
	struct evloop *loop;   /* must outlive the console */
	struct serial *serial; /* must outlive the console */
	const char *name;      /* for messages: "standard output", "--report FILE"; copied */
	int input_fd;          /* -1: none; stays the caller's */
	int output_fd;         /* -1: output is taken and dropped; stays the caller's */
	/*
	 * With true, Ctrl-a is a prefix on the input: Ctrl-a x calls leave(), Ctrl-a p calls
	 * press_power(), Ctrl-a h (or ?) prints the keys to output_fd, Ctrl-a Ctrl-a sends one
	 * Ctrl-a, anything else is sent as typed.
	 */
	bool escape_keys;
	void (*leave)(void *context); /* called from the event loop, as is press_power() */
	void (*press_power)(void *context);
	void *context;
};

/* Returns 0 or negative errno with an explanation. */
int console_create(
	const struct console_options *options, struct console **ret_console, struct error *error);

/*
 * Writes out what the guest has sent so far, waiting for the reader of output_fd at most
 * @timeout_ms milliseconds in all. For the end of a run, after the vCPUs have stopped.
 */
void console_flush(struct console *console, int timeout_ms);

/* Stops watching. Accepts NULL. Does not flush. */
void console_destroy(struct console *console);
