/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit bus is sealed before the guest runs, but a guest may move BARs. So the exit bus knows
 * one window, and the bridge finds the BAR inside it. A read-write lock guards the BAR registers:
 * configuration accesses write, window accesses read. It is released before a device is called,
 * because a device may take its time (a reset waits for its workers); functions never go away
 * while vCPUs run, so the pointer stays good.
 *
 * Doorbells never come here: KVM turns them into eventfd signals.
 */
#include "machine/pci_host.h"

#include "pci/pci_function.h"
#include "util/bytes.h"
#include "util/checked.h"
#include "util/error.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS             32
#define FUNCTIONS         8
#define PLACES            (SLOTS * FUNCTIONS)
#define CONFIG_ENABLE     0x80000000u
#define MULTIFUNCTION     0x80
#define FIRST_DEVICE_SLOT 1
#define DEVICE_SLOTS      (SLOTS - FIRST_DEVICE_SLOT)
#define BRIDGE_VENDOR     0x1b36 /* Red Hat: the generic PCI Express host bridge */
#define BRIDGE_DEVICE     0x0008

struct pci_host {
	pthread_rwlock_t lock; /* the address register and every function's registers */
	uint32_t config_address;
	uint64_t window;
	uint64_t window_size;
	uint64_t window_used;
	unsigned device_count;
	struct pci_function *places[PLACES]; /* slot * 8 + function, as in ECAM */
	struct pci_function bridge;
};

static void ignore_read(
	struct pci_function *function, unsigned bar, uint64_t offset, void *data, unsigned length)
{
	(void)function, (void)bar, (void)offset;
	memset(data, 0xff, length);
}

static void ignore_write(struct pci_function *function, unsigned bar, uint64_t offset,
	const void *data, unsigned length)
{
	(void)function, (void)bar, (void)offset, (void)data, (void)length;
}

static const struct pci_function_ops bridge_ops = {
	.bar_read = ignore_read,
	.bar_write = ignore_write,
};

int pci_host_create(uint64_t window, uint64_t window_size, struct pci_host **ret_host)
{
	static const struct pci_identity identity = {
		.vendor = BRIDGE_VENDOR,
		.device = BRIDGE_DEVICE,
		.class_code = 0x060000,
	};
	struct pci_host *host = calloc(1, sizeof(*host));

	if (!host)
		return -ENOMEM;
	pthread_rwlock_init(&host->lock, NULL);
	host->window = window;
	host->window_size = window_size;
	pci_function_init(&host->bridge, &bridge_ops, &identity);
	host->places[0] = &host->bridge;
	*ret_host = host;
	return 0;
}

void pci_host_destroy(struct pci_host *host)
{
	if (!host)
		return;
	pthread_rwlock_destroy(&host->lock);
	free(host);
}

static int place_bars(struct pci_host *host, struct pci_function *function)
{
	uint64_t used = host->window_used;

	for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
		uint64_t size = function->bars[bar].size;

		if (!size)
			continue;
		used = align_up(used, size);
		if (!range_within(used, size, host->window_size))
			return -ENOSPC;
		pci_function_place_bar(function, bar, host->window + used);
		used += size;
	}
	host->window_used = used;
	return 0;
}

int pci_host_add(struct pci_host *host, struct pci_function *function, struct error *error)
{
	unsigned slot = FIRST_DEVICE_SLOT + host->device_count % DEVICE_SLOTS;
	unsigned number = host->device_count / DEVICE_SLOTS;

	if (number >= FUNCTIONS)
		return error_set(error, -ENOSPC,
			"too many devices: a machine holds at most %d disks and NICs together",
			DEVICE_SLOTS * FUNCTIONS);
	if (place_bars(host, function))
		return error_set(error, -ENOSPC,
			"too many devices: their registers do not fit the PCI memory window");
	host->places[slot * FUNCTIONS + number] = function;
	if (number)
		host->places[slot * FUNCTIONS]->config[PCI_HEADER_TYPE] |= MULTIFUNCTION;
	host->device_count++;
	return 0;
}

/* @place and @offset come from the guest and are in range by construction of the callers. */
static uint32_t config_read(struct pci_host *host, unsigned place, uint32_t offset, unsigned length)
{
	struct pci_function *function = host->places[place];

	if (!function)
		return UINT32_MAX;
	return pci_function_config_read(function, offset, length);
}

