/* SPDX-License-Identifier: Apache-2.0 */
/* Named threads with all signals blocked but a fault's: signals are the main thread's business. */
#pragma once

#include <pthread.h>

/*
 * Starts @function(@argument) in a thread named @name (cut to 15 characters), pinned to @cpu
 * where that is >= 0. Returns 0 or negative errno; *ret_thread must be joined by the caller.
 */
int thread_start(pthread_t *ret_thread, const char *name, int cpu, void *(*function)(void *),
	void *argument);

/* The kernel's id of the calling thread. */
int thread_id(void);
