/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring (virtio 1.2, section 2.7): a descriptor table and an avail ring that the driver
 * writes, a used ring that we write. Indices run freely over 16 bits; a ring position is an index
 * masked by size - 1, since the size is a power of two.
 *
 * The avail index is read only when what was seen of it last does not fill the batch: that line
 * bounces between the driver's CPU and ours. What bounds the guest is kept as an invariant of that
 * read: in_flight + (avail_seen - next_avail) <= size, which pop, unpop and push preserve.
 *
 * Order: the avail index is load-acquired before the ring entries and descriptors it announces are
 * read, and the used index store-released after the used entries (and the data of the request) are
 * written. The two races that need more are commented in virtqueue.c.
 */
#include "virtio/virtqueue_ring.h"

#include "util/checked.h"
#include "virtio/chain.h"

#include <errno.h>
#include <linux/virtio_ring.h>

static const struct vring_avail *avail_ring(const struct virtqueue *queue)
{
	return queue->driver;
}

static struct vring_used *used_ring(const struct virtqueue *queue)
{
	return queue->device;
}

/* Behind the used entries: the avail index at which we want to be kicked. */
static uint16_t *avail_event(const struct virtqueue *queue)
{
	return (uint16_t *)&used_ring(queue)->ring[queue->layout.size];
}

static uint16_t load_avail_index(const struct virtqueue *queue)
{
	/* Acquire: pairs with the driver's write barrier between filling the ring and the index. */
	return __atomic_load_n(&avail_ring(queue)->idx, __ATOMIC_ACQUIRE);
}

static int split_map(struct virtqueue *queue)
{
	const struct virtqueue_layout *layout = &queue->layout;
	uint64_t event = layout->event_idx ? sizeof(uint16_t) : 0;
	int result;

	if (!is_power_of_two(layout->size))
		return -EINVAL;
	queue->mask = layout->size - 1;
	result = virtqueue_map_area(queue->memory, layout->desc_gpa,
		(uint64_t)layout->size * sizeof(struct vring_desc), VRING_DESC_ALIGN_SIZE,
		&queue->desc);
	if (!result)
		result = virtqueue_map_area(queue->memory, layout->driver_gpa,
			sizeof(struct vring_avail) + (uint64_t)layout->size * sizeof(uint16_t) +
				event,
			VRING_AVAIL_ALIGN_SIZE, &queue->driver);
	if (!result)
		result = virtqueue_map_area(queue->memory, layout->device_gpa,
			sizeof(struct vring_used) +
				(uint64_t)layout->size * sizeof(struct vring_used_elem) + event,
			VRING_USED_ALIGN_SIZE, &queue->device);
	return result;
}

static bool split_has_work(const struct virtqueue *queue)
{
	return queue->avail_seen != queue->next_avail ||
	       load_avail_index(queue) != queue->next_avail;
}

/* Looks at the avail index anew; false where it runs ahead of what the queue can hold. */
static bool refresh_avail(struct virtqueue *queue)
{
	uint16_t seen = load_avail_index(queue);

	if (unlikely((uint16_t)(seen - queue->next_avail) > queue->layout.size - queue->in_flight))
		return false;
	queue->avail_seen = seen;
	return true;
}

static int split_pop_batch(
	struct virtqueue *queue, struct virtqueue_entry *ret_entries, unsigned max)
{
	const struct vring_avail *avail = avail_ring(queue);
	const struct vring_desc *table = queue->desc;
	unsigned count = (uint16_t)(queue->avail_seen - queue->next_avail);

	if (count < max) {
		if (unlikely(!refresh_avail(queue)))
			return virtqueue_break(queue);
		count = (uint16_t)(queue->avail_seen - queue->next_avail);
	}
	count = min_of(count, max);
	for (unsigned i = 0; i < count; i++) {
		uint16_t position = (uint16_t)(queue->next_avail + i) & queue->mask;
		uint16_t head = __atomic_load_n(&avail->ring[position], __ATOMIC_RELAXED);

		if (unlikely(head >= queue->layout.size))
			return virtqueue_break(queue);
		__builtin_prefetch(&table[head]);
		ret_entries[i] =
			(struct virtqueue_entry){.head = head, .id = head, .descriptors = 1};
	}
	queue->next_avail += count;
	queue->in_flight += count;
	return (int)count;
}

static void split_unpop(
	struct virtqueue *queue, const struct virtqueue_entry *entries, unsigned count)
{
	(void)entries; /* the avail ring still has them */
	queue->next_avail -= count;
	queue->in_flight -= count;
}

static int split_load_chain(
	struct virtqueue *queue, const struct virtqueue_entry *entry, struct virtqueue_chain *chain)
{
	struct chain_walk walk = chain_begin(queue->memory, chain, queue->layout.indirect);
	int result = chain_walk_split(&walk, queue->desc, queue->layout.size, entry->head);

	return unlikely(result) ? result : chain_end(&walk);
}

static void split_push(
	struct virtqueue *queue, const struct virtqueue_entry *entry, uint32_t written)
{
	used_ring(queue)->ring[queue->next_used & queue->mask] =
		(struct vring_used_elem){.id = entry->id, .len = written};
	queue->next_used++;
	queue->in_flight--;
}

static unsigned split_publish(struct virtqueue *queue)
{
	uint16_t slots = queue->next_used - queue->published_used;

	/* Release: pairs with the driver's read barrier between the index and the used entries. */
	__atomic_store_n(&used_ring(queue)->idx, queue->next_used, __ATOMIC_RELEASE);
	queue->published_used = queue->next_used;
	return slots;
}

static bool split_wants_interrupt(const struct virtqueue *queue, uint32_t slots)
{
	const struct vring_avail *avail = avail_ring(queue);
	uint16_t event;

	if (!queue->layout.event_idx)
		return !(__atomic_load_n(&avail->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = __atomic_load_n(&avail->ring[queue->layout.size], __ATOMIC_RELAXED);
	return virtqueue_event_passed(event, queue->published_used, slots);
}

static void split_enable_kicks(struct virtqueue *queue)
{
	if (queue->layout.event_idx)
		__atomic_store_n(avail_event(queue), queue->next_avail, __ATOMIC_RELAXED);
	else if (!queue->kicks_enabled)
		__atomic_store_n(&used_ring(queue)->flags, 0, __ATOMIC_RELAXED);
}

static void split_disable_kicks(struct virtqueue *queue)
{
	/* An event that has been: the driver comes to it again in 65536 chains, and kicks once. */
	if (queue->layout.event_idx)
		__atomic_store_n(
			avail_event(queue), (uint16_t)(queue->next_avail - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(
			&used_ring(queue)->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

const struct virtqueue_ring_ops virtqueue_split_ops = {
	.map = split_map,
	.has_work = split_has_work,
	.pop_batch = split_pop_batch,
	.unpop = split_unpop,
	.load_chain = split_load_chain,
	.push = split_push,
	.publish = split_publish,
	.wants_interrupt = split_wants_interrupt,
	.enable_kicks = split_enable_kicks,
	.disable_kicks = split_disable_kicks,
};
