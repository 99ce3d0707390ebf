/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed ring (virtio 1.2, section 2.8): one ring of descriptors that the driver fills in order
 * and that we overwrite, in order of completion, with used descriptors. A slot's AVAIL and USED
 * bits, compared with a wrap counter that flips each lap, tell whose it is; two four-byte event
 * structures say who wants to be told.
 *
 * Two positions move over the ring: next_avail, where the driver's next chain starts, and
 * next_used, where our next used descriptor goes. A chain moves both by the slots it takes, though
 * only one used descriptor is written for it, into the first of these slots. Used descriptors
 * therefore fall into slots of chains that were popped earlier or at the same time, never later:
 * next_used cannot overtake next_avail as only popped slots are pushed, and where chains are loaded
 * in pop order before they are pushed, no descriptor is lost unread.
 *
 * A driver looks at the used descriptors in order, so a batch is hidden until the flags of its
 * first one are stored: push writes everything but these, publish stores them.
 *
 * NEXT flags and the buffer id are read when a chain is popped and never again; the rest of the
 * descriptors once, when it is loaded.
 */
#include "virtio/virtqueue_ring.h"

#include "util/checked.h"
#include "virtio/chain.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#define FLAG_AVAIL      (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED       (1u << VRING_PACKED_DESC_F_USED)
#define EVENT_WRAP_BIT  VRING_PACKED_EVENT_F_WRAP_CTR
#define EVENT_BYTES     4u
#define EVENT_FLAG_MASK 3u

/* The two halves of an event structure, written and read as one word so that they never disagree.
 */
static uint32_t event_word(uint16_t off_wrap, uint16_t flags)
{
	return (uint32_t)off_wrap | (uint32_t)flags << 16;
}

static struct vring_packed_desc *slots_of(const struct virtqueue *queue)
{
	return queue->desc;
}

static uint16_t load_flags(const struct virtqueue *queue, uint16_t position)
{
	/* Acquire: pairs with the driver's write barrier before it stores a chain's first flags. */
	return __atomic_load_n(&slots_of(queue)[position].flags, __ATOMIC_ACQUIRE);
}

static bool is_available(uint16_t flags, bool wrap)
{
	bool avail = flags & FLAG_AVAIL;
	bool used = flags & FLAG_USED;

	return avail == wrap && used != wrap;
}

/* Moves a position and its wrap counter forward; @slots is at most the queue's size. */
static void advance(const struct virtqueue *queue, uint16_t *position, bool *wrap, uint16_t slots)
{
	uint32_t moved = (uint32_t)*position + slots;

	if (moved >= queue->layout.size) {
		moved -= queue->layout.size;
		*wrap = !*wrap;
	}
	*position = (uint16_t)moved;
}

static int packed_map(struct virtqueue *queue)
{
	const struct virtqueue_layout *layout = &queue->layout;
	int result = virtqueue_map_area(queue->memory, layout->desc_gpa,
		(uint64_t)layout->size * sizeof(struct vring_packed_desc), VRING_DESC_ALIGN_SIZE,
		&queue->desc);

	if (!result)
		result = virtqueue_map_area(queue->memory, layout->driver_gpa, EVENT_BYTES,
			EVENT_BYTES, &queue->driver);
	if (!result)
		result = virtqueue_map_area(queue->memory, layout->device_gpa, EVENT_BYTES,
			EVENT_BYTES, &queue->device);
	return result;
}

static bool packed_has_work(const struct virtqueue *queue)
{
	return is_available(load_flags(queue, queue->next_avail), queue->avail_wrap);
}

/*
 * Takes the chain at next_avail, whose first flags are @flags. The driver made its later slots
 * visible before the first, so plain order suffices for them. 0 or -EPROTO.
 */
static int pop_one(struct virtqueue *queue, uint16_t flags, struct virtqueue_entry *ret_entry)
{
	const struct vring_packed_desc *slots = slots_of(queue);
	uint16_t room = queue->layout.size - queue->in_flight;
	uint16_t head = queue->next_avail;
	uint16_t last = head;
	uint16_t count = 1;
	uint16_t id;

	if (unlikely(!room))
		return -EPROTO;
	while (flags & VRING_DESC_F_NEXT) {
		if (unlikely(++count > room))
			return -EPROTO;
		if (++last == queue->layout.size)
			last = 0;
		flags = __atomic_load_n(&slots[last].flags, __ATOMIC_RELAXED);
	}
	id = __atomic_load_n(&slots[last].id, __ATOMIC_RELAXED);
	if (unlikely(id >= queue->layout.size))
		return -EPROTO;
	*ret_entry = (struct virtqueue_entry){.head = head, .id = id, .descriptors = count};
	advance(queue, &queue->next_avail, &queue->avail_wrap, count);
	queue->in_flight += count;
	return 0;
}

