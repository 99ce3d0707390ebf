/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load: driver threads keep queues full of reads and writes, each in a part of the disk of its
 * own, and check all data, while queues are stopped, reset and started under them.
 */
#include "fixture.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define DEPTH      16u
#define AREA       (256u << 10) /* bytes of the disk for each request slot */
#define BUFFER     (16u << 10)
#define QUEUES_MAX 4u

/* One request slot of a driver thread, with what the disk holds in its area. */
struct lane {
	uint64_t header, status, data; /* guest addresses */
	uint64_t generation[AREA / 512];
	uint64_t sector, bytes;
	uint64_t next_generation;
	bool write;
	bool busy;
};

struct player {
	struct blk_rig *rig;
	unsigned queue;
	bool indirect;     /* not for several threads: the mock allocates tables from one place */
	unsigned requests; /* to make */
	uint64_t rng;
	uint64_t first_sector;
	struct lane lanes[DEPTH];
	uint8_t lane_of[1024]; /* by token */
	unsigned done;
	unsigned in_flight;
};

static struct blk_rig rig;
static struct player players[QUEUES_MAX];

TestSuite(blk_load, .timeout = 240);

static void *pointer(uint64_t gpa, uint64_t length)
{
	return mock_guest_pointer(&rig.guest, gpa, length);
}

static void player_init(struct player *player, unsigned queue, unsigned requests)
{
	memset(player, 0, sizeof(*player));
	player->rig = &rig;
	player->queue = queue;
	player->requests = requests;
	player->rng = 1000 + queue;
	player->first_sector = (uint64_t)queue * DEPTH * AREA / 512;
	for (unsigned i = 0; i < DEPTH; i++) {
		player->lanes[i].header = mock_guest_alloc(&rig.guest, 16, 16);
		player->lanes[i].status = mock_guest_alloc(&rig.guest, 1, 1);
		player->lanes[i].data = mock_guest_alloc(&rig.guest, BUFFER, 512);
	}
}

static void fill(const struct player *player, struct lane *lane, unsigned index)
{
	char *data = pointer(lane->data, lane->bytes);

	lane->next_generation++;
	for (uint64_t at = 0; at < lane->bytes; at += 512) {
		uint64_t sector = lane->sector + at / 512;

		lane->generation[sector] = lane->next_generation;
		image_pattern(data + at, sector * 512, 512,
			player->first_sector * 7919 + index * 104729 + lane->next_generation);
	}
}

static void check(const struct player *player, const struct lane *lane, unsigned index)
{
	const char *data = pointer(lane->data, lane->bytes);
	char want[512];

	cr_assert_eq(*(uint8_t *)pointer(lane->status, 1), VIRTIO_BLK_S_OK);
	for (uint64_t at = 0; !lane->write && at < lane->bytes; at += 512) {
		uint64_t sector = lane->sector + at / 512;

		if (!lane->generation[sector])
			memset(want, 0, sizeof(want));
		else
			image_pattern(want, sector * 512, 512,
				player->first_sector * 7919 + index * 104729 +
					lane->generation[sector]);
		cr_assert_eq(memcmp(data + at, want, 512), 0, "queue %u, lane %u, sector %llu",
			player->queue, index, (unsigned long long)sector);
	}
}

/* Up to three data segments, cut at sectors, so that vectors are there too. */
static unsigned add_data(struct player *player, struct lane *lane, struct mock_segment *segments)
{
	uint64_t left = lane->bytes, gpa = lane->data;
	unsigned count = 0;

	while (left) {
		uint64_t part =
			count == 2 ? left : (1 + random_below(&player->rng, left / 512)) * 512;

		segments[count++] = (struct mock_segment){
			.gpa = gpa, .length = (uint32_t)part, .writable = !lane->write};
		gpa += part;
		left -= part;
	}
	return count;
}

