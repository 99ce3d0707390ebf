/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both arrays are filled at their ends and emptied at their fronts; when the room behind the end
 * runs short, what is left moves to the beginning, once in hundreds of frames. That keeps the
 * iovecs of a window consecutive, ready to be handed to readv() as they are.
 */
#include "net/net_reserve.h"

#include "util/checked.h"

#include <errno.h>
#include <string.h>

#define BATCH 32u
/* The most segments of a chain: with one more of the caller's, what readv() takes. */
#define CHAIN_MAX 1023u

void net_reserve_init(struct net_reserve *reserve, bool mergeable)
{
	reserve->mergeable = mergeable;
	reserve->chain_first = reserve->chain_end = 0;
	reserve->iov_first = reserve->iov_end = 0;
	reserve->bytes = 0;
	reserve->full = false;
}

static void move_to_front(struct net_reserve *reserve)
{
	unsigned chains = net_reserve_count(reserve);
	unsigned iovs = reserve->iov_end - reserve->iov_first;

	memmove(reserve->chains, &reserve->chains[reserve->chain_first],
		chains * sizeof(reserve->chains[0]));
	memmove(reserve->iov, &reserve->iov[reserve->iov_first], iovs * sizeof(reserve->iov[0]));
	reserve->chain_first = reserve->iov_first = 0;
	reserve->chain_end = chains;
	reserve->iov_end = iovs;
}

/* Joins the @count segments just loaded behind the end with what is before them. */
static unsigned join(struct net_reserve *reserve, const struct iovec *loaded, unsigned count)
{
	unsigned least = reserve->mergeable ? reserve->iov_first : reserve->iov_end;
	unsigned end = reserve->iov_end;

	for (unsigned i = 0; i < count; i++) {
		struct iovec segment = loaded[i];
		struct iovec *last = end > least ? &reserve->iov[end - 1] : NULL;

		if (last && (char *)last->iov_base + last->iov_len == segment.iov_base)
			last->iov_len += segment.iov_len;
		else
			reserve->iov[end++] = segment;
	}
	return end;
}

/* Loads one chain behind the end. -ENOBUFS where it does not fit there now. */
static int load(
	struct net_reserve *reserve, struct virtqueue *queue, const struct virtqueue_entry *entry)
{
	struct virtqueue_chain chain = {.iov = &reserve->iov[reserve->iov_end],
		.capacity = min_of(NET_RESERVE_IOVS - reserve->iov_end, CHAIN_MAX)};
	unsigned end;
	int result;

	if (!chain.capacity)
		return -ENOBUFS;
	result = virtqueue_load_chain(queue, entry, &chain);
	if (result == -E2BIG)
		return chain.capacity < CHAIN_MAX ? -ENOBUFS : -EPROTO;
	if (result)
		return result;
	if (!chain.writable)
		return -EPROTO;
	end = join(reserve, &chain.iov[chain.readable], chain.writable);
	reserve->chains[reserve->chain_end++] = (struct net_reserve_chain){.entry = *entry,
		.iovs = (uint16_t)(end - reserve->iov_end),
		.bytes = chain.writable_bytes};
	reserve->iov_end = end;
	reserve->bytes += chain.writable_bytes;
	return 0;
}

/* Takes one batch. Returns how many chains came (0: no more now), or a negative errno. */
static int fill_batch(struct net_reserve *reserve, struct virtqueue *queue)
{
	struct virtqueue_entry entries[BATCH];
	unsigned room;
	int count, result;

	if (reserve->chain_end + BATCH > NET_RESERVE_CHAINS ||
		reserve->iov_end + CHAIN_MAX > NET_RESERVE_IOVS)
		move_to_front(reserve);
	room = NET_RESERVE_CHAINS - reserve->chain_end;
	reserve->full = !room;
	count = virtqueue_pop_batch(queue, entries, min_of(room, BATCH));
	for (int i = 0; i < count; i++) {
		result = load(reserve, queue, &entries[i]);
		if (!result)
			continue;
		if (result != -ENOBUFS)
			return result;
		reserve->full = true;
		virtqueue_unpop(queue, &entries[i], (unsigned)(count - i));
		return i;
	}
	return count;
}

static bool has_enough(const struct net_reserve *reserve, uint64_t wanted)
{
	return reserve->mergeable ? reserve->bytes >= wanted : net_reserve_count(reserve) > 0;
}

int net_reserve_fill(struct net_reserve *reserve, struct virtqueue *queue, uint64_t wanted)
{
	while (!has_enough(reserve, wanted)) {
		int count = fill_batch(reserve, queue);

		if (count <= 0)
			return count;
	}
	return 0;
}

struct net_window net_reserve_window(struct net_reserve *reserve, uint64_t wanted)
{
	struct net_window window = {.iov = &reserve->iov[reserve->iov_first]};
	unsigned most = min_of(reserve->iov_end - reserve->iov_first, CHAIN_MAX);

	if (!reserve->mergeable) {
		window.count = reserve->chains[reserve->chain_first].iovs;
		window.bytes = reserve->chains[reserve->chain_first].bytes;
		return window;
	}
	while (window.count < most && window.bytes < wanted)
		window.bytes += window.iov[window.count++].iov_len;
	return window;
}

unsigned net_reserve_chains(const struct net_reserve *reserve, uint64_t bytes)
{
	unsigned chain = reserve->chain_first;

	while (bytes > reserve->chains[chain].bytes)
		bytes -= reserve->chains[chain++].bytes;
	return chain - reserve->chain_first + 1;
}

/* Drops the first @bytes of the iovecs. */
static void drop_bytes(struct net_reserve *reserve, uint64_t bytes)
{
	while (bytes) {
		struct iovec *first = &reserve->iov[reserve->iov_first];
		size_t part = min_of((uint64_t)first->iov_len, bytes);

		first->iov_base = (char *)first->iov_base + part;
		first->iov_len -= part;
		bytes -= part;
		reserve->iov_first += !first->iov_len;
	}
}

void net_reserve_use(struct net_reserve *reserve, struct virtqueue *queue, uint64_t bytes)
{
	while (bytes) {
		struct net_reserve_chain *chain = &reserve->chains[reserve->chain_first++];
		uint64_t part = min_of(chain->bytes, bytes);

		virtqueue_push(queue, &chain->entry, (uint32_t)part);
		drop_bytes(reserve, chain->bytes);
		reserve->bytes -= chain->bytes;
		bytes -= part;
	}
}
