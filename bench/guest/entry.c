/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C entry of the boot CPU, in ring 3: IDT, machine, options, clock, CPUs, then the workload,
 * which ends the guest. Which APIC mode: EOI is a memory store with the xAPIC and three times as
 * many instructions with the x2APIC; where ring 0 is interpreted that decides, elsewhere x2APIC is
 * what hypervisors are quick at.
 */
#include "apic.h"
#include "blk.h"
#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "info.h"
#include "machine.h"
#include "memory.h"
#include "net.h"
#include "options.h"
#include "pci.h"
#include "ring0.h"
#include "smp.h"
#include "start_info.h"
#include "traps.h"

void entry_main(uint64_t index);

extern uint32_t start_info_address;

static struct machine machine;
static struct options options;

const struct machine *machine_get(void)
{
	return &machine;
}

const struct start_info *start_info_get(void)
{
	const struct start_info *info = (const struct start_info *)(uint64_t)start_info_address;

	if (info->magic != START_INFO_MAGIC)
		finish_fail("no PVH start information: not started by the PVH entry");
	return info;
}

static bool has_x2apic(void)
{
	uint32_t r[4];

	cpuid_read(1, 0, r);
	return r[2] & 1u << 21;
}

static void find_hypervisor(void)
{
	uint32_t r[4];

	cpuid_read(1, 0, r);
	if (!(r[2] & 1u << 31))
		return;
	cpuid_read(0x40000000, 0, r);
	for (unsigned i = 0; i < 12; i++)
		machine.hypervisor[i] = (char)(r[1 + i / 4] >> 8 * (i % 4));
}

static void choose_apic(void)
{
	machine.ring0_interpreted =
		ring0_cost() > 4000; /* native: below 300, interpreted: above 10000 */
	if (options.apic == APIC_AUTO)
		machine.x2apic = has_x2apic() && !machine.ring0_interpreted;
	else
		machine.x2apic = options.apic == APIC_X2APIC;
	if (machine.x2apic && !has_x2apic())
		finish_fail("apic=x2apic: this VM has none");
	traps_init(machine.x2apic);
	apic_init(machine.x2apic);
}

static void parse_options(void)
{
	char error[OPTION_ERROR_SIZE];
	const char *line = (const char *)start_info_get()->command_line;

	if (!options_parse(&options, line ? line : "", error))
		finish_fail("%s", error);
	finish_use_debug_exit(options.exit_debug);
	if (options.pci_window)
		pci_set_window(options.pci_window);
}

void entry_main(uint64_t index)
{
	unsigned cpus;

	(void)index;
	machine.entry_tsc = cpu_tsc();
	traps_init(false);
	parse_options();
	memory_init();
	find_hypervisor();
	choose_apic();
	clock_init();
	cpus = smp_start(options.cpus, machine.x2apic);
	if (options.workload == WORKLOAD_BLK && options.hostile[0])
		hostile_run(&options);
	if (options.workload == WORKLOAD_BLK)
		blk_run(&options, cpus);
	if (options.workload == WORKLOAD_NET)
		net_run(&options, cpus);
	info_run(&options, cpus);
}
