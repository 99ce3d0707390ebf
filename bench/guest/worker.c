/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to sleep without losing a wake-up: the CPU notes its event counter before a round; when the
 * round found nothing it asks every queue for an interrupt and looks at it once more; then it
 * sleeps in the gate, which returns at once if the counter has moved. A timer tick every 100 ms
 * bounds the sleep, so a lost interrupt shows as latency and a lost request as a timeout, not as a
 * hang. With mode=callback the tasks have asked already, and every round ends in the gate.
 */
#include "worker.h"

#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "memory.h"
#include "smp.h"

#define TICK 100000000u /* APIC bus ticks: 100 ms on KVM */
#define NOT_WORTH_A_SLEEP                                                                          \
	20000 /* ns until the next due request: nearer ones are waited for awake */

struct worker {
	const struct options *options;
	struct task **tasks;
	unsigned count, cpus, cpu;
	uint64_t sleeps;
} __attribute__((aligned(64)));

static bool is_mine(const struct worker *worker, unsigned i)
{
	return worker->tasks[i]->cpu == worker->cpu;
}

/* Asks all queues of a task for interrupts. True when one has something already. */
static bool enable_interrupts(struct task *task)
{
	bool pending = false;

	for (unsigned r = 0; r < TASK_RINGS; r++) {
		if (task->rings[r])
			pending |= virtq_enable_interrupts(task->rings[r]);
	}
	return pending;
}

static void disable_interrupts(struct task *task)
{
	for (unsigned r = 0; r < TASK_RINGS; r++) {
		if (task->rings[r])
			virtq_disable_interrupts(task->rings[r]);
	}
}

static void halt(struct worker *worker, uint64_t seen, uint64_t due)
{
	bool timed = due != UINT64_MAX && clock_to_ns(due) < TICK;

	if (timed)
		apic_timer((uint32_t)clock_to_ns(due), false);
	worker->sleeps++;
	gate_wait(seen);
	if (timed)
		apic_timer(TICK, true);
}

static void sleep(struct worker *worker, uint64_t seen)
{
	bool asks = worker->options->mode == MODE_IRQ;
	uint64_t due = UINT64_MAX, now = cpu_tsc();
	bool pending = false;

	for (unsigned i = 0; i < worker->count; i++) {
		struct task *task = worker->tasks[i];
		uint64_t next;

		if (!is_mine(worker, i) || task->done)
			continue;
		pending |= asks && enable_interrupts(task);
		next = task->ops->next_due(task, now);
		due = next < due ? next : due;
	}
	if (!pending && due > clock_to_ticks(NOT_WORTH_A_SLEEP))
		halt(worker, seen, due);
	for (unsigned i = 0; i < worker->count; i++) {
		if (asks && is_mine(worker, i))
			disable_interrupts(worker->tasks[i]);
	}
}

static bool work_round(struct worker *worker, unsigned *ret_handled)
{
	bool active = false;

	*ret_handled = 0;
	for (unsigned i = 0; i < worker->count; i++) {
		if (!is_mine(worker, i) || worker->tasks[i]->done)
			continue;
		*ret_handled += worker->tasks[i]->ops->turn(worker->tasks[i]);
		active |= !worker->tasks[i]->done;
	}
	return active;
}

static void start(struct worker *worker)
{
	for (unsigned i = 0; i < worker->count; i++) {
		if (is_mine(worker, i))
			worker->tasks[i]->ops->prepare(worker->tasks[i]);
	}
	if (worker->options->mode != MODE_POLL)
		apic_timer(TICK, true);
	smp_barrier(worker->cpus);
	for (unsigned i = 0; i < worker->count; i++) {
		if (is_mine(worker, i))
			worker->tasks[i]->ops->begin(worker->tasks[i], cpu_tsc());
	}
}

static void work(void *argument)
{
	struct worker *worker = argument;
	const struct cpu *cpu = &cpu_table[worker->cpu];
	enum option_mode mode = worker->options->mode;
	unsigned handled;

	start(worker);
	for (;;) {
		uint64_t seen = cpu->events;

		if (!work_round(worker, &handled))
			break;
		if (handled && mode != MODE_CALLBACK)
			continue;
		if (mode != MODE_POLL)
			sleep(worker, seen);
		else
			cpu_relax();
	}
	if (mode != MODE_POLL)
		apic_timer(0, false);
}

uint64_t worker_run(
	const struct options *options, struct task *tasks[], unsigned count, unsigned cpus)
{
	struct worker *workers = memory_allocate(cpus * sizeof(*workers), 64);
	void *arguments[MAX_CPUS];
	uint64_t sleeps = 0;

	for (unsigned c = 0; c < cpus; c++) {
		workers[c] = (struct worker){options, tasks, count, cpus, c, 0};
		arguments[c] = &workers[c];
	}
	smp_run(cpus, work, arguments);
	for (unsigned c = 0; c < cpus; c++)
		sleeps += workers[c].sleeps;
	return sleeps;
}
