/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time and calls are taken between the first tick in the measured stretch and the first behind
 * it. */
#include "measure.h"

#include "util/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int measure_fail(const char *what, const char *subject, int result)
{
	fprintf(stderr, "host_loop: %s %s: %s\n", what, subject, strerror(-result));
	return result;
}

/* Older kernels lack the flags: then without. */
int measure_ring(struct io_uring *ring, unsigned entries, const int *fds, unsigned count)
{
	static const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN, 0};
	int result = -EINVAL;

	for (size_t i = 0; result && i < sizeof(flags) / sizeof(flags[0]); i++)
		result = io_uring_queue_init(entries, ring, flags[i]);
	if (result)
		return measure_fail("cannot make an", "io_uring", result);
	result = io_uring_register_files(ring, fds, count);
	if (result) {
		io_uring_queue_exit(ring);
		return measure_fail("cannot register", "files with io_uring", result);
	}
	io_uring_register_ring_fd(ring); /* saves a look-up a call; older kernels go without */
	return 0;
}

void measure_start(struct measure *measure, const struct options *options)
{
	uint64_t now = clock_ns();

	*measure = (struct measure){.from = now + options->warmup_ns,
		.cpu_clock = options->rate ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID};
	measure->to = measure->from + options->time_ns;
}

enum measure_state measure_tick(struct measure *measure)
{
	uint64_t now = clock_ns();

	if (measure->state == MEASURE_WARMUP && now >= measure->from && now < measure->to) {
		measure->state = MEASURE_ON;
		measure->began = now;
		measure->cpu_from = clock_read_ns(measure->cpu_clock);
		measure->enters_from = measure->enters;
	} else if (measure->state != MEASURE_OVER && now >= measure->to) {
		if (measure->state == MEASURE_ON) {
			measure->measured_ns = now - measure->began;
			measure->cpu_ns = clock_read_ns(measure->cpu_clock) - measure->cpu_from;
			measure->enters_measured = measure->enters - measure->enters_from;
		}
		measure->state = MEASURE_OVER;
	}
	return measure->state;
}
