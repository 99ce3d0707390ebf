/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving: buffers posted as one piece each (virtio header, then frame), frames that may span
 * several (MRG_RXBUF), sequence and payload checks, and the hand-over to reflection. A receive slot
 * is a posted buffer's place; buffers move between slots, the free stack and frames in
 * transmission.
 */
#include <linux/virtio_net.h>

#include "finish.h"
#include "memory.h"
#include "net.h"

#define MAX_FRAME  65550u
#define GSO_UDP_L4 5

/* One frame as it came in. */
struct arrival {
	uint8_t *buffers[NET_MAX_PARTS];
	struct frame_part parts[NET_MAX_PARTS];
	unsigned count;
	uint32_t bytes;
	struct virtio_net_hdr_v1 header;
};

static uint32_t buffer_size(const struct net_pair *pair)
{
	const struct options *options = pair->options;
	uint64_t features = pair->nic->device->features;
	uint64_t large = 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << 54;
	uint32_t needed = features & large        ? MAX_FRAME
	                  : options->frame > 1514 ? options->frame
	                                          : 1514;

	if (!pair->nic->mergeable)
		return NET_HEADER + needed;
	if (options->receive_buffer * (NET_MAX_PARTS - 1) < NET_HEADER + needed)
		finish_fail("rxbuf=%u is too small for frames of %u bytes", options->receive_buffer,
			needed);
	return options->receive_buffer;
}

void net_rx_init(struct net_pair *pair)
{
	uint32_t slots = pair->rx.size, count = slots;
	size_t stride;

	pair->buffer_size = buffer_size(pair);
	stride = (pair->buffer_size + 63) & ~63u;
	if (pair->nic->role == NET_REFLECT)
		count += slots; /* as many again in transmission */
	pair->buffers = memory_allocate(slots * sizeof(*pair->buffers), 64);
	pair->free_rx_slots = memory_allocate(2 * slots, 64);
	pair->free_buffers = memory_allocate(count * sizeof(*pair->free_buffers), 64);
	for (uint32_t i = 0; i < count; i++)
		pair->free_buffers[pair->free_buffer_count++] = memory_allocate(stride, 64);
	for (uint32_t i = slots; i--;)
		pair->free_rx_slots[pair->free_rx_count++] = (uint16_t)i;
}

void net_rx_post(struct net_pair *pair)
{
	bool added = false;

	while (pair->free_rx_count && pair->free_buffer_count) {
		uint16_t slot = pair->free_rx_slots[pair->free_rx_count - 1];
		uint8_t *buffer = pair->free_buffers[pair->free_buffer_count - 1];
		struct virtq_segment segment = {(uint64_t)buffer, pair->buffer_size};

		if (!virtq_add(&pair->rx, &segment, 0, 1, slot))
			break;
		pair->buffers[slot] = buffer;
		pair->free_rx_count--;
		pair->free_buffer_count--;
		added = true;
	}
	if (added)
		virtq_publish(&pair->rx);
}

static bool take_buffer(struct net_pair *pair, struct arrival *arrival, uint32_t skip)
{
	uint32_t length;
	uint16_t slot;

	if (!virtq_take(&pair->rx, &slot, &length))
		return false;
	pair->free_rx_slots[pair->free_rx_count++] = slot;
	if (length > pair->buffer_size || length < skip) {
		pair->counters.malformed++;
		length = skip;
	}
	arrival->buffers[arrival->count] = pair->buffers[slot];
	arrival->parts[arrival->count].data = pair->buffers[slot] + skip;
	arrival->parts[arrival->count].length = length - skip;
	arrival->bytes += length - skip;
	arrival->count++;
	pair->counters.rx_buffers++;
	return true;
}

/* Takes the next frame with all its buffers. */
static bool take_frame(struct net_pair *pair, struct arrival *ret_arrival)
{
	unsigned wanted = 1;

	ret_arrival->count = 0;
	ret_arrival->bytes = 0;
	if (!take_buffer(pair, ret_arrival, NET_HEADER))
		return false;
	ret_arrival->header = *(struct virtio_net_hdr_v1 *)ret_arrival->buffers[0];
	if (pair->nic->mergeable)
		wanted = ret_arrival->header.num_buffers;
	if (wanted == 0 || wanted > NET_MAX_PARTS) {
		pair->counters.malformed++;
		wanted = 1;
	}
	while (ret_arrival->count < wanted) {
		if (!take_buffer(pair, ret_arrival, 0)) {
			pair->counters
				.malformed++; /* the device must show a frame's buffers together */
			break;
		}
	}
	return true;
}

