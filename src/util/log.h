/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log on standard error: one line a message, "fastvmm: " in front. Never called from the
 * I/O loop. Any thread; lines of several threads do not mix.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_ERROR,
	LOG_WARNING,
	LOG_INFO,
	LOG_DEBUG,
};

/* Messages above @level are dropped; the start value is LOG_INFO. Before threads start. */
void log_set_level(enum log_level level);

/* With @raw, lines end in CR LF because the terminal is in raw mode. Any thread. */
void log_set_raw_terminal(bool raw);

void log_message(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Bounds a message that a guest can cause at will. All zeros to begin with. */
struct log_limit {
	_Atomic uint64_t count;
	_Atomic uint64_t next_ns; /* CLOCK_MONOTONIC; once the first ones are through */
};

/* True where the message may be logged now: ten times, then once a minute. Any thread. */
bool log_limit_allows(struct log_limit *limit);

#define log_error(...)   log_message(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LOG_DEBUG, __VA_ARGS__)
