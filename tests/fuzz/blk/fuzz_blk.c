/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest and the block device's data path with the plain engine on a small file in
 * memory. The input is a configuration and a program: requests of any type with any split of their
 * bytes over segments, bytes written anywhere in RAM, turns of the device. Checked is what must
 * hold whatever the guest does: the file keeps its size and, where the disk is read-only, its
 * content; every request that was taken is answered, once; what the used ring shows is no more than
 * what was made available; a queue that broke says so in the device's status; and no memory is
 * touched that is not the guest's (sanitizers).
 */
#include "fuzz_input.h"
#include "io/blk_queue.h"
#include "support/mock_driver.h"
#include "util/bytes.h"
#include "util/log.h"
#include "virtio/device.h"

#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM_BYTES    0x10000u
#define DISK_BYTES   0x8000u
#define QUEUE_SIZE   32u
#define SEGMENTS_MAX 40u
#define STEPS_MAX    512u

struct world {
	struct mock_guest guest;
	uint8_t *ram;
	struct virtqueue_layout layout;
	struct virtio_device device;
	struct virtqueue virtqueue;
	struct blk_queue queue;
	struct disk *disks[2]; /* writable, read-only */
	int file;
	uint64_t data; /* RAM that requests may use freely */
	uint16_t next_descriptor;
	uint16_t avail;
};

static struct world world;
static const _Atomic bool writethrough[2] = {false, true};
static const char serial[VIRTIO_BLK_ID_BYTES] = "fuzz";

static void config_read(struct virtio_device *device, uint32_t offset, void *data, uint32_t length)
{
	(void)device;
	(void)offset;
	memset(data, 0, length);
}

static void config_write(
	struct virtio_device *device, uint32_t offset, const void *data, uint32_t length)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)length;
}

static const struct virtio_device_ops device_ops = {
	.config_read = config_read,
	.config_write = config_write,
};

static void open_disk(bool readonly)
{
	char path[64];
	struct disk_options options = {
		.path = path, .cache = DISK_CACHE_UNSAFE, .readonly = readonly, .discard = true};

	snprintf(path, sizeof(path), "/proc/self/fd/%d", world.file);
	fuzz_require(!disk_open(&options, &world.disks[readonly], NULL));
}

/* The two disks are one file; the second lock would be refused, so the first is given back. */
static void open_disks(void)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	world.file = memfd_create("disk", MFD_CLOEXEC);
	fuzz_require(world.file >= 0 && !ftruncate(world.file, DISK_BYTES));
	open_disk(false);
	fuzz_require(!fcntl(world.disks[false]->fd, F_OFD_SETLK, &lock));
	open_disk(true);
}

static void set_up_once(void)
{
	if (world.ram)
		return;
	log_set_level(LOG_ERROR);
	mock_guest_init(&world.guest, RAM_BYTES);
	world.ram = mock_guest_pointer(&world.guest, MOCK_GUEST_BASE, RAM_BYTES);
	world.layout = (struct virtqueue_layout){
		.size = QUEUE_SIZE,
		.desc_gpa = MOCK_GUEST_BASE,
		.driver_gpa = MOCK_GUEST_BASE + 0x400,
		.device_gpa = MOCK_GUEST_BASE + 0x800,
		.indirect = true,
		.event_idx = true,
	};
	world.data = MOCK_GUEST_BASE + 0x1000;
	fuzz_require(!virtio_device_init(
		&world.device, &device_ops, world.guest.memory, 2, "fuzz", 1, QUEUE_SIZE, 0));
	open_disks();
}

static void start(struct fuzz_input *input)
{
	uint8_t flags = (uint8_t)fuzz_take(input, 1);
	bool readonly = flags & 1;
	struct blk_queue_setup setup = {
		.device = &world.device,
		.disk = world.disks[readonly],
		.writethrough = &writethrough[flags >> 1 & 1],
		.serial = serial,
		.seg_max = 1 + (flags >> 2 & 15),
		.merge = true,
		.sync = true,
	};
	struct blk_limits limits = {
		.block_sectors = flags & 64 ? 8 : 1,
		.max_segments = max_of(setup.seg_max, BLK_RANGES),
		.max_ranges = BLK_RANGES,
		.max_range = 48,
		.readonly = readonly,
		.discard = flags & 128,
		.write_zeroes = true,
	};

	memset(world.ram, 0, RAM_BYTES);
	world.device.status = 0;
	world.next_descriptor = world.avail = 0;
	fuzz_require(!ftruncate(world.file, 0) && !ftruncate(world.file, DISK_BYTES));
	fuzz_require(!virtqueue_start(&world.virtqueue, world.guest.memory, &world.layout));
	fuzz_require(!blk_queue_init(&world.queue, &setup, QUEUE_SIZE));
	blk_queue_start_sync(&world.queue, &world.virtqueue, &limits);
}

static void stop(void)
{
	blk_queue_deinit(&world.queue);
	virtqueue_stop(&world.virtqueue);
}

/* ---- the guest ---- */

static void put_descriptor(uint32_t table, uint16_t index, uint64_t gpa, uint32_t length,
	uint16_t flags, uint16_t next)
{
	uint8_t *at = &world.ram[table + 16u * index];

	put_le64(at, gpa);
	put_le32(at + 8, length);
	put_le16(at + 12, flags);
	put_le16(at + 14, next);
}

