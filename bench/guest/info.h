/* SPDX-License-Identifier: Apache-2.0 */
/* The workloads without I/O. */
#pragma once

#include "options.h"

/* info: lists all virtio devices. idle: sets them up and sleeps for time=. Both end the guest. */
void info_run(const struct options *options, unsigned cpus) __attribute__((noreturn));
