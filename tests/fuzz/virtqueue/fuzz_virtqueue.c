/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest and a worker on one ring. The input is a header that lays the ring out, then a
 * program of steps: the guest's (write descriptors, avail entries, indices, anything anywhere) and
 * the worker's (pop, load, push, publish, rearm, stop). Checked is what virtqueue.h promises
 * whatever the guest does: never more in flight than the queue holds, indices in range, iovecs
 * inside RAM, and no memory touched that is not the guest's (by the sanitizers).
 */
#include "fuzz_input.h"
#include "support/mock_driver.h"
#include "util/checked.h"
#include "virtio/virtqueue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define RAM_BYTES    0x8000u
#define SIZE_MAX_LOG 6
#define SIZE_LARGEST (1u << SIZE_MAX_LOG)
#define CAPACITY     24u
#define STEPS_MAX    4096u

/* Where the areas usually are; the header may move them. */
#define DESC_OFFSET   0x0000u
#define DRIVER_OFFSET 0x1000u
#define DEVICE_OFFSET 0x1400u
#define TABLE_OFFSET  0x2000u

struct world {
	struct mock_guest guest;
	uint8_t *ram;
	struct virtqueue queue;
	struct virtqueue_layout layout;
	struct virtqueue_entry entries[SIZE_LARGEST]; /* in flight, in pop order */
	unsigned count;
	unsigned last_batch;
};

static struct world world;

static void set_up(struct fuzz_input *input)
{
	uint8_t flags = (uint8_t)fuzz_take(input, 1);
	uint8_t size = (uint8_t)fuzz_take(input, 1);
	uint8_t shift = (uint8_t)fuzz_take(input, 1);

	if (!world.guest.memory) {
		mock_guest_init(&world.guest, RAM_BYTES);
		world.ram = mock_guest_pointer(&world.guest, MOCK_GUEST_BASE, RAM_BYTES);
	}
	memset(world.ram, 0, RAM_BYTES);
	world.layout = (struct virtqueue_layout){
		.packed = flags & 1,
		.event_idx = flags & 2,
		.indirect = flags & 4,
		.in_order = flags & 8,
		.size = flags & 1 ? size % (SIZE_LARGEST + 1) : 1u << size % (SIZE_MAX_LOG + 1),
		.desc_gpa = MOCK_GUEST_BASE + DESC_OFFSET,
		.driver_gpa = MOCK_GUEST_BASE + DRIVER_OFFSET,
		.device_gpa = MOCK_GUEST_BASE + DEVICE_OFFSET,
	};
	if (flags & 16) /* areas that lie oddly, or over each other */
		world.layout.driver_gpa += (uint64_t)shift * 0x80 - 0x1000;
	if (flags & 32)
		world.layout.device_gpa = MOCK_GUEST_BASE + (uint64_t)shift * 0x81;
	if (flags & 64)
		world.layout.desc_gpa = MOCK_GUEST_BASE + RAM_BYTES - 16u * shift;
}

static bool start(void)
{
	world.count = world.last_batch = 0;
	return !virtqueue_start(&world.queue, world.guest.memory, &world.layout);
}

/* ---- the guest ---- */

/* A descriptor whose address is mostly in RAM: offset, length, flags and next in 7 bytes. */
static void write_descriptor(struct fuzz_input *input, uint32_t offset)
{
	uint64_t address = MOCK_GUEST_BASE + fuzz_take(input, 2);
	uint16_t length = (uint16_t)fuzz_take(input, 2);
	uint8_t flags = (uint8_t)fuzz_take(input, 1);
	uint16_t last = (uint16_t)fuzz_take(input, 2);
	uint8_t *at = &world.ram[offset % (RAM_BYTES - 16)];
	uint16_t all = flags & 7;

	if (flags & 8)
		address = MOCK_GUEST_HIGH + (address & 0xffff);
	if (flags & 16)
		address ^= 1ull << (flags >> 5) * 9;
	if (world.layout.packed) /* the flags' place differs, and AVAIL and USED are in them */
		all |= (uint16_t)((flags & 32 ? 1u << 7 : 0) | (flags & 64 ? 1u << 15 : 0));
	memcpy(at, &address, 8);
	memcpy(at + 8, &(uint32_t){length}, 4);
	memcpy(at + 12, world.layout.packed ? &last : &all, 2);
	memcpy(at + 14, world.layout.packed ? &all : &last, 2);
}

static void write_avail(struct fuzz_input *input)
{
	uint8_t *at = &world.ram[(world.layout.driver_gpa - MOCK_GUEST_BASE) % (RAM_BYTES - 0x400)];
	uint16_t head = (uint16_t)fuzz_take(input, 1);
	uint16_t index;

	memcpy(&index, at + 2, 2);
	memcpy(at + 4 + 2 * (index % SIZE_LARGEST % world.layout.size), &head, 2);
	index++;
	memcpy(at + 2, &index, 2);
}

