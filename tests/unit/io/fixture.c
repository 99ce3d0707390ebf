/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "util/error.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

void image_pattern(void *buffer, uint64_t offset, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
		uint64_t value = (offset + i) * 0x9e3779b97f4a7c15ull + seed;

		memcpy((char *)buffer + i, &value, sizeof(value));
	}
}

void image_init(struct image *image, uint64_t bytes, uint64_t seed)
{
	char block[65536];

	strcpy(image->path, "/var/tmp/fastvmm-test-XXXXXX");
	image->fd = mkostemp(image->path, O_CLOEXEC);
	cr_assert(image->fd >= 0, "no temporary file");
	cr_assert_eq(ftruncate(image->fd, (off_t)bytes), 0);
	for (uint64_t at = 0; seed && at < bytes; at += sizeof(block)) {
		size_t part = bytes - at < sizeof(block) ? bytes - at : sizeof(block);

		image_pattern(block, at, part, seed);
		cr_assert_eq(pwrite(image->fd, block, part, (off_t)at), (ssize_t)part);
	}
}

void image_deinit(struct image *image)
{
	close(image->fd);
	unlink(image->path);
}

struct io_worker *test_worker(const char *name)
{
	return test_worker_sized(name, 0);
}

struct io_worker *test_worker_sized(const char *name, unsigned sq_entries)
{
	struct io_worker_options options = {.name = name, .cpu = -1, .sq_entries = sq_entries};
	struct error error = ERROR_INIT;
	struct io_worker *worker = NULL;

	cr_assert_eq(io_worker_create(&options, &worker, &error), 0, "%s", error.text);
	return worker;
}

uint64_t worker_stat(const struct io_worker *worker, const char *name)
{
	uint64_t values[IO_WORKER_STATS];

	io_worker_stats(worker, values);
	for (unsigned i = 0; i < IO_WORKER_STATS; i++) {
		if (!strcmp(io_worker_stat_names[i], name))
			return values[i];
	}
	cr_assert_fail("no statistic %s", name);
	return 0;
}

/* Whether the worker's thread is blocked, which it is nowhere but in io_uring_enter(). */
static bool is_blocked(const struct io_worker *worker)
{
	char path[64], stat[512] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", io_worker_thread_id(worker));
	file = fopen(path, "re");
	cr_assert_not_null(file);
	cr_assert_gt(fread(stat, 1, sizeof(stat) - 1, file), 0);
	fclose(file);
	state = strrchr(stat, ')');
	return state && state[2] == 'S';
}

void worker_wait_asleep(const struct io_worker *worker)
{
	while (!is_blocked(worker))
		sched_yield();
}

void blk_rig_restart(struct blk_rig *rig)
{
	cr_assert_eq(mock_driver_start(&rig->driver, blk_device_virtio(rig->device), &rig->guest,
			     rig->features, blk_device_queue_count(rig->device), rig->queue_size),
		0);
}

static void make_device(struct blk_rig *rig, const struct blk_rig_options *options)
{
	struct blk_config config = {
		.name = "disk0",
		.path = options->path ? options->path : rig->image.path,
		.cache = options->cache,
		.readonly = options->readonly,
		.discard = !options->no_discard,
		.serial = options->serial,
		.queues = options->queues ? options->queues : 1,
		.queue_size = options->queue_size ? options->queue_size : 64,
		.poll_us = options->poll_us,
		.fixed_buffers = options->fixed_buffers,
		.merge = options->merge,
		.iopoll = options->iopoll,
	};
	struct error error = ERROR_INIT;

	cr_assert_eq(blk_device_create(&config, rig->guest.memory, rig->workers, rig->worker_count,
			     &rig->device, &error),
		0, "%s", error.text);
	rig->queue_size = config.queue_size;
	rig->features = blk_device_virtio(rig->device)->features_offered;
	if (options->features)
		rig->features &= options->features;
	blk_rig_restart(rig);
}

void blk_rig_init(struct blk_rig *rig, const struct blk_rig_options *options)
{
	memset(rig, 0, sizeof(*rig));
	image_init(&rig->image, options->bytes ? options->bytes : 8 * MIB, options->seed);
	mock_guest_init(&rig->guest, 32 * MIB);
	rig->worker_count = options->workers ? options->workers : 1;
	for (unsigned i = 0; i < rig->worker_count; i++)
		rig->workers[i] = test_worker_sized("io-test", options->sq_entries);
	make_device(rig, options);
	rig->header = mock_guest_alloc(&rig->guest, 16, 16);
	rig->status = mock_guest_alloc(&rig->guest, 1, 1);
	rig->data = mock_guest_alloc(&rig->guest, MIB + 4096, 4096);
}

void blk_rig_deinit(struct blk_rig *rig)
{
	mock_driver_deinit(&rig->driver);
	blk_device_destroy(rig->device);
	for (unsigned i = 0; i < rig->worker_count; i++)
		io_worker_destroy(rig->workers[i]);
	mock_guest_deinit(&rig->guest);
	image_deinit(&rig->image);
}

struct virtio_blk_outhdr *rig_header(struct blk_rig *rig)
{
	return mock_guest_pointer(&rig->guest, rig->header, 16);
}

uint8_t *rig_status(struct blk_rig *rig)
{
	return mock_guest_pointer(&rig->guest, rig->status, 1);
}

void *rig_data(struct blk_rig *rig)
{
	return mock_guest_pointer(&rig->guest, rig->data, MIB);
}

uint8_t rig_request_at(
	struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t shift, uint32_t length)
{
	bool to_device = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
	                 type == VIRTIO_BLK_T_WRITE_ZEROES;
	struct mock_segment segments[3] = {
		{.gpa = rig->header, .length = 16},
		{.gpa = rig->data + shift, .length = length, .writable = !to_device},
		{.gpa = rig->status, .length = 1, .writable = true},
	};
	uint32_t written = 0;

	if (!length)
		segments[1] = segments[2];
	*rig_header(rig) = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	*rig_status(rig) = 0xee;
	cr_assert_eq(mock_driver_request(
			     &rig->driver, 0, segments, length ? 3 : 2, RIG_TIMEOUT_MS, &written),
		0, "no answer to request type %u", type);
	cr_assert_eq(written, (to_device ? 0 : length) + 1);
	return *rig_status(rig);
}

uint8_t rig_request(struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t length)
{
	return rig_request_at(rig, type, sector, 0, length);
}

uint8_t rig_range(
	struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = sector, .num_sectors = sectors, .flags = flags};

	memcpy(rig_data(rig), &range, sizeof(range));
	return rig_request(rig, type, 0, sizeof(range));
}

uint64_t rig_stat(const struct blk_rig *rig, unsigned queue, enum blk_stat stat)
{
	uint64_t values[BLK_STATS];

	blk_device_stats(rig->device, queue, values);
	return values[stat];
}
