/* SPDX-License-Identifier: Apache-2.0 */
/* The measured loop: reads or writes through one io_uring at a constant depth or rate. */
#pragma once

#include "../guest/histogram.h"
#include "options.h"

#include <stdint.h>

struct loop_result {
	uint64_t measured_ns;
	uint64_t ios;             /* completed in the measured time */
	uint64_t total;           /* with warm-up and drain */
	uint64_t cpu_ns;          /* as struct measure has it */
	uint64_t enters;          /* io_uring_enter calls in the measured time */
	uint64_t size;            /* bytes of the file that were used */
	struct histogram latency; /* nanoseconds from submission to reaping */
};

/*
 * Runs the loop to its end. Returns 0; or negative errno after one line on standard error that says
 * what failed.
 */
int loop_run(const struct options *options, struct loop_result *ret_result);
