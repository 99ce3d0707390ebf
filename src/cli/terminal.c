/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings to go back to are saved once; from then on restoring is one tcsetattr(3), which may
 * be called in a signal handler. Handlers are put only where a signal has its default disposition,
 * so that a launcher that ignores SIGHUP, say, is obeyed; signals that the machine blocks and takes
 * from a signalfd never reach them.
 *
 * A process that is not in the foreground leaves the terminal alone: it belongs to somebody else.
 */
#include "cli/terminal.h"

#include "util/checked.h"
#include "util/error.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGBUS, SIGILL, SIGFPE,
	SIGABRT, SIGSYS, SIGTRAP, SIGPIPE, SIGALRM, SIGXCPU, SIGXFSZ};

/* Written by the main thread before `raw` is set, constant while it is. */
static int terminal = -1;
static struct termios settings_before, settings_raw;
static volatile sig_atomic_t raw;

/* With no job control on this terminal, nobody else is in the foreground. */
static bool in_foreground(void)
{
	pid_t group = tcgetpgrp(terminal);

	return group < 0 || group == getpgrp();
}

/* Async-signal-safe, and keeps errno for the code that was interrupted. */
void terminal_restore(void)
{
	int error = errno;

	if (raw && in_foreground())
		tcsetattr(terminal, TCSANOW, &settings_before);
	raw = 0;
	errno = error;
}

static void on_deadly_signal(int number)
{
	terminal_restore();
	/* SA_RESETHAND has restored the default action; this takes effect when the handler returns.
	 */
	raise(number);
}

/*
 * Stops as if there were no handler, with the terminal as the shell wants it, and takes it back
 * afterwards. Whatever stopped us, SIGCONT comes first; see there.
 */
static void on_stop(int number)
{
	struct sigaction own, standard = {.sa_handler = SIG_DFL};
	sigset_t set, before;
	int error = errno;
	bool was_raw = raw;

	terminal_restore();
	raw = was_raw;
	sigaction(number, &standard, &own);
	sigemptyset(&set);
	sigaddset(&set, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &set, &before); /* stops here */
	sigprocmask(SIG_SETMASK, &before, NULL);
	sigaction(number, &own, NULL);
	errno = error;
}

/* After `fg`. After `bg`, the terminal stays the shell's until a later `fg`. */
static void on_continue(int number)
{
	int error = errno;

	(void)number;
	if (raw && in_foreground())
		tcsetattr(terminal, TCSANOW, &settings_raw);
	errno = error;
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, before;

	if (!sigaction(number, NULL, &before) && before.sa_handler == SIG_DFL)
		sigaction(number, &action, NULL);
}

int terminal_enter_raw(int fd, struct error *error)
{
	int code;

	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &settings_before)) {
		code = -errno;
		return error_set(error, code,
			"standard input: cannot read the terminal's settings: %s", strerror(-code));
	}
	terminal = fd;
	settings_raw = settings_before;
	cfmakeraw(&settings_raw);
	settings_raw.c_cc[VMIN] = 1;
	settings_raw.c_cc[VTIME] = 0;
	raw = 1;
	atexit(terminal_restore);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		handle(deadly[i], on_deadly_signal, (int)SA_RESETHAND);
	handle(SIGTSTP, on_stop, SA_RESTART);
	handle(SIGCONT, on_continue, SA_RESTART);
	/* In the background this stops us, as it does any program that wants the terminal. */
	if (!tcsetattr(fd, TCSANOW, &settings_raw))
		return 0;
	code = -errno;
	terminal_restore();
	return error_set(error, code, "standard input: cannot switch the terminal to raw mode: %s",
		strerror(-code));
}
