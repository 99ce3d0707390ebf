/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same limit for frames: one thread writes them to a tap, in batches through one io_uring, and
 * where there is a second tap reads there what the host's bridge brings.
 */
#pragma once

#include "options.h"

#include <stdint.h>

struct frames_result {
	uint64_t measured_ns;
	uint64_t frames; /* in the measured time: received ones with a second tap, else sent ones */
	uint64_t bytes;  /* of them, without virtio headers */
	uint64_t total;  /* frames, with warm-up */
	uint64_t cpu_ns; /* of this process in the measured time, kernel included */
	uint64_t enters; /* io_uring_enter calls in the measured time */
};

/*
 * Runs the loop to its end. Returns 0; or negative errno after one line on standard error that says
 * what failed.
 */
int frames_run(const struct options *options, struct frames_result *ret_result);
