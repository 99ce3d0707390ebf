/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_loop: the host's own limit, as one line of JSON with the names that the bare guest uses, so
 * that one reader understands both.
 */
#include "frames.h"
#include "loop.h"

#include "util/cleanup.h"

#include <stdio.h>
#include <stdlib.h>

static void print_latency(const struct histogram *latency)
{
	static const struct {
		const char *name;
		unsigned parts, whole;
	} quantiles[] = {{"p50", 50, 100}, {"p90", 90, 100}, {"p99", 99, 100}, {"p99.9", 999, 1000},
		{"p99.99", 9999, 10000}};

	printf("\"latency_ns\":{\"min\":%llu,\"mean\":%llu",
		(unsigned long long)(latency->count ? latency->min : 0),
		(unsigned long long)(latency->count ? latency->sum / latency->count : 0));
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		printf(",\"%s\":%llu", quantiles[i].name,
			(unsigned long long)histogram_quantile(
				latency, quantiles[i].parts, quantiles[i].whole));
	printf(",\"max\":%llu}", (unsigned long long)latency->max);
}

static void print_result(const struct options *options, const struct loop_result *result)
{
	double seconds = (double)result->measured_ns / 1e9;
	double iops = (double)result->ios / seconds;

	printf("{\"guest\":\"host_loop\",\"version\":1,\"status\":\"ok\",\"reason\":\"\","
	       "\"workload\":\"blk\",\"measured_ns\":%llu,\"ios\":%llu,\"bytes\":%llu,"
	       "\"iops\":%.0f,\"bytes_per_s\":%.0f,",
		(unsigned long long)result->measured_ns, (unsigned long long)result->ios,
		(unsigned long long)(result->ios * options->block), iops, iops * options->block);
	print_latency(&result->latency);
	printf(",\"total\":%llu,\"errors\":0,\"cpu_ns\":%llu,\"enters\":%llu,",
		(unsigned long long)result->total, (unsigned long long)result->cpu_ns,
		(unsigned long long)result->enters);
	printf("\"params\":{\"rw\":\"%s\",\"bs\":%u,\"bs-max\":%u,\"qd\":%u,\"queues\":1,"
	       "\"direct\":%d,\"fixed-buffers\":%d,\"rate\":%llu,\"size\":%llu,\"seed\":%llu,"
	       "\"time_ns\":%llu,\"warmup_ns\":%llu}}\n",
		options_rw(options), options->block, options->block, options->depth,
		options->direct, options->fixed_buffers, (unsigned long long)options->rate,
		(unsigned long long)result->size, (unsigned long long)options->seed,
		(unsigned long long)options->time_ns, (unsigned long long)options->warmup_ns);
}

static int run_loop(const struct options *options)
{
	auto_free struct loop_result *result = malloc(sizeof(*result));

	if (!result || loop_run(options, result))
		return 1;
	print_result(options, result);
	return 0;
}

static int run_frames(const struct options *options)
{
	struct frames_result result;
	double seconds;

	if (frames_run(options, &result))
		return 1;
	seconds = (double)result.measured_ns / 1e9;
	printf("{\"guest\":\"host_loop\",\"version\":1,\"status\":\"ok\",\"reason\":\"\","
	       "\"workload\":\"frames\",\"measured_ns\":%llu,\"ios\":%llu,\"bytes\":%llu,"
	       "\"frames_per_s\":%.0f,\"bytes_per_s\":%.0f,\"total\":%llu,\"errors\":0,"
	       "\"cpu_ns\":%llu,\"enters\":%llu,"
	       "\"params\":{\"dir\":\"%s\",\"batch\":%u,\"frame\":%u,\"gso\":%u}}\n",
		(unsigned long long)result.measured_ns, (unsigned long long)result.frames,
		(unsigned long long)result.bytes, (double)result.frames / seconds,
		(double)result.bytes / seconds, (unsigned long long)result.total,
		(unsigned long long)result.cpu_ns, (unsigned long long)result.enters,
		options->to ? "pair" : "tx", options->depth, options->frame, options->gso);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options;

	if (options_parse(argc, argv, &options))
		return 2;
	return options.tap ? run_frames(&options) : run_loop(&options);
}
