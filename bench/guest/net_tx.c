/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmitting: generated frames, whose headers are built once for each slot and flow, and received
 * frames that go back as they lie in their receive buffers. In both cases the virtio header stands
 * right before the frame, and header and frame are one piece unless segs= or layout=random cut them
 * up.
 */
#include <linux/virtio_net.h>

#include "clock.h"
#include "finish.h"
#include "memory.h"
#include "net.h"

#define NO_FLOW    0xffff
#define GSO_UDP_L4 5

void *memcpy(void *to, const void *from, size_t length);

static uint32_t frame_length(const struct options *options, uint32_t *ret_slice)
{
	uint32_t slices;

	if (!options->gso) {
		*ret_slice = 0;
		return options->frame;
	}
	if (options->gso_type == GSO_TCP) {
		*ret_slice = options->frame - FRAME_TCP_PAYLOAD;
		return options->gso < 65535 ? options->gso
		                            : 65535; /* the IP length field has 16 bits */
	}
	*ret_slice = options->frame - FRAME_UDP_PAYLOAD;
	slices = (options->gso - FRAME_UDP_PAYLOAD) / *ret_slice;
	slices = slices < 64 ? slices : 64; /* as Linux limits it */
	while (FRAME_UDP_PAYLOAD + slices * *ret_slice > 65535)
		slices--;
	return FRAME_UDP_PAYLOAD + slices * *ret_slice;
}

static void init_flows(struct net_pair *pair)
{
	const struct options *options = pair->options;
	const struct net_nic *nic = pair->nic;
	enum frame_kind kind = !options->gso                  ? FRAME_UDP
	                       : options->gso_type == GSO_TCP ? FRAME_TCP_GSO
	                                                      : FRAME_UDP_GSO;

	pair->flows = memory_allocate(options->flows * sizeof(*pair->flows), 64);
	for (uint32_t i = 0; i < options->flows; i++) {
		struct frame_flow *flow = &pair->flows[i];

		*flow = (struct frame_flow){
			.kind = kind,
			.source_ip = nic->source_ip,
			.destination_ip = nic->destination_ip,
			.port = options->port,
			.flow = (uint16_t)(pair->index * options->flows + i),
			.partial_checksum = options->gso || options->checksum == SWITCH_ON,
			.fill = options->verify == VERIFY_ON,
		};
		flow->length = frame_length(options, &flow->slice);
		memcpy(flow->source, nic->mac, 6);
		memcpy(flow->destination, nic->destination, 6);
	}
}

void net_tx_init(struct net_pair *pair)
{
	uint32_t pieces = pair->options->segments + (pair->options->layout == LAYOUT_RANDOM);
	uint32_t entries = pair->tx.indirect && pieces > 1 ? 1 : pieces;
	size_t size = 0;

	if (pair->nic->role == NET_REFLECT)
		entries = pair->tx.indirect ? 1 : NET_MAX_PARTS;
	pair->depth = pair->tx.size / entries;
	if (pair->options->depth < pair->depth)
		pair->depth = pair->options->depth;
	pair->slots = memory_allocate(pair->depth * sizeof(*pair->slots), 64);
	pair->free_slots = memory_allocate(2 * pair->depth, 64);
	if (net_nic_sends(pair->nic)) {
		init_flows(pair);
		size = (NET_HEADER + pair->flows[0].length + 127) & ~63u;
	}
	for (uint32_t i = 0; i < pair->depth; i++) {
		pair->slots[i].flow = NO_FLOW;
		pair->slots[i].data = size ? memory_allocate(size, 64) : NULL;
		pair->free_slots[pair->free_count++] = (uint16_t)(pair->depth - 1 - i);
	}
}

static void build_header(const struct frame_flow *flow, uint8_t *data)
{
	struct virtio_net_hdr_v1 *header = (struct virtio_net_hdr_v1 *)data;

	*header = (struct virtio_net_hdr_v1){0};
	if (flow->partial_checksum) {
		header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		header->csum_start = FRAME_L4;
		header->csum_offset = flow->kind == FRAME_TCP_GSO ? 16 : 6;
	}
	if (flow->kind == FRAME_UDP)
		return;
	header->gso_type = flow->kind == FRAME_TCP_GSO ? VIRTIO_NET_HDR_GSO_TCPV4 : GSO_UDP_L4;
	header->gso_size = (uint16_t)flow->slice;
	header->hdr_len = flow->kind == FRAME_TCP_GSO ? FRAME_TCP_PAYLOAD : FRAME_UDP_PAYLOAD;
}

/* Puts the frame of `flow` into the slot's buffer, unless it is there. */
static void use_flow(struct net_tx_slot *slot, const struct frame_flow *flow, uint32_t number)
{
	if (slot->flow == number)
		return;
	build_header(flow, slot->data);
	frame_build(flow, slot->data + NET_HEADER);
	slot->flow = (uint16_t)number;
}

