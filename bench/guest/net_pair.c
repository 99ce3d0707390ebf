/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue pair as a task. A pair that sends runs from the common start for warmup= and time=, or
 * until its share of ios= is sent. One that only receives or reflects starts its clock at the first
 * frame of ours on its NIC, so the sender elsewhere need not be in step; then time=, or until the
 * NIC has ios= frames. After the end a pair stays for drain= behind the last frame, so that what is
 * under way arrives.
 */
#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "memory.h"
#include "net.h"

static void set_times(struct net_pair *pair, uint64_t now)
{
	const struct options *options = pair->options;

	pair->timed = true;
	pair->measure_from = now;
	if (options->ios)
		return;
	pair->measure_from += clock_to_ticks(options->warmup_ns);
	pair->measure_to = pair->measure_from + clock_to_ticks(options->time_ns);
}

static void prepare(struct task *task)
{
	struct net_pair *pair = (struct net_pair *)task;

	net_tx_prepare(pair);
	for (uint32_t i = 0; i < pair->free_buffer_count; i++) {
		for (uint32_t at = 0; at < pair->buffer_size; at += 4096)
			pair->free_buffers[i][at] = 0;
	}
	if (net_nic_receives(pair->nic))
		net_rx_post(pair);
}

static void begin(struct task *task, uint64_t now)
{
	struct net_pair *pair = (struct net_pair *)task;
	const struct options *options = pair->options;

	pair->start = pair->due = pair->last_progress = pair->last_received = now;
	pair->measure_from = pair->measure_to = UINT64_MAX;
	pair->quota = UINT64_MAX;
	if (!net_nic_sends(pair->nic))
		return;
	if (options->ios) {
		pair->quota = options->ios / pair->senders;
		pair->quota += pair->number < options->ios % pair->senders;
	}
	if (options->rate)
		pair->interval = clock_frequency() * pair->senders / options->rate;
	set_times(pair, now);
}

static uint64_t interrupts_of(const struct net_pair *pair, const struct virtq *ring)
{
	return pair->nic->device->msix_entries ? irq_cells[ring->cell].count : 0;
}

static void measure(struct net_pair *pair, bool on, uint64_t now)
{
	const struct virtq *rings[2] = {&pair->rx, &pair->tx};

	for (unsigned i = 0; i < 2; i++) {
		if (on) {
			pair->kicks_before[i] = rings[i]->kicks;
			pair->interrupts_before[i] = interrupts_of(pair, rings[i]);
		} else {
			pair->kicks[i] = rings[i]->kicks - pair->kicks_before[i];
			pair->interrupts[i] =
				interrupts_of(pair, rings[i]) - pair->interrupts_before[i];
		}
	}
	pair->measuring = on;
	pair->end = now;
}

/* True when nothing more is to be sent or waited for, but what drain= is for. */
static bool is_over(const struct net_pair *pair, uint64_t now)
{
	if (net_nic_sends(pair->nic))
		return net_tx_finished(pair, now);
	if (!pair->timed)
		return false;
	if (pair->options->ios)
		return __atomic_load_n(&pair->nic->received, __ATOMIC_RELAXED) >=
		               pair->options->ios ||
		       now - pair->last_received > clock_to_ticks(pair->options->timeout_ns);
	return now >= pair->measure_to;
}

static void check_timeout(struct net_pair *pair, uint64_t now)
{
	uint64_t limit = clock_to_ticks(pair->options->timeout_ns);

	if (pair->free_count < pair->depth && now - pair->last_progress > limit &&
		(!pair->timed || now < pair->measure_to || pair->measure_to == UINT64_MAX))
		finish_fail("NIC %u pair %u: %u frames in transmission and none done in timeout=",
			pair->nic->index, pair->index, pair->depth - pair->free_count);
	if (!net_nic_sends(pair->nic) && !pair->timed && now - pair->start > limit)
		finish_fail("NIC %u: no frame of ours came in within timeout=", pair->nic->index);
}

static void advance(struct net_pair *pair, uint64_t now)
{
	bool over;

	if (!pair->timed && __atomic_load_n(&pair->nic->started, __ATOMIC_RELAXED)) {
		set_times(pair, now);
		pair->last_received = now;
	}
	check_timeout(pair, now);
	over = is_over(pair, now);
	if (pair->timed && !pair->measuring && pair->end == 0 && now >= pair->measure_from && !over)
		measure(pair, true, 0);
	if (pair->measuring && (over || now >= pair->measure_to))
		measure(pair, false, now);
	if (!over || pair->free_count < pair->depth)
		return;
	pair->task.done = !net_nic_receives(pair->nic) ||
	                  now - pair->last_received > clock_to_ticks(pair->options->drain_ns);
}

static unsigned turn(struct task *task)
{
	struct net_pair *pair = (struct net_pair *)task;
	uint64_t now = cpu_tsc();
	unsigned done = net_tx_reclaim(pair, now);

	if (net_nic_receives(pair->nic)) {
		/* Reclaimed buffers of reflected frames go back to the receive queue. */
		if (done && pair->free_rx_count)
			net_rx_post(pair);
		done += net_rx_take(pair, now);
	}
	done += net_tx_generate(pair, now);
	advance(pair, now);
	return done;
}

static uint64_t next_due(const struct task *task, uint64_t now)
{
	const struct net_pair *pair = (const struct net_pair *)task;

	if (pair->interval == 0 || pair->free_count == 0 || pair->sent >= pair->quota ||
		now >= pair->measure_to)
		return UINT64_MAX;
	return pair->due > now ? pair->due - now : 0;
}

static const struct task_ops net_pair_ops = {
	.prepare = prepare,
	.begin = begin,
	.turn = turn,
	.next_due = next_due,
};

void net_pair_init(struct net_pair *pair)
{
	struct virtio_device *device = pair->nic->device;
	bool indirect = pair->options->indirect != SWITCH_OFF;
	uint16_t size = (uint16_t)pair->options->queue_size;

	pair->task.ops = &net_pair_ops;
	random_init(
		&pair->random, pair->options->seed * 1000 + pair->nic->index * 64 + pair->index);
	virtq_create(&pair->rx, device, 2 * pair->index, size, false, pair->task.cpu);
	virtq_create(&pair->tx, device, 2 * pair->index + 1, size, indirect, pair->task.cpu);
	pair->task.rings[0] = net_nic_receives(pair->nic) ? &pair->rx : NULL;
	pair->task.rings[1] = &pair->tx;
	pair->tx_latency = memory_allocate(sizeof(*pair->tx_latency), 64);
	pair->round_trip = memory_allocate(sizeof(*pair->round_trip), 64);
	net_tx_init(pair);
	if (net_nic_receives(pair->nic))
		net_rx_init(pair);
}
