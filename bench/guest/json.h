/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON writer for one line, integers, strings and booleans only. Pure: compiled on the host too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define JSON_DEPTH 8

struct json {
	struct text text;
	char closing[JSON_DEPTH]; /* the brackets still open */
	unsigned depth;
	bool comma; /* the next member needs one before it */
};

/* Starts an empty line in `data`; json->text.overflow says afterwards whether it was too small. */
void json_init(struct json *json, char *data, size_t size);

/* `name` is NULL for the outermost object and inside arrays. */
void json_object(struct json *json, const char *name);
void json_array(struct json *json, const char *name);
void json_number(struct json *json, const char *name, uint64_t value);
void json_bool(struct json *json, const char *name, bool value);
void json_string(struct json *json, const char *name, const char *value);

/* A 64-bit value as a string "0x...", for bit sets. */
void json_hex(struct json *json, const char *name, uint64_t value);

/* Closes the innermost object or array. */
void json_end(struct json *json);

/* A member whose value is JSON already. */
void json_raw(struct json *json, const char *name, const char *value);
