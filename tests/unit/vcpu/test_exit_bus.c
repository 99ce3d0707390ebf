/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu/exit_bus.h"

#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A device that remembers its last access and answers reads with its number. */
struct device {
	uint8_t number;
	unsigned reads, writes;
	uint64_t offset;
	uint64_t value;
	unsigned length;
};

static void device_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct device *device = context;

	device->reads++;
	device->offset = offset;
	device->length = length;
	memset(data, device->number, length);
}

static void device_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct device *device = context;

	device->writes++;
	device->offset = offset;
	device->length = length;
	device->value = 0;
	memcpy(&device->value, data, length);
}

static const struct exit_bus_ops ops = {.read = device_read, .write = device_write};
static const struct exit_bus_ops silent = {0};

static struct exit_bus *bus;
static struct exit_bus_cursor cursor;

static void setup(void)
{
	memset(&cursor, 0, sizeof(cursor));
	cr_assert_eq(exit_bus_create(&bus), 0);
}

static void teardown(void)
{
	exit_bus_destroy(bus);
}

TestSuite(exit_bus, .init = setup, .fini = teardown);

static int add(enum exit_bus_space space, uint64_t base, uint64_t length, struct device *device)
{
	return exit_bus_add(bus, space, base, length, "device", &ops, device, NULL);
}

/* The number that answers a read of @length at @address, or -1 for nobody. */
static int reader(enum exit_bus_space space, uint64_t address, unsigned length)
{
	uint8_t data[8] = {0};

	if (exit_bus_read(bus, &cursor, space, address, data, length))
		return data[0];
	for (unsigned i = 0; i < length; i++)
		cr_assert_eq(data[i], 0xff, "unclaimed reads are all ones");
	return -1;
}

Test(exit_bus, accesses_reach_the_range_that_holds_them)
{
	struct device a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
	uint32_t value = 0xa1b2c3d4;

	cr_assert_eq(add(EXIT_BUS_PORT, 0x3f8, 8, &b), 0);
	cr_assert_eq(add(EXIT_BUS_PORT, 0x70, 2, &a), 0);
	cr_assert_eq(add(EXIT_BUS_MMIO, 0x3f8, 8, &c), 0);
	exit_bus_seal(bus);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x70, 1), 1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x3ff, 1), 2);
	cr_expect_eq(b.offset, 7);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x3f8, 4), 2);
	cr_expect_eq(b.length, 4);
	cr_expect_eq(reader(EXIT_BUS_MMIO, 0x3f8, 8), 3, "spaces are apart");
	cr_expect(exit_bus_write(bus, &cursor, EXIT_BUS_PORT, 0x3fa, &value, 4));
	cr_expect_eq(b.value, value);
	cr_expect_eq(b.offset, 2);
	cr_expect_eq(b.writes, 1);
	cr_expect_eq(a.writes + c.writes, 0);
}

Test(exit_bus, edges_and_gaps_are_unclaimed)
{
	struct device a = {.number = 1}, b = {.number = 2};
	uint8_t byte = 0;

	cr_assert_eq(add(EXIT_BUS_PORT, 0x100, 0x10, &a), 0);
	cr_assert_eq(add(EXIT_BUS_PORT, 0x120, 0x10, &b), 0);
	exit_bus_seal(bus);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0xff, 1), -1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x110, 1), -1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x11f, 1), -1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x130, 1), -1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x10f, 2), -1, "half inside");
	cr_expect_eq(reader(EXIT_BUS_PORT, 0xff, 2), -1);
	cr_expect_eq(reader(EXIT_BUS_MMIO, 0x100, 1), -1, "nothing there at all");
	cr_expect_not(exit_bus_write(bus, &cursor, EXIT_BUS_PORT, 0x110, &byte, 1));
	cr_expect_eq(a.reads + b.reads + a.writes + b.writes, 0);
}

Test(exit_bus, ranges_that_meet_are_told_apart_after_each_other)
{
	struct device a = {.number = 1}, b = {.number = 2};

	cr_assert_eq(add(EXIT_BUS_PORT, 0x600, 4, &a), 0);
	cr_assert_eq(add(EXIT_BUS_PORT, 0x604, 2, &b), 0);
	exit_bus_seal(bus);
	/* The remembered range must not answer for its neighbour. */
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(reader(EXIT_BUS_PORT, 0x603, 1), 1);
		cr_expect_eq(reader(EXIT_BUS_PORT, 0x604, 1), 2);
	}
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x602, 4), -1, "over both");
}