static void expose(uint16_t head)
{
	uint8_t *avail = &world.ram[0x400];

	put_le16(avail + 4 + 2 * (world.avail % QUEUE_SIZE), head);
	put_le16(avail + 2, ++world.avail);
}

/*
 * A request with segments of any length, in an indirect table at a place of its own. Each segment
 * is two bytes: its length (coarse), and whether writable comes next.
 */
static void add_request(struct fuzz_input *input)
{
	uint32_t type = (uint32_t)fuzz_take(input, 1);
	uint64_t sector = fuzz_take(input, 1);
	uint16_t slot = world.next_descriptor++ % QUEUE_SIZE;
	uint32_t table = 0x1000 + slot * SEGMENTS_MAX * 16;
	uint64_t gpa = world.data + 0x5400 + (uint64_t)slot * 64;
	uint16_t count = 0;
	bool writable = false;

	if (type & 0x40) /* an enormous sector: sums must not wrap */
		sector = UINT64_MAX - sector;
	put_le32(&world.ram[gpa - MOCK_GUEST_BASE], type & 0x1f);
	put_le64(&world.ram[gpa - MOCK_GUEST_BASE + 8], sector);
	while (count < SEGMENTS_MAX && fuzz_more(input)) {
		uint8_t step = (uint8_t)fuzz_take(input, 1);
		uint32_t length = step & 1 ? (step >> 3) * 512u : step >> 3;
		bool last = step & 4;

		writable = writable || step & 2;
		put_descriptor(table, count, gpa, length,
			(uint16_t)((writable ? VRING_DESC_F_WRITE : 0) |
				   (last ? 0 : VRING_DESC_F_NEXT)),
			(uint16_t)(count + 1));
		gpa += length;
		count++;
		if (last)
			break;
	}
	put_descriptor(0, slot, MOCK_GUEST_BASE + table, count * 16u, VRING_DESC_F_INDIRECT, 0);
	expose(slot);
}

/* A well-formed read, write, range operation, flush or identification. */
static void add_good_request(struct fuzz_input *input)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
		VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};
	uint8_t choice = (uint8_t)fuzz_take(input, 1);
	uint32_t type = types[choice % ARRAY_SIZE(types)];
	uint16_t slot = world.next_descriptor++ % QUEUE_SIZE;
	uint32_t table = 0x1000 + slot * SEGMENTS_MAX * 16;
	uint64_t gpa = world.data + 0x5400 + (uint64_t)slot * 64;
	bool ranges = type >= VIRTIO_BLK_T_DISCARD;
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	uint32_t length = ranges ? (1 + choice / 64) * 16 : (1 + choice / 32) * 512;

	put_le32(&world.ram[gpa - MOCK_GUEST_BASE], type);
	put_le64(&world.ram[gpa - MOCK_GUEST_BASE + 8], fuzz_take(input, 1));
	if (ranges) {
		put_le64(&world.ram[gpa - MOCK_GUEST_BASE + 16], fuzz_take(input, 1));
		put_le32(&world.ram[gpa - MOCK_GUEST_BASE + 24], (uint32_t)fuzz_take(input, 1));
		put_le32(&world.ram[gpa - MOCK_GUEST_BASE + 28], (uint32_t)fuzz_take(input, 1) & 3);
	}
	put_descriptor(table, 0, gpa, 16, VRING_DESC_F_NEXT, 1);
	put_descriptor(
		table, 1, gpa + 16, length, VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0), 2);
	put_descriptor(table, 2, MOCK_GUEST_BASE + 0xfff, 1, VRING_DESC_F_WRITE, 0);
	put_descriptor(0, slot, MOCK_GUEST_BASE + table, 48, VRING_DESC_F_INDIRECT, 0);
	expose(slot);
}

static void poke(struct fuzz_input *input)
{
	uint32_t offset = (uint32_t)fuzz_take(input, 2);
	uint16_t value = (uint16_t)fuzz_take(input, 2);

	put_le16(&world.ram[offset % (RAM_BYTES - 2)], value);
}

/* ---- what must hold ---- */

static void check_turn(void)
{
	struct stat status;

	blk_queue_turn_sync(&world.queue);
	fuzz_require(counter_read(&world.virtqueue.counters.pushed) <=
		     counter_read(&world.virtqueue.counters.popped));
	fuzz_require(world.queue.broken || world.virtqueue.in_flight == 0);
	fuzz_require(world.queue.slots.busy == 0); /* the plain engine leaves nothing in flight */
	fuzz_require(world.queue.slots.free_vector_count == 2 * QUEUE_SIZE);
	fuzz_require(!world.queue.broken || world.device.status & VIRTIO_STATUS_NEEDS_RESET);
	fuzz_require(!fstat(world.file, &status) && status.st_size == DISK_BYTES);
	if (world.queue.limits.readonly)
		fuzz_require(status.st_blocks == 0); /* all holes, as it was made */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .size = size};

	set_up_once();
	start(&input);
	for (unsigned step = 0; step < STEPS_MAX && fuzz_more(&input); step++) {
		uint8_t choice = (uint8_t)fuzz_take(&input, 1) % 8;

		if (choice < 3)
			add_request(&input);
		else if (choice < 5)
			add_good_request(&input);
		else if (choice < 6)
			poke(&input);
		else
			check_turn();
	}
	check_turn();
	stop();
	return 0;
}
