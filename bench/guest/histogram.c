/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bucket numbers: a value below 2^SUB_BITS is its own number; otherwise the SUB_BITS bits behind
 * its top bit, plus (position of the top bit - SUB_BITS + 1) * 2^SUB_BITS.
 */
#include "histogram.h"

static uint32_t bucket_of(uint64_t value)
{
	uint32_t shift;

	if (value >> HISTOGRAM_SUB_BITS == 0)
		return (uint32_t)value;
	if (value >> HISTOGRAM_TOP_BIT)
		return HISTOGRAM_BUCKETS - 1;
	shift = 63 - (uint32_t)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (uint32_t)(value >> shift);
}

static uint64_t upper_edge(uint32_t bucket)
{
	uint32_t shift = bucket >> HISTOGRAM_SUB_BITS;
	uint64_t low = bucket & ((1u << HISTOGRAM_SUB_BITS) - 1);

	if (shift == 0)
		return low;
	low += 1u << HISTOGRAM_SUB_BITS;
	return ((low + 1) << (shift - 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->buckets[bucket_of(value)]++;
	if (histogram->count == 0 || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->sum += value;
	histogram->count++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (from->count == 0)
		return;
	if (into->count == 0 || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->sum += from->sum;
	into->count += from->count;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, uint64_t parts, uint64_t whole)
{
	/* ceil(count * parts / whole), without overflow for counts below 2^44 or so */
	uint64_t wanted = (histogram->count * parts + whole - 1) / whole;
	uint64_t seen = 0;

	if (histogram->count == 0)
		return 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen >= wanted && seen) {
			uint64_t edge = upper_edge(i);

			return i == HISTOGRAM_BUCKETS - 1 || edge > histogram->max ? histogram->max
			                                                           : edge;
		}
	}
	return histogram->max;
}