Test(exit_bus, the_ends_of_the_spaces)
{
	struct device a = {.number = 1}, b = {.number = 2};

	cr_assert_eq(add(EXIT_BUS_PORT, 0xffff, 1, &a), 0);
	cr_assert_eq(add(EXIT_BUS_MMIO, UINT64_MAX - 7, 8, &b), 0);
	exit_bus_seal(bus);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0xffff, 1), 1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0xffff, 4), -1);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0, 1), -1);
	cr_expect_eq(reader(EXIT_BUS_MMIO, UINT64_MAX - 7, 8), 2);
	cr_expect_eq(reader(EXIT_BUS_MMIO, UINT64_MAX, 8), -1);
}

Test(exit_bus, overlaps_are_refused_and_named)
{
	struct error error = ERROR_INIT;
	struct device a = {.number = 1};

	cr_assert_eq(exit_bus_add(bus, EXIT_BUS_PORT, 0x3f8, 8, "COM1", &ops, &a, &error), 0);
	cr_expect_eq(
		exit_bus_add(bus, EXIT_BUS_PORT, 0x3ff, 2, "other", &ops, &a, &error), -EEXIST);
	cr_expect_not_null(strstr(error.text, "COM1"), "%s", error.text);
	cr_expect_not_null(strstr(error.text, "other"), "%s", error.text);
	cr_expect_eq(add(EXIT_BUS_PORT, 0x3f0, 9, &a), -EEXIST);
	cr_expect_eq(add(EXIT_BUS_PORT, 0x3f0, 0x100, &a), -EEXIST, "around it");
	cr_expect_eq(add(EXIT_BUS_PORT, 0x3fa, 1, &a), -EEXIST, "inside it");
	cr_expect_eq(add(EXIT_BUS_PORT, 0x3f0, 8, &a), 0, "just below it");
	cr_expect_eq(add(EXIT_BUS_PORT, 0x400, 8, &a), 0, "just above it");
}

Test(exit_bus, bad_ranges_are_refused)
{
	struct device a = {.number = 1};

	cr_expect_eq(add(EXIT_BUS_PORT, 0x10, 0, &a), -EINVAL);
	cr_expect_eq(add(EXIT_BUS_PORT, 0xffff, 2, &a), -EINVAL);
	cr_expect_eq(add(EXIT_BUS_PORT, 0x10000, 1, &a), -EINVAL);
	cr_expect_eq(add(EXIT_BUS_MMIO, UINT64_MAX, 2, &a), -EINVAL);
	cr_expect_eq(add(EXIT_BUS_MMIO, 1, UINT64_MAX, &a), 0);
}

Test(exit_bus, sealed_means_sealed)
{
	struct device a = {.number = 1};

	cr_assert_eq(add(EXIT_BUS_PORT, 0x10, 1, &a), 0);
	exit_bus_seal(bus);
	cr_expect_eq(add(EXIT_BUS_PORT, 0x20, 1, &a), -EBUSY);
	cr_expect_eq(reader(EXIT_BUS_PORT, 0x20, 1), -1);
}

Test(exit_bus, missing_handlers_claim_nevertheless)
{
	uint32_t value = 0;

	cr_assert_eq(exit_bus_add(bus, EXIT_BUS_PORT, 0x80, 1, "POST", &silent, NULL, NULL), 0);
	exit_bus_seal(bus);
	cr_expect(exit_bus_write(bus, &cursor, EXIT_BUS_PORT, 0x80, &value, 1));
	cr_expect(exit_bus_read(bus, &cursor, EXIT_BUS_PORT, 0x80, &value, 1));
	cr_expect_eq(value, 0xff);
}

/* Every port asked, against the plain definition, for ranges added in a scattered order. */
Test(exit_bus, search_agrees_with_the_definition)
{
	static struct device devices[100];
	unsigned order;

	for (unsigned i = 0; i < 100; i++) {
		order = i * 37 % 100;
		devices[order].number = (uint8_t)(order + 1);
		cr_assert_eq(add(EXIT_BUS_PORT, order * 16, order % 16 + 1, &devices[order]), 0);
	}
	exit_bus_seal(bus);
	for (unsigned port = 0; port < 1700; port++) {
		unsigned which = port / 16, within = port % 16;
		bool there = which < 100 && within <= which % 16;

		cr_assert_eq(
			reader(EXIT_BUS_PORT, port, 1), there ? (int)which + 1 : -1, "%x", port);
	}
}
