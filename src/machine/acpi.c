/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables are put together in place, in guest memory that no vCPU runs on yet: each takes the
 * next 16-byte aligned place, and its checksum is set when it is complete. Only what a kernel needs
 * is there: no RSDT (the XSDT is found through a revision 2 RSDP), no HPET, no legacy modes (the
 * machine is always in ACPI mode, so there is no SMI command), no C-states beyond C1.
 *
 * Interrupt lines are I/O APIC pins of the same number, the timer's included (vcpu/interrupt.h), so
 * that the SCI, being level-triggered, is the only line that needs an override.
 *
 * Section numbers are those of the ACPI specification 6.3.
 */
#include "machine/acpi.h"

#include "machine/checksum.h"
#include "machine/layout.h"
#include "memory/guest_memory.h"
#include "util/checked.h"
#include "util/error.h"

#include "dsdt.hex"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define TABLE_ALIGNMENT 16
#define XAPIC_ID_END    255 /* APIC ids from here on take x2APIC entries */

/* Generic Address Structure, 5.2.3.2. */
#define SPACE_IO     1
#define ACCESS_BYTE  1
#define ACCESS_WORD  2
#define ACCESS_DWORD 3

/* FADT IA-PC boot architecture flags, 5.2.9.3. No 8042 bit: there is no keyboard. */
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA         (1u << 2)
#define BOOT_NO_ASPM        (1u << 4)

/*
 * FADT fixed feature flags, table 5-34. The power button is a fixed one and the clock's alarm is a
 * fixed event, so their bits (which mean that they are not) are clear.
 */
#define FIXED_WBINVD          (1u << 0)
#define FIXED_C1              (1u << 2)
#define FIXED_NO_SLEEP_BUTTON (1u << 5)
#define FIXED_TIMER_32_BIT    (1u << 8)
#define FIXED_RESET_REGISTER  (1u << 10)

#define RESET_VALUE     6
#define C2_NOT_THERE    101  /* microseconds: more than 100 */
#define C3_NOT_THERE    1001 /* microseconds: more than 1000 */
#define CENTURY_IN_CMOS 0x32

/* MADT, 5.2.12. */
#define MADT_PICS_TOO          1 /* dual 8259s are there as well */
#define MADT_LOCAL_APIC        0
#define MADT_IO_APIC           1
#define MADT_OVERRIDE          2
#define MADT_LOCAL_APIC_NMI    4
#define MADT_X2APIC            9
#define MADT_X2APIC_NMI        10
#define MADT_ENABLED           1
#define MADT_LEVEL_HIGH        0x0d
#define MADT_ALL_PROCESSORS    0xff
#define MADT_ALL_X2_PROCESSORS 0xffffffffu
#define NMI_PIN                1

#define packed __attribute__((packed))

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} packed;

struct acpi_address {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access;
	uint64_t address;
} packed;

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} packed;

struct xsdt {
	struct acpi_header header;
	uint64_t tables[3];
} packed;

struct fadt {
	struct acpi_header header;
	uint32_t firmware_control;
	uint32_t dsdt;
	uint8_t reserved;
	uint8_t preferred_profile;
	uint16_t sci_interrupt;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios_request, pstate_control;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer;
	uint32_t gpe0, gpe1;
	uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
	uint8_t gpe0_length, gpe1_length, gpe1_base, cstate_control;
	uint16_t c2_latency, c3_latency;
	uint16_t flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_flags;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_address reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_flags;
	uint8_t minor_revision;
	uint64_t x_firmware_control, x_dsdt;
	struct acpi_address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control;
	struct acpi_address x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct acpi_address sleep_control, sleep_status;
	uint64_t hypervisor_vendor;
} packed;

struct facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
} packed;

struct madt {
	struct acpi_header header;
	uint32_t local_apic;
	uint32_t flags;
} packed;

struct madt_local_apic {
	uint8_t type, length, processor, apic_id;
	uint32_t flags;
} packed;

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t apic_id, flags, processor;
} packed;

struct madt_io_apic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} packed;

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} packed;

struct madt_local_apic_nmi {
	uint8_t type, length, processor;
	uint16_t flags;
	uint8_t pin;
} packed;

struct madt_x2apic_nmi {
	uint8_t type, length;
	uint16_t flags;
	uint32_t processor;
	uint8_t pin;
	uint8_t reserved[3];
} packed;

struct mcfg {
	struct acpi_header header;
	uint64_t reserved;
	uint64_t ecam;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved2;
} packed;

_Static_assert(sizeof(struct acpi_header) == 36, "5.2.6");
_Static_assert(sizeof(struct rsdp) == 36, "5.2.5.3");
_Static_assert(sizeof(struct fadt) == 276, "5.2.9, revision 6");
_Static_assert(sizeof(struct facs) == 64, "5.2.10");
_Static_assert(sizeof(struct mcfg) == 60, "PCI Firmware 3.2, 4.1.2");
_Static_assert(LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 1 == LAYOUT_PCI_WINDOW_LAST,
	"dsdt.asl takes the two apart");

