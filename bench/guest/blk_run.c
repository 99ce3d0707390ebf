/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block workload from set-up to report. Queue k of all queues (disk by disk) belongs to CPU k
 * modulo the CPUs and is a task of that CPU's worker.
 */
#include "blk.h"
#include "clock.h"
#include "finish.h"
#include "json.h"
#include "memory.h"
#include "muldiv.h"
#include "report.h"

struct run {
	const struct options *options;
	struct blk_disk *disks;
	unsigned disk_count;
	struct blk_queue *queues;
	unsigned queue_count;
	unsigned cpus, planned; /* planned: queues of all disks together */
	uint64_t sleeps;
};

static unsigned queues_of(const struct options *options, const struct blk_disk *disk)
{
	unsigned wanted = options->queues ? options->queues : disk->queues;

	if (wanted > disk->queues)
		finish_fail("disk %u has %u queues, queues=%u", disk->index, (uint32_t)disk->queues,
			wanted);
	return wanted;
}

static void check_disk(const struct options *options, const struct blk_disk *disk)
{
	if (options->rw == RW_DISCARD && !disk->has_discard)
		finish_fail("disk %u does not offer DISCARD", disk->index);
	if (options->rw == RW_WRITE_ZEROES && !disk->has_zeroes)
		finish_fail("disk %u does not offer WRITE_ZEROES", disk->index);
	if (options->rw == RW_FLUSH && !disk->has_flush)
		finish_fail("disk %u does not offer FLUSH", disk->index);
	if (options->mode != MODE_POLL && !disk->device->msix_entries)
		finish_fail(
			"disk %u has no MSI-X, mode=irq and mode=callback want it", disk->index);
}

static void set_up_disk(struct run *run, struct blk_disk *disk, unsigned queues)
{
	check_disk(run->options, disk);
	if (disk->device->msix_entries)
		virtio_pci_enable_msix(disk->device, queues);
	for (unsigned q = 0; q < queues; q++, run->queue_count++) {
		run->queues[run->queue_count] = (struct blk_queue){
			.task = {.cpu = run->queue_count % run->cpus},
			.options = run->options,
			.disk = disk,
			.number = run->queue_count,
			.all_queues = run->planned,
		};
		blk_queue_init(&run->queues[run->queue_count], q, queues);
	}
	virtio_pci_start(disk->device);
}

static void set_up(struct run *run, const struct options *options, unsigned cpus)
{
	*run = (struct run){.options = options, .cpus = cpus};
	run->disks = memory_allocate(BLK_MAX_DISKS * sizeof(*run->disks), 64);
	run->disk_count = blk_disk_open(options, run->disks);
	for (unsigned d = 0; d < run->disk_count; d++)
		run->planned += queues_of(options, &run->disks[d]);
	run->queues = memory_allocate(run->planned * sizeof(*run->queues), 64);
	for (unsigned d = 0; d < run->disk_count; d++)
		set_up_disk(run, &run->disks[d], queues_of(options, &run->disks[d]));
}

static void run_tasks(struct run *run)
{
	struct task **tasks = memory_allocate(run->queue_count * sizeof(*tasks), 64);

	for (unsigned i = 0; i < run->queue_count; i++)
		tasks[i] = &run->queues[i].task;
	run->sleeps = worker_run(run->options, tasks, run->queue_count, run->cpus);
}

struct totals {
	struct blk_counters counters;
	struct histogram *latency;
	uint64_t kicks, interrupts;
	uint64_t ticks; /* the measured time */
};

static void add_counters(struct blk_counters *into, const struct blk_counters *from)
{
	for (unsigned i = 0; i < BLK_OPS; i++)
		into->ops[i] += from->ops[i];
	into->ios += from->ios;
	into->bytes += from->bytes;
	into->total += from->total;
	into->errors += from->errors;
	into->unsupported += from->unsupported;
	into->bad_lengths += from->bad_lengths;
	into->inexact_lengths += from->inexact_lengths;
	into->verified_sectors += from->verified_sectors;
	into->verify_failures += from->verify_failures;
}

/* By time: the time asked for. By number: from the common start to the queue's last completion. */
static uint64_t measured_ticks(const struct blk_queue *queue)
{
	if (queue->measure_to != UINT64_MAX)
		return queue->measure_to - queue->measure_from;
	return queue->last_completion > queue->start ? queue->last_completion - queue->start : 0;
}

static void sum_up(const struct run *run, struct totals *ret_totals)
{
	*ret_totals = (struct totals){.latency = memory_allocate(sizeof(struct histogram), 64)};
	for (unsigned i = 0; i < run->queue_count; i++) {
		const struct blk_queue *queue = &run->queues[i];
		uint64_t ticks = measured_ticks(queue);

		add_counters(&ret_totals->counters, &queue->counters);
		histogram_merge(ret_totals->latency, queue->latency);
		ret_totals->kicks += queue->kicks;
		ret_totals->interrupts += queue->interrupts;
		ret_totals->ticks = ticks > ret_totals->ticks ? ticks : ret_totals->ticks;
	}
}

