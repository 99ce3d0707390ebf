/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbouring transfers: who joins whom, and what the driver sees of it, also where it fails. */
#include "fixture.h"
#include "io/blk_merge.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define COUNT  8u
#define LENGTH 4096u

TestSuite(blk_merge, .timeout = 120);

/* ---- joining ---- */

static struct blk_slots slots;
static char memory[64 * LENGTH];

static void init_slots(unsigned count, unsigned vector_iovs)
{
	cr_assert_eq(blk_slots_init(&slots, count, vector_iovs, 8), 0);
	slots.merge_bytes = BLK_MERGE_BYTES;
}

static struct blk_slot *slot_of(
	unsigned index, enum disk_op op, uint64_t offset, void *data, size_t length)
{
	struct blk_slot *slot = &slots.table[index];

	slot->busy = true;
	slots.busy++;
	slot->iov[0] = (struct iovec){.iov_base = data, .iov_len = length};
	slot->request = (struct disk_request){
		.op = op, .offset = offset, .length = length, .iov = slot->iov, .iov_count = 1};
	return slot;
}

static struct blk_merge led_by(struct blk_slot *slot)
{
	return (struct blk_merge){.leader = slot, .tail = slot};
}

Test(blk_merge, one_that_continues_joins)
{
	struct blk_merge merge = {0};
	struct blk_slot *first, *second, *third;

	init_slots(4, 8);
	first = slot_of(0, DISK_WRITE, 0, memory, LENGTH);
	second = slot_of(2, DISK_WRITE, LENGTH, memory + 8192, LENGTH);
	third = slot_of(1, DISK_WRITE, 8192, memory + 12288, LENGTH);
	cr_assert_not(blk_merge_join(&slots, &merge, first), "there is none to join");
	merge = led_by(first);
	cr_assert(blk_merge_join(&slots, &merge, second));
	cr_assert(blk_merge_join(&slots, &merge, third));
	cr_assert_eq(first->request.length, 3 * LENGTH);
	cr_assert_eq(first->request.iov_count, 2, "adjacent buffers are one element");
	cr_assert_eq(first->request.iov[0].iov_base, memory);
	cr_assert_eq(first->request.iov[1].iov_base, memory + 8192);
	cr_assert_eq(first->request.iov[1].iov_len, 2 * LENGTH);
	cr_assert_eq(blk_merge_next(&slots, first), second);
	cr_assert_eq(blk_merge_next(&slots, second), third);
	cr_assert_null(blk_merge_next(&slots, third));
	blk_slots_deinit(&slots);
}

Test(blk_merge, others_do_not)
{
	struct blk_merge merge;

	init_slots(8, 2);
	merge = led_by(slot_of(0, DISK_WRITE, LENGTH, memory, LENGTH));
	cr_assert_not(
		blk_merge_join(&slots, &merge, slot_of(1, DISK_READ, 2 * LENGTH, memory, LENGTH)));
	cr_assert_not(
		blk_merge_join(&slots, &merge, slot_of(2, DISK_WRITE, 3 * LENGTH, memory, LENGTH)),
		"a gap");
	cr_assert_not(blk_merge_join(&slots, &merge, slot_of(3, DISK_WRITE, 0, memory, LENGTH)),
		"backwards");
	cr_assert_not(blk_merge_join(&slots, &merge,
			      slot_of(4, DISK_WRITE, 2 * LENGTH, memory, BLK_MERGE_BYTES)),
		"too long");
	cr_assert(
		blk_merge_join(&slots, &merge, slot_of(5, DISK_WRITE, 2 * LENGTH, memory, LENGTH)));
	cr_assert_not(
		blk_merge_join(&slots, &merge, slot_of(6, DISK_WRITE, 3 * LENGTH, memory, LENGTH)),
		"too many segments");
	cr_assert_eq(merge.leader->request.length, 2 * LENGTH);
	blk_slots_deinit(&slots);
}

Test(blk_merge, undone_the_leader_has_its_own_request_again)
{
	struct blk_merge merge;
	struct blk_slot *leader;
	struct iovec *segments;

	init_slots(2, 8);
	leader = slot_of(0, DISK_READ, 0, memory, LENGTH);
	segments = blk_slots_take_vector(&slots, leader);
	for (unsigned i = 0; i < 4; i++)
		segments[i] = (struct iovec){memory + i * 2048, 1024};
	leader->request.iov = segments;
	leader->request.iov_count = 4;
	merge = led_by(leader);
	cr_assert(blk_merge_join(&slots, &merge, slot_of(1, DISK_READ, LENGTH, memory, LENGTH)));
	leader->request.iov++; /* as the engine does, which also uses the vector up */
	leader->request.iov[0].iov_len = 1;
	leader->request.started = true;
	blk_merge_undo(&slots, leader);
	cr_assert_eq(leader->request.length, LENGTH);
	cr_assert_eq(leader->request.iov, segments);
	cr_assert_eq(leader->request.iov_count, 4);
	cr_assert_eq(segments[1].iov_len, 1024);
	cr_assert_not(leader->request.started);
	blk_slots_release(&slots, leader);
	cr_assert_eq(slots.free_vector_count, 4, "nothing is lost");
	blk_slots_deinit(&slots);
}

/* ---- through the device ---- */

static struct blk_rig rig;

struct parts {
	uint64_t header;
	uint64_t data;
	uint64_t status;
	int token;
};

static struct parts parts[COUNT];

static void *pointer(uint64_t gpa, uint64_t length)
{
	return mock_guest_pointer(&rig.guest, gpa, length);
}

static uint8_t *status_of(const struct parts *part)
{
	return pointer(part->status, 1);
}