static void config_write(
	struct pci_host *host, unsigned place, uint32_t offset, unsigned length, uint32_t value)
{
	struct pci_function *function = host->places[place];

	if (function)
		pci_function_config_write(function, offset, length, value);
}

static bool config_access_valid(uint64_t offset, unsigned length)
{
	return (length == 1 || length == 2 || length == 4) && offset % length == 0;
}

/* Splits what 0xcf8 holds; false where it selects nothing on bus 0. Lock held. */
static bool selected(const struct pci_host *host, uint64_t port_offset, unsigned *ret_place,
	uint32_t *ret_offset)
{
	uint32_t address = host->config_address;

	if (!(address & CONFIG_ENABLE) || (address >> 16 & 0xff) != 0)
		return false;
	*ret_place = address >> 8 & 0xff;
	*ret_offset = (address & 0xfc) | (port_offset & 3);
	return true;
}

void pci_host_port_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct pci_host *host = context;
	uint32_t value = UINT32_MAX, at;
	unsigned place;

	pthread_rwlock_wrlock(&host->lock); /* a configuration read may refresh bytes */
	if (offset == 0 && length == 4)
		value = host->config_address;
	else if (offset >= 4 && config_access_valid(offset, length) &&
		 selected(host, offset, &place, &at))
		value = config_read(host, place, at, length);
	pthread_rwlock_unlock(&host->lock);
	memset(data, 0xff, length);
	put_le(data, min_of(length, 4u), value);
}

void pci_host_port_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct pci_host *host = context;
	unsigned place;
	uint32_t at;

	pthread_rwlock_wrlock(&host->lock);
	if (offset == 0 && length == 4)
		host->config_address = get_le32(data);
	else if (offset >= 4 && config_access_valid(offset, length) &&
		 selected(host, offset, &place, &at))
		config_write(host, place, at, length, (uint32_t)get_le(data, length));
	pthread_rwlock_unlock(&host->lock);
}

void pci_host_ecam_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct pci_host *host = context;
	uint32_t value;

	memset(data, 0xff, length);
	if (!config_access_valid(offset, length) || offset / PCI_CONFIG_SIZE >= PLACES)
		return;
	pthread_rwlock_wrlock(&host->lock);
	value = config_read(host, (unsigned)(offset / PCI_CONFIG_SIZE),
		(uint32_t)(offset % PCI_CONFIG_SIZE), length);
	pthread_rwlock_unlock(&host->lock);
	put_le(data, length, value);
}

void pci_host_ecam_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct pci_host *host = context;

	if (!config_access_valid(offset, length) || offset / PCI_CONFIG_SIZE >= PLACES)
		return;
	pthread_rwlock_wrlock(&host->lock);
	config_write(host, (unsigned)(offset / PCI_CONFIG_SIZE),
		(uint32_t)(offset % PCI_CONFIG_SIZE), length, (uint32_t)get_le(data, length));
	pthread_rwlock_unlock(&host->lock);
}

/* The function and BAR that decode @gpa; NULL where nothing does. */
static struct pci_function *find_bar(struct pci_host *host, uint64_t gpa, unsigned length,
	unsigned *ret_bar, uint64_t *ret_offset)
{
	struct pci_function *found = NULL;

	pthread_rwlock_rdlock(&host->lock);
	for (unsigned place = 0; place < PLACES && !found; place++) {
		int bar = -ENOENT;

		if (host->places[place])
			bar = pci_function_find_bar(host->places[place], gpa, length, ret_offset);
		if (bar >= 0) {
			*ret_bar = (unsigned)bar;
			found = host->places[place];
		}
	}
	pthread_rwlock_unlock(&host->lock);
	return found;
}

void pci_host_window_read(void *context, uint64_t offset, void *data, unsigned length)
{
	struct pci_host *host = context;
	struct pci_function *function;
	uint64_t bar_offset;
	unsigned bar;

	memset(data, 0xff, length);
	function = find_bar(host, host->window + offset, length, &bar, &bar_offset);
	if (function)
		function->ops->bar_read(function, bar, bar_offset, data, length);
}

void pci_host_window_write(void *context, uint64_t offset, const void *data, unsigned length)
{
	struct pci_host *host = context;
	struct pci_function *function;
	uint64_t bar_offset;
	unsigned bar;

	function = find_bar(host, host->window + offset, length, &bar, &bar_offset);
	if (function)
		function->ops->bar_write(function, bar, bar_offset, data, length);
}
