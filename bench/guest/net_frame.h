/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the network workload. Pure: compiled on the host too, so that a test can send and
 * judge them. All are Ethernet, IPv4 without options, and
 *
 * - UDP (gso=0): the payload begins with a record: magic, flow, sequence (counts frames of the
 * flow) and the sender's time stamp; the rest is zero, or with verify=1 bytes that follow from
 * instance, flow and sequence.
 * - UDP in one large frame (gso-type=udp): as many payloads of that kind as fit, of frame - 42
 * bytes each.
 * - TCP in one large frame (gso-type=tcp): no record; the TCP sequence number counts bytes of the
 * flow, the source port tells the flow, and with verify=1 the bytes follow from instance, flow and
 * byte position.
 *
 * The instance (which sender) is the low half of the source IP address.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC       0xfa57
#define FRAME_PORT_BASE   20000 /* source port: FRAME_PORT_BASE + flow */
#define FRAME_ETHERNET    14
#define FRAME_L4          34 /* where UDP and TCP headers begin */
#define FRAME_UDP_PAYLOAD 42
#define FRAME_TCP_PAYLOAD 54

enum frame_kind { FRAME_UDP, FRAME_TCP_GSO, FRAME_UDP_GSO, FRAME_FOREIGN };

/* In front of every UDP payload. Little-endian: both ends are this program. */
struct frame_record {
	uint16_t magic;
	uint16_t flow;
	uint32_t sequence;
	uint64_t stamp;
} __attribute__((packed));

struct frame_flow {
	enum frame_kind kind;
	uint8_t source[6], destination[6];
	uint32_t source_ip, destination_ip; /* first byte of the address on top */
	uint16_t port, flow;
	uint32_t length;       /* whole frame */
	uint32_t slice;        /* payload bytes of one segment, when a large frame is cut up */
	bool partial_checksum; /* leave the pseudo-header sum for the device to finish */
	bool fill;             /* verify=1 */
	uint32_t sequence;     /* next frame or segment (UDP), next byte (TCP) */
};

/* A piece of a received frame. */
struct frame_part {
	const uint8_t *data;
	uint32_t length;
};

struct frame_facts {
	enum frame_kind kind; /* FRAME_UDP, FRAME_TCP_GSO, or FRAME_FOREIGN: not one of ours */
	uint16_t instance, flow;
	uint32_t sequence; /* of the first record or byte */
	uint32_t units;    /* how far the sequence goes on: records, or bytes */
	uint32_t payload;  /* where it begins */
	uint64_t stamp;    /* UDP */
};

/* Writes all headers. The buffer must have flow->length bytes. */
void frame_build(const struct frame_flow *flow, uint8_t *frame);

/* Puts the next sequence number (and time stamp, and with `fill` the payload) in; advances the
 * flow. */
void frame_next(struct frame_flow *flow, uint8_t *frame, uint64_t stamp);

/*
 * Looks at a received frame in parts; the headers and one record must be in the first (at least 64
 * bytes, or the whole frame). `slice` is the GSO size its header states, 0 for none.
 */
void frame_look(const struct frame_part *parts, unsigned count, uint32_t slice,
	struct frame_facts *ret_facts);

/* With verify=1: the number of payload bytes that are not as the sender made them. */
uint32_t frame_check_payload(const struct frame_part *parts, unsigned count, uint32_t slice,
	const struct frame_facts *facts);

/* True when the UDP or TCP checksum is right (or UDP's is 0: none). */
bool frame_checksum_right(const struct frame_part *parts, unsigned count);

/* Swaps the MAC addresses. */
void frame_turn(uint8_t *frame);
