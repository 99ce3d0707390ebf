/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a ring. Descriptors are handed out from a free list (split) or in ring order
 * (packed); a token is the chain's head index or its buffer id. Adding writes descriptors only;
 * exposing stores what makes them visible: the avail index, or the flags of the first slot added
 * since the last time, which hides those behind it just as a device's batch of used ones is hidden.
 *
 * Everything that the device also touches is accessed with atomics of the order that the
 * specification's barriers ask for, so the thread sanitizer can judge a worker on the other side.
 */
#include "support/mock_driver.h"
#include "support/mock_internal.h"

#include "util/checked.h"
#include "util/fd.h"
#include "virtio/virtqueue_ring.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTOR_BYTES 16u
#define NONE             UINT16_MAX
#define FLAG_AVAIL       (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED        (1u << VRING_PACKED_DESC_F_USED)

/* Per token. */
struct mock_chain {
	bool in_flight;
	uint16_t slots;     /* ring descriptors that it takes */
	uint64_t table_gpa; /* indirect table, kept for the token's next use */
	unsigned table_capacity;
};

struct mock_queue {
	struct mock_guest *guest;
	struct virtqueue_layout layout;
	struct mock_chain *chains;
	uint16_t *next_free; /* split: links of the free list; packed: of the free ids */
	uint16_t first_free;
	uint16_t free_slots;
	unsigned in_flight;
	void *desc;
	void *driver;
	void *device;
	uint16_t next_avail; /* split: free-running; packed: position */
	uint16_t next_used;
	uint16_t exposed; /* split: the index that the device has seen */
	bool avail_wrap;
	bool used_wrap;
	/* packed: first slot of what is added and not exposed */
	bool pending;
	uint16_t pending_at;
	uint16_t pending_flags;
	uint16_t pending_slots;
	bool interrupts_disabled;
};

/* ---- layout ---- */

static void lay_out(struct mock_queue *queue)
{
	struct virtqueue_layout *layout = &queue->layout;
	uint64_t size = layout->size;
	uint64_t driver_bytes = layout->packed ? 4 : 6 + 2 * size;
	uint64_t device_bytes = layout->packed ? 4 : 6 + 8 * size;
	struct mock_guest *guest = queue->guest;

	layout->desc_gpa = mock_guest_alloc(guest, size * DESCRIPTOR_BYTES, 16);
	layout->driver_gpa = mock_guest_alloc(guest, driver_bytes, 4);
	layout->device_gpa = mock_guest_alloc(guest, device_bytes, 64);
	queue->desc = mock_guest_pointer(guest, layout->desc_gpa, size * DESCRIPTOR_BYTES);
	queue->driver = mock_guest_pointer(guest, layout->driver_gpa, driver_bytes);
	queue->device = mock_guest_pointer(guest, layout->device_gpa, device_bytes);
}

struct mock_queue *mock_queue_create(
	struct mock_guest *guest, const struct mock_queue_options *options)
{
	struct mock_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		mock_misuse("out of memory");
	queue->guest = guest;
	queue->layout = (struct virtqueue_layout){.size = options->size,
		.packed = options->packed,
		.event_idx = options->event_idx,
		.indirect = options->indirect,
		.in_order = options->in_order};
	queue->chains = calloc(options->size, sizeof(*queue->chains));
	queue->next_free = calloc(options->size, sizeof(*queue->next_free));
	if (!queue->chains || !queue->next_free)
		mock_misuse("out of memory");
	for (uint16_t i = 0; i < options->size; i++)
		queue->next_free[i] = i + 1u < options->size ? i + 1u : NONE;
	queue->free_slots = options->size;
	queue->avail_wrap = queue->used_wrap = true;
	lay_out(queue);
	return queue;
}

void mock_queue_destroy(struct mock_queue *queue)
{
	if (!queue)
		return;
	free(queue->chains);
	free(queue->next_free);
	free(queue);
}

const struct virtqueue_layout *mock_queue_layout(const struct mock_queue *queue)
{
	return &queue->layout;
}

void *mock_queue_desc_area(struct mock_queue *queue)
{
	return queue->desc;
}

void *mock_queue_driver_area(struct mock_queue *queue)
{
	return queue->driver;
}

void *mock_queue_device_area(struct mock_queue *queue)
{
	return queue->device;
}

unsigned mock_queue_in_flight(const struct mock_queue *queue)
{
	return queue->in_flight;
}

/* ---- free lists ---- */

