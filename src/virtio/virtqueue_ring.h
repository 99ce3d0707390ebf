/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/virtio: what the split and the packed ring implement, and what both need.
 * virtqueue.c calls these with a queue that is started and not broken.
 */
#pragma once

#include "virtio/virtqueue.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct virtqueue_ring_ops {
	/* Translates the three areas, whose sizes and alignments only the ring knows. */
	int (*map)(struct virtqueue *queue);
	bool (*has_work)(const struct virtqueue *queue);
	int (*pop_batch)(
		struct virtqueue *queue, struct virtqueue_entry *ret_entries, unsigned max);
	void (*unpop)(
		struct virtqueue *queue, const struct virtqueue_entry *entries, unsigned count);
	int (*load_chain)(struct virtqueue *queue, const struct virtqueue_entry *entry,
		struct virtqueue_chain *chain);
	void (*push)(
		struct virtqueue *queue, const struct virtqueue_entry *entry, uint32_t written);
	/* Returns the number of ring slots published; called where something was pushed. */
	unsigned (*publish)(struct virtqueue *queue);
	/* The driver's wish for the last @slots slots up to what is published; after the barrier.
	 */
	bool (*wants_interrupt)(const struct virtqueue *queue, uint32_t slots);
	void (*enable_kicks)(struct virtqueue *queue);
	void (*disable_kicks)(struct virtqueue *queue);
};

extern const struct virtqueue_ring_ops virtqueue_split_ops;
extern const struct virtqueue_ring_ops virtqueue_packed_ops;

/* Checks and translates one area; @alignment is a power of two. -EINVAL or -EFAULT. */
int virtqueue_map_area(const struct guest_memory *memory, uint64_t gpa, uint64_t length,
	uint64_t alignment, void **ret_area);

/* Marks the queue broken and returns -EPROTO. Out of the fast path. */
int virtqueue_break(struct virtqueue *queue) __attribute__((cold));

/*
 * The full barrier of the two store-then-load races of every virtqueue. GCC's thread sanitizer does
 * not model fences and says so; the plain data of a ring is ordered by acquire and release alone.
 */
static inline void virtqueue_full_barrier(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	atomic_thread_fence(memory_order_seq_cst);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/*
 * Whether an event index asks to be told of what was published: true where @event is one of the
 * @count indices that end just before @index. Free-running 16-bit arithmetic; a count that does
 * not fit it covers every index.
 */
static inline bool virtqueue_event_passed(uint16_t event, uint16_t index, uint32_t count)
{
	return count > UINT16_MAX || (uint16_t)(index - event - 1) < count;
}
