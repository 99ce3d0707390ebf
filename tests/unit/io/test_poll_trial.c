/* SPDX-License-Identifier: Apache-2.0 */
/* A guest is a rate with polling and a rate without; time goes by in steps of 10 microseconds. */
#include "io/poll_trial.h"

#include <criterion/criterion.h>

#define STEP_NS 10000u

static struct poll_trial trial;
static uint64_t now, work, polled_ns;
static double left; /* of a request */

static void setup(void)
{
	now = 1000000000;
	work = polled_ns = 0;
	left = 0;
	poll_trial_init(&trial);
	poll_trial_step(&trial, now, work);
}

TestSuite(poll_trial, .init = setup);

/* For @ms, with so many requests a millisecond in each mode. */
static void run(unsigned ms, double polled, double slept)
{
	for (uint64_t end = now + ms * 1000000ull; now < end; now += STEP_NS) {
		bool polls = poll_trial_polls(&trial);

		left += (polls ? polled : slept) * STEP_NS / 1e6;
		work += (uint64_t)left;
		left -= (double)(uint64_t)left;
		polled_ns += polls ? STEP_NS : 0;
		poll_trial_step(&trial, now, work);
	}
}

static double polled_share(unsigned ms, double polled, double slept)
{
	uint64_t before = polled_ns;

	run(ms, polled, slept);
	return (double)(polled_ns - before) / (ms * 1e6);
}

Test(poll_trial, polls_at_first)
{
	cr_expect(poll_trial_polls(&trial));
}

Test(poll_trial, goes_on_polling_for_a_guest_that_is_faster_for_it)
{
	run(1000, 300, 20);
	cr_expect_gt(polled_share(4000, 300, 20), 0.98);
}

Test(poll_trial, sleeps_where_the_guest_does_the_same_in_either_case)
{
	run(1000, 100, 100);
	cr_expect_lt(polled_share(4000, 100, 100), 0.02);
}

Test(poll_trial, a_small_gain_is_not_worth_it)
{
	run(1000, 105, 100);
	cr_expect_lt(polled_share(4000, 105, 100), 0.02);
}

Test(poll_trial, notices_a_change_within_a_second)
{
	run(5000, 100, 100);
	run(1000, 300, 20);
	cr_expect_gt(polled_share(4000, 300, 20), 0.98);
	run(1000, 100, 100);
	cr_expect_lt(polled_share(4000, 100, 100), 0.02);
}

Test(poll_trial, says_nothing_of_a_guest_that_does_little)
{
	run(5000, 1, 0.1);
	cr_expect(poll_trial_polls(&trial), "the start value stays");
}

/* A wait that falls into a slice would make its rate low and the other's look good. */
Test(poll_trial, says_nothing_of_a_slice_with_a_pause_in_it)
{
	run(1000, 100, 100);
	cr_assert_not(trial.settled);
	for (unsigned i = 0; i < 2000; i++) {
		if (trial.phase == POLL_TRIAL_BASE)
			now += 50000000;
		run(1, 100, 100);
		cr_assert_not(trial.settled, "round %u", i);
	}
}
