/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run ends: one JSON line on the serial port, then power off. Also the '#' lines on the way
 * there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses for isa-debug-exit, which makes (status << 1 | 1) of them. */
#define FINISH_OK   0
#define FINISH_FAIL 1

/* With `exit=debug`: leave by isa-debug-exit (port 0xf4), so that the VMM's exit status tells. */
void finish_use_debug_exit(bool use);

/* Prints a line that starts with "# ". Any CPU, either ring. */
void finish_note(const char *format, ...);

/* Sends `line` (a JSON object) and powers off. */
void finish(const char *line, unsigned status) __attribute__((noreturn));

/* {"status":"fail","reason":...}, then powers off with FINISH_FAIL. Any CPU, either ring. */
void finish_fail(const char *format, ...) __attribute__((noreturn));
