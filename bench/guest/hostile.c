/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of the hostile-driver tests. For each case: bring the device up, let the case do its
 * mischief, watch what comes of it, look at the canaries; then reset, bring the device up again and
 * do a good read. A case passes when the outcome is one of those allowed, no memory was touched
 * that should not be, and the good read works: a bad driver may break its device until the next
 * reset, never more than that.
 */
#include "hostile.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "memory.h"
#include "report.h"

#define PATIENCE_NS 200000000ull
#define CANARY_SIZE 4096u
#define CANARY      0xc3
#define POISON      0x5a
#define READ_BYTES  4096u

struct tally {
	unsigned passed, failed, skipped;
};

void *memset(void *to, int value, size_t length);

void hostile_pause(uint64_t ns)
{
	uint64_t end = cpu_tsc() + clock_to_ticks(ns);

	while (cpu_tsc() < end)
		cpu_relax();
}

void hostile_set(struct hostile *hostile, uint16_t at, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next)
{
	hostile->ring.split.descriptors[at] =
		(struct virtq_descriptor){address, length, flags, next};
}

void hostile_offer(struct hostile *hostile, uint16_t head)
{
	hostile->ring.split.avail[2 + (hostile->available++ & (hostile->ring.size - 1))] = head;
}

void hostile_kick(struct hostile *hostile)
{
	cpu_store_barrier(); /* entries before idx */
	hostile->ring.split.avail[1] = hostile->available;
	cpu_full_barrier();
	virtq_kick(&hostile->ring);
}

