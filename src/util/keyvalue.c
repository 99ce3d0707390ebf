/* SPDX-License-Identifier: Apache-2.0 */
/* Elements are copied one at a time, because doubled commas become single ones on the way. */
#include "util/keyvalue.h"

#include <errno.h>
#include <string.h>

void keyvalue_init(struct keyvalue *list, const char *text)
{
	*list = (struct keyvalue){.rest = text};
}

/* Copies up to a lone comma or the end; returns the length, or -E2BIG. */
static int copy_element(struct keyvalue *list)
{
	const char *at = list->rest;
	size_t length = 0;

	while (*at && !(at[0] == ',' && at[1] != ',')) {
		if (length == sizeof(list->text) - 1)
			return -E2BIG;
		list->text[length++] = *at;
		at += at[0] == ',' ? 2 : 1;
	}
	list->text[length] = '\0';
	list->rest = *at ? at + 1 : NULL;
	return (int)length;
}

int keyvalue_next(struct keyvalue *list)
{
	char *equals;
	int length;

	if (!list->rest)
		return 0;
	length = copy_element(list);
	if (length < 0)
		return length;
	if (length == 0)
		return -EINVAL;
	list->key = list->text;
	list->value = NULL;
	equals = strchr(list->text, '=');
	if (equals) {
		*equals = '\0';
		list->value = equals + 1;
	}
	return 1;
}