static void guest_step(struct fuzz_input *input, uint8_t step)
{
	uint32_t slot = (uint32_t)fuzz_take(input, 1);

	switch (step) {
	case 0:
		write_descriptor(input, DESC_OFFSET + slot % SIZE_LARGEST * 16);
		break;
	case 1:
		write_descriptor(input, TABLE_OFFSET + slot * 16);
		break;
	case 2:
		if (!world.layout.packed)
			write_avail(input);
		break;
	case 3: { /* any two bytes: indices, flags, events */
		uint16_t value = (uint16_t)fuzz_take(input, 2);

		memcpy(&world.ram[(DRIVER_OFFSET + 2 * slot) % (RAM_BYTES - 2)], &value, 2);
		break;
	}
	default: { /* a packed slot's flags, or whatever is there */
		uint16_t value = (uint16_t)fuzz_take(input, 2);

		memcpy(&world.ram[slot % SIZE_LARGEST * 16 + 14], &value, 2);
	}
	}
}

/* ---- the worker ---- */

static unsigned slots_in_flight(void)
{
	unsigned slots = 0;

	for (unsigned i = 0; i < world.count; i++)
		slots += world.entries[i].descriptors;
	return slots;
}

static void pop(unsigned max)
{
	struct virtqueue_entry batch[SIZE_LARGEST];
	int count = virtqueue_pop_batch(&world.queue, batch, min_of(max, SIZE_LARGEST));

	if (count < 0) {
		fuzz_require(count == -EPROTO);
		return;
	}
	fuzz_require((unsigned)count <= max && world.count + (unsigned)count <= world.layout.size);
	for (int i = 0; i < count; i++) {
		fuzz_require(batch[i].head < world.layout.size && batch[i].id < world.layout.size);
		fuzz_require(batch[i].descriptors >= 1);
		world.entries[world.count++] = batch[i];
	}
	fuzz_require(slots_in_flight() <= world.layout.size);
	world.last_batch = (unsigned)count;
}

/* Inside one of the two regions, and not empty. */
static void check_segment(const struct iovec *segment)
{
	bool inside = false;

	for (size_t i = 0; i < guest_memory_region_count(world.guest.memory); i++) {
		const struct guest_memory_region *region =
			guest_memory_region(world.guest.memory, i);
		uint64_t offset = (uint64_t)((char *)segment->iov_base - (char *)region->host);

		inside |= range_within(offset, segment->iov_len, region->size);
	}
	fuzz_require(inside && segment->iov_len);
}

static void load(unsigned index, unsigned capacity)
{
	struct iovec iov[CAPACITY];
	struct virtqueue_chain chain = {.iov = iov, .capacity = 1 + capacity % CAPACITY};
	uint64_t bytes = 0;
	unsigned segments;
	int result;

	if (!world.count)
		return;
	memset(iov, 0, sizeof(iov));
	result = virtqueue_load_chain(&world.queue, &world.entries[index % world.count], &chain);
	fuzz_require(result == 0 || result == -EPROTO || result == -E2BIG);
	if (result == -EPROTO)
		return;
	segments = chain.readable + chain.writable;
	fuzz_require(segments && (result == -E2BIG) == (segments > chain.capacity));
	for (unsigned i = 0; i < min_of(segments, chain.capacity); i++) {
		check_segment(&iov[i]);
		bytes += iov[i].iov_len;
	}
	fuzz_require(result || bytes == chain.readable_bytes + chain.writable_bytes);
}

static void push(unsigned index, uint32_t written)
{
	if (!world.count)
		return;
	index %= world.count;
	virtqueue_push(&world.queue, &world.entries[index], written);
	memmove(&world.entries[index], &world.entries[index + 1],
		(--world.count - index) * sizeof(world.entries[0]));
	world.last_batch = 0;
}

static void unpop(unsigned wanted)
{
	unsigned count = min_of(wanted, world.last_batch);

	virtqueue_unpop(&world.queue, &world.entries[world.count - count], count);
	world.count -= count;
	world.last_batch = 0;
}

static void worker_step(struct fuzz_input *input, uint8_t step)
{
	uint8_t argument = (uint8_t)fuzz_take(input, 1);

	switch (step) {
	case 0:
		pop(argument % 40);
		break;
	case 1:
		load(argument, argument / 7);
		break;
	case 2:
		push(argument, argument);
		break;
	case 3:
		if (virtqueue_publish(&world.queue) && argument & 1)
			virtqueue_need_interrupt(&world.queue);
		break;
	case 4:
		if (virtqueue_rearm(&world.queue))
			fuzz_require(virtqueue_has_work(&world.queue));
		break;
	case 5:
		virtqueue_disarm(&world.queue);
		break;
	case 6:
		unpop(argument);
		break;
	default:
		if (argument == 0xff) {
			virtqueue_stop(&world.queue);
			fuzz_require(virtqueue_pop_batch(&world.queue, world.entries, 1) == 0);
			start();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .size = size};

	set_up(&input);
	if (!start())
		return 0;
	for (unsigned i = 0; fuzz_more(&input) && i < STEPS_MAX; i++) {
		uint8_t step = (uint8_t)fuzz_take(&input, 1);

		if (step & 0x80)
			worker_step(&input, step & 7);
		else
			guest_step(&input, step % 5);
		fuzz_require(world.queue.in_flight <= world.layout.size);
	}
	virtqueue_stop(&world.queue);
	return 0;
}
