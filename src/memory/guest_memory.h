/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest physical memory, and the only code that turns a guest physical address into a pointer.
 * Built before any thread starts and constant from then on (sealed): every look-up is free of
 * locks and may be made by any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct guest_memory;

#define GUEST_MEMORY_MAX_REGIONS 8

enum guest_memory_backend {
	GUEST_MEMORY_PLAIN, /* transparent huge pages where the host gives them */
	GUEST_MEMORY_HUGE,  /* 2 MiB pages from the host's pool (nr_hugepages) */
};

/* What the machine asks for: a range of guest physical addresses, page-aligned (4 KiB). */
struct guest_memory_range {
	uint64_t gpa;
	uint64_t size;
};

struct guest_memory_options {
	enum guest_memory_backend backend;
	bool preallocate; /* fault every page in now, so that the guest never waits for one */
};

/* What the machine got, one per range and in the same order. */
struct guest_memory_region {
	uint64_t gpa;
	uint64_t size;
	void *host; /* first byte, mapped read-write, private to the process */
};

/*
 * Maps @count ranges (1 to GUEST_MEMORY_MAX_REGIONS, ascending, not overlapping).
 * Returns 0; -EINVAL for ranges that break those rules; -ENOMEM, with an explanation in @error,
 * where the host does not have the memory. The caller destroys the object after every thread
 * that could use a pointer out of it has ended.
 */
int guest_memory_create(const struct guest_memory_range *ranges, size_t count,
	const struct guest_memory_options *options, struct guest_memory **ret_memory,
	struct error *error);

/* Unmaps everything. Accepts NULL. */
void guest_memory_destroy(struct guest_memory *memory);

/*
 * The host address of guest bytes [gpa, gpa + length), or NULL where any of them is not RAM,
 * where the range wraps, or where it crosses from one region into another. A length of 0 is
 * valid at any address inside a region.
 */
void *guest_memory_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t length);

/* Copies out of guest memory, once. 0, or -EFAULT with @buffer untouched. */
int guest_memory_read(
	const struct guest_memory *memory, uint64_t gpa, void *buffer, uint64_t length);

/* Copies into guest memory. 0, or -EFAULT with guest memory untouched. */
int guest_memory_write(
	const struct guest_memory *memory, uint64_t gpa, const void *buffer, uint64_t length);

size_t guest_memory_region_count(const struct guest_memory *memory);

/* @index is below guest_memory_region_count(). The region belongs to @memory. */
const struct guest_memory_region *guest_memory_region(
	const struct guest_memory *memory, size_t index);

/* Bytes of RAM in all regions together. */
uint64_t guest_memory_size(const struct guest_memory *memory);