/* The space for the tables; NULL is returned once it is used up, and stays. */
struct builder {
	uint8_t *base;
	size_t used;
	bool full;
};

static void *append(struct builder *builder, size_t size)
{
	void *place = builder->base + builder->used;

	if (builder->full || size > LAYOUT_ACPI_SIZE - builder->used) {
		builder->full = true;
		return NULL;
	}
	builder->used += size;
	return place;
}

static void *append_table(struct builder *builder, size_t size)
{
	builder->used = (size_t)align_up(builder->used, TABLE_ALIGNMENT);
	return append(builder, size);
}

static uint64_t gpa_of(const struct builder *builder, const void *table)
{
	return LAYOUT_ACPI + (uint64_t)((const uint8_t *)table - builder->base);
}

static struct acpi_header make_header(const char *signature, uint8_t revision)
{
	struct acpi_header header = {
		.revision = revision, .oem_revision = 1, .creator_revision = 1};

	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem_id, "FASTVM", sizeof(header.oem_id));
	memcpy(header.oem_table_id, "FASTVMM ", sizeof(header.oem_table_id));
	memcpy(header.creator_id, "FVMM", sizeof(header.creator_id));
	return header;
}

/* @length bytes from @header on are complete. */
static void seal(struct acpi_header *header, size_t length)
{
	header->length = (uint32_t)length;
	header->checksum = 0;
	header->checksum = checksum(header, length);
}

static struct acpi_address io_register(uint8_t bits, uint8_t access, uint64_t port)
{
	return (struct acpi_address){
		.space = SPACE_IO, .bit_width = bits, .access = access, .address = port};
}

static struct facs *add_facs(struct builder *builder)
{
	/* 5.2.10 wants it aligned to 64 bytes. */
	size_t aligned = (size_t)align_up(builder->used, 64);
	struct facs *facs;

	builder->used = min_of(aligned, (size_t)LAYOUT_ACPI_SIZE);
	facs = append(builder, sizeof(*facs));
	if (facs)
		*facs = (struct facs){
			.signature = {'F', 'A', 'C', 'S'}, .length = sizeof(*facs), .version = 2};
	return facs;
}

static void *add_dsdt(struct builder *builder)
{
	void *dsdt = append_table(builder, sizeof(dsdt_aml_code));

	/* iasl has set the checksum. */
	if (dsdt)
		memcpy(dsdt, dsdt_aml_code, sizeof(dsdt_aml_code));
	return dsdt;
}

static struct fadt *add_fadt(struct builder *builder, uint64_t facs, uint64_t dsdt)
{
	struct fadt *fadt = append_table(builder, sizeof(*fadt));

	if (!fadt)
		return NULL;
	*fadt = (struct fadt){
		.header = make_header("FACP", 6),
		.minor_revision = 3,
		.firmware_control = (uint32_t)facs,
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt, /* x_firmware_control stays 0: only one of the two may be set */
		.sci_interrupt = LAYOUT_IRQ_SCI,
		.pm1a_event = LAYOUT_PORT_PM1_EVT,
		.pm1_event_length = 4,
		.pm1a_control = LAYOUT_PORT_PM1_CNT,
		.pm1_control_length = 2,
		.pm_timer = LAYOUT_PORT_PM_TMR,
		.pm_timer_length = 4,
		.x_pm1a_event = io_register(32, ACCESS_WORD, LAYOUT_PORT_PM1_EVT),
		.x_pm1a_control = io_register(16, ACCESS_WORD, LAYOUT_PORT_PM1_CNT),
		.x_pm_timer = io_register(32, ACCESS_DWORD, LAYOUT_PORT_PM_TMR),
		.c2_latency = C2_NOT_THERE,
		.c3_latency = C3_NOT_THERE,
		.century = CENTURY_IN_CMOS,
		.boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM,
		.flags = FIXED_WBINVD | FIXED_C1 | FIXED_NO_SLEEP_BUTTON | FIXED_TIMER_32_BIT |
	                 FIXED_RESET_REGISTER,
		.reset_register = io_register(8, ACCESS_BYTE, LAYOUT_PORT_RESET),
		.reset_value = RESET_VALUE,
	};
	seal(&fadt->header, sizeof(*fadt));
	return fadt;
}

static void add_processor(struct builder *builder, unsigned id)
{
	struct madt_local_apic *xapic;
	struct madt_x2apic *x2apic;

	if (id < XAPIC_ID_END) {
		xapic = append(builder, sizeof(*xapic));
		if (xapic)
			*xapic = (struct madt_local_apic){.type = MADT_LOCAL_APIC,
				.length = sizeof(*xapic),
				.processor = (uint8_t)id,
				.apic_id = (uint8_t)id,
				.flags = MADT_ENABLED};
		return;
	}
	x2apic = append(builder, sizeof(*x2apic));
	if (x2apic)
		*x2apic = (struct madt_x2apic){.type = MADT_X2APIC,
			.length = sizeof(*x2apic),
			.processor = id,
			.apic_id = id,
			.flags = MADT_ENABLED};
}

