/* SPDX-License-Identifier: Apache-2.0 */
/* CPU lists as the kernel and taskset write them: "0,2-5". */
#pragma once

#include <sched.h>

/*
 * Parses @text into an array of CPU numbers in the order written (thread i is pinned to
 * element i modulo the count), heap-allocated, owned by the caller.
 * Returns 0, -EINVAL for a malformed list, -ENODEV for a CPU that this process may not use.
 */
int cpulist_parse(const char *text, int **ret_cpus, unsigned *ret_count);

/* The number of CPUs that this process may run on; at least 1. */
unsigned cpulist_available(void);
