/* SPDX-License-Identifier: Apache-2.0 */
/* Two regions with a hole between them, and every way to step out of them. */
#include "memory/guest_memory.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define LOW_SIZE  0x10000u
#define HIGH_GPA  0x100000000u
#define HIGH_SIZE 0x20000u

static const struct guest_memory_options plain = {.backend = GUEST_MEMORY_PLAIN};

static struct guest_memory *make(void)
{
	static const struct guest_memory_range ranges[] = {{0, LOW_SIZE}, {HIGH_GPA, HIGH_SIZE}};
	struct guest_memory *memory = NULL;

	cr_assert_eq(guest_memory_create(ranges, 2, &plain, &memory, NULL), 0);
	return memory;
}

Test(guest_memory, both_regions_are_there_and_distinct)
{
	struct guest_memory *memory = make();
	uint32_t value = 0x12345678, back = 0;

	cr_assert_eq(guest_memory_size(memory), LOW_SIZE + HIGH_SIZE);
	cr_assert_eq(guest_memory_region_count(memory), 2);
	cr_assert_eq(guest_memory_write(memory, HIGH_GPA, &value, sizeof(value)), 0);
	cr_assert_eq(guest_memory_read(memory, 0, &back, sizeof(back)), 0);
	cr_assert_eq(back, 0, "a write into one region does not show in the other");
	cr_assert_eq(guest_memory_read(memory, HIGH_GPA, &back, sizeof(back)), 0);
	cr_assert_eq(back, value);
	guest_memory_destroy(memory);
}

Test(guest_memory, pointers_stop_at_the_edges)
{
	struct guest_memory *memory = make();

	cr_assert_not_null(guest_memory_pointer(memory, 0, LOW_SIZE));
	cr_assert_not_null(guest_memory_pointer(memory, LOW_SIZE - 1, 1));
	cr_assert_null(guest_memory_pointer(memory, LOW_SIZE - 1, 2));
	cr_assert_null(guest_memory_pointer(memory, LOW_SIZE, 0));
	cr_assert_null(guest_memory_pointer(memory, HIGH_GPA - 1, 2));
	cr_assert_not_null(guest_memory_pointer(memory, HIGH_GPA, HIGH_SIZE));
	cr_assert_null(guest_memory_pointer(memory, HIGH_GPA, HIGH_SIZE + 1));
	cr_assert_null(guest_memory_pointer(memory, UINT64_MAX, 2));
	cr_assert_null(guest_memory_pointer(memory, 1, UINT64_MAX));
	guest_memory_destroy(memory);
}

Test(guest_memory, failed_copies_touch_nothing)
{
	struct guest_memory *memory = make();
	char buffer[4] = "abc";

	cr_assert_eq(guest_memory_read(memory, LOW_SIZE - 2, buffer, 4), -EFAULT);
	cr_assert_str_eq(buffer, "abc");
	cr_assert_eq(guest_memory_write(memory, LOW_SIZE - 2, "zzz", 4), -EFAULT);
	cr_assert_eq(guest_memory_read(memory, LOW_SIZE - 2, buffer, 2), 0);
	cr_assert_eq(buffer[0], 0);
	guest_memory_destroy(memory);
}

/* Only so can a huge page of the host be one for the guest. */
Test(guest_memory, host_and_guest_addresses_agree_below_2_mib)
{
	static const struct guest_memory_range ranges[] = {
		{0x5000, 0x3000}, {0x100000, 8 << 20}, {HIGH_GPA, 2 << 20}};
	struct guest_memory *memory = NULL;

	cr_assert_eq(guest_memory_create(ranges, 3, &plain, &memory, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		const struct guest_memory_region *region = guest_memory_region(memory, i);

		cr_assert_eq(((uintptr_t)region->host - region->gpa) % (2 << 20), 0);
		memset(region->host, 0x5a, region->size);
	}
	guest_memory_destroy(memory);
}

Test(guest_memory, a_size_beyond_all_bounds_is_refused)
{
	static const struct guest_memory_range range = {0, UINT64_MAX - 0xfff};
	struct guest_memory *memory = NULL;
	struct error error = ERROR_INIT;

	cr_assert_eq(guest_memory_create(&range, 1, &plain, &memory, &error), -ENOMEM);
	cr_assert_not_null(strstr(error.text, "ask for less memory"), "%s", error.text);
	cr_assert_null(memory);
}

Test(guest_memory, refuses_bad_ranges)
{
	static const struct guest_memory_range overlapping[] = {{0, 0x2000}, {0x1000, 0x1000}};
	static const struct guest_memory_range odd[] = {{0, 0x1001}};
	static const struct guest_memory_range wrapping[] = {{UINT64_MAX - 0xfff, 0x2000}};
	struct guest_memory *memory = NULL;

	cr_assert_eq(guest_memory_create(overlapping, 2, &plain, &memory, NULL), -EINVAL);
	cr_assert_eq(guest_memory_create(odd, 1, &plain, &memory, NULL), -EINVAL);
	cr_assert_eq(guest_memory_create(wrapping, 1, &plain, &memory, NULL), -EINVAL);
	cr_assert_eq(guest_memory_create(odd, 0, &plain, &memory, NULL), -EINVAL);
	cr_assert_null(memory);
	guest_memory_destroy(NULL);
}

Test(guest_memory, preallocation_faults_pages_in)
{
	static const struct guest_memory_range range = {0, 1 << 20};
	static const struct guest_memory_options options = {.preallocate = true};
	struct guest_memory *memory = NULL;
	unsigned char resident[256];
	struct error error = ERROR_INIT;

	cr_assert_eq(
		guest_memory_create(&range, 1, &options, &memory, &error), 0, "%s", error.text);
	cr_assert_eq(mincore(guest_memory_pointer(memory, 0, 1 << 20), 1 << 20, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		cr_assert(resident[i] & 1);
	guest_memory_destroy(memory);
}

Test(guest_memory, a_host_without_huge_pages_gets_one_clear_line)
{
	static const struct guest_memory_range range = {0, 1ull << 40};
	static const struct guest_memory_options options = {.backend = GUEST_MEMORY_HUGE};
	struct guest_memory *memory = NULL;
	struct error error = ERROR_INIT;

	cr_assert_lt(guest_memory_create(&range, 1, &options, &memory, &error), 0);
	cr_assert_not_null(strstr(error.text, "nr_hugepages"), "%s", error.text);
	cr_assert_null(memory);
}
