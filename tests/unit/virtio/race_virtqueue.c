/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker thread and a driver thread on one ring, both sleeping whenever they can. Each side
 * sleeps only after asking to be woken and looking once more, so every request crosses the two
 * races that virtqueue.c's full barriers are for: were a kick or an interrupt ever lost, both
 * would sleep, and the time limit of the sleep, which nothing else can reach, fails the test.
 *
 * A program of its own, because Criterion cannot run under the thread sanitizer.
 */
#include "support/mock_driver.h"
#include "util/checked.h"
#include "util/fd.h"
#include "virtio/virtqueue.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUESTS   5000u
#define SIZE       16
#define BATCH      8
#define SLOT_BYTES 64u
#define TIMEOUT_MS 60000

struct race {
	const char *name;
	struct mock_guest guest;
	struct mock_queue *driver;
	struct virtqueue device;
	uint64_t buffer;
	int kick, call;
	unsigned served; /* the worker's */
};

/* Any thread: a failure ends the program, and with it the other side's sleep. */
static void require(const struct race *race, bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s: %s\n", race->name, what);
	exit(1);
}

static void sleep_on(const struct race *race, int eventfd)
{
	struct pollfd pollfd = {.fd = eventfd, .events = POLLIN};

	require(race, poll(&pollfd, 1, TIMEOUT_MS) == 1, "the worker was not woken: a lost kick");
	fd_drain(eventfd);
}

/* Copies the request's number from the readable into the writable part. */
static void serve(struct race *race, const struct virtqueue_entry *entry)
{
	struct iovec iov[2];
	struct virtqueue_chain chain = {.iov = iov, .capacity = 2};

	require(race, !virtqueue_load_chain(&race->device, entry, &chain),
		"a good chain is refused");
	require(race, chain.readable == 1 && chain.writable == 1, "the chain has lost its shape");
	memcpy(iov[1].iov_base, iov[0].iov_base, sizeof(uint32_t));
	virtqueue_push(&race->device, entry, sizeof(uint32_t));
	race->served++;
}

static void *worker(void *argument)
{
	struct race *race = argument;
	struct virtqueue *queue = &race->device;
	struct virtqueue_entry entries[BATCH];

	while (race->served < REQUESTS) {
		int count = virtqueue_pop_batch(queue, entries, BATCH);

		require(race, count >= 0, "the ring counts as broken");
		virtqueue_disarm(queue);
		for (int i = 0; i < count; i++)
			serve(race, &entries[i]);
		if (virtqueue_publish(queue) && virtqueue_need_interrupt(queue))
			fd_signal(race->call);
		if (!count && !virtqueue_rearm(queue))
			sleep_on(race, race->kick);
	}
	return NULL;
}

static void *slot(struct race *race, uint32_t number, unsigned offset)
{
	uint64_t gpa = race->buffer + SLOT_BYTES * (number % SIZE) + offset;

	return mock_guest_pointer(&race->guest, gpa, sizeof(uint32_t));
}

/* The number travels in one half of its slot and comes back in the other. Returns the token. */
static int request(struct race *race, uint32_t number)
{
	uint64_t gpa = race->buffer + SLOT_BYTES * (number % SIZE);
	const struct mock_segment segments[] = {
		{.gpa = gpa, .length = sizeof(number)},
		{.gpa = gpa + SLOT_BYTES / 2, .length = sizeof(number), .writable = true},
	};

	memcpy(slot(race, number, 0), &number, sizeof(number));
	return mock_queue_add(race->driver, segments, 2);
}

static void check_answer(struct race *race, uint32_t number)
{
	uint32_t answer;

	memcpy(&answer, slot(race, number, SLOT_BYTES / 2), sizeof(answer));
	require(race, answer == number, "an answer belongs to another request");
}

/* Keeps up to @depth requests in flight and checks each answer. */
static void drive(struct race *race, unsigned depth)
{
	struct mock_queue *queue = race->driver;
	uint32_t numbers[SIZE];
	uint32_t added = 0, done = 0;

	while (done < REQUESTS) {
		struct mock_used used;

		while (added < REQUESTS && mock_queue_in_flight(queue) < depth) {
			int token = request(race, added);

			require(race, token >= 0, "the mock's ring is full");
			numbers[token] = added++;
		}
		mock_queue_kick(queue, race->kick);
		require(race, !mock_queue_wait_used(queue, race->call, TIMEOUT_MS, &used),
			"the driver was not woken: a lost interrupt");
		do {
			check_answer(race, numbers[used.token]);
			done++;
		} while (mock_queue_get_used(queue, &used));
	}
}

static void run(const char *name, bool packed, bool event_idx, unsigned depth)
{
	const struct mock_queue_options options = {
		.size = SIZE, .packed = packed, .event_idx = event_idx};
	static struct race race;
	pthread_t thread;

	memset(&race, 0, sizeof(race));
	race.name = name;
	mock_guest_init(&race.guest, 1 << 16);
	race.driver = mock_queue_create(&race.guest, &options);
	race.buffer = mock_guest_alloc(&race.guest, SIZE * SLOT_BYTES, SLOT_BYTES);
	race.kick = fd_eventfd();
	race.call = fd_eventfd();
	require(&race, race.kick >= 0 && race.call >= 0, "no eventfds");
	require(&race,
		!virtqueue_start(&race.device, race.guest.memory, mock_queue_layout(race.driver)),
		"the ring cannot be started");
	require(&race, !pthread_create(&thread, NULL, worker, &race), "no thread");
	drive(&race, depth);
	pthread_join(thread, NULL);
	require(&race, race.served == REQUESTS, "requests were served twice or not at all");
	printf("%s, depth %u: %u requests, %llu interrupts, %llu rearms\n", name, depth, REQUESTS,
		(unsigned long long)counter_read(&race.device.counters.interrupts),
		(unsigned long long)counter_read(&race.device.counters.rearms));
	close(race.kick);
	close(race.call);
	mock_queue_destroy(race.driver);
	mock_guest_deinit(&race.guest);
}

int main(void)
{
	static const unsigned depths[] = {1, 3, SIZE / 2};

	for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
		run("split, flags", false, false, depths[i]);
		run("split, event indices", false, true, depths[i]);
		run("packed, flags", true, false, depths[i]);
		run("packed, event indices", true, true, depths[i]);
	}
	return 0;
}
