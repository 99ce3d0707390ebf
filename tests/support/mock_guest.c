/* SPDX-License-Identifier: Apache-2.0 */
/* RAM for tests: guest_memory as the machine uses it, and an allocator that only ever grows. */
#include "support/mock_driver.h"
#include "support/mock_internal.h"

#include "util/checked.h"
#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_BYTES 4096u

void mock_misuse(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("mock driver: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

void mock_guest_init(struct mock_guest *guest, uint64_t bytes)
{
	const struct guest_memory_range ranges[] = {
		{.gpa = MOCK_GUEST_BASE, .size = align_up(bytes, PAGE_BYTES)},
		{.gpa = MOCK_GUEST_HIGH, .size = MOCK_GUEST_HIGH_BYTES},
	};
	const struct guest_memory_options options = {.backend = GUEST_MEMORY_PLAIN};
	struct error error = ERROR_INIT;

	if (guest_memory_create(ranges, ARRAY_SIZE(ranges), &options, &guest->memory, &error))
		mock_misuse("no guest memory: %s", error.text);
	guest->next_gpa = ranges[0].gpa;
	guest->end_gpa = ranges[0].gpa + ranges[0].size;
}

void mock_guest_deinit(struct mock_guest *guest)
{
	guest_memory_destroy(guest->memory);
	*guest = (struct mock_guest){0};
}

uint64_t mock_guest_alloc(struct mock_guest *guest, uint64_t bytes, uint64_t alignment)
{
	uint64_t gpa = align_up(guest->next_gpa, alignment);

	if (gpa > guest->end_gpa || bytes > guest->end_gpa - gpa)
		mock_misuse("the test needs more guest memory than it asked for");
	guest->next_gpa = gpa + bytes;
	return gpa;
}

void *mock_guest_pointer(struct mock_guest *guest, uint64_t gpa, uint64_t length)
{
	void *pointer = guest_memory_pointer(guest->memory, gpa, length);

	if (!pointer)
		mock_misuse("no RAM at 0x%llx", (unsigned long long)gpa);
	return pointer;
}
