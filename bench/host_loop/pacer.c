/* SPDX-License-Identifier: Apache-2.0 */
/* Sequentially consistent where a count and the wish for a kick cross: one of the two sees the
 * other. */
#include "pacer.h"

#include "measure.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/thread.h"

#include <unistd.h>

/* What is due at @now and fits, to be handed out. */
static uint64_t due_at(struct pacer *pacer, uint64_t now, uint64_t handed)
{
	uint64_t due = (now - pacer->start) / pacer->interval_ns + 1;
	uint64_t room = atomic_load_explicit(&pacer->done, memory_order_acquire) + pacer->depth;

	due = min_of(due, room);
	return due > handed ? due - handed : 0;
}

static void *pacer_main(void *argument)
{
	struct pacer *pacer = argument;
	uint64_t handed = 0, count;

	for (uint64_t now = clock_ns(); now < pacer->end; now = clock_ns()) {
		count = due_at(pacer, now, handed);
		if (!count) {
			__builtin_ia32_pause();
			continue;
		}
		handed += count;
		atomic_store(&pacer->handed, handed);
		if (atomic_load(&pacer->wants_kick) && atomic_exchange(&pacer->wants_kick, false))
			fd_signal(pacer->kick_fd);
	}
	atomic_store(&pacer->over, true);
	fd_signal(pacer->kick_fd);
	return NULL;
}

int pacer_start(struct pacer *pacer, uint64_t rate, uint64_t depth, uint64_t end)
{
	int result;

	*pacer = (struct pacer){.interval_ns = 1000000000u / rate, .depth = depth, .end = end};
	pacer->kick_fd = fd_eventfd();
	if (pacer->kick_fd < 0)
		return measure_fail("cannot make an", "eventfd", pacer->kick_fd);
	pacer->start = clock_ns();
	result = thread_start(&pacer->thread, "pacer", -1, pacer_main, pacer);
	if (!result)
		return 0;
	close(pacer->kick_fd);
	return measure_fail("cannot start", "the pacer", result);
}

void pacer_stop(struct pacer *pacer)
{
	pthread_join(pacer->thread, NULL);
	close(pacer->kick_fd);
}

static unsigned untaken(const struct pacer *pacer)
{
	return (unsigned)(atomic_load(&pacer->handed) - pacer->taken);
}

unsigned pacer_look(struct pacer *pacer)
{
	unsigned count = untaken(pacer);

	if (count)
		return count;
	atomic_store(&pacer->wants_kick, true);
	count = untaken(pacer);
	if (count)
		atomic_store(&pacer->wants_kick, false);
	return count;
}

uint64_t pacer_take(struct pacer *pacer)
{
	return pacer->start + pacer->taken++ * pacer->interval_ns;
}

void pacer_complete(struct pacer *pacer)
{
	atomic_store_explicit(&pacer->done, pacer->taken, memory_order_release);
}

bool pacer_is_over(const struct pacer *pacer)
{
	return atomic_load(&pacer->over) && !untaken(pacer);
}
