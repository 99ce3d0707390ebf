/* SPDX-License-Identifier: Apache-2.0 */
#include "request_set.h"

#include "util/error.h"

#include <stdatomic.h>
#include <string.h>

static struct request_set *set_of(struct io_source *source)
{
	return container_of(source, struct request_set, source);
}

static void note(struct request_set *set, unsigned index, enum disk_progress progress)
{
	set->waiting[index] = progress == DISK_WAIT;
	if (progress == DISK_DONE)
		set->left--;
}

static bool set_poll(struct io_source *source)
{
	struct request_set *set = set_of(source);

	return atomic_load(&set->full) && (set->next < set->count || set->retry);
}

static void set_process(struct io_source *source)
{
	struct request_set *set = set_of(source);

	set->retry = false;
	for (unsigned i = 0; i < set->count; i++) {
		if (i < set->next && !set->waiting[i])
			continue;
		set->next = i < set->next ? set->next : i + 1;
		note(set, i, set->channel.ops->submit(&set->channel, &set->requests[i]));
	}
}

static void set_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	struct request_set *set = set_of(source);

	(void)flags;
	note(set, tag, set->channel.ops->complete(&set->channel, &set->requests[tag], result));
	set->retry = true;
}

static unsigned set_flush(struct io_source *source)
{
	struct request_set *set = set_of(source);

	if (atomic_load(&set->full) && !set->left) {
		atomic_store(&set->full, false);
		sem_post(&set->done);
	}
	return 0;
}

static bool set_arm(struct io_source *source)
{
	return set_poll(source);
}

static void set_disarm(struct io_source *source)
{
	(void)source;
}

static const struct io_source_ops set_ops = {
	.poll = set_poll,
	.process = set_process,
	.complete = set_complete,
	.flush = set_flush,
	.arm = set_arm,
	.disarm = set_disarm,
};

static int begin_set(struct io_worker *worker, void *argument)
{
	struct request_set *set = argument;

	(void)worker;
	set->next = 0;
	set->left = set->count;
	set->retry = false;
	memset(set->waiting, 0, sizeof(set->waiting));
	atomic_store(&set->full, true);
	io_source_activate(&set->source);
	return 0;
}

void request_set_init(struct request_set *set)
{
	sem_init(&set->done, 0, 0);
	io_source_init(&set->source, &set_ops, -1, 0);
}

void request_set_run(struct request_set *set, struct io_worker *worker,
	struct disk_request *requests, unsigned count)
{
	set->requests = requests;
	set->count = count;
	io_worker_call(worker, begin_set, set);
	while (sem_wait(&set->done))
		continue;
}
