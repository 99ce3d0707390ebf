/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network workload from set-up to report. Pair k of all pairs (NIC by NIC) belongs to CPU k
 * modulo the CPUs.
 */
#include "clock.h"
#include "finish.h"
#include "json.h"
#include "memory.h"
#include "muldiv.h"
#include "net.h"
#include "report.h"

struct run {
	const struct options *options;
	struct net_nic *nics;
	struct net_pair *pairs;
	unsigned nic_count, pair_count, senders, cpus;
	uint64_t sleeps;
};

struct totals {
	struct net_counters counters;
	struct histogram *tx_latency, *round_trip;
	uint64_t kicks[2], interrupts[2];
	uint64_t tx_ticks, rx_ticks; /* the longest measured time of a sender, of a receiver */
	bool short_of_ios;
};

static void set_up_nic(struct run *run, struct net_nic *nic, unsigned *sender)
{
	if (nic->device->msix_entries)
		virtio_pci_enable_msix(nic->device, 2 * nic->max_pairs + 1);
	for (unsigned p = 0; p < nic->pairs; p++, run->pair_count++) {
		struct net_pair *pair = &run->pairs[run->pair_count];

		*pair = (struct net_pair){
			.task = {.cpu = run->pair_count % run->cpus},
			.options = run->options,
			.nic = nic,
			.index = p,
			.senders = run->senders,
			.number = net_nic_sends(nic) ? (*sender)++ : 0,
		};
		net_pair_init(pair);
	}
	net_nic_start(nic);
}

static void set_up(struct run *run, const struct options *options, unsigned cpus)
{
	unsigned all = 0, sender = 0;

	*run = (struct run){.options = options, .cpus = cpus};
	run->nics = memory_allocate(NET_MAX_NICS * sizeof(*run->nics), 64);
	run->nic_count = net_nic_open(options, run->nics);
	for (unsigned i = 0; i < run->nic_count; i++) {
		all += run->nics[i].pairs;
		run->senders += net_nic_sends(&run->nics[i]) ? run->nics[i].pairs : 0;
	}
	run->pairs = memory_allocate(all * sizeof(*run->pairs), 64);
	for (unsigned i = 0; i < run->nic_count; i++)
		set_up_nic(run, &run->nics[i], &sender);
}

static void run_tasks(struct run *run)
{
	struct task **tasks = memory_allocate(run->pair_count * sizeof(*tasks), 64);

	for (unsigned i = 0; i < run->pair_count; i++)
		tasks[i] = &run->pairs[i].task;
	finish_note("ready");
	run->sleeps = worker_run(run->options, tasks, run->pair_count, run->cpus);
}

static void add_counters(struct net_counters *into, const struct net_counters *from)
{
	uint64_t *to = (uint64_t *)into;
	const uint64_t *add = (const uint64_t *)from;

	for (unsigned i = 0; i < sizeof(*into) / sizeof(*to); i++)
		to[i] += add[i]; /* all members are uint64_t */
}

static uint64_t measured_ticks(const struct net_pair *pair)
{
	uint64_t to = pair->measure_to != UINT64_MAX ? pair->measure_to : pair->end;

	return pair->timed && to > pair->measure_from ? to - pair->measure_from : 0;
}

static void sum_up(const struct run *run, struct totals *ret_totals)
{
	*ret_totals = (struct totals){
		.tx_latency = memory_allocate(sizeof(struct histogram), 64),
		.round_trip = memory_allocate(sizeof(struct histogram), 64),
	};
	for (unsigned i = 0; i < run->pair_count; i++) {
		const struct net_pair *pair = &run->pairs[i];
		uint64_t ticks = measured_ticks(pair);

		add_counters(&ret_totals->counters, &pair->counters);
		histogram_merge(ret_totals->tx_latency, pair->tx_latency);
		histogram_merge(ret_totals->round_trip, pair->round_trip);
		for (unsigned r = 0; r < 2; r++) {
			ret_totals->kicks[r] += pair->kicks[r];
			ret_totals->interrupts[r] += pair->interrupts[r];
		}
		if (pair->nic->role != NET_RX && ticks > ret_totals->tx_ticks)
			ret_totals->tx_ticks = ticks;
		if (pair->nic->role != NET_TX && ticks > ret_totals->rx_ticks)
			ret_totals->rx_ticks = ticks;
	}
	for (unsigned i = 0; i < run->nic_count; i++) {
		if (!net_nic_sends(&run->nics[i]) && run->nics[i].received < run->options->ios)
			ret_totals->short_of_ios = true;
	}
}

static const char *verdict(const struct run *run, const struct totals *totals)
{
	const struct net_counters *counters = &totals->counters;

	if (counters->malformed)
		return "malformed frames from the device";
	if (counters->bad_payloads || counters->bad_checksums)
		return "verification failed";
	if (totals->short_of_ios)
		return "fewer frames came in than ios=";
	for (unsigned i = 0; i < run->nic_count; i++) {
		if (virtio_pci_broken(run->nics[i].device))
			return "a device needs a reset";
	}
	return counters->tx_total + counters->rx_total ? "" : "nothing was sent or received";
}

static uint64_t per_second(uint64_t count, uint64_t ticks)
{
	uint64_t ns = clock_to_ns(ticks);

	return ns ? muldiv(count, 1000000000, ns) : 0;
}