static const char *verdict(const struct totals *totals)
{
	const struct blk_counters *counters = &totals->counters;

	if (counters->verify_failures)
		return "verification failed";
	if (counters->errors)
		return "requests failed";
	if (counters->unsupported)
		return "requests were not supported";
	if (counters->bad_lengths)
		return "used lengths exceed the writable part";
	return counters->ios ? "" : "no requests completed in the measured time";
}

static void report_params(struct json *json, const struct run *run)
{
	const struct options *options = run->options;

	json_object(json, "params");
	json_string(json, "rw", options_rw_name(options->rw));
	json_number(json, "mix", options->mix);
	json_number(json, "bs", options->block_min);
	json_number(json, "bs-max", options->block_max);
	json_number(json, "qd", options->depth);
	json_number(json, "queues", run->queue_count);
	json_string(json, "verify", options_verify_name(options->verify));
	json_number(json, "generation", options->generation);
	json_number(json, "offset", options->offset);
	json_number(json, "size", options->size);
	json_number(json, "segs", options->segments);
	json_string(json, "layout", options->layout == LAYOUT_RANDOM ? "random" : "plain");
	report_ring(json, options);
	json_end(json);
}

static void report_disks(struct json *json, const struct run *run)
{
	json_array(json, "disks");
	for (unsigned d = 0; d < run->disk_count; d++) {
		const struct blk_disk *disk = &run->disks[d];

		json_object(json, NULL);
		json_number(json, "disk", disk->index);
		json_number(json, "pci_device", disk->device->pci.device);
		json_number(json, "sectors", disk->sectors);
		json_number(json, "block_size", disk->block_size);
		json_number(json, "queues_offered", disk->queues);
		json_hex(json, "offered", disk->device->offered);
		json_hex(json, "features", disk->device->features);
		json_bool(json, "read_only", disk->read_only);
		json_bool(json, "needs_reset", virtio_pci_broken(disk->device));
		json_end(json);
	}
	json_end(json);
}

static void report_queues(struct json *json, const struct run *run)
{
	json_array(json, "queues");
	for (unsigned i = 0; i < run->queue_count; i++) {
		const struct blk_queue *queue = &run->queues[i];

		json_object(json, NULL);
		json_number(json, "disk", queue->disk->index);
		json_number(json, "queue", queue->ring.index);
		json_number(json, "cpu", queue->task.cpu);
		json_number(json, "size", queue->ring.size);
		json_number(json, "ios", queue->counters.ios);
		json_number(json, "total", queue->counters.total);
		json_number(json, "kicks", queue->kicks);
		json_number(json, "interrupts", queue->interrupts);
		json_number(json, "p50", clock_to_ns(histogram_quantile(queue->latency, 50, 100)));
		json_number(json, "p99", clock_to_ns(histogram_quantile(queue->latency, 99, 100)));
		json_end(json);
	}
	json_end(json);
}

static void report_rates(struct json *json, const struct totals *totals, uint64_t sleeps)
{
	const struct blk_counters *counters = &totals->counters;
	uint64_t ns = clock_to_ns(totals->ticks);

	json_number(json, "measured_ns", ns);
	json_number(json, "ios", counters->ios);
	json_number(json, "bytes", counters->bytes);
	json_number(json, "iops", ns ? muldiv(counters->ios, 1000000000, ns) : 0);
	json_number(json, "bytes_per_s", ns ? muldiv(counters->bytes, 1000000000, ns) : 0);
	report_latency(json, "latency_ns", totals->latency);
	json_number(json, "kicks", totals->kicks);
	json_number(json, "interrupts", totals->interrupts);
	json_number(json, "sleeps", sleeps);
}

static void report_counters(struct json *json, const struct blk_counters *counters)
{
	static const char *const names[BLK_OPS] = {
		"reads", "writes", "flushes", "discards", "zeroes", "get_ids"};

	for (unsigned i = 0; i < BLK_OPS; i++)
		json_number(json, names[i], counters->ops[i]);
	json_number(json, "total", counters->total);
	json_number(json, "errors", counters->errors);
	json_number(json, "unsupported", counters->unsupported);
	json_number(json, "bad_lengths", counters->bad_lengths);
	json_number(json, "inexact_lengths", counters->inexact_lengths);
	json_number(json, "verified_sectors", counters->verified_sectors);
	json_number(json, "verify_failures", counters->verify_failures);
}

void blk_run(const struct options *options, unsigned cpus)
{
	struct run run;
	struct totals totals;
	struct json json;
	const char *reason;

	set_up(&run, options, cpus);
	run_tasks(&run);
	sum_up(&run, &totals);
	reason = verdict(&totals);
	report_begin(&json, *reason ? "fail" : "ok", reason, "blk");
	report_rates(&json, &totals, run.sleeps);
	report_counters(&json, &totals.counters);
	report_params(&json, &run);
	report_machine(&json, cpus);
	report_disks(&json, &run);
	report_queues(&json, &run);
	report_finish(&json, *reason ? FINISH_FAIL : FINISH_OK);
}
