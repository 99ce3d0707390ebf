/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each space is an array of ranges sorted by base, kept sorted while it is built. A guest's
 * accesses come in runs to one device, so a look-up tries the range that answered last before it
 * searches. That memory is the calling vCPU's own: a shared one would bounce between the
 * processors.
 */
#include "vcpu/exit_bus.h"

#include "util/checked.h"
#include "util/error.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PORT_SPACE_SIZE 0x10000u

struct range {
	uint64_t base;
	uint64_t length;
	const struct exit_bus_ops *ops;
	void *context;
	const char *name;
};

struct space {
	struct range *ranges; /* ascending, not overlapping */
	unsigned count;
};

/* Written by the main thread until sealed, constant afterwards. */
struct exit_bus {
	struct space spaces[EXIT_BUS_SPACES];
	bool sealed;
};

int exit_bus_create(struct exit_bus **ret_bus)
{
	struct exit_bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	*ret_bus = bus;
	return 0;
}

void exit_bus_destroy(struct exit_bus *bus)
{
	if (!bus)
		return;
	for (size_t i = 0; i < EXIT_BUS_SPACES; i++)
		free(bus->spaces[i].ranges);
	free(bus);
}

static bool range_valid(enum exit_bus_space space, uint64_t base, uint64_t length)
{
	if (!length || length - 1 > UINT64_MAX - base)
		return false;
	return space != EXIT_BUS_PORT || range_within(base, length, PORT_SPACE_SIZE);
}

int exit_bus_add(struct exit_bus *bus, enum exit_bus_space space, uint64_t base, uint64_t length,
	const char *name, const struct exit_bus_ops *ops, void *context, struct error *error)
{
	struct space *in = &bus->spaces[space];
	struct range *ranges;
	unsigned at = 0;

	if (bus->sealed)
		return error_set(error, -EBUSY, "%s: the machine is already running", name);
	if (!range_valid(space, base, length))
		return error_set(error, -EINVAL, "%s: bad address range", name);
	for (unsigned i = 0; i < in->count; i++) {
		const struct range *other = &in->ranges[i];

		if (ranges_overlap(base, length, other->base, other->length))
			return error_set(error, -EEXIST, "%s at 0x%llx overlaps %s at 0x%llx", name,
				(unsigned long long)base, other->name,
				(unsigned long long)other->base);
		if (other->base < base)
			at = i + 1;
	}
	ranges = reallocarray(in->ranges, in->count + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	memmove(&ranges[at + 1], &ranges[at], (in->count - at) * sizeof(*ranges));
	ranges[at] = (struct range){base, length, ops, context, name};
	in->ranges = ranges;
	in->count++;
	return 0;
}

void exit_bus_seal(struct exit_bus *bus)
{
	bus->sealed = true;
}

static bool claims(const struct range *range, uint64_t address, unsigned length)
{
	/* Below the base the difference wraps to a number beyond any length. */
	return range_within(address - range->base, length, range->length);
}

/* The last range that starts at or below the address is the only one that can hold it. */
static const struct range *search(
	const struct space *space, unsigned *last, uint64_t address, unsigned length)
{
	unsigned low = 0, high = space->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (space->ranges[middle].base <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || !claims(&space->ranges[low - 1], address, length))
		return NULL;
	*last = low - 1;
	return &space->ranges[low - 1];
}

static const struct range *find(const struct exit_bus *bus, struct exit_bus_cursor *cursor,
	enum exit_bus_space space, uint64_t address, unsigned length)
{
	const struct space *in = &bus->spaces[space];
	unsigned *last = &cursor->last[space];

	assert(bus->sealed);
	if (likely(*last < in->count) && claims(&in->ranges[*last], address, length))
		return &in->ranges[*last];
	return search(in, last, address, length);
}

bool exit_bus_read(const struct exit_bus *bus, struct exit_bus_cursor *cursor,
	enum exit_bus_space space, uint64_t address, void *data, unsigned length)
{
	const struct range *range = find(bus, cursor, space, address, length);

	/* What a PC bus reads as where nothing drives it. */
	memset(data, 0xff, length);
	if (!range)
		return false;
	if (range->ops->read)
		range->ops->read(range->context, address - range->base, data, length);
	return true;
}

bool exit_bus_write(const struct exit_bus *bus, struct exit_bus_cursor *cursor,
	enum exit_bus_space space, uint64_t address, const void *data, unsigned length)
{
	const struct range *range = find(bus, cursor, space, address, length);

	if (!range)
		return false;
	if (range->ops->write)
		range->ops->write(range->context, address - range->base, data, length);
	return true;
}