static void start(struct player *player, unsigned index)
{
	struct lane *lane = &player->lanes[index];
	struct virtio_blk_outhdr *header = pointer(lane->header, 16);
	struct mock_segment segments[5];
	unsigned count;
	int token;

	lane->write = random_below(&player->rng, 2);
	lane->bytes = (1 + random_below(&player->rng, BUFFER / 512)) * 512;
	lane->sector = random_below(&player->rng, (AREA - lane->bytes) / 512 + 1);
	if (lane->write)
		fill(player, lane, index);
	*header = (struct virtio_blk_outhdr){
		.type = lane->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = player->first_sector + (uint64_t)index * AREA / 512 + lane->sector,
	};
	*(uint8_t *)pointer(lane->status, 1) = 0xee;
	segments[0] = (struct mock_segment){.gpa = lane->header, .length = 16};
	count = 1 + add_data(player, lane, segments + 1);
	segments[count++] =
		(struct mock_segment){.gpa = lane->status, .length = 1, .writable = true};
	token = (player->indirect ? mock_queue_add_indirect : mock_queue_add)(
		rig.driver.queues[player->queue], segments, count);
	cr_assert_geq(token, 0);
	player->lane_of[token] = (uint8_t)index;
	lane->busy = true;
	player->in_flight++;
}

static void finish(struct player *player, uint16_t token)
{
	unsigned index = player->lane_of[token];
	struct lane *lane = &player->lanes[index];

	cr_assert(lane->busy, "an answer to nothing");
	check(player, lane, index);
	lane->busy = false;
	player->in_flight--;
	player->done++;
}

static void top_up(struct player *player)
{
	unsigned started = player->done + player->in_flight;

	for (unsigned i = 0; i < DEPTH && started < player->requests; i++) {
		if (player->lanes[i].busy)
			continue;
		start(player, i);
		started++;
	}
	mock_driver_kick(&rig.driver, player->queue);
}

static void wait_one(struct player *player)
{
	struct mock_used used;

	cr_assert_eq(mock_driver_wait_used(&rig.driver, player->queue, RIG_TIMEOUT_MS, &used), 0,
		"queue %u: no answer with %u in flight", player->queue, player->in_flight);
	finish(player, used.token);
	while (mock_queue_get_used(rig.driver.queues[player->queue], &used))
		finish(player, used.token);
}

static void *play(void *argument)
{
	struct player *player = argument;

	while (player->done < player->requests) {
		top_up(player);
		wait_one(player);
	}
	return NULL;
}

static void run_players(unsigned queues)
{
	pthread_t threads[QUEUES_MAX];

	for (unsigned i = 0; i < queues; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, play, &players[i]), 0);
	for (unsigned i = 0; i < queues; i++)
		pthread_join(threads[i], NULL);
}

static void load_rig(struct blk_rig_options options, unsigned requests)
{
	options.merge = true;
	options.bytes = QUEUES_MAX * DEPTH * AREA;
	options.queues = QUEUES_MAX;
	options.queue_size = 128;
	blk_rig_init(&rig, &options);
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		player_init(&players[i], i, requests);
	run_players(QUEUES_MAX);
	for (unsigned i = 0; i < QUEUES_MAX; i++) {
		cr_assert_eq(players[i].done, requests);
		cr_assert_eq(rig_stat(&rig, i, BLK_STAT_READS) + rig_stat(&rig, i, BLK_STAT_WRITES),
			requests);
	}
	blk_rig_deinit(&rig);
}

static void load(unsigned workers, unsigned poll_us, enum disk_cache cache, unsigned requests)
{
	load_rig((struct blk_rig_options){.workers = workers, .poll_us = poll_us, .cache = cache},
		requests);
}

Test(blk_load, four_queues_on_one_worker)
{
	load(1, 0, DISK_CACHE_WRITEBACK, 3000);
}

Test(blk_load, four_queues_on_four_workers)
{
	load(4, 0, DISK_CACHE_WRITEBACK, 3000);
}

