/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floating pointer and, right behind it, the configuration table: processors, the ISA and the
 * PCI bus, the I/O APIC, and where the ISA interrupts arrive. PCI devices use MSI-X alone and so
 * have no entry. Interrupt lines are I/O APIC pins of the same number (vcpu/interrupt.h); line 2 is
 * the PICs' cascade and has none.
 *
 * Section numbers are those of the MultiProcessor Specification 1.4.
 */
#include "machine/mptable.h"

#include "machine/checksum.h"
#include "machine/layout.h"
#include "memory/guest_memory.h"
#include "util/error.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CPUS_MAX      255 /* APIC ids 0 to 254 */
#define ISA_LINES     16
#define CASCADE       2
#define SPEC_REVISION 4
#define APIC_VERSION  0x14
#define BUS_PCI       0 /* PCI buses go by their own number, appendix D.2 */
#define BUS_ISA       1
#define IO_APIC_ID    0
#define ALL_APICS     0xff

#define ENTRY_PROCESSOR       0
#define ENTRY_BUS             1
#define ENTRY_IO_APIC         2
#define ENTRY_INTERRUPT       3
#define ENTRY_LOCAL_INTERRUPT 4

#define ENABLED        1
#define BOOT_PROCESSOR 2

/* Table 4-10. */
#define INTERRUPT_VECTORED 0
#define INTERRUPT_NMI      1
#define INTERRUPT_EXTERNAL 3
#define FLAGS_BUS_DEFAULT  0
#define FLAGS_LEVEL_HIGH   0x0d

#define packed __attribute__((packed))

struct floating_pointer {
	char signature[4];
	uint32_t table;
	uint8_t length; /* in 16-byte units */
	uint8_t revision;
	uint8_t checksum;
	uint8_t features[5]; /* all 0: a configuration table, and no IMCR */
} packed;

struct configuration {
	char signature[4];
	uint16_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_table_size;
	uint16_t entry_count;
	uint32_t local_apic;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
} packed;

struct processor {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features;
	uint32_t reserved[2];
} packed;

struct bus {
	uint8_t type, id;
	char name[6];
} packed;

struct io_apic {
	uint8_t type, id, version, flags;
	uint32_t address;
} packed;

struct interrupt {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, line, apic, pin;
} packed;

/* Everything at its largest. */
struct table {
	struct floating_pointer pointer;
	struct configuration configuration;
	uint8_t entries[CPUS_MAX * sizeof(struct processor) + 2 * sizeof(struct bus) +
			sizeof(struct io_apic) + (ISA_LINES + 2) * sizeof(struct interrupt)];
} packed;

_Static_assert(sizeof(struct floating_pointer) == 16, "4.1");
_Static_assert(sizeof(struct configuration) == 44, "4.2");
_Static_assert(sizeof(struct processor) == 20, "4.3.1");
_Static_assert(sizeof(struct interrupt) == 8, "4.3.4");
_Static_assert(sizeof(struct table) <= LAYOUT_MPTABLE_SIZE, "room");

/* Entries follow each other without gaps; struct table has room for all. */
struct builder {
	struct table *table;
	size_t used; /* of entries */
};

static void append(struct builder *builder, const void *entry, size_t size)
{
	memcpy(builder->table->entries + builder->used, entry, size);
	builder->used += size;
	builder->table->configuration.entry_count++;
}

static void add_processors(struct builder *builder, unsigned cpu_count)
{
	for (unsigned id = 0; id < cpu_count && id < CPUS_MAX; id++) {
		struct processor processor = {
			.type = ENTRY_PROCESSOR,
			.apic_id = (uint8_t)id,
			.apic_version = APIC_VERSION,
			.flags = ENABLED | (id == 0 ? BOOT_PROCESSOR : 0),
			.signature = 0x600, /* family 6, as any x86-64 can call itself */
			.features = 0x201,  /* APIC and FPU on chip */
		};

		append(builder, &processor, sizeof(processor));
	}
}

static void add_chips(struct builder *builder)
{
	static const struct bus buses[] = {
		{.type = ENTRY_BUS, .id = BUS_PCI, .name = {'P', 'C', 'I', ' ', ' ', ' '}},
		{.type = ENTRY_BUS, .id = BUS_ISA, .name = {'I', 'S', 'A', ' ', ' ', ' '}},
	};
	static const struct io_apic io_apic = {.type = ENTRY_IO_APIC,
		.id = IO_APIC_ID,
		.version = APIC_VERSION,
		.flags = ENABLED,
		.address = LAYOUT_IOAPIC};

	append(builder, &buses[0], sizeof(buses[0]));
	append(builder, &buses[1], sizeof(buses[1]));
	append(builder, &io_apic, sizeof(io_apic));
}

static void add_interrupts(struct builder *builder)
{
	static const struct interrupt local[] = {
		/* The PICs' output on LINT0 of the boot processor, NMI on LINT1 of all. */
		{.type = ENTRY_LOCAL_INTERRUPT,
			.kind = INTERRUPT_EXTERNAL,
			.bus = BUS_ISA,
			.pin = 0},
		{.type = ENTRY_LOCAL_INTERRUPT,
			.kind = INTERRUPT_NMI,
			.bus = BUS_ISA,
			.apic = ALL_APICS,
			.pin = 1},
	};

	for (unsigned line = 0; line < ISA_LINES; line++) {
		struct interrupt interrupt = {
			.type = ENTRY_INTERRUPT,
			.kind = INTERRUPT_VECTORED,
			.flags = line == LAYOUT_IRQ_SCI ? FLAGS_LEVEL_HIGH : FLAGS_BUS_DEFAULT,
			.bus = BUS_ISA,
			.line = (uint8_t)line,
			.apic = IO_APIC_ID,
			.pin = (uint8_t)line,
		};

		if (line != CASCADE)
			append(builder, &interrupt, sizeof(interrupt));
	}
	append(builder, &local[0], sizeof(local[0]));
	append(builder, &local[1], sizeof(local[1]));
}

int mptable_build(const struct guest_memory *memory, unsigned cpu_count, struct error *error)
{
	struct table *table = guest_memory_pointer(memory, LAYOUT_MPTABLE, sizeof(*table));
	struct builder builder = {.table = table};
	struct configuration *configuration;

	if (!table)
		return error_set(error, -EFAULT, "--memory: too little for the MP table");
	memset(table, 0, sizeof(*table));
	configuration = &table->configuration;
	*configuration =
		(struct configuration){.revision = SPEC_REVISION, .local_apic = LAYOUT_LAPIC};
	memcpy(configuration->signature, "PCMP", 4);
	memcpy(configuration->oem, "FASTVMM ", sizeof(configuration->oem));
	memcpy(configuration->product, "FASTVMM     ", sizeof(configuration->product));
	add_processors(&builder, cpu_count);
	add_chips(&builder);
	add_interrupts(&builder);
	configuration->length = (uint16_t)(sizeof(*configuration) + builder.used);
	configuration->checksum = checksum(configuration, configuration->length);
	table->pointer = (struct floating_pointer){
		.table = LAYOUT_MPTABLE + offsetof(struct table, configuration),
		.length = sizeof(table->pointer) / 16,
		.revision = SPEC_REVISION,
	};
	memcpy(table->pointer.signature, "_MP_", 4);
	table->pointer.checksum = checksum(&table->pointer, sizeof(table->pointer));
	return 0;
}
