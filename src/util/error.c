/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error texts are fixed-size and never allocated, so that they work when memory is short. The
 * first text wins: it was written where the cause was known.
 */
#include "util/error.h"

#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (!error || error->text[0])
		return code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return code;
}

int error_prefix(struct error *error, int code, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list arguments;
	size_t used;

	if (!error)
		return code;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	used = strlen(text);
	snprintf(text + used, sizeof(text) - used, "%s",
		error->text[0] ? error->text : strerror(-code));
	memcpy(error->text, text, sizeof(text));
	return code;
}
