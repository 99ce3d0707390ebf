/* SPDX-License-Identifier: Apache-2.0 */
/* a * b / c with a 128-bit product: the compiler's own way needs a run-time library. */
#pragma once

#include <stdint.h>

/* Rounds down; UINT64_MAX when the quotient does not fit or c is 0. */
static inline uint64_t muldiv(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	uint64_t low = (uint64_t)product, high = (uint64_t)(product >> 64);

	if (high >= c)
		return UINT64_MAX;
	__asm__("divq %2" : "+a"(low), "+d"(high) : "r"(c) : "cc");
	return low;
}
