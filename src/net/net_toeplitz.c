/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row is filled from the contributions of its four bits: that of a value is that of the value
 * without its lowest bit and that of the bit alone.
 */
#include "net/net_toeplitz.h"

#include "util/checked.h"

#include <string.h>

/* The 32 bits of the key that begin at bit @at, counted from the first byte's highest. */
static uint32_t key_bits(const uint8_t *key, unsigned at)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 5; i++)
		bits = bits << 8 | key[at / 8 + i];
	return (uint32_t)(bits >> (8 - at % 8));
}

void net_toeplitz_init(struct net_toeplitz *toeplitz, const uint8_t *key, size_t length)
{
	uint8_t padded[NET_TOEPLITZ_KEY_MAX + 1] = {0}; /* key_bits() looks one byte further */

	memcpy(padded, key, min_of(length, (size_t)NET_TOEPLITZ_KEY_MAX));
	for (unsigned row = 0; row < ARRAY_SIZE(toeplitz->rows); row++) {
		toeplitz->rows[row][0] = 0;
		for (unsigned value = 1; value < 16; value++) {
			unsigned lowest = (unsigned)__builtin_ctz(value);

			toeplitz->rows[row][value] = toeplitz->rows[row][value & (value - 1)] ^
			                             key_bits(padded, 4 * row + 3 - lowest);
		}
	}
}
