/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members are written as they come; the writer keeps the stack of open brackets and knows when a
 * comma is due. Strings are escaped, and bytes outside printable ASCII become '?' (an ID read from
 * a device is not to be trusted).
 */
#include "json.h"

void json_init(struct json *json, char *data, size_t size)
{
	*json = (struct json){0};
	text_init(&json->text, data, size);
}

static void json_quoted(struct json *json, const char *value)
{
	text_character(&json->text, '"');
	for (; *value; value++) {
		char c = *value;

		if (c == '"' || c == '\\')
			text_character(&json->text, '\\');
		text_character(&json->text, c >= ' ' && c <= '~' ? c : '?');
	}
	text_character(&json->text, '"');
}

static void json_begin(struct json *json, const char *name)
{
	if (json->comma)
		text_character(&json->text, ',');
	json->comma = true;
	if (name) {
		json_quoted(json, name);
		text_character(&json->text, ':');
	}
}

static void json_open(struct json *json, const char *name, char opening, char closing)
{
	json_begin(json, name);
	text_character(&json->text, opening);
	if (json->depth == JSON_DEPTH) {
		json->text.overflow = true;
		return;
	}
	json->closing[json->depth++] = closing;
	json->comma = false;
}

void json_object(struct json *json, const char *name)
{
	json_open(json, name, '{', '}');
}

void json_array(struct json *json, const char *name)
{
	json_open(json, name, '[', ']');
}

void json_end(struct json *json)
{
	if (json->depth == 0)
		return;
	text_character(&json->text, json->closing[--json->depth]);
	json->comma = true;
}

void json_number(struct json *json, const char *name, uint64_t value)
{
	json_begin(json, name);
	text_decimal(&json->text, value);
}

void json_bool(struct json *json, const char *name, bool value)
{
	json_begin(json, name);
	text_string(&json->text, value ? "true" : "false");
}

void json_string(struct json *json, const char *name, const char *value)
{
	json_begin(json, name);
	json_quoted(json, value);
}

void json_hex(struct json *json, const char *name, uint64_t value)
{
	json_begin(json, name);
	text_character(&json->text, '"');
	text_hex(&json->text, value);
	text_character(&json->text, '"');
}

void json_raw(struct json *json, const char *name, const char *value)
{
	json_begin(json, name);
	text_string(&json->text, value);
}
