/* SPDX-License-Identifier: Apache-2.0 */
/* The few string functions the guest needs. Pure: also compiled on the host for unit tests. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A bounded text under construction. When it is full, `overflow` is set and the rest is dropped. */
struct text {
	char *data; /* always terminated */
	size_t size;
	size_t length;
	bool overflow;
};

void text_init(struct text *text, char *data, size_t size);
void text_character(struct text *text, char character);
void text_string(struct text *text, const char *string);
void text_decimal(struct text *text, uint64_t value);
void text_hex(struct text *text, uint64_t value);

/* Formats %s %c %u (uint32_t) %U (uint64_t) %x (uint32_t) %X (uint64_t) %%. */
void text_format(struct text *text, const char *format, ...);
void text_format_list(struct text *text, const char *format, va_list arguments);

size_t text_length(const char *string);
bool text_equal(const char *a, const char *b);

/* True when the first `length` characters at a are exactly the string b. */
bool text_equal_n(const char *a, size_t length, const char *b);