static int packed_pop_batch(
	struct virtqueue *queue, struct virtqueue_entry *ret_entries, unsigned max)
{
	unsigned count = 0;

	while (count < max) {
		uint16_t flags = load_flags(queue, queue->next_avail);

		if (!is_available(flags, queue->avail_wrap))
			break;
		if (unlikely(pop_one(queue, flags, &ret_entries[count])))
			return virtqueue_break(queue);
		count++;
	}
	return (int)count;
}

static void packed_unpop(
	struct virtqueue *queue, const struct virtqueue_entry *entries, unsigned count)
{
	for (unsigned i = count; i-- > 0;) {
		/* Backwards by n slots is forwards by size - n, one lap less. */
		advance(queue, &queue->next_avail, &queue->avail_wrap,
			queue->layout.size - entries[i].descriptors);
		queue->avail_wrap = !queue->avail_wrap;
		queue->in_flight -= entries[i].descriptors;
	}
}

static int packed_load_chain(
	struct virtqueue *queue, const struct virtqueue_entry *entry, struct virtqueue_chain *chain)
{
	struct chain_walk walk = chain_begin(queue->memory, chain, queue->layout.indirect);
	int result = chain_walk_packed(
		&walk, queue->desc, queue->layout.size, entry->head, entry->descriptors);

	return unlikely(result) ? result : chain_end(&walk);
}

static void packed_push(
	struct virtqueue *queue, const struct virtqueue_entry *entry, uint32_t written)
{
	struct vring_packed_desc *slot = &slots_of(queue)[queue->next_used];
	uint16_t flags = (uint16_t)((queue->used_wrap ? FLAG_AVAIL | FLAG_USED : 0) |
				    (written ? VRING_DESC_F_WRITE : 0));

	slot->id = entry->id;
	slot->len = written;
	if (!queue->unpublished) {
		queue->pending_at = queue->next_used;
		queue->pending_flags = flags;
		queue->pending_slots = 0;
	} else {
		/* Hidden behind the first one's flags; stored like these, for the same reader. */
		__atomic_store_n(&slot->flags, flags, __ATOMIC_RELEASE);
	}
	queue->pending_slots += entry->descriptors;
	queue->in_flight -= entry->descriptors;
	advance(queue, &queue->next_used, &queue->used_wrap, entry->descriptors);
}

static unsigned packed_publish(struct virtqueue *queue)
{
	/* Release: pairs with the driver's read barrier between flags and the rest of the slot. */
	__atomic_store_n(
		&slots_of(queue)[queue->pending_at].flags, queue->pending_flags, __ATOMIC_RELEASE);
	queue->published_used = queue->next_used;
	queue->published_wrap = queue->used_wrap;
	return queue->pending_slots;
}

static bool packed_wants_interrupt(const struct virtqueue *queue, uint32_t slots)
{
	uint32_t word = __atomic_load_n((const uint32_t *)queue->driver, __ATOMIC_RELAXED);
	uint16_t off_wrap = (uint16_t)word;
	uint16_t event = off_wrap & ((1u << EVENT_WRAP_BIT) - 1);
	bool wrap = off_wrap >> EVENT_WRAP_BIT;

	switch (word >> 16 & EVENT_FLAG_MASK) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		/* A position names a slot of this lap or of the last one. */
		if (!queue->layout.event_idx || slots > queue->layout.size)
			return true;
		/* Positions of the lap before the current one lie below zero. */
		if (wrap != queue->published_wrap)
			event -= queue->layout.size;
		return virtqueue_event_passed(event, queue->published_used, slots);
	default:
		return true; /* enabled; the reserved value errs on the loud side */
	}
}

static void packed_enable_kicks(struct virtqueue *queue)
{
	uint32_t word = event_word(0, VRING_PACKED_EVENT_FLAG_ENABLE);

	if (queue->layout.event_idx)
		word = event_word((uint16_t)(queue->next_avail | (unsigned)queue->avail_wrap
									 << EVENT_WRAP_BIT),
			VRING_PACKED_EVENT_FLAG_DESC);
	else if (queue->kicks_enabled)
		return;
	__atomic_store_n((uint32_t *)queue->device, word, __ATOMIC_RELAXED);
}

static void packed_disable_kicks(struct virtqueue *queue)
{
	__atomic_store_n((uint32_t *)queue->device, event_word(0, VRING_PACKED_EVENT_FLAG_DISABLE),
		__ATOMIC_RELAXED);
}

const struct virtqueue_ring_ops virtqueue_packed_ops = {
	.map = packed_map,
	.has_work = packed_has_work,
	.pop_batch = packed_pop_batch,
	.unpop = packed_unpop,
	.load_chain = packed_load_chain,
	.push = packed_push,
	.publish = packed_publish,
	.wants_interrupt = packed_wants_interrupt,
	.enable_kicks = packed_enable_kicks,
	.disable_kicks = packed_disable_kicks,
};
