/* SPDX-License-Identifier: Apache-2.0 */
/* A read tells which events the machine understands, a write tells that one has happened. */
#include "machine/pvpanic.h"

#include <string.h>

#define UNDERSTOOD (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)

void pvpanic_read(void *context, uint64_t offset, void *data, unsigned length)
{
	(void)context, (void)offset;
	memset(data, 0, length);
	*(uint8_t *)data = UNDERSTOOD;
}

void pvpanic_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	const struct pvpanic *pvpanic = context;
	unsigned events = *(const uint8_t *)data & UNDERSTOOD;

	(void)offset, (void)length;
	if (events && pvpanic->event)
		pvpanic->event(pvpanic->context, events);
}
