/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a fastvmm that is slower by a known amount, so that it can be shown that the gate sees it: the
 * linker sends every io_uring_enter() of the program here, which spins for a while first.
 */
#include "util/clock.h"

#include <signal.h>

#define DELAY_NS 20000

int __real_io_uring_enter(
	unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t *sig);
int __wrap_io_uring_enter(
	unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t *sig);

int __wrap_io_uring_enter(
	unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, sigset_t *sig)
{
	uint64_t end = clock_ns() + DELAY_NS;

	while (clock_ns() < end) {
	}
	return __real_io_uring_enter(fd, to_submit, min_complete, flags, sig);
}
