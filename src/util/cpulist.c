/* SPDX-License-Identifier: Apache-2.0 */
/* A list is grown element by element; CPUs are checked against the process's own affinity. */
#include "util/cpulist.h"

#include "util/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Reads a decimal CPU number at *@at and moves past it; -1 where there is none in range. */
static int parse_cpu(const char **at)
{
	char *end;
	long cpu;

	if (!isdigit((unsigned char)**at))
		return -1;
	cpu = strtol(*at, &end, 10);
	if (cpu >= CPU_SETSIZE)
		return -1;
	*at = end;
	return (int)cpu;
}

static int append_range(int first, int last, const cpu_set_t *allowed, int **cpus, unsigned *count)
{
	for (int cpu = first; cpu <= last; cpu++) {
		int *grown;

		if (!CPU_ISSET(cpu, allowed))
			return -ENODEV;
		grown = realloc(*cpus, (*count + 1) * sizeof(**cpus));
		if (!grown)
			return -ENOMEM;
		*cpus = grown;
		grown[(*count)++] = cpu;
	}
	return 0;
}

int cpulist_parse(const char *text, int **ret_cpus, unsigned *ret_count)
{
	auto_free int *cpus = NULL;
	unsigned count = 0;
	cpu_set_t allowed;
	int missing = 0; /* told last: a malformed list is the mistake to be seen first */

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -errno;
	for (const char *at = text;; at++) {
		int first = parse_cpu(&at), last = first, result;

		if (first >= 0 && *at == '-') {
			at++;
			last = parse_cpu(&at);
		}
		if (first < 0 || last < first)
			return -EINVAL;
		result = append_range(first, last, &allowed, &cpus, &count);
		if (result == -ENODEV)
			missing = result;
		else if (result)
			return result;
		if (*at == '\0')
			break;
		if (*at != ',')
			return -EINVAL;
	}
	if (missing)
		return missing;
	*ret_cpus = take_pointer(cpus);
	*ret_count = count;
	return 0;
}

unsigned cpulist_available(void)
{
	cpu_set_t allowed;
	int count;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
	count = CPU_COUNT(&allowed);
	return count > 0 ? (unsigned)count : 1;
}
