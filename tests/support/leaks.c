// SPDX-License-Identifier: Apache-2.0
/*
 * Linked into every Criterion program that is built with the address sanitizer.
 *
 * Criterion runs each test in a process of its own. The runner, which starts them, loses now and
 * then a timer of a test that has ended (libcriterion 2.4.1, one calloc() of 48 bytes), and would
 * fail for it after every test has passed. So leaks are looked for in the tests' processes alone,
 * where our code runs; tools/tally.py counts a leak there as a failure.
 */
#include <stdlib.h>

/* The leak sanitizer asks this at exit. BoxFort gives BXFI_MAP to the processes of the tests. */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return getenv("BXFI_MAP") == NULL;
}
