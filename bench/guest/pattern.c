/* SPDX-License-Identifier: Apache-2.0 */
/* The verification pattern; its definition is in the header. About one cycle a word. */
#include "pattern.h"

#define WORDS  (PATTERN_SECTOR / 8)
#define HEADER 4
#define STEP   0x9e3779b97f4a7c15ull

uint64_t pattern_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t start_of(uint64_t sector, uint64_t generation, uint64_t seed)
{
	return pattern_mix(seed ^ pattern_mix(sector ^ pattern_mix(generation)));
}

void pattern_fill(void *data, uint64_t sector, uint32_t sectors, uint64_t generation, uint64_t seed)
{
	uint64_t *word = data;

	for (uint32_t s = 0; s < sectors; s++, sector++, word += WORDS) {
		uint64_t x = start_of(sector, generation, seed);

		word[0] = PATTERN_MAGIC;
		word[1] = sector;
		word[2] = generation;
		word[3] = seed;
		for (unsigned i = HEADER; i < WORDS; i++, x += STEP)
			word[i] = pattern_mix(x);
	}
}

uint32_t pattern_check(
	const void *data, uint64_t sector, uint32_t sectors, uint64_t generation, uint64_t seed)
{
	const uint64_t *word = data;
	uint32_t bad = 0;

	for (uint32_t s = 0; s < sectors; s++, sector++, word += WORDS) {
		uint64_t x = start_of(sector, generation, seed);
		uint64_t difference = (word[0] ^ PATTERN_MAGIC) | (word[1] ^ sector) |
		                      (word[2] ^ generation) | (word[3] ^ seed);

		for (unsigned i = HEADER; i < WORDS; i++, x += STEP)
			difference |= word[i] ^ pattern_mix(x);
		bad += difference != 0;
	}
	return bad;
}

uint32_t pattern_check_zero(const void *data, uint32_t sectors)
{
	const uint64_t *word = data;
	uint32_t bad = 0;

	for (uint32_t s = 0; s < sectors; s++, word += WORDS) {
		uint64_t any = 0;

		for (unsigned i = 0; i < WORDS; i++)
			any |= word[i];
		bad += any != 0;
	}
	return bad;
}
