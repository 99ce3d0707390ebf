/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables as a kernel would find and check them, and as iasl does: each table must
 * disassemble without a complaint and compile back to the same bytes.
 */
#include "boot_fixture.h"

#include "machine/acpi.h"
#include "machine/layout.h"
#include "util/bytes.h"
#include "util/checked.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER_SIZE 36

extern char **environ;

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

TestSuite(acpi, .init = set_up, .fini = tear_down);

static const uint8_t *build(unsigned cpus)
{
	const struct acpi_config config = {.cpu_count = cpus};
	uint64_t rsdp = 0;

	cr_assert_eq(acpi_build(memory, &config, &rsdp, &error), 0, "%s", error.text);
	cr_assert_eq(rsdp, LAYOUT_ACPI);
	return guest_memory_pointer(memory, rsdp, HEADER_SIZE);
}

static uint8_t sum(const uint8_t *bytes, size_t length)
{
	uint8_t total = 0;

	for (size_t i = 0; i < length; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

/* A whole table inside the space for tables, or a failure. */
static const uint8_t *table_at(uint64_t gpa, uint32_t *ret_length)
{
	const uint8_t *table;
	uint32_t length;

	cr_assert(gpa >= LAYOUT_ACPI && gpa <= LAYOUT_ACPI + LAYOUT_ACPI_SIZE - HEADER_SIZE);
	table = guest_memory_pointer(memory, gpa, HEADER_SIZE);
	length = get_le32(table + 4);
	cr_assert_geq(length, HEADER_SIZE);
	cr_assert_leq(length, LAYOUT_ACPI + LAYOUT_ACPI_SIZE - gpa);
	*ret_length = length;
	return table;
}

static const uint8_t *checked_table(uint64_t gpa, const char *signature, uint32_t *ret_length)
{
	const uint8_t *table = table_at(gpa, ret_length);

	cr_assert_eq(memcmp(table, signature, 4), 0, "%.4s instead of %s", table, signature);
	cr_assert_eq(sum(table, *ret_length), 0, "checksum of %s", signature);
	return table;
}

/* The table of that name, found by way of RSDP and XSDT. */
static const uint8_t *find(const uint8_t *rsdp, const char *signature, uint32_t *ret_length)
{
	uint32_t length, found_length;
	const uint8_t *xsdt = checked_table(get_le64(rsdp + 24), "XSDT", &length);

	for (uint32_t at = HEADER_SIZE; at < length; at += 8) {
		const uint8_t *table = table_at(get_le64(xsdt + at), &found_length);

		if (!memcmp(table, signature, 4))
			return checked_table(get_le64(xsdt + at), signature, ret_length);
	}
	cr_assert_fail("no %s", signature);
	return NULL;
}

Test(acpi, rsdp)
{
	const uint8_t *rsdp = build(2);

	cr_assert_eq(memcmp(rsdp, "RSD PTR ", 8), 0);
	cr_assert_eq(sum(rsdp, 20), 0);
	cr_assert_eq(rsdp[15], 2, "revision");
	cr_assert_eq(get_le32(rsdp + 20), 36);
	cr_assert_eq(sum(rsdp, 36), 0);
	cr_assert_eq(LAYOUT_ACPI % 16, 0, "kernels look on 16-byte boundaries");
}

Test(acpi, xsdt_points_to_whole_tables_that_do_not_overlap)
{
	const uint8_t *rsdp = build(255), *xsdt;
	uint64_t starts[8], ends[8];
	uint32_t length;
	unsigned count = 0;

	xsdt = checked_table(get_le64(rsdp + 24), "XSDT", &length);
	cr_assert_eq((length - HEADER_SIZE) % 8, 0);
	for (uint32_t at = HEADER_SIZE; at < length; at += 8, count++) {
		uint32_t table_length;
		const uint8_t *table = table_at(get_le64(xsdt + at), &table_length);

		cr_assert_eq(sum(table, table_length), 0);
		starts[count] = get_le64(xsdt + at);
		ends[count] = starts[count] + table_length;
		for (unsigned i = 0; i < count; i++)
			cr_assert(ends[i] <= starts[count] || ends[count] <= starts[i]);
	}
	cr_assert_eq(count, 3);
}

static void check_register(const uint8_t *gas, uint8_t bits, uint8_t access, uint64_t port)
{
	cr_assert_eq(gas[0], 1, "an I/O port");
	cr_assert_eq(gas[1], bits);
	cr_assert_eq(gas[2], 0);
	cr_assert_eq(gas[3], access);
	cr_assert_eq(get_le64(gas + 4), port);
}

Test(acpi, fadt)
{
	const uint8_t *rsdp = build(2), *fadt, *facs;
	uint32_t length, flags;

	fadt = find(rsdp, "FACP", &length);
	cr_assert_eq(length, 276);
	cr_assert_eq(fadt[8], 6);
	cr_assert_eq(get_le16(fadt + 46), 9, "SCI");
	cr_assert_eq(get_le32(fadt + 48), 0, "no SMI command: always in ACPI mode");
	cr_assert_eq(get_le32(fadt + 56), 0x600);
	cr_assert_eq(get_le32(fadt + 64), 0x604);
	cr_assert_eq(get_le32(fadt + 76), 0x608);
	cr_assert_eq(fadt[88], 4);
	cr_assert_eq(fadt[89], 2);
	cr_assert_eq(fadt[91], 4);
	cr_assert_eq(fadt[108], 0x32, "century");
	flags = get_le32(fadt + 112);
	cr_assert(flags & 1u << 10, "reset register");
	cr_assert(flags & 1u << 8, "the timer has 32 bits");
	cr_assert_not(flags & 1u << 4, "the power button is a fixed one");
	cr_assert(flags & 1u << 5, "there is no sleep button");
	cr_assert_not(flags & 1u << 6, "the clock's alarm is a fixed event");
	cr_assert_not(flags & 1u << 20, "not hardware-reduced");
	cr_assert_eq(get_le16(fadt + 109) & 2, 0, "no 8042");
	cr_assert_eq(get_le16(fadt + 109) & 32, 0, "there is a CMOS clock");
	cr_assert_eq(get_le16(fadt + 109) & 8, 0, "MSI works");
	check_register(fadt + 116, 8, 1, 0xcf9);
	cr_assert_eq(fadt[128], 6);
	check_register(fadt + 148, 32, 2, 0x600);
	check_register(fadt + 172, 16, 2, 0x604);
	check_register(fadt + 208, 32, 3, 0x608);
	checked_table(get_le64(fadt + 140), "DSDT", &length);
	cr_assert_eq(get_le32(fadt + 40), get_le64(fadt + 140));
	facs = guest_memory_pointer(memory, get_le32(fadt + 36), 64);
	cr_assert_eq(memcmp(facs, "FACS", 4), 0);
	cr_assert_eq(get_le32(facs + 4), 64);
	cr_assert_eq(get_le32(fadt + 36) % 64, 0);
}

struct madt_count {
	unsigned xapic, x2apic, io_apic, override, nmi, x2apic_nmi;
};

static struct madt_count count_madt(const uint8_t *madt, uint32_t length)
{
	struct madt_count count = {0};

	for (uint32_t at = 44; at < length; at += madt[at + 1]) {
		cr_assert_geq(madt[at + 1], 2);
		cr_assert_leq(at + madt[at + 1], length);
		switch (madt[at]) {
		case 0:
			cr_assert_eq(madt[at + 3], count.xapic, "APIC ids count up from 0");
			cr_assert_eq(madt[at + 2], madt[at + 3]);
			cr_assert_eq(get_le32(madt + at + 4), 1, "enabled");
			count.xapic++;
			break;
		case 9:
			cr_assert_eq(get_le32(madt + at + 4), 255 + count.x2apic);
			cr_assert_eq(get_le32(madt + at + 8), 1, "enabled");
			count.x2apic++;
			break;
		case 1:
			cr_assert_eq(get_le32(madt + at + 4), 0xfec00000);
			cr_assert_eq(get_le32(madt + at + 8), 0, "GSI base");
			count.io_apic++;
			break;
		case 2:
			cr_assert_eq(madt[at + 3], 9);
			cr_assert_eq(get_le32(madt + at + 4), 9);
			cr_assert_eq(get_le16(madt + at + 8), 0xd, "level, active high");
			count.override++;
			break;
		case 4:
			count.nmi++;
			break;
		case 10:
			count.x2apic_nmi++;
			break;
		default:
			cr_assert_fail("unknown MADT entry %u", madt[at]);
		}
	}
	return count;
}

Test(acpi, madt_names_every_cpu)
{
	static const unsigned cpus[] = {1, 2, 8, 254, 255, 256, 1024};

	for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
		struct madt_count count;
		uint32_t length;
		const uint8_t *madt = find(build(cpus[i]), "APIC", &length);

		cr_assert_eq(get_le32(madt + 36), 0xfee00000);
		cr_assert_eq(get_le32(madt + 40), 1, "there are PICs too");
		count = count_madt(madt, length);
		cr_assert_eq(count.xapic, min_of(cpus[i], 255u));
		cr_assert_eq(count.x2apic, cpus[i] > 255 ? cpus[i] - 255 : 0);
		cr_assert_eq(count.io_apic, 1);
		cr_assert_eq(count.override, 1);
		cr_assert_eq(count.nmi, 1);
		cr_assert_eq(count.x2apic_nmi, cpus[i] > 255);
	}
}

Test(acpi, mcfg)
{
	uint32_t length;
	const uint8_t *mcfg = find(build(1), "MCFG", &length);

	cr_assert_eq(length, 60);
	cr_assert_eq(get_le64(mcfg + 44), 0xe0000000);
	cr_assert_eq(get_le16(mcfg + 52), 0);
	cr_assert_eq(mcfg[54], 0);
	cr_assert_eq(mcfg[55], 0, "bus 0 alone");
}

Test(acpi, too_many_cpus)
{
	const struct acpi_config config = {.cpu_count = 5000};
	uint64_t rsdp = 77;

	cr_assert_eq(acpi_build(memory, &config, &rsdp, &error), -ENOSPC);
	cr_assert(strstr(error.text, "--cpus"), "%s", error.text);
	cr_assert_eq(rsdp, 77);
}

Test(acpi, building_again_gives_the_same)
{
	static uint8_t before[LAYOUT_ACPI_SIZE];
	void *space = guest_memory_pointer(memory, LAYOUT_ACPI, LAYOUT_ACPI_SIZE);

	build(4);
	memcpy(before, space, sizeof(before));
	memset(space, 0xee, sizeof(before));
	build(4);
	cr_assert_eq(memcmp(before, space, sizeof(before)), 0);
}

/* Runs iasl in @directory, output to "log". Its exit status, or -1 where it cannot be run. */
static int run_iasl(const char *directory, const char *option, const char *file)
{
	char *const arguments[] = {(char *)"iasl", (char *)option, (char *)file, NULL};
	posix_spawn_file_actions_t actions;
	int status, result;
	pid_t child;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addchdir_np(&actions, directory);
	posix_spawn_file_actions_addopen(&actions, 1, "log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	result = posix_spawnp(&child, "iasl", &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result)
		return -1;
	cr_assert_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void write_file(const char *directory, const char *name, const void *data, size_t size)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(data, 1, size, file), size);
	fclose(file);
}

static size_t read_file(const char *directory, const char *name, void *data, size_t size)
{
	char path[128];
	FILE *file;
	size_t count;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	cr_assert_not_null(file, "%s", path);
	count = fread(data, 1, size, file);
	fclose(file);
	return count;
}

static void check_log(const char *directory, const char *signature)
{
	static char log[65536];
	size_t size = read_file(directory, "log", log, sizeof(log) - 1);

	log[size] = 0;
	cr_assert_null(strstr(log, "Error"), "%s:\n%s", signature, log);
	cr_assert_null(strstr(log, "Warning"), "%s:\n%s", signature, log);
	cr_assert_null(strstr(log, "nvalid"), "%s:\n%s", signature, log);
}

/* Disassembles, compiles the result, and compares all but the compiler's name in the header. */
static void check_by_iasl(const char *directory, const uint8_t *table, uint32_t length)
{
	static uint8_t again[LAYOUT_ACPI_SIZE];
	char name[16];
	size_t size;

	snprintf(name, sizeof(name), "%.4s.aml", table);
	write_file(directory, name, table, length);
	cr_assert_eq(run_iasl(directory, "-d", name), 0, "%.4s", table);
	check_log(directory, name);
	snprintf(name, sizeof(name), "%.4s.dsl", table);
	cr_assert_eq(run_iasl(directory, "-we", name), 0, "%.4s", table);
	snprintf(name, sizeof(name), "%.4s.aml", table);
	size = read_file(directory, name, again, sizeof(again));
	cr_assert_eq(size, length, "%.4s: %zu instead of %u bytes", table, size, length);
	cr_assert_eq(memcmp(again, table, 8), 0, "%.4s", table);
	cr_assert_eq(memcmp(again + HEADER_SIZE, table + HEADER_SIZE, length - HEADER_SIZE), 0,
		"%.4s differs", table);
}

static void remove_directory(const char *directory)
{
	static const char *const signatures[] = {"XSDT", "FACP", "APIC", "MCFG", "DSDT"};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		snprintf(path, sizeof(path), "%s/%s.aml", directory, signatures[i]);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%s.dsl", directory, signatures[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/log", directory);
	unlink(path);
	cr_assert_eq(rmdir(directory), 0, "%s is left behind", directory);
}

