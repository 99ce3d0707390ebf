/* SPDX-License-Identifier: Apache-2.0 */
/* Each function only restores the type of its context. */
#include "machine/controllers.h"

#include "vcpu/doorbell.h"
#include "vcpu/interrupt.h"

static int msi_allocate(void *context)
{
	return interrupt_routes_allocate(context);
}

static void msi_release(void *context, int route)
{
	interrupt_routes_release(context, route);
}

static int msi_update(void *context, int route, uint64_t address, uint32_t data)
{
	return interrupt_routes_update(context, route, address, data);
}

static int msi_attach(void *context, int route, int eventfd)
{
	return interrupt_routes_attach(context, route, eventfd);
}

static void msi_detach(void *context, int route, int eventfd)
{
	interrupt_routes_detach(context, route, eventfd);
}

static int ring_attach(void *context, uint64_t gpa, int eventfd)
{
	return doorbell_attach(context, gpa, eventfd);
}

static void ring_detach(void *context, uint64_t gpa, int eventfd)
{
	doorbell_detach(context, gpa, eventfd);
}

struct msi_controller controllers_msi(struct interrupt_routes *routes)
{
	static const struct msi_ops ops = {
		.allocate = msi_allocate,
		.release = msi_release,
		.update = msi_update,
		.attach = msi_attach,
		.detach = msi_detach,
	};

	return (struct msi_controller){.ops = &ops, .context = routes};
}

struct doorbell_controller controllers_doorbells(struct kvm *kvm)
{
	static const struct doorbell_ops ops = {
		.attach = ring_attach,
		.detach = ring_detach,
	};

	return (struct doorbell_controller){.ops = &ops, .context = kvm};
}
