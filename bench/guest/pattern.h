/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verification pattern: what a 512-byte sector holds is a function of (seed, sector,
 * generation). Sixty-four little-endian 64-bit words:
 *
 *   word 0   PATTERN_MAGIC
 *   word 1   the sector's number on the disk
 *   word 2   generation
 *   word 3   seed
 *   word 4+i mix(start + i * 0x9e3779b97f4a7c15), i = 0..59
 *            start = mix(seed ^ mix(sector ^ mix(generation)))
 *
 * mix(x): x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb; x ^= x
 * >> 31. So any torn, misplaced, stale or foreign sector is told apart. Pure: compiled on the host
 * too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_MAGIC  0x3170747661736672ull /* "rfsavtp1" */
#define PATTERN_SECTOR 512

uint64_t pattern_mix(uint64_t x);

/* Fills `sectors` sectors at `data` (8-byte aligned), the first being number `sector`. */
void pattern_fill(
	void *data, uint64_t sector, uint32_t sectors, uint64_t generation, uint64_t seed);

/* How many of the sectors at `data` are not exactly as pattern_fill would make them. */
uint32_t pattern_check(
	const void *data, uint64_t sector, uint32_t sectors, uint64_t generation, uint64_t seed);

/* How many of the sectors are not all zero. */
uint32_t pattern_check_zero(const void *data, uint32_t sectors);