static uint16_t take_free(struct mock_queue *queue)
{
	uint16_t taken = queue->first_free;

	if (taken == NONE)
		mock_misuse("free list empty");
	queue->first_free = queue->next_free[taken];
	return taken;
}

static void give_back(struct mock_queue *queue, uint16_t index)
{
	queue->next_free[index] = queue->first_free;
	queue->first_free = index;
}

static void mark_in_flight(struct mock_queue *queue, uint16_t token, uint16_t slots)
{
	queue->chains[token].in_flight = true;
	queue->chains[token].slots = slots;
	queue->in_flight++;
}

/* ---- adding ---- */

static uint16_t write_flag(const struct mock_segment *segment)
{
	return segment->writable ? VRING_DESC_F_WRITE : 0;
}

void mock_queue_add_head(struct mock_queue *queue, uint16_t head)
{
	struct vring_avail *avail = queue->driver;

	__atomic_store_n(
		&avail->ring[queue->next_avail % queue->layout.size], head, __ATOMIC_RELAXED);
	queue->next_avail++;
}

static int add_split(struct mock_queue *queue, const struct mock_segment *segments, unsigned count,
	uint16_t extra_flags)
{
	struct vring_desc *table = queue->desc;
	uint16_t head = queue->first_free;

	for (unsigned i = 0; i < count; i++) {
		bool last = i + 1 == count;
		uint16_t at = take_free(queue);

		table[at] = (struct vring_desc){.addr = segments[i].gpa,
			.len = segments[i].length,
			.flags = write_flag(&segments[i]) | extra_flags |
		                 (last ? 0 : VRING_DESC_F_NEXT),
			.next = last ? 0 : queue->first_free};
	}
	queue->free_slots -= count;
	mock_queue_add_head(queue, head);
	mark_in_flight(queue, head, (uint16_t)count);
	return head;
}

static uint16_t avail_flags(bool wrap)
{
	return wrap ? FLAG_AVAIL : FLAG_USED;
}

uint16_t mock_queue_packed_avail_flags(const struct mock_queue *queue, uint16_t slot)
{
	return avail_flags(slot >= queue->next_avail ? queue->avail_wrap : !queue->avail_wrap);
}

static int add_packed(struct mock_queue *queue, const struct mock_segment *segments, unsigned count,
	uint16_t extra_flags)
{
	struct vring_packed_desc *ring = queue->desc;
	uint16_t id = take_free(queue);

	for (unsigned i = 0; i < count; i++) {
		struct vring_packed_desc *slot = &ring[queue->next_avail];
		uint16_t flags = write_flag(&segments[i]) | extra_flags |
		                 (i + 1 == count ? 0 : VRING_DESC_F_NEXT) |
		                 avail_flags(queue->avail_wrap);

		slot->addr = segments[i].gpa;
		slot->len = segments[i].length;
		slot->id = id;
		if (!queue->pending) {
			queue->pending = true;
			queue->pending_at = queue->next_avail;
			queue->pending_flags = flags;
			queue->pending_slots = 0;
		} else {
			__atomic_store_n(&slot->flags, flags, __ATOMIC_RELEASE);
		}
		queue->pending_slots++;
		if (++queue->next_avail == queue->layout.size) {
			queue->next_avail = 0;
			queue->avail_wrap = !queue->avail_wrap;
		}
	}
	queue->free_slots -= count;
	mark_in_flight(queue, id, (uint16_t)count);
	return id;
}

static int add(struct mock_queue *queue, const struct mock_segment *segments, unsigned count,
	uint16_t extra_flags)
{
	if (!count || count > queue->free_slots)
		return -ENOSPC;
	return queue->layout.packed ? add_packed(queue, segments, count, extra_flags)
	                            : add_split(queue, segments, count, extra_flags);
}

int mock_queue_add(struct mock_queue *queue, const struct mock_segment *segments, unsigned count)
{
	return add(queue, segments, count, 0);
}

static void fill_table(const struct mock_queue *queue, void *table,
	const struct mock_segment *segments, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = write_flag(&segments[i]);

		if (queue->layout.packed)
			((struct vring_packed_desc *)table)[i] = (struct vring_packed_desc){
				.addr = segments[i].gpa, .len = segments[i].length, .flags = flags};
		else
			((struct vring_desc *)table)[i] =
				(struct vring_desc){.addr = segments[i].gpa,
					.len = segments[i].length,
					.flags = flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0),
					.next = (uint16_t)(i + 1 < count ? i + 1 : 0)};
	}
}

int mock_queue_add_indirect(
	struct mock_queue *queue, const struct mock_segment *segments, unsigned count)
{
	uint64_t bytes = (uint64_t)count * DESCRIPTOR_BYTES;
	struct mock_chain *chain;
	struct mock_segment table;

