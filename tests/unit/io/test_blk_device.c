/* SPDX-License-Identifier: Apache-2.0 */
/* What a well-behaved driver sees: configuration, every request type, modes, capacity. */
#include "fixture.h"
#include "util/error.h"
#include "util/fd.h"
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct blk_rig rig;

static void begin(struct blk_rig_options options)
{
	blk_rig_init(&rig, &options);
}

/* SQEs so far, with the ones that attaching the queue took behind us. The worker's own, to be told of
 * kicks, may come at any time. */
static uint64_t settled_sqes(void)
{
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	return worker_stat(rig.workers[0], "sqes");
}

static void end(void)
{
	blk_rig_deinit(&rig);
}

TestSuite(blk_device, .timeout = 120);

/* ---- configuration ---- */

static struct virtio_blk_config read_config(void)
{
	struct virtio_blk_config config;

	virtio_device_config_read(
		blk_device_virtio(rig.device), 0, &config, (uint32_t)sizeof(config));
	return config;
}

static bool offered(unsigned feature)
{
	return blk_device_virtio(rig.device)->features_offered >> feature & 1;
}

Test(blk_device, configuration_of_a_plain_disk)
{
	struct virtio_blk_config config;

	begin((struct blk_rig_options){.queues = 3, .queue_size = 128});
	config = read_config();
	cr_assert_eq(config.capacity, 8 * MIB / 512);
	cr_assert_eq(config.seg_max, 126);
	cr_assert_eq(config.blk_size, 512);
	cr_assert_eq(config.num_queues, 3);
	cr_assert_eq(config.wce, 1);
	cr_assert_eq(
		512u << config.physical_block_exp, blk_device_disk(rig.device)->physical_block);
	cr_assert_gt(config.max_discard_sectors, 0);
	cr_assert_gt(config.max_discard_seg, 0);
	cr_assert_gt(config.max_write_zeroes_seg, 0);
	cr_assert_eq(config.write_zeroes_may_unmap, 1);
	cr_assert(offered(VIRTIO_BLK_F_SEG_MAX) && offered(VIRTIO_BLK_F_BLK_SIZE));
	cr_assert(offered(VIRTIO_BLK_F_TOPOLOGY) && offered(VIRTIO_BLK_F_FLUSH));
	cr_assert(offered(VIRTIO_BLK_F_MQ) && offered(VIRTIO_BLK_F_CONFIG_WCE));
	cr_assert(offered(VIRTIO_BLK_F_DISCARD) && offered(VIRTIO_BLK_F_WRITE_ZEROES));
	cr_assert(!offered(VIRTIO_BLK_F_RO) && !offered(VIRTIO_BLK_F_SIZE_MAX));
	end();
}

Test(blk_device, configuration_read_in_pieces_and_beyond)
{
	struct virtio_blk_config config;
	unsigned char bytes[256];

	begin((struct blk_rig_options){0});
	config = read_config();
	for (uint32_t at = 0; at < sizeof(bytes); at++) {
		bytes[at] = 0xee;
		virtio_device_config_read(blk_device_virtio(rig.device), at, &bytes[at], 1);
	}
	cr_assert_eq(memcmp(bytes, &config, sizeof(config)), 0);
	for (uint32_t at = sizeof(config); at < sizeof(bytes); at++)
		cr_assert_eq(bytes[at], 0);
	virtio_device_config_read(blk_device_virtio(rig.device), UINT32_MAX - 1, bytes, 2);
	cr_assert_eq(bytes[0] | bytes[1], 0);
	end();
}

Test(blk_device, readonly_disk)
{
	begin((struct blk_rig_options){.readonly = true, .seed = 3});
	cr_assert(offered(VIRTIO_BLK_F_RO));
	cr_assert(!offered(VIRTIO_BLK_F_DISCARD) && !offered(VIRTIO_BLK_F_WRITE_ZEROES));
	cr_assert(!offered(VIRTIO_BLK_F_CONFIG_WCE));
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 4096), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_ERRORS), 3);
	end();
}

Test(blk_device, discard_switched_off)
{
	begin((struct blk_rig_options){.no_discard = true});
	cr_assert(!offered(VIRTIO_BLK_F_DISCARD) && offered(VIRTIO_BLK_F_WRITE_ZEROES));
	cr_assert_eq(read_config().write_zeroes_may_unmap, 0);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	end();
}

static void bad_config(unsigned queues, uint16_t queue_size, const char *text)
{
	struct io_worker *worker = test_worker("bad");
	struct blk_config config = {.name = "d", .queues = queues, .queue_size = queue_size};
	struct error error = ERROR_INIT;
	struct blk_device *device = NULL;
	struct mock_guest guest;
	struct image image;

	image_init(&image, MIB, 0);
	mock_guest_init(&guest, MIB);
	config.path = image.path;
	cr_assert_eq(
		blk_device_create(&config, guest.memory, &worker, 1, &device, &error), -EINVAL);
	cr_assert_null(device);
	cr_assert_not_null(strstr(error.text, text), "%s", error.text);
	mock_guest_deinit(&guest);
	image_deinit(&image);
	io_worker_destroy(worker);
}

