/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop that every CPU runs: take turns over the tasks that are its own, until all are done;
 * with interrupts, sleep when a round found nothing to do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "virtq.h"

#define TASK_RINGS 2

/* A task belongs to one CPU for the whole run. All times are time stamps. */
struct task {
	const struct task_ops *ops;
	uint32_t cpu;
	bool done;
	struct virtq *rings[TASK_RINGS]; /* those whose interrupts end its sleep; NULL: none */
};

struct task_ops {
	/* Touches its memory, fills its buffers; before the common start. */
	void (*prepare)(struct task *task);
	/* The common start. */
	void (*begin)(struct task *task, uint64_t now);
	/* Does what can be done now; returns how much, 0: nothing. Sets task->done at the end. */
	unsigned (*turn)(struct task *task);
	/* Ticks until it has something to do of its own account; UINT64_MAX: only after an
	 * interrupt. */
	uint64_t (*next_due)(const struct task *task, uint64_t now);
};

/* Runs all tasks on their CPUs, the calling boot CPU among them, to the end. Returns sleeps of all
 * CPUs. */
uint64_t worker_run(
	const struct options *options, struct task *tasks[], unsigned count, unsigned cpus);
