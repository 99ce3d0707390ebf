/* SPDX-License-Identifier: Apache-2.0 */
#include "io/iov.h"

#include <criterion/criterion.h>
#include <string.h>

static char area[16];
static struct iovec parts[4];

static void setup(void)
{
	memcpy(area, "abcdefghijklmnop", sizeof(area));
	parts[0] = (struct iovec){area, 3};
	parts[1] = (struct iovec){area + 3, 0};
	parts[2] = (struct iovec){area + 8, 5};
	parts[3] = (struct iovec){area + 4, 1};
}

TestSuite(iov, .init = setup);

Test(iov, gather_follows_the_order_of_the_elements)
{
	char out[16] = {0};

	cr_assert_eq(iov_bytes(parts, 4), 9);
	cr_assert_eq(iov_gather(out, sizeof(out), parts, 4), 9);
	cr_assert_str_eq(out, "abcijklme");
	memset(out, 0, sizeof(out));
	cr_assert_eq(iov_gather(out, 4, parts, 4), 4);
	cr_assert_str_eq(out, "abci");
}

Test(iov, scatter_is_the_opposite)
{
	cr_assert_eq(iov_scatter(parts, 4, "0123456789", 10), 9);
	cr_assert_eq(memcmp(area, "012d8fgh34567nop", sizeof(area)), 0);
	cr_assert_eq(iov_scatter(parts, 4, "XY", 2), 2);
	cr_assert_eq(memcmp(area, "XY2d", 4), 0);
}

Test(iov, consume_at_every_point)
{
	for (size_t cut = 0; cut <= 9; cut++) {
		struct iovec copy[4], *at = copy;
		unsigned count = 4;
		char out[16] = {0};

		memcpy(copy, parts, sizeof(copy));
		iov_consume(&at, &count, cut);
		iov_gather(out, sizeof(out), at, count);
		cr_assert_str_eq(out, &"abcijklme"[cut], "cut at %zu", cut);
	}
}

Test(iov, consume_beyond_the_end_leaves_nothing)
{
	struct iovec *at = parts;
	unsigned count = 4;

	iov_consume(&at, &count, 100);
	cr_assert_eq(count, 0);
}

Test(iov, zero_fills_all_of_it)
{
	iov_zero(parts, 4);
	cr_assert_eq(memcmp(area, "\0\0\0d\0fgh\0\0\0\0\0nop", sizeof(area)), 0);
}

Test(iov, append_joins_what_is_adjacent)
{
	struct iovec iov[3], next[] = {{area, 4}, {area + 4, 2}, {area + 8, 1}};
	unsigned count = 0;

	for (unsigned i = 0; i < 3; i++)
		iov_append(iov, &count, &next[i]);
	cr_assert_eq(count, 2);
	cr_assert_eq(iov[0].iov_base, area);
	cr_assert_eq(iov[0].iov_len, 6);
	cr_assert_eq(iov[1].iov_base, area + 8);
	cr_assert_eq(iov[1].iov_len, 1);
}

Test(iov, cut_and_uncut)
{
	struct iovec *at = parts;
	unsigned count = 4;

	cr_assert_eq(iov_cut(parts, 4, 3), 1);
	cr_assert_eq(iov_bytes(parts, 4), 9, "between two elements nothing is lost");
	cr_assert_eq(iov_cut(parts, 4, 5), 3);
	cr_assert_eq(iov_cut(parts, 4, 5), 3, "again");
	cr_assert_eq(parts[2].iov_len, 2);
	iov_uncut(parts, 4, 5, 9 - iov_bytes(parts, 4));
	cr_assert_eq(iov_bytes(parts, 4), 9);
	iov_consume(&at, &count, 5);
	cr_assert_eq(count, 2);
	cr_assert_eq(at->iov_base, area + 10);
	cr_assert_eq(at->iov_len, 3);
	cr_assert_eq(iov_cut(at, count, 4), 2, "all of it");
	iov_uncut(at, count, 4, 0);
	cr_assert_eq(iov_bytes(at, count), 4);
}

Test(iov, cut_in_the_first_element_and_behind_an_empty_one)
{
	cr_assert_eq(iov_cut(parts, 4, 2), 1);
	cr_assert_eq(parts[0].iov_len, 2);
	iov_uncut(parts, 4, 2, 1);
	cr_assert_eq(parts[0].iov_len, 3);
	cr_assert_eq(iov_cut(parts + 1, 3, 1), 2);
	cr_assert_eq(parts[2].iov_len, 1);
	iov_uncut(parts + 1, 3, 1, 4);
	cr_assert_eq(parts[2].iov_len, 5);
	cr_assert_eq(iov_cut(parts, 4, 10), 4);
	iov_uncut(parts, 4, 10, 5);
	cr_assert_eq(iov_bytes(parts, 4), 9, "longer than the array: nothing is cut");
}
