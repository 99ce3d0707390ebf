/* SPDX-License-Identifier: Apache-2.0 */
#include "util/checked.h"
#include "util/parse.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(parse, sizes)
{
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
	} cases[] = {
		{"0", 0, 0},
		{"512", 0, 512},
		{"512B", 0, 512},
		{"4K", 0, 4096},
		{"4k", 0, 4096},
		{"4KiB", 0, 4096},
		{"1G", 0, 1ull << 30},
		{"1GB", 0, 1ull << 30},
		{"2T", 0, 2ull << 40},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"16777216T", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"G", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 G", -EINVAL, 0},
		{"1GG", -EINVAL, 0},
		{"1iB", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1.5G", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 77;

		cr_assert_eq(parse_size(cases[i].text, &bytes), cases[i].result, "\"%s\"",
			cases[i].text);
		cr_assert_eq(bytes, cases[i].result ? 77 : cases[i].bytes, "\"%s\"", cases[i].text);
	}
}

Test(parse, numbers_have_bounds)
{
	uint64_t number = 77;

	cr_assert_eq(parse_number("4", 1, 8, &number), 0);
	cr_assert_eq(number, 4);
	cr_assert_eq(parse_number("0", 1, 8, &number), -ERANGE);
	cr_assert_eq(parse_number("9", 1, 8, &number), -ERANGE);
	cr_assert_eq(parse_number("4K", 1, 8000, &number), -EINVAL);
	cr_assert_eq(parse_number("-4", 1, 8, &number), -EINVAL);
	cr_assert_eq(parse_number("99999999999999999999", 1, 8, &number), -ERANGE);
	cr_assert_eq(number, 4);
}

Test(parse, booleans)
{
	bool value = false;

	cr_assert_eq(parse_bool("on", &value), 0);
	cr_assert(value);
	cr_assert_eq(parse_bool("no", &value), 0);
	cr_assert_not(value);
	cr_assert_eq(parse_bool("maybe", &value), -EINVAL);
	cr_assert_eq(parse_bool("", &value), -EINVAL);
}
