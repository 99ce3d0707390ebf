/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in place of KVM's. Where an irqfd would turn a signal into a message by itself, a test
 * calls mock_msi_deliver(), so that each message is counted at a known moment.
 */
#include "support/mock_controllers.h"
#include "support/mock_internal.h"

#include "util/checked.h"
#include "util/fd.h"

#include <errno.h>

/* ---- MSI ---- */

static struct mock_msi_route *route_of(struct mock_msi *msi, int route)
{
	if (route < 0 || route >= MOCK_ROUTES_MAX || !msi->routes[route].allocated)
		mock_misuse("route %d is not allocated", route);
	return &msi->routes[route];
}

static int msi_allocate(void *context)
{
	struct mock_msi *msi = context;

	if (msi->allocate_fault)
		return msi->allocate_fault;
	for (int i = 0; i < MOCK_ROUTES_MAX; i++) {
		if (msi->routes[i].allocated)
			continue;
		msi->routes[i] = (struct mock_msi_route){.allocated = true};
		msi->routes_allocated++;
		return i;
	}
	return -ENOSPC;
}

static void msi_release(void *context, int route)
{
	struct mock_msi *msi = context;

	route_of(msi, route)->allocated = false;
	msi->routes_allocated--;
	for (unsigned i = 0; i < msi->attached_count; i++) {
		if (msi->attached[i].route == route)
			mock_misuse("route %d is released with an eventfd attached", route);
	}
}

static int msi_update(void *context, int route, uint64_t address, uint32_t data)
{
	struct mock_msi *msi = context;
	struct mock_msi_route *entry = route_of(msi, route);

	if (msi->update_fault)
		return msi->update_fault;
	entry->address = address;
	entry->data = data;
	entry->updates++;
	return 0;
}

static void send(struct mock_msi *msi, unsigned index)
{
	if (fd_drain(msi->attached[index].eventfd))
		route_of(msi, msi->attached[index].route)->messages++;
}

static int msi_attach(void *context, int route, int eventfd)
{
	struct mock_msi *msi = context;

	if (!route_of(msi, route)->updates)
		mock_misuse("route %d is used before it has a message", route);
	if (msi->attach_fault)
		return msi->attach_fault;
	for (unsigned i = 0; i < msi->attached_count; i++) {
		if (msi->attached[i].eventfd == eventfd)
			mock_misuse("eventfd %d is attached twice", eventfd);
	}
	if (msi->attached_count == MOCK_ATTACHED_MAX)
		return -ENOSPC;
	msi->attached[msi->attached_count].eventfd = eventfd;
	msi->attached[msi->attached_count].route = route;
	msi->attached_count++; /* what it holds already is sent by the next delivery */
	return 0;
}

static void msi_detach(void *context, int route, int eventfd)
{
	struct mock_msi *msi = context;

	for (unsigned i = 0; i < msi->attached_count; i++) {
		if (msi->attached[i].eventfd != eventfd)
			continue;
		if (msi->attached[i].route != route)
			mock_misuse("eventfd %d is attached to another route", eventfd);
		send(msi, i); /* what came before the detachment was sent already */
		msi->attached[i] = msi->attached[--msi->attached_count];
		return;
	}
	mock_misuse("eventfd %d is detached without being attached", eventfd);
}

static const struct msi_ops mock_msi_ops = {
	.allocate = msi_allocate,
	.release = msi_release,
	.update = msi_update,
	.attach = msi_attach,
	.detach = msi_detach,
};

void mock_msi_init(struct mock_msi *msi)
{
	*msi = (struct mock_msi){.controller = {.ops = &mock_msi_ops, .context = msi}};
}

void mock_msi_deinit(struct mock_msi *msi)
{
	if (msi->attached_count || msi->routes_allocated)
		mock_misuse("%u eventfds and %u routes are left behind", msi->attached_count,
			msi->routes_allocated);
}

void mock_msi_deliver(struct mock_msi *msi)
{
	for (unsigned i = 0; i < msi->attached_count; i++)
		send(msi, i);
}

unsigned mock_msi_take(struct mock_msi *msi, uint32_t data)
{
	unsigned messages = 0;

	mock_msi_deliver(msi);
	for (unsigned i = 0; i < MOCK_ROUTES_MAX; i++) {
		if (!msi->routes[i].allocated || msi->routes[i].data != data)
			continue;
		messages += msi->routes[i].messages;
		msi->routes[i].messages = 0;
	}
	return messages;
}

unsigned mock_msi_attached(const struct mock_msi *msi, uint32_t data)
{
	unsigned count = 0;

	for (unsigned i = 0; i < msi->attached_count; i++)
		count += msi->routes[msi->attached[i].route].data == data;
	return count;
}

/* ---- doorbells ---- */

static int doorbell_attach(void *context, uint64_t gpa, int eventfd)
{
	struct mock_doorbells *doorbells = context;

	if (doorbells->attach_fault)
		return doorbells->attach_fault;
	for (unsigned i = 0; i < doorbells->count; i++) {
		if (doorbells->attached[i].gpa == gpa)
			mock_misuse("two doorbells at 0x%llx", (unsigned long long)gpa);
	}
	if (doorbells->count == MOCK_DOORBELLS_MAX)
		return -ENOSPC;
	doorbells->attached[doorbells->count].gpa = gpa;
	doorbells->attached[doorbells->count++].eventfd = eventfd;
	return 0;
}

static void doorbell_detach(void *context, uint64_t gpa, int eventfd)
{
	struct mock_doorbells *doorbells = context;

	for (unsigned i = 0; i < doorbells->count; i++) {
		if (doorbells->attached[i].gpa != gpa || doorbells->attached[i].eventfd != eventfd)
			continue;
		doorbells->attached[i] = doorbells->attached[--doorbells->count];
		return;
	}
	mock_misuse("there is no doorbell at 0x%llx", (unsigned long long)gpa);
}

static const struct doorbell_ops mock_doorbell_ops = {
	.attach = doorbell_attach,
	.detach = doorbell_detach,
};

void mock_doorbells_init(struct mock_doorbells *doorbells)
{
	*doorbells = (struct mock_doorbells){
		.controller = {.ops = &mock_doorbell_ops, .context = doorbells}};
}

void mock_doorbells_deinit(struct mock_doorbells *doorbells)
{
	if (doorbells->count)
		mock_misuse("%u doorbells are left behind", doorbells->count);
}

bool mock_doorbells_ring(struct mock_doorbells *doorbells, uint64_t gpa)
{
	bool found = false;

	for (unsigned i = 0; i < doorbells->count; i++) {
		if (doorbells->attached[i].gpa != gpa)
			continue;
		fd_signal(doorbells->attached[i].eventfd);
		found = true;
	}
	return found;
}
