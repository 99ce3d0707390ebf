/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text into bounded buffers, and a formatter of a few letters. It never fails: what does not fit is
 * dropped and `overflow` says so.
 */
#include "text.h"

void text_init(struct text *text, char *data, size_t size)
{
	*text = (struct text){.data = data, .size = size};
	data[0] = '\0';
}

void text_character(struct text *text, char character)
{
	if (text->length + 1 >= text->size) {
		text->overflow = true;
		return;
	}
	text->data[text->length++] = character;
	text->data[text->length] = '\0';
}

void text_string(struct text *text, const char *string)
{
	while (*string)
		text_character(text, *string++);
}

static void text_number(struct text *text, uint64_t value, unsigned base)
{
	char digits[20];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (count)
		text_character(text, digits[--count]);
}

void text_decimal(struct text *text, uint64_t value)
{
	text_number(text, value, 10);
}

void text_hex(struct text *text, uint64_t value)
{
	text_string(text, "0x");
	text_number(text, value, 16);
}

void text_format_list(struct text *text, const char *format, va_list arguments)
{
	for (; *format; format++) {
		if (*format != '%') {
			text_character(text, *format);
			continue;
		}
		switch (*++format) {
		case 's':
			text_string(text, va_arg(arguments, const char *));
			break;
		case 'c':
			text_character(text, (char)va_arg(arguments, int));
			break;
		case 'u':
			text_decimal(text, va_arg(arguments, uint32_t));
			break;
		case 'U':
			text_decimal(text, va_arg(arguments, uint64_t));
			break;
		case 'x':
			text_hex(text, va_arg(arguments, uint32_t));
			break;
		case 'X':
			text_hex(text, va_arg(arguments, uint64_t));
			break;
		case '\0':
			return;
		default:
			text_character(text, *format);
		}
	}
}

void text_format(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text_format_list(text, format, arguments);
	va_end(arguments);
}

size_t text_length(const char *string)
{
	size_t length = 0;

	while (string[length])
		length++;
	return length;
}

bool text_equal(const char *a, const char *b)
{
	return text_equal_n(a, text_length(a), b);
}

bool text_equal_n(const char *a, size_t length, const char *b)
{
	for (size_t i = 0; i < length; i++) {
		if (b[i] == '\0' || a[i] != b[i])
			return false;
	}
	return b[length] == '\0';
}
