/* SPDX-License-Identifier: Apache-2.0 */
#include "util/clock.h"
#include "util/log.h"

#include <criterion/criterion.h>

Test(log, a_limit_lets_ten_through_and_then_one_a_minute)
{
	struct log_limit limit = {0};
	unsigned allowed = 0;

	for (unsigned i = 0; i < 1000; i++)
		allowed += log_limit_allows(&limit);
	cr_expect_eq(allowed, 10);
	cr_expect_gt(atomic_load(&limit.next_ns), clock_ns() + 30000000000u);
	atomic_store(&limit.next_ns, clock_ns()); /* the minute is over */
	cr_expect(log_limit_allows(&limit));
	cr_expect_not(log_limit_allows(&limit));
}
