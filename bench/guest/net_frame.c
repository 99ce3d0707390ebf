/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames byte by byte. Headers are written once; from frame to frame only the sequence and the time
 * stamp change, unless payloads are verified. A TCP sequence number wraps at 2^32, and so does the
 * position that its payload bytes follow from.
 */
#include "net_frame.h"

#include "pattern.h"

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static uint32_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum;
}

static uint64_t sum16(const uint8_t *data, uint32_t length)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += get16(data + i);
	if (length & 1)
		sum += (uint32_t)data[length - 1] << 8;
	return sum;
}

static uint64_t pseudo_sum(const uint8_t *frame)
{
	return sum16(frame + 26, 8) + frame[23] + get16(frame + 16) - 20;
}

static void build_ip(const struct frame_flow *flow, uint8_t *ip)
{
	put16(ip, 0x4500);
	put16(ip + 2, flow->length - FRAME_ETHERNET);
	put32(ip + 4, 0x00004000); /* do not fragment */
	ip[8] = 64;
	ip[9] = flow->kind == FRAME_TCP_GSO ? PROTOCOL_TCP : PROTOCOL_UDP;
	put16(ip + 10, 0);
	put32(ip + 12, flow->source_ip);
	put32(ip + 16, flow->destination_ip);
	put16(ip + 10, ~fold(sum16(ip, 20)) & 0xffff);
}

static void build_l4(const struct frame_flow *flow, uint8_t *frame)
{
	uint8_t *l4 = frame + FRAME_L4;
	uint32_t checksum = flow->partial_checksum ? fold(pseudo_sum(frame)) : 0;

	put16(l4, FRAME_PORT_BASE + flow->flow);
	put16(l4 + 2, flow->port);
	if (flow->kind == FRAME_TCP_GSO) {
		put32(l4 + 4, 0);
		put32(l4 + 8, 1);
		put32(l4 + 12, 0x5010ffff); /* 20 bytes, ACK, full window */
		put16(l4 + 16, checksum);
		put16(l4 + 18, 0);
	} else {
		put16(l4 + 4, flow->length - FRAME_L4);
		put16(l4 + 6, checksum);
	}
}

void frame_build(const struct frame_flow *flow, uint8_t *frame)
{
	for (unsigned i = 0; i < 6; i++) {
		frame[i] = flow->destination[i];
		frame[6 + i] = flow->source[i];
	}
	put16(frame + 12, 0x0800);
	build_ip(flow, frame + FRAME_ETHERNET);
	build_l4(flow, frame);
	for (uint32_t i = flow->kind == FRAME_TCP_GSO ? FRAME_TCP_PAYLOAD : FRAME_UDP_PAYLOAD;
		i < flow->length; i++)
		frame[i] = 0;
}

static uint64_t stream_key(uint16_t instance, uint16_t flow, uint32_t sequence)
{
	return pattern_mix((uint64_t)instance << 48 | (uint64_t)flow << 32 | sequence);
}

/* Bytes of a stream one behind the other: eight to a mixed word. */
struct stream {
	uint64_t key, word;
	uint32_t position;
};

static void stream_begin(struct stream *stream, uint64_t key, uint32_t position)
{
	*stream = (struct stream){key, 0, position};
	if (position & 7)
		stream->word = pattern_mix(key + (position >> 3)) >> 8 * (position & 7);
}

static inline uint8_t stream_next(struct stream *stream)
{
	uint8_t byte;

	if ((stream->position & 7) == 0)
		stream->word = pattern_mix(stream->key + (stream->position >> 3));
	byte = (uint8_t)stream->word;
	stream->word >>= 8;
	stream->position++;
	return byte;
}

static void fill(uint8_t *data, uint32_t length, uint64_t key, uint32_t position)
{
	struct stream stream;

	stream_begin(&stream, key, position);
	for (uint32_t i = 0; i < length; i++)
		data[i] = stream_next(&stream);
}

static void next_record(struct frame_flow *flow, uint8_t *payload, uint32_t length, uint64_t stamp)
{
	struct frame_record *record = (struct frame_record *)payload;

	*record = (struct frame_record){FRAME_MAGIC, flow->flow, flow->sequence, stamp};
	if (flow->fill && length > sizeof(*record))
		fill(payload + sizeof(*record), length - (uint32_t)sizeof(*record),
			stream_key((uint16_t)flow->source_ip, flow->flow, flow->sequence), 0);
	flow->sequence++;
}

static void next_tcp(struct frame_flow *flow, uint8_t *frame)
{
	uint32_t length = flow->length - FRAME_TCP_PAYLOAD;

	put32(frame + FRAME_L4 + 4, flow->sequence);
	if (flow->fill)
		fill(frame + FRAME_TCP_PAYLOAD, length,
			stream_key((uint16_t)flow->source_ip, flow->flow, 0), flow->sequence);
	flow->sequence += length;
}

void frame_next(struct frame_flow *flow, uint8_t *frame, uint64_t stamp)
{
	uint32_t slice = flow->kind == FRAME_UDP ? flow->length - FRAME_UDP_PAYLOAD : flow->slice;

	if (flow->kind == FRAME_TCP_GSO) {
		next_tcp(flow, frame);
		return;
	}
	for (uint32_t at = FRAME_UDP_PAYLOAD; at + sizeof(struct frame_record) <= flow->length;
		at += slice)
		next_record(flow, frame + at,
			at + slice <= flow->length ? slice : flow->length - at, stamp);
}

