/* SPDX-License-Identifier: Apache-2.0 */
/* xorshift64*: quick, repeatable, good enough to choose blocks. Pure. */
#pragma once

#include <stdint.h>

struct random {
	uint64_t state; /* never 0 */
};

static inline void random_init(struct random *random, uint64_t seed)
{
	random->state = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
}

static inline uint64_t random_next(struct random *random)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * 0x2545f4914f6cdd1dull;
}

/* Below `bound`, which is not 0. */
static inline uint64_t random_below(struct random *random, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)random_next(random) * bound >> 64);
}
