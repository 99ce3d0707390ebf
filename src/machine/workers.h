/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O worker threads of a machine: shared ones, and pools that one disk has for itself. */
#pragma once

struct error;
struct io_worker;
struct machine_cpus;

struct worker_pool {
	struct io_worker **workers; /* owned */
	unsigned count;
};

/*
 * Starts @count workers named "@name0", "@name1", ..., worker i pinned to pins->cpus[i % count].
 * Returns 0 or negative errno, explained in @error. Main thread.
 */
int worker_pool_init(struct worker_pool *pool, const char *name, unsigned count,
	const struct machine_cpus *pins, struct error *error);

/* Ends the threads; no source is attached any more. Accepts a zeroed object. Main thread. */
void worker_pool_deinit(struct worker_pool *pool);
