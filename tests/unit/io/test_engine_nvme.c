/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVMe passthrough engine against the plain one, on a namespace that may be written over:
 * tests/linux has one.
 */
#include "engine_pair.h"
#include "io/nvme_namespace.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct disk_files nvme_files;

static int add_nvme(struct io_worker *to, void *argument)
{
	(void)argument;
	return disk_files_add(to, pair.uring.disk, &nvme_files);
}

static int remove_nvme(struct io_worker *from, void *argument)
{
	(void)argument;
	disk_files_remove(from, pair.uring.disk, &nvme_files);
	return 0;
}

/* The character device as the disk, the block device as the test's own way to it. */
static void open_namespace(const char *name, bool iopoll)
{
	char path[64];
	struct disk_options options = {.path = path, .discard = true, .iopoll = iopoll};
	struct error error = ERROR_INIT;

	image_pattern(pair.model, 0, sizeof(pair.model), 11);
	snprintf(path, sizeof(path), "/dev/ng%s", name); /* first: refuses what is in use */
	cr_assert_eq(disk_open(&options, &pair.uring.disk, &error), 0, "%s", error.text);
	snprintf(path, sizeof(path), "/dev/nvme%s", name);
	pair.uring.image.fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(pair.uring.image.fd, 0);
	cr_assert_eq(pwrite(pair.uring.image.fd, pair.model, DISK_BYTES, 0), (ssize_t)DISK_BYTES);
	cr_assert_eq(fsync(pair.uring.image.fd), 0);
	pair.uring.buffers = aligned_alloc(4096, LANES * BUFFER);
}

static void stream_on_namespace(const char *name, bool iopoll)
{
	open_namespace(name, iopoll);
	engine_side_open(&pair.plain, DISK_CACHE_WRITEBACK, false);
	pair.keep_discarded = true;
	pair.worker = test_worker("engine");
	cr_assert_eq(io_worker_call(pair.worker, add_nvme, NULL), 0);
	request_set_init(&pair.set);
	cr_assert_eq(disk_channel_init(
			     &pair.set.channel, pair.uring.disk, &pair.set.source, &nvme_files),
		0);
	disk_channel_use_sides(&pair.set.channel);
	cr_assert_eq(disk_sync_channel_init(&pair.channel, pair.plain.disk), 0);
	cr_assert_eq(io_worker_attach(pair.worker, &pair.set.source), 0);
	engine_pair_stream(0x7171717 + iopoll, 30);
	/* Commands so short that most requests take several, and most vectors are ragged. */
	pair.uring.disk->nvme->pages_max = 4;
	pair.uring.disk->nvme->bytes_max = 3 * 4096;
	engine_pair_stream(0x1717171 + iopoll, 40);
	cr_assert_gt(counter_read(&pair.set.channel.bounces), 0, "ragged vectors were there");
	cr_assert_eq(counter_read(&pair.set.channel.polled) > 0, iopoll);
	io_worker_detach(&pair.set.source);
	io_worker_call(pair.worker, remove_nvme, NULL);
	io_worker_destroy(pair.worker);
	disk_channel_deinit(&pair.set.channel);
	disk_channel_deinit(&pair.channel);
	disk_close(pair.uring.disk);
	close(pair.uring.image.fd);
	free(pair.uring.buffers);
	engine_side_close(&pair.plain);
}

Test(engine_nvme, random_streams)
{
	const char *name = getenv("FASTVMM_NVME");

	if (!name)
		cr_skip_test("FASTVMM_NVME names no NVMe namespace to write over");
	stream_on_namespace(name, false);
}

Test(engine_nvme, random_streams_with_polling)
{
	const char *name = getenv("FASTVMM_NVME");

	if (!name)
		cr_skip_test("FASTVMM_NVME names no NVMe namespace to write over");
	stream_on_namespace(name, true);
}
