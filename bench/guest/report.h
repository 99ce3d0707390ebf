/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the JSON line that every workload has. */
#pragma once

#include "histogram.h"
#include "json.h"
#include "options.h"

/* Starts the line: guest, version, status, reason, workload. Allocates its memory. */
void report_begin(struct json *json, const char *status, const char *reason, const char *workload);

/* An object of min, mean, p50 ... p99.99, max in ns out of a histogram of ticks. */
void report_latency(struct json *json, const char *name, const struct histogram *latency);

/* An object "machine": what the guest runs on. */
void report_machine(struct json *json, unsigned cpus);

/* Members for the options that concern any device; inside the workload's "params" object. */
void report_ring(struct json *json, const struct options *options);

/* Closes the line, sends it and ends the guest. A line that did not fit becomes a failure. */
void report_finish(struct json *json, unsigned status) __attribute__((noreturn));
