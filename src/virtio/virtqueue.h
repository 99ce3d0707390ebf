/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue seen from the device: split or packed ring behind one batch-first API
 * (virtio 1.2, sections 2.7 and 2.8).
 *
 * The cycle of an I/O worker:
 *
 *   virtqueue_pop_batch()       take what the driver made available
 *   virtqueue_load_chain()      validate one descriptor chain and copy it into iovecs
 *   ...                         do the I/O
 *   virtqueue_push()            write used entries, as many as there are
 *   virtqueue_publish()         make them visible, once
 *   virtqueue_need_interrupt()  decide once whether the driver wants to be told
 *   virtqueue_rearm()           before sleeping: ask for kicks, then look again
 *
 * The ring and everything it points to belong to a hostile guest. Every field is read once into
 * a local and validated there. A guest that breaks the ring's rules makes virtqueue_pop_batch()
 * answer -EPROTO, and the caller marks the device as needing a reset; it can harm nothing else.
 * From then on the queue counts as broken: it has no work, pops answer -EPROTO, what is still in
 * flight may be pushed but is not published.
 *
 * No more chains are ever in flight than the queue has entries, whatever the guest does. A head
 * that a guest makes available a second time while the first is in flight is not detected here
 * on a split ring: who keeps state per head (blk_request) marks it in flight and refuses. The
 * ring itself is indifferent to it.
 *
 * Threads: a started virtqueue belongs to one worker thread; all functions are called by it, but
 * for virtqueue_start() and virtqueue_stop(), which are called while no worker has the queue.
 */
#pragma once

#include "util/checked.h"
#include "util/counter.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct guest_memory;

/* Our own bound (the specification allows 32768); a power of two for the split ring. */
#define VIRTQUEUE_SIZE_MAX 1024

/* What the driver configured through the transport, plus the features that it accepted. */
struct virtqueue_layout {
	uint16_t size;       /* 1 to VIRTQUEUE_SIZE_MAX; a power of two unless packed */
	uint64_t desc_gpa;   /* descriptor table, or the packed descriptor ring */
	uint64_t driver_gpa; /* avail ring, or the driver event suppression structure */
	uint64_t device_gpa; /* used ring, or the device event suppression structure */
	bool packed;         /* VIRTIO_F_RING_PACKED */
	bool event_idx;      /* VIRTIO_F_EVENT_IDX */
	bool indirect;       /* VIRTIO_F_INDIRECT_DESC */
	bool in_order;       /* VIRTIO_F_IN_ORDER */
};

/* One chain that was taken off the ring and is not completed yet. */
struct virtqueue_entry {
	uint16_t head;        /* index of the first descriptor in the table or ring */
	uint16_t id;          /* what goes into the used entry; below the queue size, checked */
	uint16_t descriptors; /* ring slots that the chain takes (1 on a split ring) */
};

/*
 * A descriptor chain, validated and translated. The caller gives @iov and @capacity; the rest is
 * filled in. Readable segments come first, as the specification demands.
 */
struct virtqueue_chain {
	struct iovec *iov;
	unsigned capacity; /* elements in @iov, at least 1 */
	unsigned readable; /* leading elements that the device may read */
	unsigned writable; /* elements after them that the device may write */
	uint64_t readable_bytes;
	uint64_t writable_bytes;
};

/* Written by the worker alone, read by anyone. */
struct virtqueue_counters {
	struct counter popped;     /* chains taken */
	struct counter pushed;     /* used entries written */
	struct counter publishes;  /* updates of the used index, one a batch */
	struct counter interrupts; /* times that the driver had to be told */
	struct counter suppressed; /* publishes after which it did not want to be */
	struct counter rearms;     /* times that kicks were asked for */
};

struct virtqueue;
struct virtqueue_ring_ops; /* the split or the packed implementation, private */

/*
 * Fields are private to src/virtio; the struct is public so that it can be embedded. It is aligned
 * to a cache line: allocate what contains it with aligned_alloc(), not malloc().
 */
struct virtqueue {
	const struct guest_memory *memory;
	const struct virtqueue_ring_ops *ops;
	struct virtqueue_layout layout;
	void *desc; /* host addresses of the three areas, checked at start */
	void *driver;
	void *device;
	uint16_t mask;           /* split: size - 1 */
	uint16_t next_avail;     /* split: free-running index; packed: ring position */
	uint16_t avail_seen;     /* split: the avail index as read last */
	uint16_t next_used;      /* like next_avail, for used entries that are written */
	uint16_t published_used; /* what the driver has been shown */
	uint16_t in_flight;      /* ring slots popped and not yet pushed */
	uint16_t unpublished;    /* used entries written since */
	uint32_t unsignalled;    /* ring slots published since the last need_interrupt */
	bool avail_wrap;         /* packed: the wrap counters */
	bool used_wrap;
	bool published_wrap;
	bool kicks_enabled; /* what the driver was told last */
	bool broken;        /* a ring rule was violated, or the queue is stopped */
	/* packed: the first slot of the batch being written, whose flags are stored last */
	uint16_t pending_at;
	uint16_t pending_flags;
	uint32_t pending_slots; /* slots that the batch takes */
	cache_aligned struct virtqueue_counters counters;
};

/*
 * True where the driver has not been told of half a ring or more, and may be short of slots. Owner.
 */
