/* SPDX-License-Identifier: Apache-2.0 */
/* Which device answers at which port and address. Main thread. */
#pragma once

struct board_config;
struct error;
struct exit_bus;
struct pci_host;
struct power;

/* Port 0xcf9 lies inside the PCI host bridge's ports; an access of one byte there is the reset. */
struct reset_ports {
	struct pci_host *pci;
	struct power *power;
};

/*
 * Registers every range of layout.h on @bus. @config, @pci and @reset_ports outlive the bus.
 * Returns 0 or negative errno, explained in @error.
 */
int board_bus_populate(struct exit_bus *bus, const struct board_config *config,
	struct pci_host *pci, struct reset_ports *reset_ports, struct error *error);
