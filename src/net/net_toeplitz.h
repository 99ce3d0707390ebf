/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Toeplitz hash of receive-side scaling (virtio 1.2, section 5.1.6.4.3, as Microsoft defines
 * it): for each bit of the input that is set, the 32 bits of the key that begin at the same place.
 * Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NET_TOEPLITZ_KEY_MAX   40 /* bytes; 32 bits longer than the longest input */
#define NET_TOEPLITZ_INPUT_MAX 36 /* two IPv6 addresses, two ports */

/*
 * What each half of each byte of the input contributes: rows 2i and 2i + 1 are the high and the low
 * half of byte i. 4.5 KiB, which stay in the first cache; rows for whole bytes would not.
 */
struct net_toeplitz {
	uint32_t rows[2 * NET_TOEPLITZ_INPUT_MAX][16];
};

/* For the @length (at most NET_TOEPLITZ_KEY_MAX) bytes of @key; what is missing counts as 0. */
void net_toeplitz_init(struct net_toeplitz *toeplitz, const uint8_t *key, size_t length);

/* The hash of @length (at most NET_TOEPLITZ_INPUT_MAX) bytes. */
static inline uint32_t net_toeplitz_hash(
	const struct net_toeplitz *toeplitz, const uint8_t *input, size_t length)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < length; i++)
		hash ^= toeplitz->rows[2 * i][input[i] >> 4] ^
		        toeplitz->rows[2 * i + 1][input[i] & 15];
	return hash;
}