Test(blk_load, four_queues_on_two_polling_workers)
{
	load(2, 50, DISK_CACHE_WRITEBACK, 3000);
}

Test(blk_load, four_queues_with_direct_io)
{
	load(2, 50, DISK_CACHE_NONE, 500);
}

Test(blk_load, four_polled_queues)
{
	load_rig((struct blk_rig_options){.workers = 2, .iopoll = true}, 500);
}

/* Rings so small that requests wait for room in them, of both queues of a worker. */
Test(blk_load, four_polled_queues_on_a_small_ring)
{
	load_rig((struct blk_rig_options){.workers = 2, .iopoll = true, .sq_entries = 4}, 500);
}

/* The queue is stopped with requests in flight: all that were taken come back, each once. */
static void quiesce(bool iopoll)
{
	struct virtio_device *virtio;

	blk_rig_init(&rig,
		&(struct blk_rig_options){
			.bytes = DEPTH * AREA, .poll_us = 20, .merge = true, .iopoll = iopoll});
	virtio = blk_device_virtio(rig.device);
	player_init(&players[0], 0, ~0u);
	players[0].indirect = true;
	for (unsigned round = 0; round < 300; round++) {
		struct player *player = &players[0];
		struct mock_used used;
		unsigned before, answered;

		top_up(player);
		if (round % 3)
			wait_one(player);
		virtio->ops->queue_stop(virtio, 0);
		before = player->in_flight;
		while (mock_queue_get_used(rig.driver.queues[0], &used))
			finish(player, used.token);
		/* What is not answered was never taken, and waits in the avail ring. */
		answered = (unsigned)counter_read(&virtio->queues[0].virtqueue.counters.pushed);
		cr_assert_eq(answered, player->done);
		cr_assert_eq(counter_read(&virtio->queues[0].virtqueue.counters.popped), answered);
		cr_assert_leq(player->in_flight, before);
		cr_assert_eq(virtio->ops->queue_start(virtio, 0), 0);
		if (player->in_flight)
			wait_one(player);
	}
	blk_rig_deinit(&rig);
}

Test(blk_load, quiesce_loses_nothing)
{
	quiesce(false);
}

Test(blk_load, quiesce_loses_nothing_that_is_polled)
{
	quiesce(true);
}

/* What a lost write did to the disk is open: the test puts a known state there. */
static void forget_flight(struct player *player)
{
	static const char zeros[AREA];

	for (unsigned i = 0; i < DEPTH; i++) {
		struct lane *lane = &player->lanes[i];

		if (lane->busy && lane->write) {
			memset(lane->generation, 0, sizeof(lane->generation));
			cr_assert_eq(
				pwrite(rig.image.fd, zeros, AREA,
					(off_t)(player->first_sector * 512 + (uint64_t)i * AREA)),
				(ssize_t)AREA);
		}
		lane->busy = false;
	}
	player->in_flight = 0;
}

Test(blk_load, reset_under_load)
{
	blk_rig_init(&rig, &(struct blk_rig_options){.merge = true,
				   .bytes = 2 * DEPTH * AREA,
				   .queues = 2,
				   .workers = 2,
				   .poll_us = 20,
				   .cache = DISK_CACHE_WRITEBACK});
	player_init(&players[0], 0, ~0u);
	player_init(&players[1], 1, ~0u);
	players[0].indirect = players[1].indirect = true;
	for (unsigned round = 0; round < 150; round++) {
		for (unsigned i = 0; i < 2; i++) {
			top_up(&players[i]);
			for (unsigned j = 0; j < round % 4 && players[i].in_flight; j++)
				wait_one(&players[i]);
		}
		mock_driver_deinit(&rig.driver); /* resets the device with requests in flight */
		forget_flight(&players[0]);
		forget_flight(&players[1]);
		blk_rig_restart(&rig);
	}
	cr_assert_gt(players[0].done, 100);
	blk_rig_deinit(&rig);
}