Test(blk_device, options_out_of_range)
{
	bad_config(0, 64, "queues=0");
	bad_config(BLK_QUEUES_MAX + 1, 64, "queues=129");
	bad_config(1, 65, "queue-size=65");
	bad_config(1, 2048, "queue-size=2048");
	bad_config(1, 1, "queue-size=1");
}

/* ---- requests ---- */

static void check_read_write(enum disk_cache cache, bool fixed)
{
	unsigned char want[65536];

	begin((struct blk_rig_options){.seed = 7, .cache = cache, .fixed_buffers = fixed});
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 24, 65536), VIRTIO_BLK_S_OK);
	image_pattern(want, 24 * 512, sizeof(want), 7);
	cr_assert_eq(memcmp(rig_data(&rig), want, sizeof(want)), 0);
	image_pattern(rig_data(&rig), 0, 65536, 8);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 100, 65536), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(rig.image.fd, want, sizeof(want), 100 * 512), (ssize_t)sizeof(want));
	cr_assert_eq(memcmp(rig_data(&rig), want, sizeof(want)), 0);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_READS), 1);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_WRITES), 1);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_READ_BYTES), 65536);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_WRITE_BYTES), 65536);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_ERRORS), 0);
	end();
}

Test(blk_device, read_and_write_through_the_page_cache)
{
	check_read_write(DISK_CACHE_WRITEBACK, false);
}

Test(blk_device, read_and_write_direct)
{
	check_read_write(DISK_CACHE_NONE, false);
}

Test(blk_device, read_and_write_with_registered_memory)
{
	check_read_write(DISK_CACHE_WRITEBACK, true);
	check_read_write(DISK_CACHE_NONE, true);
}

Test(blk_device, direct_with_buffers_at_odd_addresses)
{
	unsigned char want[8192];

	begin((struct blk_rig_options){.seed = 7, .cache = DISK_CACHE_NONE});
	if (!blk_device_disk(rig.device)->direct) {
		end();
		cr_skip_test("/var/tmp takes no direct I/O");
	}
	for (uint32_t shift = 1; shift < 512; shift += 73) {
		cr_assert_eq(
			rig_request_at(&rig, VIRTIO_BLK_T_IN, 16, shift, 8192), VIRTIO_BLK_S_OK);
		image_pattern(want, 16 * 512, sizeof(want), 7);
		cr_assert_eq(memcmp((char *)rig_data(&rig) + shift, want, sizeof(want)), 0);
		image_pattern((char *)rig_data(&rig) + shift, shift * 8, 8192, 8);
		cr_assert_eq(
			rig_request_at(&rig, VIRTIO_BLK_T_OUT, 64, shift, 8192), VIRTIO_BLK_S_OK);
		cr_assert_eq(
			pread(rig.image.fd, want, sizeof(want), 64 * 512), (ssize_t)sizeof(want));
		cr_assert_eq(memcmp((char *)rig_data(&rig) + shift, want, sizeof(want)), 0);
	}
	cr_assert_gt(rig_stat(&rig, 0, BLK_STAT_BOUNCES), 0);
	end();
}

static void check_vectors(bool fixed)
{
	struct mock_segment segments[42];
	uint32_t written;
	unsigned char want[40 * 1024];

	begin((struct blk_rig_options){
		.seed = 9, .cache = DISK_CACHE_WRITEBACK, .fixed_buffers = fixed});
	segments[0] = (struct mock_segment){.gpa = rig.header, .length = 16};
	for (unsigned i = 0; i < 40; i++)
		segments[1 + i] = (struct mock_segment){
			.gpa = rig.data + (39 - i) * 2048, .length = 1024, .writable = true};
	segments[41] = (struct mock_segment){.gpa = rig.status, .length = 1, .writable = true};
	*rig_header(&rig) = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN, .sector = 10};
	cr_assert_eq(
		mock_driver_request(&rig.driver, 0, segments, 42, RIG_TIMEOUT_MS, &written), 0);
	cr_assert_eq(*rig_status(&rig), VIRTIO_BLK_S_OK);
	image_pattern(want, 5120, sizeof(want), 9);
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(
			memcmp((char *)rig_data(&rig) + (39 - i) * 2048, want + i * 1024, 1024), 0);
	end();
}

Test(blk_device, forty_segments)
{
	check_vectors(false);
}

Test(blk_device, forty_segments_in_registered_memory)
{
	check_vectors(true);
}

