/* SPDX-License-Identifier: Apache-2.0 */
/* One table of ranges; what shares a range is told apart by a handler here. */
#include "machine/board_bus.h"

#include "machine/board.h"
#include "machine/cmos.h"
#include "machine/layout.h"
#include "machine/pci_host.h"
#include "machine/power.h"
#include "machine/pvpanic.h"
#include "machine/serial.h"
#include "util/checked.h"
#include "vcpu/exit_bus.h"

#include <stddef.h>

#define PCI_PORT_COUNT    8
#define RESET_PORT_OFFSET (LAYOUT_PORT_RESET - LAYOUT_PORT_PCI)
#define POST_CODE_PORT    0x80 /* firmware progress codes; Linux writes to it as a short delay */

static void pci_ports_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct reset_ports *ports = context;

	if (offset == RESET_PORT_OFFSET && length == 1)
		power_reset_port_read(ports->power, 0, data, length);
	else
		pci_host_port_read(ports->pci, offset, data, length);
}

static void pci_ports_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct reset_ports *ports = context;

	if (offset == RESET_PORT_OFFSET && length == 1)
		power_reset_port_write(ports->power, 0, data, length);
	else
		pci_host_port_write(ports->pci, offset, data, length);
}

static const struct exit_bus_ops pci_ports_ops = {pci_ports_read, pci_ports_write};
static const struct exit_bus_ops ecam_ops = {pci_host_ecam_read, pci_host_ecam_write};
static const struct exit_bus_ops window_ops = {pci_host_window_read, pci_host_window_write};
static const struct exit_bus_ops serial_ops = {serial_read, serial_write};
static const struct exit_bus_ops cmos_ops = {cmos_read, cmos_write};
static const struct exit_bus_ops pm_ops = {power_pm_read, power_pm_write};
static const struct exit_bus_ops i8042_data_ops = {power_i8042_data_read, power_i8042_data_write};
static const struct exit_bus_ops i8042_command_ops = {
	power_i8042_command_read, power_i8042_command_write};
static const struct exit_bus_ops pvpanic_ops = {pvpanic_read, pvpanic_write};
static const struct exit_bus_ops nothing_ops = {NULL, NULL};

int board_bus_populate(struct exit_bus *bus, const struct board_config *config,
	struct pci_host *pci, struct reset_ports *reset_ports, struct error *error)
{
	const struct {
		enum exit_bus_space space;
		uint64_t base, length;
		const char *name;
		const struct exit_bus_ops *ops;
		void *context;
	} ranges[] = {
		{EXIT_BUS_PORT, LAYOUT_PORT_I8042, 1, "i8042 data", &i8042_data_ops, config->power},
		{EXIT_BUS_PORT, LAYOUT_PORT_I8042 + 4, 1, "i8042 command", &i8042_command_ops,
			config->power},
		{EXIT_BUS_PORT, LAYOUT_PORT_CMOS, CMOS_PORT_COUNT, "cmos", &cmos_ops, config->cmos},
		{EXIT_BUS_PORT, POST_CODE_PORT, 1, "POST code", &nothing_ops, NULL},
		{EXIT_BUS_PORT, LAYOUT_PORT_COM2, SERIAL_PORT_COUNT, "COM2", &serial_ops,
			config->report},
		{EXIT_BUS_PORT, LAYOUT_PORT_COM1, SERIAL_PORT_COUNT, "COM1", &serial_ops,
			config->console},
		{EXIT_BUS_PORT, LAYOUT_PORT_PVPANIC, 1, "pvpanic", &pvpanic_ops, config->pvpanic},
		{EXIT_BUS_PORT, LAYOUT_PORT_PM1_EVT, POWER_PM_PORT_COUNT, "ACPI PM", &pm_ops,
			config->power},
		{EXIT_BUS_PORT, LAYOUT_PORT_PCI, PCI_PORT_COUNT, "PCI configuration",
			&pci_ports_ops, reset_ports},
		{EXIT_BUS_MMIO, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_SIZE, "PCI window",
			&window_ops, pci},
		{EXIT_BUS_MMIO, LAYOUT_ECAM, LAYOUT_ECAM_SIZE, "PCI ECAM", &ecam_ops, pci},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		int result = exit_bus_add(bus, ranges[i].space, ranges[i].base, ranges[i].length,
			ranges[i].name, ranges[i].ops, ranges[i].context, error);

		if (result)
			return result;
	}
	return 0;
}
