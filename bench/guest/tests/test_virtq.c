/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's rings against a device written here from the specification, on the host: split and
 * packed, direct and indirect, EVENT_IDX, and IN_ORDER with batches, which no QEMU of today offers.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "finish.h"
#include "memory.h"
#include "random.h"
#include "virtq.h"

#define SIZE        16
#define F_INDIRECT  (1ull << 28)
#define F_EVENT_IDX (1ull << 29)
#define F_PACKED    (1ull << 34)
#define F_IN_ORDER  (1ull << 35)

/* What the rings call of the guest. */
static void *kept[4096]; /* the guest never frees; here it is done at the end */
static unsigned kept_count;

static void free_kept(void)
{
	while (kept_count)
		free(kept[--kept_count]);
}

void *memory_allocate(size_t size, size_t alignment)
{
	void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);

	cr_assert_not_null(memory);
	cr_assert_lt(kept_count, 4096);
	if (kept_count == 0)
		atexit(free_kept);
	kept[kept_count++] = memory;
	return memset(memory, 0, size);
}

void finish_fail(const char *format, ...)
{
	fprintf(stderr, "finish_fail: %s\n", format);
	abort();
}

unsigned virtio_pci_route(struct virtio_device *device, unsigned queue, unsigned cpu)
{
	(void)device;
	(void)queue;
	(void)cpu;
	return 0;
}

/* A request as the device saw it. */
struct seen {
	uint16_t id; /* split: head; packed: buffer ID */
	uint16_t entries;
	unsigned out, in;
	uint64_t address[8];
	uint32_t length[8];
};

struct device {
	struct virtio_common common;
	uint16_t doorbell[SIZE];
	struct virtio_device device;
	struct virtq ring;
	uint16_t avail, used; /* split: free-running; packed: positions */
	bool avail_wrap, used_wrap;
};

static uint64_t area(const struct device *d, unsigned which)
{
	return d->ring.ring_address[which];
}

static void open_device(struct device *d, uint64_t features)
{
	*d = (struct device){.avail_wrap = true, .used_wrap = true};
	d->common.queue_size = SIZE;
	d->device.common = &d->common;
	d->device.notify = (volatile uint8_t *)d->doorbell;
	d->device.notify_length = sizeof(d->doorbell);
	d->device.features = features;
	virtq_create(&d->ring, &d->device, 0, 0, true, 0);
	cr_assert_eq(d->common.queue_enable, 1);
	cr_assert_eq(d->common.queue_desc_low, (uint32_t)area(d, 0));
}

static void see(struct seen *seen, uint64_t address, uint32_t length, bool writable)
{
	unsigned at = seen->out + seen->in;

	seen->address[at] = address;
	seen->length[at] = length;
	if (writable)
		seen->in++;
	else
		seen->out++;
}

static bool split_pop(struct device *d, struct seen *seen)
{
	const uint16_t *avail = (const uint16_t *)area(d, 1);
	const struct virtq_descriptor *table = (const struct virtq_descriptor *)area(d, 0);
	uint16_t at;

	if (avail[1] == d->avail)
		return false;
	*seen = (struct seen){.id = avail[2 + d->avail++ % SIZE]};
	at = seen->id;
	if (table[at].flags & 4) {
		table = (const struct virtq_descriptor *)table[at].address;
		at = 0;
	}
	for (;; at = table[at].next) {
		see(seen, table[at].address, table[at].length, table[at].flags & 2);
		seen->entries++;
		if (!(table[at].flags & 1))
			return true;
	}
}

static bool packed_available(const struct device *d, uint16_t at, bool wrap)
{
	uint16_t flags = ((const struct virtq_packed_descriptor *)area(d, 0))[at].flags;

	return !!(flags & 1 << 7) == wrap && !!(flags & 1 << 15) != wrap;
}