Test(acpi, iasl_takes_every_table_apart_and_together_again)
{
	char directory[] = "/tmp/fastvmm-acpi-XXXXXX";
	const uint8_t *rsdp = build(300), *fadt, *table;
	uint32_t length;

	cr_assert_not_null(mkdtemp(directory));
	if (run_iasl(directory, "-v", NULL) != 0) {
		remove_directory(directory);
		cr_skip_test("iasl (package acpica-tools) is not installed");
	}
	table = checked_table(get_le64(rsdp + 24), "XSDT", &length);
	check_by_iasl(directory, table, length);
	fadt = find(rsdp, "FACP", &length);
	check_by_iasl(directory, fadt, length);
	table = find(rsdp, "APIC", &length);
	check_by_iasl(directory, table, length);
	table = find(rsdp, "MCFG", &length);
	check_by_iasl(directory, table, length);
	table = checked_table(get_le64(fadt + 140), "DSDT", &length);
	check_by_iasl(directory, table, length);
	remove_directory(directory);
}

static bool contains(const uint8_t *table, uint32_t length, const void *bytes, size_t size)
{
	return memmem(table, length, bytes, size) != NULL;
}

/* Resource descriptors (6.4.2.5, 6.4.3.4) with the values of layout.h, as the compiler encodes
 * them. */
