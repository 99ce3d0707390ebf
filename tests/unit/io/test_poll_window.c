/* SPDX-License-Identifier: Apache-2.0 */
#include "io/poll_window.h"

#include <criterion/criterion.h>

#define LIMIT 32000u

static struct poll_window window;

static void setup(void)
{
	poll_window_init(&window, LIMIT);
}

TestSuite(poll_window, .init = setup);

static bool is_open(void)
{
	return poll_window_length(&window, LIMIT) != 0;
}

/* An event @gap after the last, as the worker would see it. */
static void event(uint64_t gap)
{
	if (!is_open()) {
		poll_window_slept(&window);
		return;
	}
	if (gap < LIMIT) {
		poll_window_hit(&window, gap);
		return;
	}
	poll_window_miss(&window, LIMIT);
	poll_window_slept(&window);
}

static void events(unsigned count, uint64_t gap)
{
	while (count--)
		event(gap);
}

Test(poll_window, is_closed_at_first)
{
	cr_assert(!is_open());
}

Test(poll_window, opens_after_a_few_quick_events)
{
	events(6, 1000);
	cr_assert(is_open());
	cr_assert_leq(window.average_ns, LIMIT, "and not just for a probe");
}

Test(poll_window, never_opens_with_limit_zero)
{
	poll_window_init(&window, 0);
	events(1000, 0);
	cr_assert(!is_open());
}

Test(poll_window, closes_when_events_become_rare)
{
	events(50, 1000);
	events(8, 1000000);
	cr_assert_gt(window.average_ns, LIMIT);
}

/* What rare events cost: one bound of spinning in PROBE_MAX of them. */
Test(poll_window, probes_become_rare)
{
	unsigned probes = 0;

	events(5 * POLL_WINDOW_PROBE_MAX, 1000000);
	for (unsigned i = 0; i < 10 * POLL_WINDOW_PROBE_MAX; i++) {
		probes += is_open();
		event(1000000);
	}
	cr_assert_geq(probes, 9);
	cr_assert_leq(probes, 11);
}

Test(poll_window, opens_again_whatever_was_before)
{
	events(100000, 1000000);
	events(POLL_WINDOW_PROBE_MAX + 8, 1000);
	cr_assert_leq(window.average_ns, LIMIT);
}

Test(poll_window, one_long_pause_does_not_undo_what_it_learned)
{
	events(50, 1000);
	event(10000000000ull);
	cr_assert(is_open());
	cr_assert_leq(window.average_ns, LIMIT);
}

Test(poll_window, is_as_long_as_the_bound)
{
	window.average_ns = 0;
	cr_assert_eq(poll_window_length(&window, LIMIT), LIMIT);
	window.average_ns = LIMIT;
	cr_assert_eq(poll_window_length(&window, LIMIT), LIMIT);
	window.average_ns = LIMIT + 1;
	cr_assert_eq(poll_window_length(&window, LIMIT), 0);
}

Test(poll_window, a_tighter_bound_shortens_or_closes_it)
{
	window.average_ns = 10000;
	cr_assert_eq(poll_window_length(&window, 5000), 0);
	window.average_ns = 3000;
	cr_assert_eq(poll_window_length(&window, 5000), 5000);
}

Test(poll_window, average_settles_on_steady_gaps)
{
	events(100, 12000);
	cr_assert_geq(window.average_ns, 11900);
	cr_assert_leq(window.average_ns, 12100);
}
