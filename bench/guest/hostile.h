/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad drivers: what a test case gets to play with. Every case starts with a device that is up with
 * one queue, nothing in flight, and a good read of 4 KiB laid out in descriptors 0 to 2 but not
 * offered.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "blk.h"

#define HOSTILE_DATA 65536 /* bytes of `data`, with a canary page before and behind */

enum hostile_outcome {
	HOSTILE_COMPLETED = 1,  /* used, status OK */
	HOSTILE_FAILED = 2,     /* used, status IOERR or UNSUPP */
	HOSTILE_DROPPED = 4,    /* used, status never written */
	HOSTILE_BROKEN = 8,     /* DEVICE_NEEDS_RESET */
	HOSTILE_IGNORED = 16,   /* nothing within the patience */
	HOSTILE_UNTOUCHED = 32, /* a demand, not an outcome: `data` must not have changed */
	HOSTILE_REJECTED = HOSTILE_FAILED | HOSTILE_DROPPED | HOSTILE_BROKEN | HOSTILE_IGNORED,
	HOSTILE_ANY = HOSTILE_COMPLETED | HOSTILE_REJECTED,
};

struct hostile {
	const struct options *options;
	struct blk_disk disk;
	struct virtio_device *device;
	struct virtq ring;
	struct virtio_blk_outhdr *header;
	volatile uint8_t *status;
	uint8_t *data;
	struct virtq_descriptor *table; /* room for an indirect table of 1024 entries */
	struct random random;
	uint16_t available;    /* split: the index last written to the avail ring */
	const char *complaint; /* a case's own finding; NULL: none */
	const char *skip;      /* why a case does not apply; NULL: it does */
};

struct hostile_case {
	const char *name;
	void (*run)(struct hostile *hostile);
	unsigned allowed; /* outcomes that are right, | HOSTILE_UNTOUCHED */
};

extern const struct hostile_case hostile_split_cases[], hostile_packed_cases[],
	hostile_device_cases[];

/* Brings the device up with its queue and lays out the good read. */
void hostile_begin(struct hostile *hostile);
void hostile_lay_out(struct hostile *hostile);

/* Split: writes one descriptor; offers a head (not visible before the kick); shows and kicks. */
void hostile_set(struct hostile *hostile, uint16_t at, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next);
void hostile_offer(struct hostile *hostile, uint16_t head);
void hostile_kick(struct hostile *hostile);

/* Submits a good request by the ordinary driver code, slot 0 to queue size / 4 - 1. */
void hostile_submit(struct hostile *hostile, uint16_t slot);

/* Busy-waits. */
void hostile_pause(uint64_t ns);
