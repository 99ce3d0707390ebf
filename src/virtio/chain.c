/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain is data of a hostile guest that other vCPUs may change while it is read. So each
 * descriptor is copied into a local once, behind a compiler barrier that forbids reading it again,
 * and only the copy is looked at. Split and packed descriptors differ in the order of their last
 * two fields; the copy is the same for both.
 *
 * Every loop has a bound that the guest does not choose: a chain in a ring's own table has at most
 * as many descriptors as the table, one in an indirect table the same, and at most
 * VIRTQUEUE_SIZE_MAX. A loop in the next fields runs into that bound.
 *
 * Guest addresses become pointers in guest_memory alone, with their length, so a segment lies in
 * one region of RAM or the chain is refused.
 */
#include "virtio/chain.h"

#include "memory/guest_memory.h"
#include "util/checked.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define DESCRIPTOR_BYTES 16u
#define CHAIN_BYTES_MAX  (1ull << 32) /* section 2.7.5 */

/* Makes the compiler take @value as it is now: it may not load it once more from where it was. */
#define read_once_done(value) __asm__("" : "+r"(value))

static inline struct chain_descriptor copy_split(const void *table, uint32_t index)
{
	const char *at = (const char *)table + (size_t)index * DESCRIPTOR_BYTES;
	uint64_t address, rest;

	memcpy(&address, at, sizeof(address)); /* an indirect table may be misaligned */
	memcpy(&rest, at + sizeof(address), sizeof(rest));
	read_once_done(address);
	read_once_done(rest);
	return (struct chain_descriptor){.address = address,
		.length = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48)};
}

static inline struct chain_descriptor copy_packed(const void *table, uint32_t index)
{
	struct chain_descriptor copy = copy_split(table, index);
	uint16_t flags = copy.next;

	copy.next = copy.flags;
	copy.flags = flags;
	return copy;
}

/* False where the chain must be refused for it. */
static inline bool add_segment(struct chain_walk *walk, const struct chain_descriptor *descriptor)
{
	struct virtqueue_chain *chain = walk->chain;
	bool writable = descriptor->flags & VRING_DESC_F_WRITE;
	unsigned index = chain->readable + chain->writable;
	void *host;

	if (unlikely(walk->writable && !writable))
		return false;
	walk->writable = writable;
	if (unlikely(!descriptor->length))
		return true;
	host = guest_memory_pointer(walk->memory, descriptor->address, descriptor->length);
	if (unlikely(!host))
		return false;
	/* Beyond the capacity the last element is replaced: it ends up with the last segment. */
	chain->iov[min_of(index, chain->capacity - 1)] =
		(struct iovec){.iov_base = host, .iov_len = descriptor->length};
	if (writable) {
		chain->writable++;
		chain->writable_bytes += descriptor->length;
	} else {
		chain->readable++;
		chain->readable_bytes += descriptor->length;
	}
	return true;
}

/* The table that an indirect descriptor points to, and how many descriptors it holds. */
static int find_table(const struct chain_walk *walk, const struct chain_descriptor *descriptor,
	const void **ret_table, uint32_t *ret_count)
{
	const void *table;

	if (!walk->indirect || (descriptor->flags & VRING_DESC_F_NEXT) || !descriptor->length ||
		descriptor->length % DESCRIPTOR_BYTES)
		return -EPROTO;
	table = guest_memory_pointer(walk->memory, descriptor->address, descriptor->length);
	if (!table)
		return -EPROTO;
	*ret_table = table;
	*ret_count = descriptor->length / DESCRIPTOR_BYTES;
	return 0;
}

struct chain_walk chain_begin(
	const struct guest_memory *memory, struct virtqueue_chain *chain, bool indirect)
{
	assert(chain->capacity); /* add_segment() replaces the last element */
	chain->readable = chain->writable = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	return (struct chain_walk){.memory = memory, .chain = chain, .indirect = indirect};
}

/*
 * The common loop over the ring's table and an indirect one. Where the chain ends in an indirect
 * descriptor, that is left in @ret_indirect and 1 is returned.
 */
static inline int walk_table(struct chain_walk *walk, const void *table, uint32_t count,
	uint32_t head, struct chain_descriptor *ret_indirect)
{
	uint32_t left = min_of(count, (uint32_t)VIRTQUEUE_SIZE_MAX);
	uint32_t index = head;

	while (left--) {
		struct chain_descriptor descriptor;

		if (unlikely(index >= count))
			return -EPROTO;
		descriptor = copy_split(table, index);
		if (descriptor.flags & VRING_DESC_F_INDIRECT) {
			*ret_indirect = descriptor;
			return 1;
		}
		if (unlikely(!add_segment(walk, &descriptor)))
			return -EPROTO;
		if (!(descriptor.flags & VRING_DESC_F_NEXT))
			return 0;
		index = descriptor.next;
	}
	return -EPROTO; /* a loop, or longer than we serve */
}

int chain_walk_split(struct chain_walk *walk, const void *table, uint32_t count, uint32_t head)
{
	struct chain_descriptor indirect;
	int result = walk_table(walk, table, count, head, &indirect);

	if (result <= 0)
		return result;
	/* Its WRITE flag is to be ignored, and direct descriptors may come before it: 2.7.5.3.2. */
	result = find_table(walk, &indirect, &table, &count);
	if (unlikely(result))
		return result;
	result = walk_table(walk, table, count, 0, &indirect);
	return unlikely(result > 0) ? -EPROTO : result; /* nested */
}

/* In a packed indirect table all descriptors belong to the chain, and only WRITE counts: 2.8.7. */
static int walk_packed_table(struct chain_walk *walk, const struct chain_descriptor *indirect)
{
	const void *table;
	uint32_t count;
	int result = find_table(walk, indirect, &table, &count);

	if (unlikely(result))
		return result;
	if (unlikely(count > VIRTQUEUE_SIZE_MAX))
		return -EPROTO;
	for (uint32_t i = 0; i < count; i++) {
		struct chain_descriptor descriptor = copy_packed(table, i);

		if (unlikely(!add_segment(walk, &descriptor)))
			return -EPROTO;
	}
	return 0;
}

int chain_walk_packed(struct chain_walk *walk, const void *ring, uint32_t size, uint32_t head,
	uint32_t descriptors)
{
	uint32_t index = head;

	for (uint32_t i = 0; i < descriptors; i++) {
		struct chain_descriptor descriptor = copy_packed(ring, index);

		/* Where the chain ends was decided when it was popped: NEXT is not asked again. */
		if (descriptor.flags & VRING_DESC_F_INDIRECT)
			return descriptors == 1 ? walk_packed_table(walk, &descriptor) : -EPROTO;
		if (unlikely(!add_segment(walk, &descriptor)))
			return -EPROTO;
		if (++index == size)
			index = 0;
	}
	return 0;
}

int chain_end(const struct chain_walk *walk)
{
	const struct virtqueue_chain *chain = walk->chain;

	if (unlikely(!(chain->readable + chain->writable)))
		return -EPROTO;
	/* At most 2 * 1024 segments of 4 GiB: the sum cannot wrap. */
	if (unlikely(chain->readable_bytes + chain->writable_bytes > CHAIN_BYTES_MAX))
		return -EPROTO;
	return likely(chain->readable + chain->writable <= chain->capacity) ? 0 : -E2BIG;
}