static uint32_t total_length(const struct frame_part *parts, unsigned count)
{
	uint32_t total = 0;

	for (unsigned i = 0; i < count; i++)
		total += parts[i].length;
	return total;
}

static void look_at_udp(
	const uint8_t *frame, uint32_t total, uint32_t slice, struct frame_facts *facts)
{
	const struct frame_record *record =
		(const struct frame_record *)(frame + FRAME_UDP_PAYLOAD);
	uint32_t payload = get16(frame + FRAME_L4 + 4) - 8;

	if (total < FRAME_UDP_PAYLOAD + payload || payload < sizeof(*record) ||
		record->magic != FRAME_MAGIC)
		return;
	facts->kind = FRAME_UDP;
	facts->flow = record->flow;
	facts->sequence = record->sequence;
	facts->stamp = record->stamp;
	facts->payload = FRAME_UDP_PAYLOAD;
	facts->units = slice ? (payload + slice - 1) / slice : 1;
}

static void look_at_tcp(const uint8_t *frame, uint32_t total, struct frame_facts *facts)
{
	uint32_t port = get16(frame + FRAME_L4), end = FRAME_ETHERNET + get16(frame + 16);

	if (port < FRAME_PORT_BASE || frame[FRAME_L4 + 12] != 0x50 || end > total ||
		end <= FRAME_TCP_PAYLOAD)
		return;
	facts->kind = FRAME_TCP_GSO;
	facts->flow = (uint16_t)(port - FRAME_PORT_BASE);
	facts->sequence = get32(frame + FRAME_L4 + 4);
	facts->payload = FRAME_TCP_PAYLOAD;
	facts->units = end - FRAME_TCP_PAYLOAD;
}

void frame_look(const struct frame_part *parts, unsigned count, uint32_t slice,
	struct frame_facts *ret_facts)
{
	const uint8_t *frame = parts[0].data;
	uint32_t total = total_length(parts, count);

	*ret_facts = (struct frame_facts){.kind = FRAME_FOREIGN};
	if (parts[0].length < 60 || get16(frame + 12) != 0x0800 || frame[14] != 0x45)
		return;
	ret_facts->instance = (uint16_t)get16(frame + 28);
	if (frame[23] == PROTOCOL_UDP)
		look_at_udp(frame, total, slice, ret_facts);
	else if (frame[23] == PROTOCOL_TCP)
		look_at_tcp(frame, total, ret_facts);
}

/* Walks over the payload: records are passed over, each begins the stream of its own sequence
 * number. */
struct checker {
	const struct frame_facts *facts;
	struct stream stream;
	uint32_t slice; /* payload bytes of a record and its filling; TCP: none */
	uint32_t within, sequence, bad;
};

static void checker_begin(struct checker *checker, const struct frame_facts *facts, uint32_t slice)
{
	*checker = (struct checker){.facts = facts, .slice = slice ? slice : UINT32_MAX};
	checker->sequence = facts->sequence;
	if (facts->kind == FRAME_TCP_GSO)
		stream_begin(&checker->stream, stream_key(facts->instance, facts->flow, 0),
			facts->sequence);
}

static inline void checker_byte(struct checker *checker, uint8_t byte)
{
	const struct frame_facts *facts = checker->facts;

	if (facts->kind == FRAME_TCP_GSO) {
		checker->bad += stream_next(&checker->stream) != byte;
		return;
	}
	if (checker->within == 0)
		stream_begin(&checker->stream,
			stream_key(facts->instance, facts->flow, checker->sequence++), 0);
	if (checker->within++ >= sizeof(struct frame_record))
		checker->bad += stream_next(&checker->stream) != byte;
	if (checker->within == checker->slice)
		checker->within = 0;
}

uint32_t frame_check_payload(const struct frame_part *parts, unsigned count, uint32_t slice,
	const struct frame_facts *facts)
{
	struct checker checker;
	uint32_t at = 0, end;

	checker_begin(&checker, facts, slice);
	end = facts->kind == FRAME_TCP_GSO ? facts->payload + facts->units
	                                   : FRAME_L4 + get16(parts[0].data + FRAME_L4 + 4);
	for (unsigned p = 0; p < count; p++) {
		for (uint32_t i = 0; i < parts[p].length; i++, at++) {
			if (at >= facts->payload && at < end)
				checker_byte(&checker, parts[p].data[i]);
		}
	}
	return checker.bad;
}

bool frame_checksum_right(const struct frame_part *parts, unsigned count)
{
	const uint8_t *frame = parts[0].data;
	uint32_t at = 0, end = FRAME_ETHERNET + get16(frame + 16);
	uint64_t sum = pseudo_sum(frame);

	if (frame[23] == PROTOCOL_UDP && get16(frame + FRAME_L4 + 6) == 0)
		return true;
	for (unsigned p = 0; p < count; p++) {
		for (uint32_t i = 0; i < parts[p].length; i++, at++) {
			if (at >= FRAME_L4 && at < end)
				sum += at & 1 ? parts[p].data[i] : (uint32_t)parts[p].data[i] << 8;
		}
	}
	return fold(sum) == 0xffff;
}

void frame_turn(uint8_t *frame)
{
	for (unsigned i = 0; i < 6; i++) {
		uint8_t byte = frame[i];

		frame[i] = frame[6 + i];
		frame[6 + i] = byte;
	}
}
