/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option lists as users write them: "a.img,queues=4,readonly". A comma inside a value is written
 * twice, as in QEMU. Any thread, on its own object.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define KEYVALUE_TEXT_MAX 4096

/* The reading position and the element read last; the strings point into it. */
struct keyvalue {
	const char *rest; /* what is not read yet; NULL at the end */
	const char *key;
	const char *value; /* NULL where the element has no '=' */
	char text[KEYVALUE_TEXT_MAX];
};

/* Starts reading @list, which must live as long as the object is read from. */
void keyvalue_init(struct keyvalue *list, const char *text);

/*
 * Reads the next element: 1 with ->key and ->value set, 0 at the end, -EINVAL for an empty
 * element, -E2BIG for one longer than KEYVALUE_TEXT_MAX.
 */
int keyvalue_next(struct keyvalue *list);