	if (!queue->free_slots)
		return -ENOSPC;
	chain = &queue->chains[queue->first_free]; /* the token that add() will give */
	if (chain->table_capacity < count) {
		chain->table_gpa = mock_guest_alloc(queue->guest, bytes, 16);
		chain->table_capacity = count;
	}
	fill_table(
		queue, mock_guest_pointer(queue->guest, chain->table_gpa, bytes), segments, count);
	table = (struct mock_segment){.gpa = chain->table_gpa, .length = (uint32_t)bytes};
	return add(queue, &table, 1, VRING_DESC_F_INDIRECT);
}

/* ---- notifying the device ---- */

/* Returns how many chains (split) or slots (packed) have become visible. */
static uint16_t expose(struct mock_queue *queue)
{
	struct vring_avail *avail = queue->driver;
	struct vring_packed_desc *ring = queue->desc;
	uint16_t added;

	if (queue->layout.packed) {
		if (!queue->pending)
			return 0;
		__atomic_store_n(
			&ring[queue->pending_at].flags, queue->pending_flags, __ATOMIC_RELEASE);
		queue->pending = false;
		return queue->pending_slots;
	}
	added = queue->next_avail - queue->exposed;
	__atomic_store_n(&avail->idx, queue->next_avail, __ATOMIC_RELEASE);
	queue->exposed = queue->next_avail;
	return added;
}

void mock_queue_expose(struct mock_queue *queue)
{
	expose(queue);
}

static bool packed_kick_wanted(const struct mock_queue *queue, uint16_t added)
{
	uint32_t word = __atomic_load_n((const uint32_t *)queue->device, __ATOMIC_RELAXED);
	uint16_t event = word & 0x7fff;
	bool wrap = word >> 15 & 1;

	if ((word >> 16 & 3) != VRING_PACKED_EVENT_FLAG_DESC)
		return (word >> 16 & 3) == VRING_PACKED_EVENT_FLAG_ENABLE;
	if (wrap != queue->avail_wrap)
		event -= queue->layout.size;
	return vring_need_event(event, queue->next_avail, queue->next_avail - added);
}

