/* SPDX-License-Identifier: Apache-2.0 */
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(error, the_first_text_wins)
{
	struct error error = ERROR_INIT;

	cr_assert_eq(error_set(&error, -ENOENT, "--disk %s: not found", "a"), -ENOENT);
	cr_assert_eq(error_set(&error, -EIO, "later"), -EIO);
	cr_assert_str_eq(error.text, "--disk a: not found");
}

Test(error, a_prefix_goes_in_front_once)
{
	struct error error = ERROR_INIT;

	error_set(&error, -ENOENT, "not found");
	cr_assert_eq(error_prefix(&error, -ENOENT, "--disk %s: ", "a"), -ENOENT);
	cr_assert_str_eq(error.text, "--disk a: not found");
}

Test(error, a_prefix_without_a_text_names_the_code)
{
	struct error error = ERROR_INIT;

	error_prefix(&error, -ENOENT, "kernel: ");
	cr_assert_str_eq(error.text, "kernel: No such file or directory");
}

Test(error, null_is_accepted_and_long_texts_are_cut)
{
	struct error error = ERROR_INIT;
	char text[2000];

	cr_assert_eq(error_set(NULL, -EIO, "x"), -EIO);
	cr_assert_eq(error_prefix(NULL, -EIO, "x"), -EIO);
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(&error, -EIO, "%s", text);
	cr_assert_eq(strlen(error.text), ERROR_TEXT_MAX - 1);
	error_prefix(&error, -EIO, "%s", text);
	cr_assert_eq(strlen(error.text), ERROR_TEXT_MAX - 1);
}