Test(acpi, dsdt_agrees_with_the_layout)
{
	static const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0};
	static const uint16_t ports[][2] = {
		{LAYOUT_PORT_COM1, 8},
		{LAYOUT_PORT_COM2, 8},
		{LAYOUT_PORT_CMOS, 2},
		{LAYOUT_PORT_PVPANIC, 1},
		{LAYOUT_PORT_PM1_EVT, 12},
		{LAYOUT_PORT_PCI, 8},
	};
	static const uint8_t irqs[] = {LAYOUT_IRQ_COM1, LAYOUT_IRQ_COM2, LAYOUT_IRQ_RTC};
	uint8_t ecam[12] = {0x86, 9, 0, 1}, window[16] = {0};
	uint32_t length;
	const uint8_t *fadt = find(build(1), "FACP", &length), *dsdt;

	dsdt = checked_table(get_le64(fadt + 140), "DSDT", &length);
	cr_assert(contains(dsdt, length, s5, sizeof(s5)), "_S5");
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		uint8_t io[8] = {0x47, 1};

		put_le16(io + 2, ports[i][0]);
		put_le16(io + 4, ports[i][0]);
		io[6] = 1;
		io[7] = (uint8_t)ports[i][1];
		cr_assert(contains(dsdt, length, io, sizeof(io)), "port 0x%x", ports[i][0]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(irqs); i++) {
		uint8_t irq[3] = {0x22};

		put_le16(irq + 1, (uint16_t)(1u << irqs[i]));
		cr_assert(contains(dsdt, length, irq, sizeof(irq)), "IRQ %u", irqs[i]);
	}
	put_le32(ecam + 4, LAYOUT_ECAM);
	put_le32(ecam + 8, LAYOUT_ECAM_SIZE);
	cr_assert(contains(dsdt, length, ecam, sizeof(ecam)), "ECAM");
	put_le32(window, LAYOUT_PCI_WINDOW);
	put_le32(window + 4, LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 1);
	put_le32(window + 12, LAYOUT_PCI_WINDOW_SIZE);
	cr_assert(contains(dsdt, length, window, sizeof(window)), "the PCI window");
	cr_assert(contains(dsdt, length, "QEMU0001", 9), "pvpanic");
}
