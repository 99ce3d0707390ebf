/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log-linear histogram: exact below 64, then 64 buckets per power of two (under 1.6 % wide), up
 * to 2^44 - 1, where larger values are counted too. Pure: compiled on the host too.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_TOP_BIT  44
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_TOP_BIT - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t min; /* meaningless while count is 0 */
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* An all-zero histogram is an empty one. */
void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds all of `from` to `into`. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/*
 * The value that `parts` of a `whole` of all samples do not exceed, e.g. 999 of 1000 for p99.9: the
 * upper edge of the bucket, at most the true maximum. 0 for an empty histogram.
 */
uint64_t histogram_quantile(const struct histogram *histogram, uint64_t parts, uint64_t whole);