/* One request at a time, from the page cache: a plain call that may not block, not the ring. */
Test(blk_device, lone_reads_spare_the_ring)
{
	unsigned char want[4096];
	uint64_t sqes, calls;

	begin((struct blk_rig_options){.seed = 6, .cache = DISK_CACHE_WRITEBACK});
	sqes = settled_sqes();
	calls = worker_stat(rig.workers[0], "other_syscalls");
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, i * 8, 4096), VIRTIO_BLK_S_OK);
		image_pattern(want, i * 4096, sizeof(want), 6);
		cr_assert_eq(memcmp(rig_data(&rig), want, sizeof(want)), 0);
	}
	cr_assert_lt(worker_stat(rig.workers[0], "sqes"), sqes + 10);
	cr_assert_eq(worker_stat(rig.workers[0], "other_syscalls"), calls + 10);
	end();
}

Test(blk_device, what_the_host_does_not_hold_comes_by_the_ring)
{
	unsigned char want[4096];
	uint64_t sqes;

	begin((struct blk_rig_options){.seed = 6, .cache = DISK_CACHE_WRITEBACK});
	cr_assert_eq(fsync(rig.image.fd), 0);
	posix_fadvise(rig.image.fd, 0, 0, POSIX_FADV_RANDOM);
	sqes = settled_sqes();
	for (unsigned i = 0; i < 40; i++) {
		uint64_t sector = (uint64_t)(i * 37 % 64) * 256;

		posix_fadvise(rig.image.fd, 0, 0, POSIX_FADV_DONTNEED);
		cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, sector, 4096), VIRTIO_BLK_S_OK);
		image_pattern(want, sector * 512, sizeof(want), 6);
		cr_assert_eq(memcmp(rig_data(&rig), want, sizeof(want)), 0);
	}
	sqes = worker_stat(rig.workers[0], "sqes") - sqes;
	end();
	if (!sqes)
		cr_skip_test("this host does not drop its cache");
}

Test(blk_device, a_lone_read_across_the_end_of_a_truncated_file)
{
	unsigned char want[4096];

	begin((struct blk_rig_options){.seed = 6, .cache = DISK_CACHE_WRITEBACK});
	cr_assert_eq(ftruncate(rig.image.fd, MIB + 1000), 0);
	memset(rig_data(&rig), 0xaa, 4096);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, MIB / 512, 4096), VIRTIO_BLK_S_OK);
	image_pattern(want, MIB, 1000, 6);
	memset(want + 1000, 0, sizeof(want) - 1000);
	cr_assert_eq(memcmp(rig_data(&rig), want, sizeof(want)), 0);
	end();
}

Test(blk_device, get_id)
{
	begin((struct blk_rig_options){.serial = "serial-number-of-21-ch"});
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	cr_assert_eq(memcmp(rig_data(&rig), "serial-number-of-21-", 20), 0);
	end();
	begin((struct blk_rig_options){0});
	memset(rig_data(&rig), 0xff, 32);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 32), VIRTIO_BLK_S_OK);
	cr_assert_eq(memcmp(rig_data(&rig), "disk0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff", 22), 0);
	end();
}

Test(blk_device, flush_goes_to_the_host)
{
	uint64_t sqes;

	begin((struct blk_rig_options){.cache = DISK_CACHE_WRITEBACK});
	sqes = settled_sqes();
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	cr_assert_gt(worker_stat(rig.workers[0], "sqes"), sqes, "an fdatasync");
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_FLUSHES), 1);
	end();
}

Test(blk_device, discard_gives_blocks_back)
{
	struct stat before, after;

	begin((struct blk_rig_options){.seed = 1});
	fsync(rig.image.fd);
	cr_assert_eq(fstat(rig.image.fd, &before), 0);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_DISCARD, 2048, 8192, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(fstat(rig.image.fd, &after), 0);
	cr_assert_leq(after.st_blocks, before.st_blocks - 8192 + 64);
	cr_assert_eq(after.st_size, before.st_size);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_DISCARDS), 1);
	end();
}

static void check_zeroed(uint64_t sector, uint64_t sectors)
{
	static unsigned char want[8 * MIB], got[8 * MIB];

	image_pattern(want, 0, sizeof(want), 1);
	memset(want + sector * 512, 0, sectors * 512);
	cr_assert_eq(pread(rig.image.fd, got, sizeof(got), 0), (ssize_t)sizeof(got));
	cr_assert_eq(memcmp(want, got, sizeof(want)), 0);
}

