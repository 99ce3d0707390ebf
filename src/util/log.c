/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is put together in a local buffer and leaves in one write(2), which keeps the lines of
 * several threads whole without a lock.
 */
#include "util/log.h"

#include "util/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_BURST    10u
#define LIMIT_PAUSE_NS 60000000000u

static _Atomic enum log_level log_level = LOG_INFO;
static atomic_bool log_raw_terminal;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

void log_set_raw_terminal(bool raw)
{
	atomic_store_explicit(&log_raw_terminal, raw, memory_order_relaxed);
}

static const char *level_prefix(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "fastvmm: error: ";
	case LOG_WARNING:
		return "fastvmm: warning: ";
	default:
		return "fastvmm: ";
	}
}

void log_message(enum log_level level, const char *format, ...)
{
	bool raw = atomic_load_explicit(&log_raw_terminal, memory_order_relaxed);
	const char *ending = raw ? "\r\n" : "\n";
	char line[1024];
	va_list arguments;
	size_t room, used;
	int text;

	if (level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	used = (size_t)snprintf(line, sizeof(line), "%s", level_prefix(level));
	room = sizeof(line) - used - 2; /* the ending */
	va_start(arguments, format);
	text = vsnprintf(line + used, room, format, arguments);
	va_end(arguments);
	if (text < 0)
		return;
	used += (size_t)text < room ? (size_t)text : room - 1;
	memcpy(line + used, ending, strlen(ending));
	used += strlen(ending);
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* nobody is listening; there is nowhere else to say so */
}

bool log_limit_allows(struct log_limit *limit)
{
	uint64_t before = atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed);
	uint64_t now = clock_ns(), next;

	if (before >= LIMIT_BURST) {
		next = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);
		return now >= next && atomic_compare_exchange_strong_explicit(&limit->next_ns,
					      &next, now + LIMIT_PAUSE_NS, memory_order_relaxed,
					      memory_order_relaxed);
	}
	atomic_store_explicit(&limit->next_ns, now + LIMIT_PAUSE_NS, memory_order_relaxed);
	return true;
}
