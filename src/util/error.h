/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The explanation that travels with a negative errno. A function whose failure a user must be
 * able to act on takes a `struct error *` as its last parameter and fills it once, where the
 * cause is known; the callers pass the code up unchanged, and `cli` prints the one line.
 */
#pragma once

#include <stdarg.h>

#define ERROR_TEXT_MAX 512

struct error {
	char text[ERROR_TEXT_MAX];
};

#define ERROR_INIT ((struct error){""})

/*
 * Writes "what, which option or file, why, what to do" into @error (which may be NULL) unless
 * it already holds a text, and returns @code, so that `return error_set(...)` reads naturally.
 * @code is a negative errno. Any thread, on its own object.
 */
int error_set(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts a prefix ("--disk a.img: ") in front of the text that @error holds and returns @code.
 * Where there is no text, the prefix is followed by strerror(-code).
 */
int error_prefix(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