void net_tx_prepare(struct net_pair *pair)
{
	for (uint32_t i = 0; i < pair->depth && pair->slots[i].data; i++)
		use_flow(&pair->slots[i], &pair->flows[0], 0);
}

static unsigned cut(
	struct net_pair *pair, uint64_t address, uint32_t bytes, struct virtq_segment *ret_segments)
{
	uint32_t parts = pair->options->segments + (pair->options->layout == LAYOUT_RANDOM);
	uint32_t piece = (bytes + parts - 1) / parts;
	unsigned count = 0;

	while (bytes) {
		uint32_t length = piece < bytes ? piece : bytes;

		if (pair->options->layout == LAYOUT_RANDOM && count + 1 < parts)
			length = 1 + (uint32_t)random_below(&pair->random, length);
		else if (count + 1 == parts)
			length = bytes;
		ret_segments[count++] = (struct virtq_segment){address, length};
		address += length;
		bytes -= length;
	}
	return count;
}

static void generate_one(struct net_pair *pair, uint64_t now)
{
	uint16_t number = pair->free_slots[--pair->free_count];
	struct net_tx_slot *slot = &pair->slots[number];
	struct frame_flow *flow = &pair->flows[pair->next_flow];
	struct virtq_segment segments[VIRTQ_MAX_SEGMENTS];
	unsigned count;

	use_flow(slot, flow, pair->next_flow);
	slot->start = pair->interval ? pair->due : now;
	frame_next(flow, slot->data + NET_HEADER, slot->start);
	slot->bytes = flow->length;
	slot->parts = 0;
	count = cut(pair, (uint64_t)slot->data, NET_HEADER + flow->length, segments);
	if (!virtq_add(&pair->tx, segments, count, 0, number))
		finish_fail("NIC %u: the transmit ring is full before its time", pair->nic->index);
	pair->next_flow = pair->next_flow + 1 == pair->options->flows ? 0 : pair->next_flow + 1;
	pair->due += pair->interval;
	pair->sent++;
}

static bool may_send(const struct net_pair *pair, uint64_t now)
{
	return pair->sent < pair->quota && now < pair->measure_to &&
	       (!pair->interval || now >= pair->due);
}

unsigned net_tx_generate(struct net_pair *pair, uint64_t now)
{
	unsigned count = 0;

	if (!net_nic_sends(pair->nic))
		return 0;
	if (pair->free_count == pair->depth)
		pair->last_progress = now;
	while (count < 64 && pair->free_count && may_send(pair, now)) {
		generate_one(pair, now);
		count++;
	}
	if (count)
		virtq_publish(&pair->tx);
	/* Asleep with a full ring, wait for most of it; at the end for every one. */
	pair->tx.lazy =
		pair->free_count == 0 && may_send(pair, now) ? (uint16_t)(pair->depth * 3 / 4) : 0;
	return count;
}

bool net_tx_finished(const struct net_pair *pair, uint64_t now)
{
	return (pair->sent >= pair->quota || now >= pair->measure_to) &&
	       pair->free_count == pair->depth;
}

bool net_tx_reflect(struct net_pair *pair, uint8_t *const *buffers, const struct frame_part *parts,
	unsigned count, uint64_t now)
{
	struct virtio_net_hdr_v1 *header = (struct virtio_net_hdr_v1 *)buffers[0];
	struct virtq_segment segments[NET_MAX_PARTS];
	struct net_tx_slot *slot;

	if (pair->free_count == 0)
		return false;
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->num_buffers = 0;
	frame_turn(buffers[0] + NET_HEADER);
	slot = &pair->slots[pair->free_slots[pair->free_count - 1]];
	slot->bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		segments[i] = (struct virtq_segment){(uint64_t)parts[i].data, parts[i].length};
		slot->bytes += parts[i].length;
		slot->buffers[i] = buffers[i];
	}
	segments[0].address -= NET_HEADER;
	segments[0].length += NET_HEADER;
	if (!virtq_add(&pair->tx, segments, count, 0, (uint16_t)(slot - pair->slots)))
		return false;
	slot->parts = count;
	slot->start = now;
	pair->free_count--;
	pair->counters.reflected++;
	return true;
}

unsigned net_tx_reclaim(struct net_pair *pair, uint64_t now)
{
	struct net_counters *counters = &pair->counters;
	unsigned count = 0;
	uint32_t length;
	uint16_t number;

	while (count < pair->depth && virtq_take(&pair->tx, &number, &length)) {
		struct net_tx_slot *slot = &pair->slots[number];

		for (unsigned i = 0; i < slot->parts; i++)
			pair->free_buffers[pair->free_buffer_count++] = slot->buffers[i];
		pair->free_slots[pair->free_count++] = number;
		counters->tx_total++;
		if (pair->measuring && now < pair->measure_to) {
			counters->tx_packets++;
			counters->tx_bytes += slot->bytes;
			histogram_add(pair->tx_latency, now - slot->start);
		}
		count++;
	}
	if (count)
		pair->last_progress = now;
	return count;
}
