/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel numbers the queues of a tap by their place in its array of attached ones: attaching
 * appends, detaching moves the last one into the gap. It tells nobody, so that the same is done
 * here to an array of our own, under a lock that is held over each attach and detach: the table
 * that the program sees names places, and is written anew when they change. While the kernel
 * detaches one queue (milliseconds), frames for others may land on the wrong one.
 *
 * The program reads one of two slots in memory that it shares with us. A new table is written into
 * the other one, which then becomes the current one, so that no frame sees half of each. A program
 * may still be running on the old slot then, for as long as one frame takes; if two commands come
 * within that time, that one frame is hashed by a mixture.
 *
 * A frame whose queue is detached, because the driver has reset it, must be dropped (section
 * 5.1.6.5.6). A steering program cannot do that, but the same program can as the tap's filter: it
 * is attached as such for as long as there are such queues.
 */
#include "net/net_steering.h"

#include "net/net_steering_program.h"
#include "net/virtio_net_abi.h"
#include "util/checked.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h> /* what the requests are made of */
#include <sys/mman.h>
#include <unistd.h>

/* ---- the table; lock held ---- */

static net_steering_place place_of(const struct net_steering *steering, unsigned pair)
{
	for (unsigned i = 0; i < steering->attached; i++) {
		if (steering->order[i] == pair)
			return net_steering_place_of(i, steering->attached);
	}
	return NET_STEERING_DROP;
}

/* Writes the places into @slot. Returns whether there are frames to be dropped. */
static bool fill_places(const struct net_steering *steering, struct net_steering_slot *slot)
{
	const struct net_rss *rss = &steering->rss;
	bool drop;

	slot->mask = rss->mask;
	slot->unclassified = place_of(steering, rss->unclassified);
	drop = slot->unclassified == NET_STEERING_DROP;
	for (unsigned i = 0; i <= rss->mask; i++) {
		slot->table[i] = place_of(steering, rss->table[i]);
		drop |= slot->table[i] == NET_STEERING_DROP;
	}
	return drop;
}

static int set_filter(struct net_steering *steering, bool filtering)
{
	int result;

	if (steering->filtering == filtering)
		return 0;
	result = tap_set_program(
		steering->tap, TUNSETFILTEREBPF, filtering ? steering->program_fd : -1);
	if (!result)
		steering->filtering = filtering;
	return result;
}

/* Brings steering->rss into force; @hash is NULL where only places have changed. */
static int publish(struct net_steering *steering, const struct net_hash *hash)
{
	struct net_steering_map *map = steering->map;
	uint32_t current = atomic_load_explicit(&map->current, memory_order_relaxed) & 1;
	struct net_steering_slot *slot = &map->slots[!current];
	int result = 0;
	bool drop;

	slot->types = hash ? hash->types : map->slots[current].types;
	slot->toeplitz = hash ? hash->toeplitz : map->slots[current].toeplitz;
	drop = fill_places(steering, slot);
	/* First, so that no frame is told to be dropped and is not; it passes all by the old one.
	 */
	if (drop)
		result = set_filter(steering, true);
	/* Release: the slot is whole before a program reads that it is the current one. */
	atomic_store_explicit(&map->current, !current, memory_order_release);
	return drop ? result : set_filter(steering, false);
}

/* ---- the interface ---- */

int net_steering_set(
	struct net_steering *steering, const struct net_rss *rss, const struct net_hash *hash)
{
	int result = 0;

	pthread_mutex_lock(&steering->lock);
	if (rss->on) {
		steering->rss = *rss;
		result = publish(steering, hash);
		if (!result)
			result = tap_set_program(
				steering->tap, TUNSETSTEERINGEBPF, steering->program_fd);
	}
	if ((result || !rss->on) && steering->rss.on) {
		int off = tap_set_program(steering->tap, TUNSETSTEERINGEBPF, -1);

		steering->rss.on = false;
		if (!off)
			off = set_filter(steering, false);
		result = result ? result : off;
	}
	pthread_mutex_unlock(&steering->lock);
	return result;
}

/* What the kernel does to its array. */
static void note_order(struct net_steering *steering, unsigned index, bool enable)
{
	if (enable) {
		steering->order[steering->attached++] = (uint8_t)index;
		return;
	}
	for (unsigned i = 0; i < steering->attached; i++) {
		if (steering->order[i] != index)
			continue;
		steering->order[i] = steering->order[--steering->attached];
		return;
	}
}

int net_steering_enable_queue(struct net_steering *steering, unsigned index, bool enable)
{
	struct tap *tap = steering->tap;
	int result = 0;

	if (tap->queues[index].enabled == enable)
		return 0;
	pthread_mutex_lock(&steering->lock);
	result = tap_queue_enable(tap, index, enable);
	if (!result) {
		note_order(steering, index, enable);
		if (steering->rss.on)
			result = publish(steering, NULL);
	}
	pthread_mutex_unlock(&steering->lock);
	return result;
}

/* ---- life ---- */

/* Whether the tap takes the program in both places; it has none afterwards. */
static int try_out(const struct net_steering *steering)
{
	static const unsigned long requests[] = {TUNSETSTEERINGEBPF, TUNSETFILTEREBPF};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		int result = tap_set_program(steering->tap, requests[i], steering->program_fd);

		if (!result)
			result = tap_set_program(steering->tap, requests[i], -1);
		if (result)
			return result;
	}
	return 0;
}

int net_steering_init(struct net_steering *steering, struct tap *tap)
{
	int result;

	*steering = (struct net_steering){.tap = tap, .program_fd = -1};
	result = net_steering_program_load(&steering->program_fd, &steering->map);
	if (result)
		return result;
	pthread_mutex_init(&steering->lock, NULL);
	result = try_out(steering);
	if (result)
		net_steering_deinit(steering);
	return result;
}

void net_steering_deinit(struct net_steering *steering)
{
	if (!steering->map)
		return;
	(void)net_steering_set(steering, &(struct net_rss){.on = false}, NULL);
	munmap(steering->map, net_steering_map_bytes());
	close(steering->program_fd);
	pthread_mutex_destroy(&steering->lock);
	steering->map = NULL;
}
