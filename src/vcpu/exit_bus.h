/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who answers the guest's port and memory accesses that leave the kernel. Ranges are registered by
 * the main thread while the machine is built; then the bus is sealed, and look-ups by vCPU threads
 * need no lock, for nothing changes any more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct exit_bus;

enum exit_bus_space {
	EXIT_BUS_PORT,
	EXIT_BUS_MMIO,
	EXIT_BUS_SPACES,
};

/*
 * Handlers are called by vCPU threads, several at once: the device locks for itself. @offset
 * counts from the range's base. @length is 1, 2 or 4 for ports and 1 to 8 for memory; the access
 * lies within the range.
 */
struct exit_bus_ops {
	/* Fills @length bytes, all ones beforehand. NULL: reads give all ones. */
	void (*read)(void *context, uint64_t offset, void *data, unsigned length);
	/* NULL: writes are dropped. */
	void (*write)(void *context, uint64_t offset, const void *data, unsigned length);
};

/* A vCPU's memory of which range answered last; zero it, then it belongs to that thread. */
struct exit_bus_cursor {
	unsigned last[EXIT_BUS_SPACES];
};

/* 0 or -ENOMEM. */
int exit_bus_create(struct exit_bus **ret_bus);

/* Accepts NULL. Handlers' contexts belong to whoever registered them. */
void exit_bus_destroy(struct exit_bus *bus);

/*
 * Claims [base, base + length). @name is for messages and must be a constant string; @ops and
 * @context outlive the bus. Returns 0; -EINVAL for an empty or wrapping range or one beyond port
 * 0xffff; -EEXIST, with both names in @error, for an overlap; -EBUSY once sealed; -ENOMEM. Main
 * thread.
 */
int exit_bus_add(struct exit_bus *bus, enum exit_bus_space space, uint64_t base, uint64_t length,
	const char *name, const struct exit_bus_ops *ops, void *context, struct error *error);

/* Ends registration; look-ups are allowed from now on. Main thread. */
void exit_bus_seal(struct exit_bus *bus);

/*
 * One access. True where a range claims all of it. Otherwise false: a read gave all ones, a write
 * went nowhere. The bus is sealed. vCPU threads, each with its own cursor.
 */
bool exit_bus_read(const struct exit_bus *bus, struct exit_bus_cursor *cursor,
	enum exit_bus_space space, uint64_t address, void *data, unsigned length);
bool exit_bus_write(const struct exit_bus *bus, struct exit_bus_cursor *cursor,
	enum exit_bus_space space, uint64_t address, const void *data, unsigned length);