void hostile_lay_out(struct hostile *hostile)
{
	hostile->available = 0;
	hostile->complaint = hostile->skip = NULL;
	*hostile->header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
	*hostile->status = 0xff;
	memset(hostile->data - CANARY_SIZE, CANARY, CANARY_SIZE);
	memset(hostile->data, POISON, HOSTILE_DATA);
	memset(hostile->data + HOSTILE_DATA, CANARY, CANARY_SIZE);
	if (hostile->ring.is_packed)
		return;
	hostile_set(hostile, 0, (uint64_t)hostile->header, 16, VRING_DESC_F_NEXT, 1);
	hostile_set(hostile, 1, (uint64_t)hostile->data, READ_BYTES,
		VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	hostile_set(hostile, 2, (uint64_t)hostile->status, 1, VRING_DESC_F_WRITE, 0);
}

void hostile_begin(struct hostile *hostile)
{
	blk_disk_negotiate(hostile->options, &hostile->disk);
	if (hostile->ring.size == 0)
		virtq_create(&hostile->ring, hostile->device, 0,
			(uint16_t)hostile->options->queue_size, true, 0);
	else
		virtq_restart(&hostile->ring);
	virtio_pci_start(hostile->device);
	hostile_lay_out(hostile);
}

void hostile_submit(struct hostile *hostile, uint16_t slot)
{
	struct virtq_segment segments[3] = {
		{(uint64_t)hostile->header, 16},
		{(uint64_t)hostile->data, READ_BYTES},
		{(uint64_t)hostile->status, 1},
	};

	virtq_add(&hostile->ring, segments, 1, 2, slot);
}

static bool any_used(struct hostile *hostile)
{
	const struct virtq *ring = &hostile->ring;
	uint16_t flags;

	if (!ring->is_packed)
		return ring->split.used[1] != 0;
	flags = ring->packed.descriptors[0].flags;
	return (flags & 1u << VRING_PACKED_DESC_F_USED) &&
	       (flags & 1u << VRING_PACKED_DESC_F_AVAIL);
}

static enum hostile_outcome watch(struct hostile *hostile)
{
	uint64_t end = cpu_tsc() + clock_to_ticks(PATIENCE_NS);

	do {
		if (any_used(hostile)) {
			cpu_load_barrier(); /* used index before status */
			return *hostile->status == 0xff ? HOSTILE_DROPPED
			       : *hostile->status == 0  ? HOSTILE_COMPLETED
			                                : HOSTILE_FAILED;
		}
		if (virtio_pci_broken(hostile->device))
			return HOSTILE_BROKEN;
	} while (cpu_tsc() < end);
	return HOSTILE_IGNORED;
}

static bool all_bytes(const uint8_t *bytes, size_t length, uint8_t value)
{
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

static const char *check_memory(struct hostile *hostile, unsigned allowed)
{
	if (!all_bytes(hostile->data - CANARY_SIZE, CANARY_SIZE, CANARY) ||
		!all_bytes(hostile->data + HOSTILE_DATA, CANARY_SIZE, CANARY))
		return "memory beside the buffer was written";
	if (allowed & HOSTILE_UNTOUCHED && !all_bytes(hostile->data, HOSTILE_DATA, POISON))
		return "the buffer was written";
	return NULL;
}

/* Reset, up again, one good read. NULL when all is well. */
static const char *recover(struct hostile *hostile)
{
	uint64_t end;
	uint32_t length;
	uint16_t slot;

	if (!virtio_pci_reset(hostile->device))
		return "does not come out of reset";
	hostile_begin(hostile);
	hostile_submit(hostile, 0);
	virtq_publish(&hostile->ring);
	end = cpu_tsc() + clock_to_ticks(hostile->options->timeout_ns);
	while (!virtq_take(&hostile->ring, &slot, &length)) {
		if (cpu_tsc() > end)
			return "a good read after the reset does not complete";
		cpu_relax();
	}
	return *hostile->status == 0 ? NULL : "a good read after the reset fails";
}

static const char *outcome_name(enum hostile_outcome outcome)
{
	switch (outcome) {
	case HOSTILE_COMPLETED:
		return "completed";
	case HOSTILE_FAILED:
		return "failed";
	case HOSTILE_DROPPED:
		return "dropped";
	case HOSTILE_BROKEN:
		return "needs-reset";
	default:
		return "ignored";
	}
}

static const char *judge(
	struct hostile *hostile, const struct hostile_case *test, enum hostile_outcome outcome)
{
	const char *complaint = check_memory(hostile, test->allowed), *after;

	if (hostile->complaint)
		complaint = hostile->complaint;
	else if (!complaint && !(outcome & test->allowed))
		complaint = "wrong outcome";
	after = recover(hostile);
	return complaint ? complaint : after;
}

static void run_case(struct hostile *hostile, const struct hostile_case *test, struct json *json,
	struct tally *tally)
{
	enum hostile_outcome outcome;
	const char *complaint, *skip;

	finish_note("hostile %s", test->name);
	hostile_begin(hostile);
	test->run(hostile);
	skip = hostile->skip;
	outcome = skip ? HOSTILE_IGNORED : watch(hostile);
	complaint = skip ? recover(hostile) : judge(hostile, test, outcome);
	json_object(json, NULL);
	json_string(json, "case", test->name);
	json_string(json, "outcome", skip ? "skipped" : outcome_name(outcome));
	json_bool(json, "pass", !complaint);
	if (complaint || skip)
		json_string(json, "reason", complaint ? complaint : skip);
	json_end(json);
	if (complaint) {
		finish_note(
			"hostile case %s: %s (%s)", test->name, outcome_name(outcome), complaint);
		tally->failed++;
	} else if (skip) {
		tally->skipped++;
	} else {
		tally->passed++;
	}
}

static void run_table(struct hostile *hostile, const struct hostile_case *cases, struct json *json,
	struct tally *tally)
{
	const char *wanted = hostile->options->hostile;

	for (; cases->name; cases++) {
		if (text_equal(wanted, "all") || text_equal(wanted, cases->name))
			run_case(hostile, cases, json, tally);
	}
}

static void set_up(struct hostile *hostile, const struct options *options)
{
	struct blk_disk *disks = memory_allocate(BLK_MAX_DISKS * sizeof(*disks), 64);
	uint8_t *memory;

	*hostile = (struct hostile){.options = options};
	blk_disk_open(options, disks);
	hostile->disk = disks[0];
	hostile->device = disks[0].device;
	hostile->device->msix_entries = 0; /* polled: no interrupt may go astray */
	random_init(&hostile->random, options->seed);
	memory = memory_allocate(4096, 4096);
	hostile->header = (void *)memory;
	hostile->status = memory + 64;
	hostile->table = memory_allocate(1024 * sizeof(*hostile->table), 4096);
	memory = memory_allocate(HOSTILE_DATA + 2 * CANARY_SIZE, 4096);
	hostile->data = memory + CANARY_SIZE;
}

void hostile_run(const struct options *options)
{
	struct hostile *hostile = memory_allocate(sizeof(*hostile), 64);
	struct json cases, json;
	struct tally tally = {0};
	const char *reason = "";

	set_up(hostile, options);
	json_init(&cases, memory_allocate(65536, 64), 65536);
	json_array(&cases, NULL);
	run_table(hostile,
		options->ring == RING_PACKED ? hostile_packed_cases : hostile_split_cases, &cases,
		&tally);
	run_table(hostile, hostile_device_cases, &cases, &tally);
	json_end(&cases);
	if (tally.failed)
		reason = "hostile cases failed";
	else if (tally.passed + tally.skipped == 0)
		reason = "no such hostile case";
	report_begin(&json, *reason ? "fail" : "ok", reason, "hostile");
	json_number(&json, "passed", tally.passed);
	json_number(&json, "failed", tally.failed);
	json_number(&json, "skipped", tally.skipped);
	json_hex(&json, "features", hostile->device->features);
	json_raw(&json, "cases", cases.text.data);
	json.text.overflow |= cases.text.overflow;
	report_machine(&json, 1);
	report_finish(&json, *reason ? FINISH_FAIL : FINISH_OK);
}
