/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and sizes as users write them. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Parses a size in bytes: a decimal number with an optional suffix K, M, G or T (powers of
 * 1024; a trailing "iB" or "B" is accepted). Returns 0, -EINVAL for anything else, -ERANGE
 * where the value does not fit 64 bits.
 */
int parse_size(const char *text, uint64_t *ret_bytes);

/* Parses a whole decimal number within [least, most]. 0, -EINVAL or -ERANGE. */
int parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number);

/* Parses on/off, yes/no, true/false, 1/0. 0 or -EINVAL. */
int parse_bool(const char *text, bool *ret_value);