static bool split_kick_wanted(const struct mock_queue *queue, uint16_t added)
{
	const struct vring_used *used = queue->device;
	const uint16_t *event = (const uint16_t *)&used->ring[queue->layout.size];

	if (!queue->layout.event_idx)
		return !(__atomic_load_n(&used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
	return vring_need_event(__atomic_load_n(event, __ATOMIC_RELAXED), queue->next_avail,
		queue->next_avail - added);
}

bool mock_queue_kick(struct mock_queue *queue, int kick_fd)
{
	uint16_t added = expose(queue);
	bool wanted;

	/* Pairs with the device's full barrier in virtqueue_rearm(). */
	virtqueue_full_barrier();
	wanted = queue->layout.packed ? packed_kick_wanted(queue, added)
	                              : split_kick_wanted(queue, added);
	if (wanted)
		fd_signal(kick_fd);
	return wanted;
}

/* ---- used entries ---- */

static void complete(struct mock_queue *queue, uint32_t token)
{
	if (token >= queue->layout.size || !queue->chains[token].in_flight)
		mock_misuse("the device used token %u, which is not in flight", token);
	queue->chains[token].in_flight = false;
	queue->free_slots += queue->chains[token].slots;
	queue->in_flight--;
}

static void free_split_chain(struct mock_queue *queue, uint16_t head)
{
	const struct vring_desc *table = queue->desc;
	uint16_t slots = queue->chains[head].slots;
	uint16_t at = head;

	while (slots--) {
		uint16_t next = table[at].next;

		give_back(queue, at);
		at = next;
	}
}

static bool used_waits(const struct mock_queue *queue)
{
	const struct vring_used *used = queue->device;
	const struct vring_packed_desc *ring = queue->desc;
	uint16_t flags;

	if (!queue->layout.packed)
		return __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != queue->next_used;
	flags = __atomic_load_n(&ring[queue->next_used].flags, __ATOMIC_ACQUIRE);
	return !!(flags & FLAG_AVAIL) == queue->used_wrap &&
	       !!(flags & FLAG_USED) == queue->used_wrap;
}

static void get_used_split(struct mock_queue *queue, struct mock_used *ret_used)
{
	const struct vring_used *used = queue->device;
	struct vring_used_elem entry = used->ring[queue->next_used % queue->layout.size];

	complete(queue, entry.id);
	free_split_chain(queue, (uint16_t)entry.id);
	*ret_used = (struct mock_used){.token = (uint16_t)entry.id, .written = entry.len};
	queue->next_used++;
}

static void get_used_packed(struct mock_queue *queue, struct mock_used *ret_used)
{
	const struct vring_packed_desc *slot =
		&((const struct vring_packed_desc *)queue->desc)[queue->next_used];
	uint16_t id = slot->id;
	uint16_t flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED);

	complete(queue, id);
	give_back(queue, id);
	/* Without WRITE the length is reserved. */
	*ret_used = (struct mock_used){
		.token = id, .written = flags & VRING_DESC_F_WRITE ? slot->len : 0};
	queue->next_used += queue->chains[id].slots;
	if (queue->next_used >= queue->layout.size) {
		queue->next_used -= queue->layout.size;
		queue->used_wrap = !queue->used_wrap;
	}
}

bool mock_queue_get_used(struct mock_queue *queue, struct mock_used *ret_used)
{
	if (!used_waits(queue))
		return false;
	if (queue->layout.packed)
		get_used_packed(queue, ret_used);
	else
		get_used_split(queue, ret_used);
	return true;
}

/* ---- interrupts ---- */

static void store_packed_event(struct mock_queue *queue, uint16_t off_wrap, uint16_t flags)
{
	__atomic_store_n((uint32_t *)queue->driver, (uint32_t)off_wrap | (uint32_t)flags << 16,
		__ATOMIC_RELAXED);
}

static void enable_packed(struct mock_queue *queue, uint16_t more)
{
	uint32_t at = (uint32_t)queue->next_used + more;
	bool wrap = queue->used_wrap;

	if (at >= queue->layout.size) {
		at -= queue->layout.size;
		wrap = !wrap;
	}
	if (queue->layout.event_idx)
		store_packed_event(
			queue, (uint16_t)(at | (unsigned)wrap << 15), VRING_PACKED_EVENT_FLAG_DESC);
	else
		store_packed_event(queue, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
}

bool mock_queue_enable_interrupts(struct mock_queue *queue, uint16_t more)
{
	struct vring_avail *avail = queue->driver;

	if (queue->layout.packed) {
		enable_packed(queue, more);
	} else {
		__atomic_store_n(&avail->flags, 0, __ATOMIC_RELAXED);
		if (queue->layout.event_idx)
			__atomic_store_n(&avail->ring[queue->layout.size],
				(uint16_t)(queue->next_used + more), __ATOMIC_RELAXED);
	}
	/* Pairs with the device's full barrier in virtqueue_need_interrupt(). */
	virtqueue_full_barrier();
	return used_waits(queue);
}

void mock_queue_disable_interrupts(struct mock_queue *queue)
{
	struct vring_avail *avail = queue->driver;

	if (queue->layout.packed) {
		store_packed_event(queue, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
		return;
	}
	__atomic_store_n(&avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
	if (queue->layout.event_idx) /* an index that has just been passed comes last of all */
		__atomic_store_n(&avail->ring[queue->layout.size], (uint16_t)(queue->next_used - 1),
			__ATOMIC_RELAXED);
}

int mock_queue_wait_used(
	struct mock_queue *queue, int call_fd, int timeout_ms, struct mock_used *ret_used)
{
	struct pollfd pollfd = {.fd = call_fd, .events = POLLIN};

	while (!mock_queue_get_used(queue, ret_used)) {
		if (mock_queue_enable_interrupts(queue, 0))
			continue;
		if (poll(&pollfd, 1, timeout_ms) <= 0)
			return -ETIMEDOUT;
		fd_drain(call_fd);
	}
	return 0;
}

/* ---- starting elsewhere than at 0 ---- */

void mock_queue_set_start(struct mock_queue *queue, uint16_t index)
{
	struct vring_avail *avail = queue->driver;
	struct vring_used *used = queue->device;

	if (queue->layout.packed || queue->in_flight)
		mock_misuse("only a split ring without chains can start elsewhere");
	queue->next_avail = queue->next_used = queue->exposed = index;
	avail->idx = used->idx = index;
	if (queue->layout.event_idx)
		avail->ring[queue->layout.size] = index;
}

void mock_queue_align(struct mock_queue *queue, struct virtqueue *device_side)
{
	device_side->next_avail = device_side->avail_seen = queue->next_avail;
	device_side->next_used = device_side->published_used = queue->next_used;
	virtqueue_rearm(device_side); /* kicks are wanted from there on */
}