static bool packed_pop(struct device *d, struct seen *seen)
{
	const struct virtq_packed_descriptor *ring = (const void *)area(d, 0);

	if (!packed_available(d, d->avail, d->avail_wrap))
		return false;
	*seen = (struct seen){0};
	for (;;) {
		const struct virtq_packed_descriptor *entry = &ring[d->avail];

		cr_assert(packed_available(d, d->avail, d->avail_wrap));
		if (++d->avail == SIZE) {
			d->avail = 0;
			d->avail_wrap = !d->avail_wrap;
		}
		seen->entries++;
		seen->id = entry->id;
		if (entry->flags & 4) {
			const struct virtq_packed_descriptor *table = (const void *)entry->address;

			for (uint32_t i = 0; i < entry->length / 16; i++)
				see(seen, table[i].address, table[i].length, table[i].flags & 2);
			return true;
		}
		see(seen, entry->address, entry->length, entry->flags & 2);
		if (!(entry->flags & 1))
			return true;
	}
}

static bool pop(struct device *d, struct seen *seen)
{
	return d->ring.is_packed ? packed_pop(d, seen) : split_pop(d, seen);
}

/* Writes one used entry for the last of `count` requests, and goes `count` requests on. */
static void push(struct device *d, const struct seen *batch, unsigned count, uint32_t length)
{
	const struct seen *last = &batch[count - 1];
	uint16_t *used = (uint16_t *)area(d, 2), entries = 0;
	struct virtq_packed_descriptor *ring = (void *)area(d, 0);

	for (unsigned i = 0; i < count; i++)
		entries += batch[i].entries;
	if (!d->ring.is_packed) {
		uint32_t *entry = (uint32_t *)(used + 2) + 2 * (d->used % SIZE);

		entry[0] = last->id;
		entry[1] = length;
		d->used += (uint16_t)count;
		used[1] = d->used;
		return;
	}
	ring[d->used].id = last->id;
	ring[d->used].length = length;
	ring[d->used].flags = (uint16_t)(d->used_wrap ? 1 << 7 | 1 << 15 : 0);
	d->used += entries;
	if (d->used >= SIZE) {
		d->used -= SIZE;
		d->used_wrap = !d->used_wrap;
	}
}

static bool add(struct device *d, uint16_t slot, unsigned out, unsigned in)
{
	struct virtq_segment segments[8];

	for (unsigned i = 0; i < out + in; i++)
		segments[i] = (struct virtq_segment){0x1000u * slot + i, 100 + i};
	return virtq_add(&d->ring, segments, out, in, slot);
}

static void check_seen(const struct seen *seen, uint16_t slot, unsigned out, unsigned in)
{
	cr_assert_eq(seen->out, out);
	cr_assert_eq(seen->in, in);
	for (unsigned i = 0; i < out + in; i++) {
		cr_assert_eq(seen->address[i], 0x1000u * slot + i);
		cr_assert_eq(seen->length[i], 100 + i);
	}
}

