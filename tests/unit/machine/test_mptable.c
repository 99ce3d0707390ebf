/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_fixture.h"

#include "machine/layout.h"
#include "machine/mptable.h"
#include "util/bytes.h"
#include "util/checked.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct guest_memory *memory;
static struct error error;

static void set_up(void)
{
	memory = fixture_memory(64 * MIB);
}

static void tear_down(void)
{
	guest_memory_destroy(memory);
}

TestSuite(mptable, .init = set_up, .fini = tear_down);

static uint8_t sum(const uint8_t *bytes, size_t length)
{
	uint8_t total = 0;

	for (size_t i = 0; i < length; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

/* The configuration table, found as a kernel finds it. */
static const uint8_t *find_configuration(void)
{
	const uint8_t *space = guest_memory_pointer(memory, 0xf0000, 0x10000);

	for (uint32_t at = 0; at < 0x10000; at += 16) {
		if (!memcmp(space + at, "_MP_", 4)) {
			cr_assert_eq(at + 0xf0000, LAYOUT_MPTABLE);
			cr_assert_eq(sum(space + at, space[at + 8] * 16u), 0);
			cr_assert_eq(space[at + 9], 4, "specification 1.4");
			cr_assert_eq(space[at + 11], 0, "no default configuration");
			cr_assert_eq(space[at + 12] & 0x80, 0, "no IMCR");
			return guest_memory_pointer(memory, get_le32(space + at + 4), 44);
		}
	}
	cr_assert_fail("no floating pointer");
	return NULL;
}

struct counts {
	unsigned cpus, boot_cpus, buses, io_apics, interrupts, local_interrupts;
	bool lines[24];
};

static void count_interrupt(const uint8_t *at, struct counts *counts)
{
	unsigned line = at[5];

	cr_assert_eq(at[1], 0, "vectored");
	cr_assert_eq(at[4], 1, "the ISA bus");
	cr_assert_lt(line, 16);
	cr_assert_neq(line, 2, "the cascade");
	cr_assert_eq(at[7], line, "line n is pin n");
	cr_assert_not(counts->lines[line]);
	cr_assert_eq(get_le16(at + 2), line == 9 ? 0xd : 0);
	counts->lines[line] = true;
	counts->interrupts++;
}

static struct counts count_entries(const uint8_t *table)
{
	static const uint8_t sizes[] = {20, 8, 8, 8, 8};
	struct counts counts = {0};
	const uint8_t *at = table + 44, *end = table + get_le16(table + 4);
	unsigned entries = 0;

	for (; at < end; at += sizes[at[0]], entries++) {
		cr_assert_lt(at[0], 5);
		cr_assert_leq(sizes[at[0]], end - at);
		switch (at[0]) {
		case 0:
			cr_assert_eq(at[1], counts.cpus, "APIC ids count up from 0");
			cr_assert(at[3] & 1, "enabled");
			counts.boot_cpus += at[3] >> 1 & 1;
			counts.cpus++;
			break;
		case 1:
			cr_assert_eq(memcmp(at + 2, at[1] ? "ISA   " : "PCI   ", 6), 0);
			counts.buses++;
			break;
		case 2:
			cr_assert_eq(get_le32(at + 4), 0xfec00000);
			cr_assert_eq(at[3], 1);
			counts.io_apics++;
			break;
		case 3:
			count_interrupt(at, &counts);
			break;
		default:
			counts.local_interrupts++;
			break;
		}
	}
	cr_assert_eq(entries, get_le16(table + 34));
	return counts;
}

Test(mptable, describes_the_machine)
{
	static const unsigned cpus[] = {1, 4, 255, 300};

	for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
		struct counts counts;
		const uint8_t *table;

		cr_assert_eq(mptable_build(memory, cpus[i], &error), 0, "%s", error.text);
		table = find_configuration();
		cr_assert_eq(memcmp(table, "PCMP", 4), 0);
		cr_assert_eq(sum(table, get_le16(table + 4)), 0);
		cr_assert_eq(get_le32(table + 36), 0xfee00000);
		counts = count_entries(table);
		cr_assert_eq(counts.cpus, min_of(cpus[i], 255u));
		cr_assert_eq(counts.boot_cpus, 1);
		cr_assert_eq(counts.buses, 2);
		cr_assert_eq(counts.io_apics, 1);
		cr_assert_eq(counts.interrupts, 15);
		cr_assert_eq(counts.local_interrupts, 2);
	}
}
