/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network workload. A NIC is one virtio-net device; a pair is one of its receive queues with
 * the transmit queue of the same number, a task of one CPU.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "net_frame.h"
#include "options.h"
#include "random.h"
#include "virtio_pci.h"
#include "virtq.h"
#include "worker.h"

#define NET_MAX_NICS  16
#define NET_HEADER    12 /* struct virtio_net_hdr_v1 */
#define NET_SEQUENCES 4096
#define NET_MAX_PARTS 36

enum net_role { NET_TX, NET_RX, NET_BOTH, NET_REFLECT };

/* What is known of a flow that arrives; written by the pairs of its NIC, normally always the same
 * one. */
struct net_sequence {
	uint32_t expected;
	uint16_t instance;
	bool seen;
};

struct net_nic {
	struct virtio_device *device;
	const struct options *options;
	uint32_t index;
	enum net_role role;
	uint8_t mac[6], destination[6];
	uint32_t source_ip, destination_ip;
	unsigned max_pairs, pairs;
	bool mergeable;
	struct virtq control;
	struct net_sequence *sequences; /* NET_SEQUENCES */
	uint64_t started;  /* first frame of ours came in; 0: none yet. Atomic, set once */
	uint64_t received; /* frames of ours; atomic */
};

struct net_counters {
	uint64_t tx_packets, tx_bytes, rx_packets,
		rx_bytes;                       /* in the measured time; frames of ours */
	uint64_t tx_total, rx_total;            /* from start to end */
	uint64_t rx_buffers, rx_large, foreign; /* buffers used; GSO frames; others' frames */
	uint64_t lost, late; /* gaps in sequences (UDP: datagrams, TCP: bytes); arrivals behind */
	uint64_t bad_payloads, bad_checksums,
		malformed; /* malformed: header or lengths make no sense */
	uint64_t reflected;
};

struct net_tx_slot {
	uint8_t *data; /* header, then frame; generated frames */
	uint16_t flow; /* whose headers are in it; 0xffff: none */
	uint32_t bytes;
	uint64_t start;
	unsigned parts; /* reflected frames: the receive buffers they lie in */
	uint8_t *buffers[NET_MAX_PARTS];
};

struct net_pair {
	struct task task; /* first: the worker knows only this */
	const struct options *options;
	struct net_nic *nic;
	unsigned index, number, senders; /* which of all sending pairs; they share ios= and rate= */
	struct random random;
	/* transmit */
	struct virtq tx;
	struct net_tx_slot *slots;
	uint16_t *free_slots;
	uint32_t depth, free_count;
	struct frame_flow *flows;
	uint32_t next_flow;
	uint64_t sent, quota, interval, due;
	/* receive */
	struct virtq rx;
	uint8_t **buffers;      /* by slot of the receive queue */
	uint8_t **free_buffers; /* a stack */
	uint32_t free_buffer_count, buffer_size;
	uint16_t *free_rx_slots;
	uint32_t free_rx_count;
	/* time stamps */
	uint64_t start, measure_from, measure_to, last_progress, last_received, end;
	bool measuring, timed;
	struct net_counters counters;
	uint64_t kicks_before[2], interrupts_before[2];
	uint64_t kicks[2], interrupts[2];          /* receive, transmit; in the measured time */
	struct histogram *tx_latency, *round_trip; /* ticks */
};

/* net_nic.c: finds the NICs that the options name, agrees on features, sets roles; returns how
 * many. */
unsigned net_nic_open(const struct options *options, struct net_nic *ret_nics);

/* After the pairs' queues are there: control queue, DRIVER_OK, number of pairs. */
void net_nic_start(struct net_nic *nic);
bool net_nic_sends(const struct net_nic *nic);
bool net_nic_receives(const struct net_nic *nic);
const char *net_role_name(enum net_role role);

/* net_pair.c: queues and buffers; pair->options, nic, index, number, senders, task.cpu are set by
 * the caller. */
void net_pair_init(struct net_pair *pair);

/* net_tx.c */
void net_tx_init(struct net_pair *pair);
void net_tx_prepare(struct net_pair *pair);
unsigned net_tx_reclaim(struct net_pair *pair, uint64_t now);
unsigned net_tx_generate(struct net_pair *pair, uint64_t now);
bool net_tx_finished(const struct net_pair *pair, uint64_t now);

/* Sends a received frame back; false when the transmit queue is full (buffers stay the caller's).
 */
bool net_tx_reflect(struct net_pair *pair, uint8_t *const *buffers, const struct frame_part *parts,
	unsigned count, uint64_t now);

/* net_rx.c */
void net_rx_init(struct net_pair *pair);
void net_rx_post(struct net_pair *pair);
unsigned net_rx_take(struct net_pair *pair, uint64_t now);

/* Runs the net workload and ends the guest. */
void net_run(const struct options *options, unsigned cpus) __attribute__((noreturn));