/* Many rounds of random requests, served out of order (or in batches, in order), all checked. */
static void exercise(uint64_t features)
{
	struct device d;
	struct random random;
	struct seen waiting[SIZE];
	unsigned waiting_count = 0, shape[SIZE] = {0};
	uint16_t order[SIZE], in_flight = 0;
	bool busy[SIZE] = {false};

	open_device(&d, features);
	random_init(&random, features);
	for (unsigned round = 0; round < 20000; round++) {
		uint16_t slot = (uint16_t)random_below(&random, SIZE), taken;
		unsigned out = 1 + (unsigned)random_below(&random, 2),
			 in = (unsigned)random_below(&random, 3);
		uint32_t length;

		if (!busy[slot] && add(&d, slot, out, in)) {
			busy[slot] = true;
			shape[slot] = out * 8 + in;
			order[in_flight++] = slot;
			virtq_publish(&d.ring);
			cr_assert(pop(&d, &waiting[waiting_count]));
			check_seen(&waiting[waiting_count++], slot, out, in);
		}
		if (waiting_count == 0 || random_below(&random, 3))
			continue;
		if (features & F_IN_ORDER) {
			unsigned count = 1 + (unsigned)random_below(&random, waiting_count);

			push(&d, waiting, count, 55);
			waiting_count -= count;
			memmove(waiting, waiting + count, waiting_count * sizeof(*waiting));
			for (unsigned i = 0; i < count; i++) {
				cr_assert(virtq_take(&d.ring, &taken, &length));
				cr_assert_eq(taken, order[i]);
				cr_assert_eq(length, i + 1 == count ? 55 : UINT32_MAX);
				busy[taken] = false;
			}
			in_flight -= (uint16_t)count;
			memmove(order, order + count, in_flight * sizeof(*order));
		} else {
			unsigned which = (unsigned)random_below(&random, waiting_count);

			push(&d, &waiting[which], 1, round);
			cr_assert(virtq_take(&d.ring, &taken, &length));
			cr_assert_eq(length, round);
			cr_assert(busy[taken]);
			cr_assert_eq(waiting[which].out * 8 + waiting[which].in, shape[taken]);
			cr_assert_eq(waiting[which].address[0], 0x1000u * taken);
			busy[taken] = false;
			waiting[which] = waiting[--waiting_count];
			for (unsigned i = 0, left = 0; i < in_flight; i++) {
				if (order[i] != taken)
					order[left++] = order[i];
			}
			in_flight--;
		}
		cr_assert(!virtq_take(&d.ring, &taken, &length));
	}
}

Test(virtq, split)
{
	exercise(0);
}

Test(virtq, split_indirect)
{
	exercise(F_INDIRECT | F_EVENT_IDX);
}

Test(virtq, split_in_order)
{
	exercise(F_IN_ORDER);
	exercise(F_IN_ORDER | F_INDIRECT);
}

Test(virtq, packed)
{
	exercise(F_PACKED);
}

Test(virtq, packed_indirect)
{
	exercise(F_PACKED | F_INDIRECT | F_EVENT_IDX);
}

Test(virtq, packed_in_order)
{
	exercise(F_PACKED | F_IN_ORDER);
	exercise(F_PACKED | F_IN_ORDER | F_INDIRECT);
}

/* IN_ORDER demands descriptors in ring order. */
Test(virtq, split_in_order_uses_the_table_in_order)
{
	struct device d;
	struct seen seen;
	uint16_t expected = 0, slot;
	uint32_t length;

	open_device(&d, F_IN_ORDER);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert(add(&d, (uint16_t)(i % SIZE), 1, 2));
		virtq_publish(&d.ring);
		cr_assert(pop(&d, &seen));
		cr_assert_eq(seen.id, expected);
		expected = (expected + 3) % SIZE;
		push(&d, &seen, 1, 0);
		cr_assert(virtq_take(&d.ring, &slot, &length));
	}
}

Test(virtq, full_ring_refuses)
{
	struct device d;

	open_device(&d, 0);
	for (uint16_t slot = 0; slot < 5; slot++)
		cr_assert(add(&d, slot, 1, 2));
	cr_assert(!add(&d, 5, 1, 1));
	cr_assert(add(&d, 5, 1, 0));
	cr_assert(!add(&d, 6, 1, 0));
}

/* Kicks: with EVENT_IDX exactly when the published range covers the device's event. */
static void kicks_with_event_index(uint64_t features)
{
	struct device d;
	struct seen seen;
	uint16_t slot;
	uint32_t length;

	open_device(&d, features);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t before = d.ring.kicks;
		bool wanted = i % 3 == 0;
		uint16_t *event = (uint16_t *)area(&d, 2);

		if (d.ring.is_packed) {
			uint16_t at = wanted ? d.avail : (uint16_t)((d.avail + SIZE - 1) % SIZE);
			bool wrap = wanted || d.avail ? d.avail_wrap : !d.avail_wrap;

			event[0] = (uint16_t)(at | wrap << 15);
			event[1] = 2;
		} else {
			event[2 + 4 * SIZE] = (uint16_t)(d.avail - !wanted);
		}
		cr_assert(add(&d, 0, 1, 0));
		virtq_publish(&d.ring);
		cr_assert_eq(d.ring.kicks - before, wanted, "round %u", i);
		cr_assert(pop(&d, &seen));
		push(&d, &seen, 1, 0);
		cr_assert(virtq_take(&d.ring, &slot, &length));
	}
}