static void report_rates(struct json *json, const struct totals *totals, uint64_t sleeps)
{
	const struct net_counters *counters = &totals->counters;

	json_number(json, "tx_measured_ns", clock_to_ns(totals->tx_ticks));
	json_number(json, "rx_measured_ns", clock_to_ns(totals->rx_ticks));
	json_number(json, "tx_pps", per_second(counters->tx_packets, totals->tx_ticks));
	json_number(json, "tx_bytes_per_s", per_second(counters->tx_bytes, totals->tx_ticks));
	json_number(json, "rx_pps", per_second(counters->rx_packets, totals->rx_ticks));
	json_number(json, "rx_bytes_per_s", per_second(counters->rx_bytes, totals->rx_ticks));
	report_latency(json, "tx_latency_ns", totals->tx_latency);
	report_latency(json, "round_trip_ns", totals->round_trip);
	json_number(json, "rx_kicks", totals->kicks[0]);
	json_number(json, "tx_kicks", totals->kicks[1]);
	json_number(json, "rx_interrupts", totals->interrupts[0]);
	json_number(json, "tx_interrupts", totals->interrupts[1]);
	json_number(json, "sleeps", sleeps);
}

static void report_counters(struct json *json, const struct net_counters *counters)
{
	json_number(json, "tx_packets", counters->tx_packets);
	json_number(json, "tx_bytes", counters->tx_bytes);
	json_number(json, "rx_packets", counters->rx_packets);
	json_number(json, "rx_bytes", counters->rx_bytes);
	json_number(json, "tx_total", counters->tx_total);
	json_number(json, "rx_total", counters->rx_total);
	json_number(json, "rx_buffers", counters->rx_buffers);
	json_number(json, "rx_large", counters->rx_large);
	json_number(json, "reflected", counters->reflected);
	json_number(json, "foreign", counters->foreign);
	json_number(json, "lost", counters->lost);
	json_number(json, "late", counters->late);
	json_number(json, "bad_payloads", counters->bad_payloads);
	json_number(json, "bad_checksums", counters->bad_checksums);
	json_number(json, "malformed", counters->malformed);
}

static void report_params(struct json *json, const struct run *run)
{
	const struct options *options = run->options;

	json_object(json, "params");
	json_string(json, "dir", options_direction_name(options->direction));
	json_number(json, "frame", options->frame);
	json_number(json, "gso", options->gso);
	json_string(json, "gso-type", options->gso_type == GSO_UDP ? "udp" : "tcp");
	json_number(json, "pairs", run->pair_count);
	json_number(json, "flows", options->flows);
	json_number(json, "qd", options->depth);
	json_string(json, "verify", options_verify_name(options->verify));
	json_number(json, "segs", options->segments);
	json_string(json, "layout", options->layout == LAYOUT_RANDOM ? "random" : "plain");
	report_ring(json, options);
	json_end(json);
}

static void report_mac(struct json *json, const char *name, const uint8_t mac[6])
{
	char data[18];
	struct text text;

	text_init(&text, data, sizeof(data));
	for (unsigned i = 0; i < 6; i++) {
		text_character(&text, "0123456789abcdef"[mac[i] >> 4]);
		text_character(&text, "0123456789abcdef"[mac[i] & 15]);
		if (i < 5)
			text_character(&text, ':');
	}
	json_string(json, name, data);
}

static void report_nics(struct json *json, const struct run *run)
{
	json_array(json, "nics");
	for (unsigned i = 0; i < run->nic_count; i++) {
		const struct net_nic *nic = &run->nics[i];

		json_object(json, NULL);
		json_number(json, "nic", nic->index);
		json_string(json, "role", net_role_name(nic->role));
		report_mac(json, "mac", nic->mac);
		report_mac(json, "dst", nic->destination);
		json_number(json, "pairs_offered", nic->max_pairs);
		json_hex(json, "offered", nic->device->offered);
		json_hex(json, "features", nic->device->features);
		json_number(json, "received", nic->received);
		json_end(json);
	}
	json_end(json);
}

static void report_pairs(struct json *json, const struct run *run)
{
	json_array(json, "queues");
	for (unsigned i = 0; i < run->pair_count; i++) {
		const struct net_pair *pair = &run->pairs[i];

		json_object(json, NULL);
		json_number(json, "nic", pair->nic->index);
		json_number(json, "pair", pair->index);
		json_number(json, "cpu", pair->task.cpu);
		json_number(json, "tx_packets", pair->counters.tx_packets);
		json_number(json, "rx_packets", pair->counters.rx_packets);
		json_number(json, "tx_total", pair->counters.tx_total);
		json_number(json, "rx_total", pair->counters.rx_total);
		json_number(json, "rx_kicks", pair->kicks[0]);
		json_number(json, "tx_kicks", pair->kicks[1]);
		json_number(json, "rx_interrupts", pair->interrupts[0]);
		json_number(json, "tx_interrupts", pair->interrupts[1]);
		json_end(json);
	}
	json_end(json);
}

void net_run(const struct options *options, unsigned cpus)
{
	struct run run;
	struct totals totals;
	struct json json;
	const char *reason;

	set_up(&run, options, cpus);
	run_tasks(&run);
	sum_up(&run, &totals);
	reason = verdict(&run, &totals);
	report_begin(&json, *reason ? "fail" : "ok", reason, "net");
	report_rates(&json, &totals, run.sleeps);
	report_counters(&json, &totals.counters);
	report_params(&json, &run);
	report_machine(&json, cpus);
	report_nics(&json, &run);
	report_pairs(&json, &run);
	report_finish(&json, *reason ? FINISH_FAIL : FINISH_OK);
}
