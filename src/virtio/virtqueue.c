/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What split and packed rings have in common: taking a ring over, the broken state, counters, and
 * the two places where a store must not be overtaken by the load after it. Acquire and release do
 * not order that, so each has a full barrier, and each has a partner in the driver:
 *
 *   we: publish used entries      driver: ask for an interrupt (used_event, flags)
 *       full barrier                      full barrier
 *       read the driver's wish            look for used entries again
 *
 *   we: ask for a kick            driver: make a chain available
 *       full barrier                      full barrier
 *       look for chains again             read our wish (avail_event, flags)
 *
 * In each pair at least one side sees what the other has stored, so nobody sleeps on work.
 */
#include "virtio/virtqueue.h"

#include "memory/guest_memory.h"
#include "virtio/virtqueue_ring.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

int virtqueue_map_area(const struct guest_memory *memory, uint64_t gpa, uint64_t length,
	uint64_t alignment, void **ret_area)
{
	void *area;

	if (gpa & (alignment - 1))
		return -EINVAL;
	area = guest_memory_pointer(memory, gpa, length);
	if (!area)
		return -EFAULT;
	*ret_area = area;
	return 0;
}

int virtqueue_break(struct virtqueue *queue)
{
	queue->broken = true;
	return -EPROTO;
}

/* All goes to its start value but the counters, which other threads may be reading. */
static void reset_state(struct virtqueue *queue)
{
	memset(queue, 0, offsetof(struct virtqueue, counters));
	queue->avail_wrap = queue->used_wrap = queue->published_wrap = true;
	queue->broken = true;
}

int virtqueue_start(struct virtqueue *queue, const struct guest_memory *memory,
	const struct virtqueue_layout *layout)
{
	int result;

	reset_state(queue);
	if (!layout->size || layout->size > VIRTQUEUE_SIZE_MAX)
		return -EINVAL;
	queue->memory = memory;
	queue->layout = *layout;
	queue->ops = layout->packed ? &virtqueue_packed_ops : &virtqueue_split_ops;
	result = queue->ops->map(queue);
	if (result) {
		reset_state(queue);
		return result;
	}
	queue->broken = false;
	queue->ops->enable_kicks(queue); /* whatever the driver left in the area */
	queue->kicks_enabled = true;
	return 0;
}

struct virtqueue_areas virtqueue_areas(const struct virtqueue *queue)
{
	return (struct virtqueue_areas){
		.desc = queue->desc, .driver = queue->driver, .device = queue->device};
}

void virtqueue_stop(struct virtqueue *queue)
{
	reset_state(queue);
}

bool virtqueue_has_work(const struct virtqueue *queue)
{
	return likely(!queue->broken) && queue->ops->has_work(queue);
}

int virtqueue_pop_batch(struct virtqueue *queue, struct virtqueue_entry *ret_entries, unsigned max)
{
	int count;

	if (unlikely(queue->broken))
		return queue->ops ? -EPROTO : 0; /* stopped: nothing there */
	count = queue->ops->pop_batch(queue, ret_entries, max);
	if (count > 0)
		counter_add(&queue->counters.popped, (unsigned)count);
	return count;
}

void virtqueue_unpop(struct virtqueue *queue, const struct virtqueue_entry *entries, unsigned count)
{
	if (unlikely(queue->broken) || !count)
		return;
	assert(count <= queue->in_flight);
	queue->ops->unpop(queue, entries, count);
	counter_add(&queue->counters.popped, -(uint64_t)count);
}

int virtqueue_load_chain(
	struct virtqueue *queue, const struct virtqueue_entry *entry, struct virtqueue_chain *chain)
{
	if (unlikely(queue->broken))
		return -EPROTO;
	return queue->ops->load_chain(queue, entry, chain);
}

void virtqueue_push(struct virtqueue *queue, const struct virtqueue_entry *entry, uint32_t written)
{
	if (unlikely(queue->broken))
		return;
	assert(entry->descriptors <= queue->in_flight);
	queue->ops->push(queue, entry, written);
	queue->unpublished++;
}

bool virtqueue_publish(struct virtqueue *queue)
{
	if (!queue->unpublished || unlikely(queue->broken))
		return false;
	queue->unsignalled += queue->ops->publish(queue);
	counter_add(&queue->counters.pushed, queue->unpublished);
	counter_add(&queue->counters.publishes, 1);
	queue->unpublished = 0;
	return true;
}

bool virtqueue_need_interrupt(struct virtqueue *queue)
{
	uint32_t slots = queue->unsignalled;
	bool wanted;

	if (!slots || unlikely(queue->broken))
		return false;
	/*
	 * The used index (packed: flags) is stored before the driver's wish is read. Pairs with the
	 * driver's full barrier between writing that wish and looking for used entries once more.
	 */
	virtqueue_full_barrier();
	wanted = queue->ops->wants_interrupt(queue, slots);
	queue->unsignalled = 0;
	counter_add(wanted ? &queue->counters.interrupts : &queue->counters.suppressed, 1);
	return wanted;
}

bool virtqueue_rearm(struct virtqueue *queue)
{
	if (unlikely(queue->broken))
		return false;
	queue->ops->enable_kicks(queue);
	queue->kicks_enabled = true;
	counter_add(&queue->counters.rearms, 1);
	/*
	 * Our wish is stored before the ring is looked at. Pairs with the driver's full barrier
	 * between making a chain available and reading whether we want to be kicked.
	 */
	virtqueue_full_barrier();
	return queue->ops->has_work(queue);
}

void virtqueue_disarm(struct virtqueue *queue)
{
	if (unlikely(queue->broken) || !queue->kicks_enabled)
		return;
	queue->ops->disable_kicks(queue);
	queue->kicks_enabled = false;
}