Test(virtq, kicks)
{
	kicks_with_event_index(F_EVENT_IDX);
	kicks_with_event_index(F_EVENT_IDX | F_PACKED);
}

Test(virtq, publishing_nothing_does_not_kick)
{
	struct device d;

	open_device(&d, 0);
	virtq_publish(&d.ring);
	cr_assert_eq(d.ring.kicks, 0);
	open_device(&d, F_PACKED);
	virtq_publish(&d.ring);
	cr_assert_eq(d.ring.kicks, 0);
}

/* What the driver asks for, and that it sees what came in between. */
Test(virtq, interrupts_split)
{
	struct device d;
	struct seen seen;
	uint16_t slot, *avail;
	uint32_t length;

	open_device(&d, F_EVENT_IDX);
	avail = (uint16_t *)area(&d, 1);
	cr_assert_eq(avail[2 + SIZE], 0xffff);
	cr_assert(!virtq_enable_interrupts(&d.ring));
	cr_assert_eq(avail[2 + SIZE], 0);
	add(&d, 0, 1, 0);
	virtq_publish(&d.ring);
	pop(&d, &seen);
	push(&d, &seen, 1, 0);
	cr_assert(virtq_enable_interrupts(&d.ring));
	cr_assert(virtq_take(&d.ring, &slot, &length));
	d.ring.lazy = 2;
	cr_assert(!virtq_enable_interrupts(&d.ring));
	cr_assert_eq(avail[2 + SIZE], 3);
	open_device(&d, 0);
	avail = (uint16_t *)area(&d, 1);
	cr_assert_eq(avail[0], 1);
	virtq_enable_interrupts(&d.ring);
	cr_assert_eq(avail[0], 0);
	virtq_disable_interrupts(&d.ring);
	cr_assert_eq(avail[0], 1);
}

Test(virtq, interrupts_packed)
{
	struct device d;
	struct seen seen;
	uint16_t *event;

	open_device(&d, F_EVENT_IDX | F_PACKED);
	event = (uint16_t *)area(&d, 1);
	cr_assert_eq(event[1], 1);
	cr_assert(!virtq_enable_interrupts(&d.ring));
	cr_assert_eq(event[0], 0x8000);
	cr_assert_eq(event[1], 2);
	add(&d, 0, 1, 0);
	virtq_publish(&d.ring);
	pop(&d, &seen);
	push(&d, &seen, 1, 0);
	cr_assert(virtq_enable_interrupts(&d.ring));
	d.ring.lazy = SIZE - 1;
	cr_assert(!virtq_enable_interrupts(&d.ring));
	cr_assert_eq(event[0], 0x8000 | (SIZE - 1));
	virtq_disable_interrupts(&d.ring);
	cr_assert_eq(event[1], 1);
}

Test(virtq, restart_forgets_everything)
{
	struct device d;
	struct seen seen;
	uint16_t slot;
	uint32_t length;

	for (unsigned i = 0; i < 4; i++) {
		open_device(&d, (i & 1 ? F_PACKED : 0) | (i & 2 ? F_IN_ORDER : 0));
		for (uint16_t s = 0; s < 4; s++)
			cr_assert(add(&d, s, 1, 2));
		virtq_publish(&d.ring);
		virtq_restart(&d.ring);
		d.avail = d.used = 0;
		d.avail_wrap = d.used_wrap = true;
		cr_assert(!virtq_take(&d.ring, &slot, &length));
		cr_assert(!pop(&d, &seen));
		cr_assert(add(&d, 2, 1, 2));
		virtq_publish(&d.ring);
		cr_assert(pop(&d, &seen));
		push(&d, &seen, 1, 9);
		cr_assert(virtq_take(&d.ring, &slot, &length));
		cr_assert_eq(slot, 2);
	}
}
