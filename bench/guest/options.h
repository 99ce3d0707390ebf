/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: a workload word (blk, net, idle, info) and name=value words; README.md is the
 * reference. Pure: compiled on the host too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_ALL        UINT32_MAX /* disk=all, nic=all */
#define OPTION_NAME_SIZE  32
#define OPTION_ERROR_SIZE 128

enum option_switch { SWITCH_AUTO, SWITCH_OFF, SWITCH_ON };
enum option_workload { WORKLOAD_NONE, WORKLOAD_BLK, WORKLOAD_NET, WORKLOAD_IDLE, WORKLOAD_INFO };
enum option_apic { APIC_AUTO, APIC_XAPIC, APIC_X2APIC };
enum option_ring { RING_SPLIT, RING_PACKED };
/*
 * What a driver does about answers. IRQ looks once more before it asks to be interrupted; CALLBACK,
 * as Linux' drivers, looks only when it has been.
 */
enum option_mode { MODE_POLL, MODE_IRQ, MODE_CALLBACK };
enum option_verify { VERIFY_OFF, VERIFY_ON, VERIFY_FILL, VERIFY_CHECK };
enum option_layout { LAYOUT_PLAIN, LAYOUT_RANDOM };

enum option_rw {
	RW_READ,
	RW_WRITE,
	RW_RANDREAD,
	RW_RANDWRITE,
	RW_RANDRW,
	RW_FLUSH,
	RW_DISCARD,
	RW_WRITE_ZEROES,
	RW_GET_ID,
	RW_TORTURE,
};

enum option_direction {
	DIRECTION_TX,
	DIRECTION_RX,
	DIRECTION_BOTH,
	DIRECTION_REFLECT,
	DIRECTION_PAIR, /* even NICs transmit, odd ones receive */
	DIRECTION_ECHO, /* even NICs do both, odd ones reflect */
};
enum option_gso_type { GSO_TCP, GSO_UDP };

struct options {
	enum option_workload workload;
	/* machine */
	uint32_t cpus; /* 0: all */
	enum option_apic apic;
	bool exit_debug;
	uint64_t pci_window; /* 0: default */
	/* any device */
	uint32_t queues; /* per device; 0: all it has */
	uint32_t queue_size;
	enum option_mode mode;
	enum option_ring ring;
	enum option_switch indirect, event_index, in_order;
	uint64_t time_ns, warmup_ns, timeout_ns;
	uint64_t ios;  /* 0: run for time_ns */
	uint64_t rate; /* per second, all queues together; 0: flat out */
	uint64_t seed;
	/* block */
	enum option_rw rw;
	uint32_t mix; /* reads in a hundred */
	uint32_t block_min, block_max;
	uint32_t depth;
	uint32_t disk;
	enum option_verify verify;
	uint32_t generation;
	uint64_t offset, size; /* bytes; size 0: to the end */
	uint32_t segments;
	enum option_layout layout;
	bool unmap;
	char hostile[OPTION_NAME_SIZE]; /* a case, "all", or empty */
	/* net */
	enum option_direction direction;
	uint32_t nic;
	uint32_t pairs;
	uint32_t frame;
	uint32_t gso; /* 0: none, else bytes of a GSO frame */
	uint32_t flows;
	enum option_gso_type gso_type;
	uint32_t receive_buffer; /* bytes */
	enum option_switch mergeable, receive_gso, checksum;
	uint8_t source[6], destination[6]; /* MAC; all zero: the device's, and a made-up one */
	uint32_t source_ip,
		destination_ip; /* 0: made from the MAC; first byte of the address on top */
	uint16_t port;          /* destination port */
	uint64_t drain_ns;
};

/*
 * Parses the command line into *ret_options (defaults for what is not named). False with one line
 * in ret_error (OPTION_ERROR_SIZE bytes), which names the word, what is wrong with it, and what it
 * may be.
 */
bool options_parse(struct options *ret_options, const char *command_line, char *ret_error);

/* "randread", ... as written on the command line. */
const char *options_rw_name(enum option_rw rw);
const char *options_mode_name(enum option_mode mode);
const char *options_direction_name(enum option_direction direction);
const char *options_verify_name(enum option_verify verify);
