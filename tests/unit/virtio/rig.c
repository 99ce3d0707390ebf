/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <criterion/criterion.h>
#include <string.h>

#define BUFFER_BYTES 0x10000u

static void lay_out(struct rig *rig, uint16_t size, unsigned flags)
{
	const struct mock_queue_options options = {.size = size,
		.packed = flags & RIG_PACKED,
		.event_idx = flags & RIG_EVENT_IDX,
		.indirect = flags & RIG_INDIRECT};

	memset(rig, 0, sizeof(*rig));
	mock_guest_init(&rig->guest, 1 << 20);
	rig->driver = mock_queue_create(&rig->guest, &options);
	rig->buffer = mock_guest_alloc(&rig->guest, BUFFER_BYTES, 4096);
	cr_assert_eq(
		virtqueue_start(&rig->device, rig->guest.memory, mock_queue_layout(rig->driver)),
		0);
}

void rig_init(struct rig *rig, uint16_t size, unsigned flags)
{
	lay_out(rig, size, flags);
}

void rig_init_at(struct rig *rig, uint16_t size, unsigned flags, uint16_t index)
{
	lay_out(rig, size, flags);
	mock_queue_set_start(rig->driver, index);
	mock_queue_align(rig->driver, &rig->device);
}

void rig_deinit(struct rig *rig)
{
	virtqueue_stop(&rig->device);
	mock_queue_destroy(rig->driver);
	mock_guest_deinit(&rig->guest);
}

int rig_offer(struct rig *rig, uint32_t length)
{
	struct mock_segment segment = {.gpa = rig->buffer, .length = length, .writable = true};
	int token = mock_queue_add(rig->driver, &segment, 1);

	mock_queue_expose(rig->driver);
	return token;
}

struct virtqueue_entry rig_pop(struct rig *rig)
{
	struct virtqueue_entry entry;

	cr_assert_eq(virtqueue_pop_batch(&rig->device, &entry, 1), 1);
	return entry;
}

int rig_load(struct rig *rig, const struct virtqueue_entry *entry, unsigned capacity)
{
	cr_assert_leq(capacity, RIG_IOV);
	memset(rig->iov, 0xee, sizeof(rig->iov));
	rig->chain = (struct virtqueue_chain){.iov = rig->iov, .capacity = capacity};
	return virtqueue_load_chain(&rig->device, entry, &rig->chain);
}

void rig_serve(struct rig *rig, uint32_t written)
{
	struct virtqueue_entry entry = rig_pop(rig);

	virtqueue_push(&rig->device, &entry, written);
	cr_assert(virtqueue_publish(&rig->device));
}

struct mock_used rig_used(struct rig *rig)
{
	struct mock_used used;

	cr_assert(mock_queue_get_used(rig->driver, &used));
	return used;
}

void *rig_host(struct rig *rig, uint64_t gpa)
{
	return mock_guest_pointer(&rig->guest, gpa, 1);
}