Test(blk_device, write_zeroes)
{
	struct stat before, after;

	begin((struct blk_rig_options){.seed = 1});
	fsync(rig.image.fd);
	fstat(rig.image.fd, &before);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 1001, 6007, 0), VIRTIO_BLK_S_OK);
	check_zeroed(1001, 6007);
	fstat(rig.image.fd, &after);
	cr_assert_geq(after.st_blocks, before.st_blocks, "without unmap the space stays allocated");
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 1001, 6007,
			     VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
		VIRTIO_BLK_S_OK);
	check_zeroed(1001, 6007);
	fstat(rig.image.fd, &after);
	cr_assert_lt(after.st_blocks, before.st_blocks - 5000, "with unmap it is given back");
	end();
}

Test(blk_device, many_ranges_in_one_request)
{
	static unsigned char want[8 * MIB], got[8 * MIB];
	struct virtio_blk_discard_write_zeroes ranges[32];

	begin((struct blk_rig_options){.seed = 1});
	image_pattern(want, 0, sizeof(want), 1);
	for (unsigned i = 0; i < 32; i++) {
		ranges[i] = (struct virtio_blk_discard_write_zeroes){
			.sector = i * 100 + 3, .num_sectors = i, .flags = i & 1};
		memset(want + (i * 100 + 3) * 512, 0, i * 512);
	}
	memcpy(rig_data(&rig), ranges, sizeof(ranges));
	cr_assert_eq(
		rig_request(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(ranges)), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(rig.image.fd, got, sizeof(got), 0), (ssize_t)sizeof(got));
	cr_assert_eq(memcmp(want, got, sizeof(want)), 0);
	end();
}

Test(blk_device, reads_of_a_truncated_file)
{
	begin((struct blk_rig_options){.seed = 1});
	cr_assert_eq(ftruncate(rig.image.fd, MIB), 0);
	memset(rig_data(&rig), 0xaa, 8192);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, MIB / 512 + 8, 8192), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 8192; i++)
		cr_assert_eq(((char *)rig_data(&rig))[i], 0);
	end();
}

/* ---- write-back mode ---- */

static void set_wce(uint8_t value)
{
	virtio_device_config_write(
		blk_device_virtio(rig.device), offsetof(struct virtio_blk_config, wce), &value, 1);
}

Test(blk_device, the_driver_switches_the_write_cache)
{
	uint64_t before;

	begin((struct blk_rig_options){.cache = DISK_CACHE_WRITEBACK});
	set_wce(0);
	cr_assert_eq(read_config().wce, 0);
	before = rig_stat(&rig, 0, BLK_STAT_RESUBMITS);
	/* A range operation needs a second SQE to be durable, which can be counted. */
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_RESUBMITS), before + 1);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 4096), VIRTIO_BLK_S_OK);
	set_wce(1);
	cr_assert_eq(read_config().wce, 1);
	before = rig_stat(&rig, 0, BLK_STAT_RESUBMITS);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_RESUBMITS), before);
	end();
}

Test(blk_device, without_flush_every_write_is_durable)
{
	uint64_t before;

	begin((struct blk_rig_options){.cache = DISK_CACHE_WRITEBACK,
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_WRITE_ZEROES});
	set_wce(1); /* not accepted, so not writable and without effect */
	before = rig_stat(&rig, 0, BLK_STAT_RESUBMITS);
	cr_assert_eq(rig_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
	cr_assert_eq(rig_stat(&rig, 0, BLK_STAT_RESUBMITS), before + 1);
	end();
}

Test(blk_device, only_the_write_cache_is_writable)
{
	struct virtio_blk_config before, junk, after;

	begin((struct blk_rig_options){0});
	before = read_config();
	memset(&junk, 0xff, sizeof(junk));
	virtio_device_config_write(blk_device_virtio(rig.device), 0, &junk, sizeof(junk));
	after = read_config();
	cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0, "wce was 1 before too");
	end();
}

/* ---- capacity ---- */

Test(blk_device, capacity_follows_the_file)
{
	struct virtio_device *virtio;
	uint32_t generation;

	begin((struct blk_rig_options){0});
	virtio = blk_device_virtio(rig.device);
	generation = virtio_device_config_generation(virtio);
	cr_assert_eq(blk_device_refresh_capacity(rig.device), 0);
	cr_assert(!fd_is_signalled(virtio->config_call_fd));
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 8 * MIB / 512, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(ftruncate(rig.image.fd, 9 * MIB), 0);
	cr_assert_eq(blk_device_refresh_capacity(rig.device), 1);
	cr_assert(fd_drain(virtio->config_call_fd), "a configuration interrupt");
	cr_assert_neq(virtio_device_config_generation(virtio), generation);
	cr_assert_eq(read_config().capacity, 9 * MIB / 512);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 8 * MIB / 512, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(ftruncate(rig.image.fd, MIB), 0);
	cr_assert_eq(blk_device_refresh_capacity(rig.device), 1);
	cr_assert_eq(rig_request(&rig, VIRTIO_BLK_T_IN, MIB / 512, 512), VIRTIO_BLK_S_IOERR);
	end();
}
