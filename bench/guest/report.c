/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the JSON line that every workload has. */
#include "report.h"

#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "machine.h"
#include "memory.h"

#define REPORT_SIZE (128u << 10)

void report_begin(struct json *json, const char *status, const char *reason, const char *workload)
{
	json_init(json, memory_allocate(REPORT_SIZE, 64), REPORT_SIZE);
	json_object(json, NULL);
	json_string(json, "guest", "bareguest");
	json_number(json, "version", 1);
	json_string(json, "status", status);
	json_string(json, "reason", reason);
	json_string(json, "workload", workload);
}

void report_latency(struct json *json, const char *name, const struct histogram *latency)
{
	static const struct {
		const char *name;
		uint32_t parts, whole;
	} quantiles[] = {{"p50", 50, 100}, {"p90", 90, 100}, {"p99", 99, 100}, {"p99.9", 999, 1000},
		{"p99.99", 9999, 10000}};

	json_object(json, name);
	json_number(json, "min", clock_to_ns(latency->min));
	json_number(json, "mean", latency->count ? clock_to_ns(latency->sum / latency->count) : 0);
	for (unsigned i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		json_number(json, quantiles[i].name,
			clock_to_ns(histogram_quantile(
				latency, quantiles[i].parts, quantiles[i].whole)));
	json_number(json, "max", clock_to_ns(latency->max));
	json_end(json);
}

void report_machine(struct json *json, unsigned cpus)
{
	const struct machine *machine = machine_get();

	json_object(json, "machine");
	json_string(json, "hypervisor", machine->hypervisor);
	json_number(json, "cpus", cpus);
	json_number(json, "ram_bytes", memory_total());
	json_number(json, "tsc_hz", clock_frequency());
	json_string(json, "tsc_source", clock_source());
	json_string(json, "apic", machine->x2apic ? "x2apic" : "xapic");
	json_bool(json, "ring0_interpreted", machine->ring0_interpreted);
	json_number(json, "entry_tsc", machine->entry_tsc);
	json_number(json, "setup_ns", clock_to_ns(cpu_tsc() - machine->entry_tsc));
	json_end(json);
}

void report_ring(struct json *json, const struct options *options)
{
	static const char *const switches[] = {"auto", "0", "1"};

	json_string(json, "mode", options_mode_name(options->mode));
	json_string(json, "ring", options->ring == RING_PACKED ? "packed" : "split");
	json_string(json, "indirect", switches[options->indirect]);
	json_string(json, "event-idx", switches[options->event_index]);
	json_string(json, "in-order", switches[options->in_order]);
	json_number(json, "time_ns", options->time_ns);
	json_number(json, "warmup_ns", options->warmup_ns);
	json_number(json, "ios", options->ios);
	json_number(json, "rate", options->rate);
	json_number(json, "seed", options->seed);
	json_number(json, "queue-size", options->queue_size);
}

void report_finish(struct json *json, unsigned status)
{
	json_end(json);
	if (json->text.overflow)
		finish_fail("the report is longer than %u bytes", REPORT_SIZE);
	finish(json->text.data, status);
}
