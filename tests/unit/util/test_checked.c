/* SPDX-License-Identifier: Apache-2.0 */
/* Range arithmetic at the edges where naive sums wrap. */
#include "util/bytes.h"
#include "util/checked.h"

#include <criterion/criterion.h>

Test(checked, range_within_accepts_what_fits)
{
	cr_assert(range_within(0, 0, 0));
	cr_assert(range_within(0, 10, 10));
	cr_assert(range_within(10, 0, 10));
	cr_assert(range_within(9, 1, 10));
}

Test(checked, range_within_refuses_what_crosses_or_wraps)
{
	cr_assert_not(range_within(9, 2, 10));
	cr_assert_not(range_within(11, 0, 10));
	cr_assert_not(range_within(UINT64_MAX, 2, UINT64_MAX));
	cr_assert_not(range_within(1, UINT64_MAX, UINT64_MAX));
}

Test(checked, ranges_overlap_at_the_edges)
{
	cr_assert(ranges_overlap(0, 10, 9, 1));
	cr_assert_not(ranges_overlap(0, 10, 10, 1));
	cr_assert_not(ranges_overlap(0, 0, 0, 10));
	cr_assert(ranges_overlap(UINT64_MAX, 1, UINT64_MAX - 1, 2));
}

Test(checked, powers_and_alignment)
{
	cr_assert_not(is_power_of_two(0));
	cr_assert(is_power_of_two(1));
	cr_assert_not(is_power_of_two(6));
	cr_assert_eq(align_up(4097, 4096), 8192);
	cr_assert_eq(align_up(4096, 4096), 4096);
	cr_assert_eq(align_down(4097, 4096), 4096);
}

Test(checked, little_endian_accessors_take_odd_addresses)
{
	uint8_t bytes[9] = {0};

	put_le64(bytes + 1, 0x1122334455667788u);
	cr_assert_eq(bytes[1], 0x88);
	cr_assert_eq(get_le16(bytes + 1), 0x7788);
	cr_assert_eq(get_le32(bytes + 1), 0x55667788u);
	cr_assert_eq(get_le(bytes + 1, 8), 0x1122334455667788u);
	put_le(bytes + 1, 2, 0xabcd1234u);
	cr_assert_eq(get_le64(bytes + 1), 0x1122334455661234u);
}
