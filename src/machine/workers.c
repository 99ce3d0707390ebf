/* SPDX-License-Identifier: Apache-2.0 */
/* A pool is built worker by worker, and counts only those that run. */
#include "machine/workers.h"

#include "io/worker.h"
#include "machine/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int worker_pool_init(struct worker_pool *pool, const char *name, unsigned count,
	const struct machine_cpus *pins, struct error *error)
{
	*pool = (struct worker_pool){.workers = calloc(count, sizeof(struct io_worker *))};
	if (!pool->workers)
		return -ENOMEM;
	while (pool->count < count) {
		char thread_name[16];
		struct io_worker_options options = {
			.name = thread_name,
			.cpu = pins->count ? pins->cpus[pool->count % pins->count] : -1,
		};
		int result;

		snprintf(thread_name, sizeof(thread_name), "%s%u", name, pool->count);
		result = io_worker_create(&options, &pool->workers[pool->count], error);
		if (result) {
			worker_pool_deinit(pool);
			return result;
		}
		pool->count++;
	}
	return 0;
}

void worker_pool_deinit(struct worker_pool *pool)
{
	while (pool->count)
		io_worker_destroy(pool->workers[--pool->count]);
	free(pool->workers);
	pool->workers = NULL;
}