static void check_sequence(struct net_pair *pair, const struct frame_facts *facts)
{
	struct net_sequence *entry =
		&pair->nic->sequences[(facts->instance * 257u + facts->flow) % NET_SEQUENCES];
	int32_t ahead = (int32_t)(facts->sequence - entry->expected);

	if (!entry->seen || entry->instance != facts->instance) {
		*entry = (struct net_sequence){facts->sequence, facts->instance, true};
		ahead = 0;
	}
	if (ahead < 0) {
		pair->counters.late++;
		return;
	}
	pair->counters.lost += (uint32_t)ahead;
	entry->expected = facts->sequence + facts->units;
}

static void check_content(struct net_pair *pair, const struct arrival *arrival,
	const struct frame_facts *facts, uint32_t slice)
{
	uint8_t unchecked = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;

	if (frame_check_payload(arrival->parts, arrival->count, slice, facts))
		pair->counters.bad_payloads++;
	if (!(arrival->header.flags & unchecked) && arrival->header.gso_type == 0 &&
		!frame_checksum_right(arrival->parts, arrival->count))
		pair->counters.bad_checksums++;
}

static void count_arrival(struct net_pair *pair, const struct arrival *arrival,
	const struct frame_facts *facts, uint64_t now)
{
	struct net_counters *counters = &pair->counters;
	uint64_t none = 0;

	if (pair->nic->started == 0)
		__atomic_compare_exchange_n(
			&pair->nic->started, &none, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	__atomic_fetch_add(&pair->nic->received, 1, __ATOMIC_RELAXED);
	counters->rx_total++;
	counters->rx_large += arrival->header.gso_type != 0;
	pair->last_received = now;
	if (!pair->measuring || now >= pair->measure_to)
		return;
	counters->rx_packets++;
	counters->rx_bytes += arrival->bytes;
	if (pair->nic->role == NET_BOTH && facts->kind == FRAME_UDP &&
		facts->instance == (uint16_t)pair->nic->source_ip && now > facts->stamp)
		histogram_add(pair->round_trip, now - facts->stamp);
}

static bool is_for_us(const struct net_pair *pair, const struct arrival *arrival)
{
	for (unsigned i = 0; i < 6; i++) {
		if (arrival->parts[0].data[i] != pair->nic->mac[i])
			return false;
	}
	return true;
}

/* True when the frame's buffers are in use by the transmit queue now. */
static bool handle(struct net_pair *pair, const struct arrival *arrival, uint64_t now)
{
	uint32_t slice = arrival->header.gso_type == GSO_UDP_L4 ? arrival->header.gso_size : 0;
	struct frame_facts facts = {.kind = FRAME_FOREIGN};

	if (arrival->parts[0].length >= 60)
		frame_look(arrival->parts, arrival->count, slice, &facts);
	if (facts.kind == FRAME_FOREIGN) {
		pair->counters.foreign++;
		return false;
	}
	check_sequence(pair, &facts);
	if (pair->options->verify == VERIFY_ON)
		check_content(pair, arrival, &facts, slice);
	count_arrival(pair, arrival, &facts, now);
	return pair->nic->role == NET_REFLECT && is_for_us(pair, arrival) &&
	       net_tx_reflect(pair, arrival->buffers, arrival->parts, arrival->count, now);
}

unsigned net_rx_take(struct net_pair *pair, uint64_t now)
{
	struct arrival arrival;
	unsigned count = 0;

	while (count < 64 && (pair->nic->role != NET_REFLECT || pair->free_count) &&
		take_frame(pair, &arrival)) {
		if (!handle(pair, &arrival, now)) {
			for (unsigned i = 0; i < arrival.count; i++)
				pair->free_buffers[pair->free_buffer_count++] = arrival.buffers[i];
		}
		count++;
	}
	if (count && pair->nic->role == NET_REFLECT)
		virtq_publish(&pair->tx);
	if (count)
		net_rx_post(pair);
	return count;
}