static inline bool virtqueue_owes_half(const struct virtqueue *queue)
{
	return queue->unsignalled >= queue->layout.size / 2;
}

/*
 * Takes a configured ring over. The ring starts from index 0 with wrap counters 1, kicks enabled.
 * Returns 0; -EINVAL for a size that is not allowed or misaligned areas (split: 16, 2 and 4
 * bytes; packed: 16, 4 and 4); -EFAULT for an area that is not all in one region of RAM. The
 * queue keeps no reference on anything but @memory. Counters go on from where they were. The
 * object may be anything (zeroes at first). Section 2.7.
 */
int virtqueue_start(struct virtqueue *queue, const struct guest_memory *memory,
	const struct virtqueue_layout *layout);

/* Where a ring's three areas are in this process. */
struct virtqueue_areas {
	void *desc;
	void *driver;
	void *device;
};

/*
 * The areas of a started ring, for a back end in the kernel that serves it instead of the functions
 * below.
 */
struct virtqueue_areas virtqueue_areas(const struct virtqueue *queue);

/*
 * Forgets the ring. Nothing may be in flight that will still be pushed. All functions stay callable
 * and find a queue without work.
 */
void virtqueue_stop(struct virtqueue *queue);

/*
 * True where the driver has made at least one chain available: a load-acquire of the avail index
 * (packed: of the next descriptor's flags) and nothing else. Cheap enough to be polled.
 */
bool virtqueue_has_work(const struct virtqueue *queue);

/*
 * Takes up to @max chains. Returns how many (0: none), or -EPROTO where the driver made more
 * available than the queue holds together with what is in flight, or a head or id is out of
 * range (a packed ring's ids may by the specification be any number; all drivers keep them below
 * the queue size, and so that they can index request slots we insist on it). Never allocates,
 * never blocks.
 */
int virtqueue_pop_batch(struct virtqueue *queue, struct virtqueue_entry *ret_entries, unsigned max);

/* A hint, for a driver that has one request at a time: the next chain likely starts at @head. */
static inline void virtqueue_prefetch(const struct virtqueue *queue, uint16_t head)
{
	__builtin_prefetch((const char *)queue->desc + 16u * head); /* a descriptor's size */
}

/*
 * Gives @count entries (in the order they were popped) back to the ring, as if they had not been
 * taken. They must be the most recent ones popped and not yet pushed; they may have been loaded.
 */
void virtqueue_unpop(
	struct virtqueue *queue, const struct virtqueue_entry *entries, unsigned count);

/*
 * Walks the chain of @entry once, copying each descriptor to a local before it is looked at,
 * follows at most one indirect table (where the feature was accepted), and fills @chain with host
 * addresses. These give -EPROTO: a segment that is not in RAM or crosses RAM regions; a loop (more
 * descriptors than the queue, the table or VIRTQUEUE_SIZE_MAX holds); a readable segment after a
 * writable one; an indirect descriptor that is nested (split: in a table; packed: in a chain) or
 * has NEXT set; a table that is empty or no multiple of 16 bytes; a next index out of range; a
 * total above 4 GiB. Zero-length descriptors are skipped; a chain of nothing else gives -EPROTO.
 * After -EPROTO, @chain is undefined; the entry can be pushed all the same.
 *
 * A well-formed chain with more than @capacity segments gives -E2BIG: the counts and bytes are
 * those of the whole chain, but @iov holds only its first @capacity - 1 segments and, in the last
 * element, its last one (where a block device's status byte is).
 *
 * On a packed ring the used entries overwrite the ring: load chains in the order they were popped,
 * and each before anything popped after it is pushed. Sections 2.7.5 and 2.8.5.
 */
int virtqueue_load_chain(struct virtqueue *queue, const struct virtqueue_entry *entry,
	struct virtqueue_chain *chain);

/*
 * Writes a used entry: the device has put @written bytes into the chain's writable part. The
 * driver does not see it before virtqueue_publish(). Each popped entry is pushed exactly once, in
 * any order (in pop order where VIRTIO_F_IN_ORDER was accepted: the caller sees to it). Every chain
 * gets a used entry of its own, also in order, where the specification lets a device skip some:
 * a skipped entry would claim that the device wrote the whole buffer.
 */
void virtqueue_push(struct virtqueue *queue, const struct virtqueue_entry *entry, uint32_t written);

/* Makes all pushed entries visible, once (store-release). True where there were any. */
bool virtqueue_publish(struct virtqueue *queue);

/*
 * After a publish that returned true: a full barrier, then whether the driver asked to be
 * interrupted for what was published since the last call (section 2.7.10, used_event compared
 * wrap-safe; or the avail ring's NO_INTERRUPT flag; packed: the driver event suppression
 * structure).
 */
bool virtqueue_need_interrupt(struct virtqueue *queue);

/*
 * Asks the driver for kicks, then, behind a full barrier, looks at the avail ring again. True
 * where work has come meanwhile: the caller must process it instead of sleeping.
 */
bool virtqueue_rearm(struct virtqueue *queue);

/*
 * Tells the driver that kicks are not needed while the worker looks by itself. A hint: a driver
 * that has read the old wish, or has made 65536 chains available since (split ring with EVENT_IDX),
 * kicks once all the same.
 */
void virtqueue_disarm(struct virtqueue *queue);
