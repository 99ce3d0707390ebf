/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal is what it was, however the program ends. Each test starts a small shell: a session
 * leader on a pseudo-terminal of its own, which runs a job in the foreground as shells do.
 */
#include "cli/terminal.h"
#include "util/error.h"
#include "util/thread.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* In the shell and in the job, which must not print through Criterion: the status is the line. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			_exit(__LINE__ & 0xff ? __LINE__ & 0xff : 1);                              \
	} while (0)

static const int deadly[] = {
	SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPIPE};

static int slave;
static int ready[2]; /* the job tells the shell that it is in raw mode */
static struct termios before;

static bool terminal_is_as_before(void)
{
	struct termios now;

	CHECK(!tcgetattr(slave, &now));
	return now.c_iflag == before.c_iflag && now.c_oflag == before.c_oflag &&
	       now.c_lflag == before.c_lflag && now.c_cflag == before.c_cflag;
}

static bool terminal_is_raw(void)
{
	struct termios now;

	CHECK(!tcgetattr(slave, &now));
	return !(now.c_lflag & (ECHO | ICANON | ISIG)) && !(now.c_oflag & OPOST) &&
	       !(now.c_iflag & (ICRNL | IXON));
}

static void say_ready(void)
{
	CHECK(write(ready[1], "r", 1) == 1);
}

static void wait_ready(void)
{
	char byte;

	CHECK(read(ready[0], &byte, 1) == 1);
}

/* Runs @job in a process group of its own, in the foreground. */
static pid_t start_job(void (*job)(void))
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		static const struct rlimit no_core = {0};
		struct error error = ERROR_INIT;
		sigset_t set;

		/* Blocked before anybody can send it, for say_when_continued(). */
		sigemptyset(&set);
		sigaddset(&set, SIGCONT);
		sigprocmask(SIG_BLOCK, &set, NULL);
		setrlimit(RLIMIT_CORE, &no_core);
		setpgid(0, 0);
		CHECK(!tcsetpgrp(slave, getpid()));
		signal(SIGTTOU, SIG_DFL);
		CHECK(!terminal_enter_raw(slave, &error));
		say_ready();
		job();
		exit(0);
	}
	setpgid(child, child);
	wait_ready();
	return child;
}

/* Becomes the shell and runs @scenario; the test fails with the line where a CHECK did. */
static void with_shell(void (*scenario)(void))
{
	int master, status;
	pid_t shell;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	cr_assert_eq(pipe(ready), 0);
	cr_assert_eq(tcgetattr(slave, &before), 0);
	shell = fork();
	cr_assert_geq(shell, 0);
	if (shell == 0) {
		signal(SIGTTOU, SIG_IGN); /* shells set the foreground from the background */
		for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
			signal(deadly[i], SIG_DFL); /* sanitizers and launchers take some */
		CHECK(setsid() >= 0);
		CHECK(!ioctl(slave, TIOCSCTTY, 0));
		scenario();
		_exit(0);
	}
	cr_assert_eq(waitpid(shell, &status, 0), shell);
	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "line %d", WEXITSTATUS(status));
}

TestSuite(terminal, .timeout = 60);

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void check_raw_then_return(void)
{
	CHECK(terminal_is_raw());
}

static void scenario_exit(void)
{
	pid_t job = start_job(check_raw_then_return);
	int status;

	CHECK(waitpid(job, &status, 0) == job);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(terminal_is_as_before());
}

Test(terminal, restored_at_exit)
{
	with_shell(scenario_exit);
}

static void kill_job(int number)
{
	pid_t job = start_job(wait_for_ever);
	int status;

	CHECK(terminal_is_raw());
	CHECK(!kill(job, number));
	CHECK(waitpid(job, &status, 0) == job);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == number);
	CHECK(terminal_is_as_before());
	CHECK(!tcsetpgrp(slave, getpid()));
}

static void scenario_signals(void)
{
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		kill_job(deadly[i]);
}

Test(terminal, restored_when_killed)
{
	with_shell(scenario_signals);
}

static void *crash(void *argument)
{
	(void)argument;
	raise(SIGSEGV);
	return NULL;
}

static void crash_in_a_thread(void)
{
	pthread_t thread;

	CHECK(!thread_start(&thread, "crash", -1, crash, NULL));
	wait_for_ever();
}

static void scenario_crash(void)
{
	pid_t job = start_job(crash_in_a_thread);
	int status;

	CHECK(waitpid(job, &status, 0) == job);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	CHECK(terminal_is_as_before());
}

Test(terminal, restored_when_a_thread_crashes)
{
	with_shell(scenario_crash);
}

static void scenario_abort(void)
{
	pid_t job = start_job(abort);
	int status;

	CHECK(waitpid(job, &status, 0) == job);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(terminal_is_as_before());
}

Test(terminal, restored_by_abort)
{
	with_shell(scenario_abort);
}

/* The job tells when a continuation has been handled: after its handlers have run. */
static void say_when_continued(void)
{
	sigset_t open;

	sigprocmask(SIG_BLOCK, NULL, &open);
	sigdelset(&open, SIGCONT);
	for (;;) {
		sigsuspend(&open);
		say_ready();
	}
}

static void continue_job(pid_t job)
{
	int status;

	CHECK(!kill(job, SIGCONT));
	CHECK(waitpid(job, &status, WCONTINUED) == job && WIFCONTINUED(status));
	wait_ready();
}

static void scenario_stop(void)
{
	pid_t job = start_job(say_when_continued);
	int status;

	for (unsigned i = 0; i < 2; i++) {
		CHECK(terminal_is_raw());
		CHECK(!kill(job, SIGTSTP));
		CHECK(waitpid(job, &status, WUNTRACED) == job);
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
		CHECK(terminal_is_as_before());
		continue_job(job); /* fg */
	}
	CHECK(terminal_is_raw());
	CHECK(!kill(job, SIGTSTP));
	CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
	CHECK(!tcsetpgrp(slave, getpid()));
	continue_job(job); /* bg: the terminal is the shell's */
	CHECK(terminal_is_as_before());
	CHECK(!tcsetpgrp(slave, job));
	CHECK(!kill(job, SIGCONT)); /* fg; it runs already */
	wait_ready();
	CHECK(terminal_is_raw());
	CHECK(!kill(job, SIGTERM));
	CHECK(waitpid(job, &status, 0) == job);
	CHECK(terminal_is_as_before());
}

Test(terminal, stop_and_continue)
{
	with_shell(scenario_stop);
}

Test(terminal, no_terminal)
{
	struct error error = ERROR_INIT;
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(terminal_enter_raw(ends[0], &error), 0, "%s", error.text);
	terminal_restore();
}
