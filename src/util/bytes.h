/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian values at unaligned places: guest structures, firmware tables, configuration
 * space. fastvmm runs on x86-64 alone, so a plain memcpy is the conversion; the names say at
 * each use that the bytes belong to somebody else's layout. get_be16() is for network headers.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fastvmm runs on little-endian hosts only"
#endif

static inline uint16_t get_le16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint32_t get_le32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint64_t get_le64(const void *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint16_t get_be16(const void *at)
{
	return __builtin_bswap16(get_le16(at));
}

static inline void put_le16(void *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void put_le32(void *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void put_le64(void *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* The low @length (1, 2, 4 or 8) bytes at @at as a number. */
static inline uint64_t get_le(const void *at, unsigned length)
{
	uint64_t value = 0;

	memcpy(&value, at, length <= sizeof(value) ? length : sizeof(value));
	return value;
}

/* Stores the low @length (1, 2, 4 or 8) bytes of @value at @at. */
static inline void put_le(void *at, unsigned length, uint64_t value)
{
	memcpy(at, &value, length <= sizeof(value) ? length : sizeof(value));
}
