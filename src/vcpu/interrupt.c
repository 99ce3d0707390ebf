/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM takes the routing table as a whole, and each time waits until no reader of the old one is
 * left. So the table is kept here, every change is compared first (guests mask and unmask vectors
 * far more often than they move them), and a route that was given back simply stays until its GSI
 * is used again: nothing is attached to it, so it can send nothing.
 *
 * The table starts with what KVM itself starts with: lines 0 to 23 on the I/O APIC, 0 to 15 on the
 * PICs as well. One entry stands for each message GSI that was ever given out; entry
 * LINE_ENTRIES + i is GSI INTERRUPT_LINES + i.
 */
#include "vcpu/interrupt.h"

#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "vcpu/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#define PIC_LINES    16u
#define LINE_ENTRIES (INTERRUPT_LINES + PIC_LINES)

/* lock guards everything below it. */
struct interrupt_routes {
	int vm_fd;
	unsigned messages_max;
	pthread_mutex_t lock;
	uint64_t table_writes;
	unsigned messages; /* entries behind the lines' ones */
	unsigned scan;     /* no free message below this one */
	bool *used;        /* messages_max of them */
	struct kvm_irq_routing *table;
};

static void lock_release(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static pthread_mutex_t *lock_take(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

/* Holds the object's lock until the end of the scope. */
#define hold(routes)                                                                               \
	auto_call(lock_release) pthread_mutex_t *held_lock __attribute__((unused)) =               \
		lock_take(&(routes)->lock)

static void fill_lines(struct kvm_irq_routing *table)
{
	struct kvm_irq_routing_entry *entry = table->entries;

	for (uint32_t i = 0; i < INTERRUPT_LINES; i++) {
		*entry++ = (struct kvm_irq_routing_entry){.gsi = i,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {KVM_IRQCHIP_IOAPIC, i}};
	}
	for (uint32_t i = 0; i < PIC_LINES; i++) {
		uint32_t chip = i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;

		*entry++ = (struct kvm_irq_routing_entry){
			.gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {chip, i % 8}};
	}
	table->nr = LINE_ENTRIES;
}

static int write_table(struct interrupt_routes *routes)
{
	routes->table_writes++;
	return ioctl(routes->vm_fd, KVM_SET_GSI_ROUTING, routes->table) ? -errno : 0;
}

static void cleanup_routes(struct interrupt_routes **routes)
{
	interrupt_routes_destroy(*routes);
}

int interrupt_routes_create(
	const struct kvm *kvm, struct interrupt_routes **ret_routes, struct error *error)
{
	auto_call(cleanup_routes) struct interrupt_routes *routes = calloc(1, sizeof(*routes));
	unsigned routes_max = kvm_max_routes(kvm);
	int result;

	if (!routes)
		return -ENOMEM;
	pthread_mutex_init(&routes->lock, NULL);
	routes->vm_fd = kvm_vm_fd(kvm);
	if (routes_max <= LINE_ENTRIES)
		return error_set(error, -EOPNOTSUPP, "this host's KVM has only %u interrupt routes",
			routes_max);
	routes->messages_max = routes_max - LINE_ENTRIES;
	routes->used = calloc(routes->messages_max, sizeof(*routes->used));
	routes->table = calloc(
		1, sizeof(*routes->table) + routes_max * sizeof(struct kvm_irq_routing_entry));
	if (!routes->used || !routes->table)
		return -ENOMEM;
	fill_lines(routes->table);
	result = write_table(routes);
	if (result)
		return error_set(error, result, "KVM refuses the interrupt lines' routes: %s",
			strerror(-result));
	*ret_routes = take_pointer(routes);
	return 0;
}

void interrupt_routes_destroy(struct interrupt_routes *routes)
{
	if (!routes)
		return;
	pthread_mutex_destroy(&routes->lock);
	free(routes->used);
	free(routes->table);
	free(routes);
}

static struct kvm_irq_routing_entry *message_entry(
	const struct interrupt_routes *routes, unsigned message)
{
	return &routes->table->entries[LINE_ENTRIES + message];
}

int interrupt_routes_allocate(struct interrupt_routes *routes)
{
	hold(routes);
	unsigned message = routes->scan;

	while (message < routes->messages_max && routes->used[message])
		message++;
	routes->scan = message;
	if (message == routes->messages_max)
		return -ENOSPC;
	routes->used[message] = true;
	routes->scan++;
	if (message == routes->messages) {
		/* In the table from the next write on; all zero is a message to nobody. */
		*message_entry(routes, message) = (struct kvm_irq_routing_entry){
			.gsi = INTERRUPT_LINES + message, .type = KVM_IRQ_ROUTING_MSI};
		routes->messages++;
		routes->table->nr++;
	}
	return (int)(INTERRUPT_LINES + message);
}

/* The number of the message behind an allocated GSI, or -EINVAL. */
static int message_of(const struct interrupt_routes *routes, int gsi)
{
	int message = gsi - INTERRUPT_LINES;

	if (message < 0 || (unsigned)message >= routes->messages || !routes->used[message])
		return -EINVAL;
	return message;
}

void interrupt_routes_release(struct interrupt_routes *routes, int gsi)
{
	hold(routes);
	int message = message_of(routes, gsi);

	if (message < 0)
		return;
	routes->used[message] = false;
	routes->scan = min_of(routes->scan, (unsigned)message);
}

int interrupt_routes_update(
	struct interrupt_routes *routes, int gsi, uint64_t address, uint32_t data)
{
	hold(routes);
	struct kvm_irq_routing_msi message = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};
	struct kvm_irq_routing_msi before;
	struct kvm_irq_routing_entry *entry;
	int index = message_of(routes, gsi);
	int result;

	if (index < 0)
		return index;
	entry = message_entry(routes, (unsigned)index);
	before = entry->u.msi;
	if (!memcmp(&before, &message, sizeof(message)))
		return 0;
	entry->u.msi = message;
	result = write_table(routes);
	if (result)
		entry->u.msi = before;
	return result;
}

static int set_irqfd(const struct interrupt_routes *routes, int gsi, int eventfd, uint32_t flags)
{
	struct kvm_irqfd request = {
		.fd = (uint32_t)eventfd,
		.gsi = (uint32_t)gsi,
		.flags = flags,
	};

	return ioctl(routes->vm_fd, KVM_IRQFD, &request) ? -errno : 0;
}

int interrupt_routes_attach(struct interrupt_routes *routes, int gsi, int eventfd)
{
	hold(routes);

	if (gsi < 0 || (gsi >= INTERRUPT_LINES && message_of(routes, gsi) < 0))
		return -EINVAL;
	return set_irqfd(routes, gsi, eventfd, 0);
}

void interrupt_routes_detach(struct interrupt_routes *routes, int gsi, int eventfd)
{
	hold(routes);

	set_irqfd(routes, gsi, eventfd, KVM_IRQFD_FLAG_DEASSIGN);
}

int interrupt_routes_set_line(struct interrupt_routes *routes, int gsi, bool high)
{
	/* No lock: vm_fd is constant, and the kernel orders the levels. */
	struct kvm_irq_level request = {.irq = (uint32_t)gsi, .level = high};

	if (gsi < 0 || gsi >= INTERRUPT_LINES)
		return -EINVAL;
	return ioctl(routes->vm_fd, KVM_IRQ_LINE, &request) ? -errno : 0;
}

uint64_t interrupt_routes_table_writes(struct interrupt_routes *routes)
{
	hold(routes);

	return routes->table_writes;
}
