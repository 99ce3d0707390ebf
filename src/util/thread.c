/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The affinity is set in the attributes, so a thread never runs on a CPU that it must not use.
 *
 * Signals that a thread's own fault raises stay open: a blocked one would end the process without
 * running the handler that restores the terminal.
 */
#include "util/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void set_of_asynchronous_signals(sigset_t *ret_set)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

	sigfillset(ret_set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(ret_set, faults[i]);
}

static int set_affinity(pthread_attr_t *attributes, int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return pthread_attr_setaffinity_np(attributes, sizeof(set), &set);
}

int thread_start(
	pthread_t *ret_thread, const char *name, int cpu, void *(*function)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	char short_name[16];
	pthread_t thread;
	int result;

	result = pthread_attr_init(&attributes);
	if (result)
		return -result;
	result = set_affinity(&attributes, cpu);
	if (!result) {
		set_of_asynchronous_signals(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		result = pthread_create(&thread, &attributes, function, argument);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attributes);
	if (result)
		return -result;
	snprintf(short_name, sizeof(short_name), "%s", name);
	pthread_setname_np(thread, short_name);
	*ret_thread = thread;
	return 0;
}

int thread_id(void)
{
	return (int)gettid();
}
