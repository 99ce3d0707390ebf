/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters with one writer and any number of readers. The writer needs no locked instruction:
 * a relaxed load, an add and a relaxed store compile to one plain add, and readers may see a
 * value that is a moment old but never torn.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct counter {
	_Atomic uint64_t value;
};

/* The writer thread only. */
static inline void counter_add(struct counter *counter, uint64_t amount)
{
	uint64_t value = atomic_load_explicit(&counter->value, memory_order_relaxed);

	atomic_store_explicit(&counter->value, value + amount, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t counter_read(const struct counter *counter)
{
	return atomic_load_explicit(&counter->value, memory_order_relaxed);
}
