/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O source that carries out a set of disk requests on a channel, as a virtqueue would: submits
 * them, takes completions, tries those again that have to wait.
 */
#pragma once

#include "io/disk_channel.h"
#include "io/worker.h"

#include <semaphore.h>
#include <stdbool.h>

#define REQUEST_SET_MAX 16u

struct request_set {
	struct io_source source;
	struct disk_channel channel;
	struct disk_request *requests; /* their tags are their places */
	unsigned count;
	unsigned next; /* to be submitted for the first time */
	unsigned left; /* not done yet */
	bool waiting[REQUEST_SET_MAX];
	bool retry;
	_Atomic bool full; /* a set is there and not done */
	sem_t done;
};

/* Nothing to carry out yet. The caller makes the channel and attaches the source. */
void request_set_init(struct request_set *set);

/* Carries out @count requests on @worker; returns when all are done. */
void request_set_run(struct request_set *set, struct io_worker *worker,
	struct disk_request *requests, unsigned count);
