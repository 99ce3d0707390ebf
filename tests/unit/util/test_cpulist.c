/* SPDX-License-Identifier: Apache-2.0 */
#include "util/cleanup.h"
#include "util/cpulist.h"

#include <criterion/criterion.h>
#include <errno.h>

/* The first CPU that this process may use, as text. */
static int first_cpu(void)
{
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set))
			return cpu;
	}
	return -1;
}

Test(cpulist, keeps_the_order_and_repetitions)
{
	auto_free int *cpus = NULL;
	unsigned count = 0;
	char text[64];
	int cpu = first_cpu();

	snprintf(text, sizeof(text), "%d,%d-%d,%d", cpu, cpu, cpu, cpu);
	cr_assert_eq(cpulist_parse(text, &cpus, &count), 0);
	cr_assert_eq(count, 3);
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(cpus[i], cpu);
}

Test(cpulist, refuses_malformed_lists)
{
	static const char *const bad[] = {
		"", ",", "a", "1,", "-1", "3-2", "0-", "0--1", " 0", "0 ", "99999", "0x1"};
	unsigned count = 77;
	int *cpus = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(cpulist_parse(bad[i], &cpus, &count), -EINVAL, "\"%s\"", bad[i]);
		cr_assert_null(cpus);
		cr_assert_eq(count, 77);
	}
}

Test(cpulist, refuses_a_cpu_that_is_not_there)
{
	unsigned count;
	int *cpus;

	cr_assert_eq(cpulist_parse("1023", &cpus, &count), -ENODEV);
}

Test(cpulist, counts_at_least_one_cpu)
{
	cr_assert_geq(cpulist_available(), 1);
}