static void add_nmis(struct builder *builder, bool x2apic)
{
	struct madt_local_apic_nmi *nmi = append(builder, sizeof(*nmi));
	struct madt_x2apic_nmi *x2apic_nmi;

	if (nmi)
		*nmi = (struct madt_local_apic_nmi){.type = MADT_LOCAL_APIC_NMI,
			.length = sizeof(*nmi),
			.processor = MADT_ALL_PROCESSORS,
			.pin = NMI_PIN};
	if (!x2apic)
		return;
	x2apic_nmi = append(builder, sizeof(*x2apic_nmi));
	if (x2apic_nmi)
		*x2apic_nmi = (struct madt_x2apic_nmi){.type = MADT_X2APIC_NMI,
			.length = sizeof(*x2apic_nmi),
			.processor = MADT_ALL_X2_PROCESSORS,
			.pin = NMI_PIN};
}

static void add_interrupts(struct builder *builder)
{
	struct madt_io_apic *io_apic = append(builder, sizeof(*io_apic));
	struct madt_override *sci = append(builder, sizeof(*sci));

	if (io_apic)
		*io_apic = (struct madt_io_apic){
			.type = MADT_IO_APIC, .length = sizeof(*io_apic), .address = LAYOUT_IOAPIC};
	if (sci)
		*sci = (struct madt_override){.type = MADT_OVERRIDE,
			.length = sizeof(*sci),
			.source = LAYOUT_IRQ_SCI,
			.gsi = LAYOUT_IRQ_SCI,
			.flags = MADT_LEVEL_HIGH};
}

static struct madt *add_madt(struct builder *builder, unsigned cpu_count)
{
	struct madt *madt = append_table(builder, sizeof(*madt));

	if (!madt)
		return NULL;
	*madt = (struct madt){.header = make_header("APIC", 5),
		.local_apic = LAYOUT_LAPIC,
		.flags = MADT_PICS_TOO};
	for (unsigned id = 0; id < cpu_count && !builder->full; id++)
		add_processor(builder, id);
	add_nmis(builder, cpu_count > XAPIC_ID_END);
	add_interrupts(builder);
	if (builder->full)
		return NULL;
	seal(&madt->header, (size_t)(builder->base + builder->used - (uint8_t *)madt));
	return madt;
}

static struct mcfg *add_mcfg(struct builder *builder)
{
	struct mcfg *mcfg = append_table(builder, sizeof(*mcfg));

	if (!mcfg)
		return NULL;
	*mcfg = (struct mcfg){.header = make_header("MCFG", 1), .ecam = LAYOUT_ECAM};
	seal(&mcfg->header, sizeof(*mcfg));
	return mcfg;
}

static void fill_roots(struct builder *builder, struct rsdp *rsdp, struct xsdt *xsdt,
	const struct fadt *fadt, const struct madt *madt, const struct mcfg *mcfg)
{
	*xsdt = (struct xsdt){
		.header = make_header("XSDT", 1),
		.tables = {gpa_of(builder, fadt), gpa_of(builder, madt), gpa_of(builder, mcfg)},
	};
	seal(&xsdt->header, sizeof(*xsdt));
	*rsdp = (struct rsdp){
		.revision = 2, .length = sizeof(*rsdp), .xsdt = gpa_of(builder, xsdt)};
	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "FASTVM", sizeof(rsdp->oem_id));
	rsdp->checksum = checksum(rsdp, offsetof(struct rsdp, length));
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}

int acpi_build(const struct guest_memory *memory, const struct acpi_config *config,
	uint64_t *ret_rsdp, struct error *error)
{
	struct builder builder = {
		.base = guest_memory_pointer(memory, LAYOUT_ACPI, LAYOUT_ACPI_SIZE)};
	struct rsdp *rsdp;
	struct xsdt *xsdt;
	struct facs *facs;
	struct fadt *fadt;
	struct madt *madt;
	struct mcfg *mcfg;
	void *dsdt;

	if (!builder.base)
		return error_set(error, -EFAULT, "--memory: too little for the ACPI tables");
	memset(builder.base, 0, LAYOUT_ACPI_SIZE);
	rsdp = append_table(&builder, sizeof(*rsdp));
	xsdt = append_table(&builder, sizeof(*xsdt));
	facs = add_facs(&builder);
	dsdt = add_dsdt(&builder);
	if (!facs || !dsdt)
		return error_set(error, -ENOSPC, "the ACPI tables do not fit their space");
	fadt = add_fadt(&builder, gpa_of(&builder, facs), gpa_of(&builder, dsdt));
	mcfg = add_mcfg(&builder);
	madt = add_madt(&builder, config->cpu_count);
	if (!rsdp || !xsdt || !fadt || !mcfg || !madt)
		return error_set(error, -ENOSPC, "--cpus: the ACPI tables have no room for %u CPUs",
			config->cpu_count);
	fill_roots(&builder, rsdp, xsdt, fadt, madt, mcfg);
	*ret_rsdp = LAYOUT_ACPI;
	return 0;
}
