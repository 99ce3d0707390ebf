/* SPDX-License-Identifier: Apache-2.0 */
#include "util/keyvalue.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(keyvalue, reads_keys_with_and_without_values)
{
	struct keyvalue list;

	keyvalue_init(&list, "a.img,queues=4,readonly,serial=");
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_str_eq(list.key, "a.img");
	cr_assert_null(list.value);
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_str_eq(list.key, "queues");
	cr_assert_str_eq(list.value, "4");
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_str_eq(list.key, "readonly");
	cr_assert_null(list.value);
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_str_eq(list.value, "");
	cr_assert_eq(keyvalue_next(&list), 0);
	cr_assert_eq(keyvalue_next(&list), 0);
}

Test(keyvalue, a_doubled_comma_is_a_comma)
{
	struct keyvalue list;

	keyvalue_init(&list, "path=a,,b,,,x=1");
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_str_eq(list.value, "a,b,");
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_str_eq(list.key, "x");
	cr_assert_eq(keyvalue_next(&list), 0);
}

Test(keyvalue, refuses_empty_and_overlong_elements)
{
	static const char *const bad[] = {"", ",a"};
	char text[KEYVALUE_TEXT_MAX + 2];
	struct keyvalue list;

	for (size_t i = 0; i < 2; i++) {
		keyvalue_init(&list, bad[i]);
		cr_assert_eq(keyvalue_next(&list), -EINVAL, "\"%s\"", bad[i]);
	}
	keyvalue_init(&list, "a,");
	cr_assert_eq(keyvalue_next(&list), 1);
	cr_assert_eq(keyvalue_next(&list), -EINVAL, "nothing behind the comma");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	keyvalue_init(&list, text);
	cr_assert_eq(keyvalue_next(&list), -E2BIG);
}