/* COUNT requests from @offset on, in one batch. Every other buffer lies next to the one before. */
static void offer(uint32_t type, uint64_t offset)
{
	for (unsigned i = 0; i < COUNT; i++) {
		struct parts *part = &parts[i];
		struct mock_segment segments[3];
		struct virtio_blk_outhdr *header;

		part->header = mock_guest_alloc(&rig.guest, 16, 16);
		part->status = mock_guest_alloc(&rig.guest, 1, 1);
		part->data = mock_guest_alloc(&rig.guest, LENGTH, i % 2 ? LENGTH : 4 * LENGTH);
		header = pointer(part->header, 16);
		*header = (struct virtio_blk_outhdr){
			.type = type, .sector = (offset + (uint64_t)i * LENGTH) / 512};
		*status_of(part) = 0xee;
		image_pattern(pointer(part->data, LENGTH), i * LENGTH, LENGTH, 77);
		segments[0] = (struct mock_segment){.gpa = part->header, .length = 16};
		segments[1] = (struct mock_segment){
			.gpa = part->data, .length = LENGTH, .writable = type == VIRTIO_BLK_T_IN};
		segments[2] =
			(struct mock_segment){.gpa = part->status, .length = 1, .writable = true};
		part->token = mock_queue_add(rig.driver.queues[0], segments, 3);
		cr_assert_geq(part->token, 0);
	}
}

static void finish(uint32_t type)
{
	struct mock_used used;

	mock_driver_kick(&rig.driver, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(mock_driver_wait_used(&rig.driver, 0, RIG_TIMEOUT_MS, &used), 0);
		cr_assert_eq(used.written, 1 + (type == VIRTIO_BLK_T_IN ? LENGTH : 0));
	}
	cr_assert_eq(mock_queue_in_flight(rig.driver.queues[0]), 0);
}

static void run(uint32_t type, uint64_t offset)
{
	offer(type, offset);
	finish(type);
}

static void check_both_ways(enum disk_cache cache, bool fixed)
{
	unsigned char want[LENGTH];

	blk_rig_init(
		&rig, &(struct blk_rig_options){
			      .seed = 5, .cache = cache, .fixed_buffers = fixed, .merge = true});
	run(VIRTIO_BLK_T_IN, MIB);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(*status_of(&parts[i]), VIRTIO_BLK_S_OK);
		image_pattern(want, MIB + i * LENGTH, LENGTH, 5);
		cr_assert_eq(memcmp(pointer(parts[i].data, LENGTH), want, LENGTH), 0);
	}
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_MERGED), COUNT - 1);
	run(VIRTIO_BLK_T_OUT, 2 * MIB);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(*status_of(&parts[i]), VIRTIO_BLK_S_OK);
		cr_assert_eq(pread(rig.image.fd, want, LENGTH, 2 * MIB + i * LENGTH), LENGTH);
		cr_assert_eq(memcmp(pointer(parts[i].data, LENGTH), want, LENGTH), 0);
	}
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_MERGED), 2 * (COUNT - 1));
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_READS), COUNT);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_WRITES), COUNT);
	blk_rig_deinit(&rig);
}

Test(blk_merge, data_goes_both_ways)
{
	check_both_ways(DISK_CACHE_WRITEBACK, false);
	check_both_ways(DISK_CACHE_WRITEBACK, true);
	check_both_ways(DISK_CACHE_NONE, false);
}

Test(blk_merge, not_where_it_is_switched_off)
{
	blk_rig_init(&rig, &(struct blk_rig_options){.cache = DISK_CACHE_WRITEBACK});
	run(VIRTIO_BLK_T_OUT, 0);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_MERGED), 0);
	blk_rig_deinit(&rig);
}

/* The host refuses what is beyond the fifth request: that one and the later ones fail, alone. */
Test(blk_merge, an_error_is_only_its_own_request_s)
{
	struct rlimit limit = {.rlim_cur = 5 * LENGTH, .rlim_max = RLIM_INFINITY};
	unsigned char got[LENGTH];

	blk_rig_init(&rig, &(struct blk_rig_options){.cache = DISK_CACHE_WRITEBACK, .merge = true});
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	run(VIRTIO_BLK_T_OUT, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(*status_of(&parts[i]), i < 5 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR,
			"request %u", i);
		cr_assert_eq(pread(rig.image.fd, got, LENGTH, i * LENGTH), LENGTH);
		cr_assert_eq(memcmp(got, pointer(parts[i].data, LENGTH), LENGTH) == 0, i < 5);
	}
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_ERRORS), 3);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_MERGED), COUNT - 1);
	blk_rig_deinit(&rig);
}

/* A driver that breaks a rule behind good requests in one batch: these are answered all the same.
 */
Test(blk_merge, what_is_held_back_is_answered_when_the_driver_breaks_a_rule)
{
	struct mock_used used;

	blk_rig_init(&rig, &(struct blk_rig_options){.cache = DISK_CACHE_WRITEBACK, .merge = true});
	offer(VIRTIO_BLK_T_OUT, 0);
	mock_queue_add_head(rig.driver.queues[0], (uint16_t)parts[0].token);
	mock_driver_kick(&rig.driver, 0);
	for (unsigned i = 0; i < COUNT; i++)
		cr_assert_eq(mock_driver_wait_used(&rig.driver, 0, RIG_TIMEOUT_MS, &used), 0);
	for (unsigned i = 0; i < COUNT; i++)
		cr_assert_eq(*status_of(&parts[i]), VIRTIO_BLK_S_OK);
	blk_rig_deinit(&rig);
}
