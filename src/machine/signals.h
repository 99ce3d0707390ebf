/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as events of the main thread's loop: SIGINT, SIGTERM, SIGHUP and SIGQUIT (end), SIGUSR1
 * (look at the disks' sizes again). They are blocked in the whole process meanwhile; those of the first
 * four that are ignored stay so (a blocked signal would come all the same). Main thread.
 */
#pragma once

#include <stdbool.h>

struct evloop;
struct signals;

typedef void (*signals_handler)(void *context, int number);

/*
 * Blocks the signals and has @handler called for each on @loop, which outlives the object.
 * Returns 0 or negative errno.
 */
int signals_create(
	struct evloop *loop, signals_handler handler, void *context, struct signals **ret_signals);

/* Gives the signals back the mask that they had before. Accepts NULL. */
void signals_destroy(struct signals *signals);

/* True for the signals that ask for the end of the process. */
bool signals_ends(int number);
