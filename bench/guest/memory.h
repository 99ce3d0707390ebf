/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: what the VMM says there is, and a bump allocator over the part below 4 GiB that lies
 * behind the image. Nothing is ever freed. Addresses are physical and virtual at once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Reads the PVH memory map. Called once, by the boot CPU, before anything allocates. */
void memory_init(void);

/* Zeroed memory, `alignment` a power of two; ends the run with a failure when RAM is used up. Boot
 * CPU. */
void *memory_allocate(size_t size, size_t alignment);

/* Bytes still free, and all RAM the VMM reported. */
uint64_t memory_available(void);
uint64_t memory_total(void);

/* An address just behind all RAM and below no device; for tests that need a bad address. */
uint64_t memory_hole(void);

/* Makes [address, address + length) reachable, above 4 GiB too. Returns the pointer. Boot CPU. */
volatile void *memory_map_device(uint64_t address, uint64_t length);
