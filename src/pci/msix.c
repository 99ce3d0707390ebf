/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts are never sent by code of ours: a source is an eventfd that a device signals, and the
 * controller (KVM's irqfd) turns each signal into the message of a route. What is left to do here
 * is to keep, for each source, "attached to its vector's route" equal to "its vector may send":
 *
 *     live(vector) = MSI-X enabled, function not masked, vector not masked, message accepted
 *
 * While a vector is not live its sources are detached, so their signals stay in the eventfds. That
 * is the pending bit: it is not stored but asked of the eventfds when the guest reads the pending
 * bit array. When the vector becomes live its sources are attached again, and the controller sends
 * at once what an eventfd already holds, as section 6.8.3.4 demands of a pending message that is
 * unmasked. Several signals, of several sources of one vector, may become one message; interrupts
 * are edges, so that is what the specification wants too.
 *
 * A source that gets a vector after having had none starts without history: signals from a time
 * when the driver asked for no interrupts are drained. A source that moves from one vector to
 * another takes them along.
 *
 * A vector gets a route when the first source is bound to it and keeps it until the end: a guest
 * that uses few of the vectors costs few routes, and the common rebinding (a driver reset) costs
 * none. A message that the controller refuses makes the vector not live until the guest writes
 * another.
 */
#include "pci/msix.h"

#include "pci/pci_function.h"
#include "util/bytes.h"
#include "util/checked.h"
#include "util/fd.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#define NO_ROUTE (-1)

struct msix_vector {
	uint8_t entry[MSIX_ENTRY_BYTES]; /* as the guest sees it */
	int route;                       /* NO_ROUTE: none yet */
	bool stale;                      /* the route has not been given the entry's message */
};

struct msix_source {
	int eventfd;
	uint16_t vector; /* MSIX_NO_VECTOR: none */
	bool attached;
};

static bool layout_valid(const struct msix_layout *layout)
{
	return layout->vectors && layout->vectors <= MSIX_VECTORS_MAX &&
	       layout->bar < PCI_BAR_COUNT && layout->table_offset % 8 == 0 &&
	       layout->pba_offset % 8 == 0;
}

static int add_capability(struct msix *msix)
{
	const struct msix_layout *layout = &msix->layout;
	uint8_t body[PCI_CAP_MSIX_SIZEOF] = {0};
	uint8_t writable[PCI_CAP_MSIX_SIZEOF] = {0};
	int offset;

	put_le16(&body[PCI_MSIX_FLAGS], (uint16_t)(layout->vectors - 1));
	put_le32(&body[PCI_MSIX_TABLE], layout->table_offset | layout->bar);
	put_le32(&body[PCI_MSIX_PBA], layout->pba_offset | layout->bar);
	put_le16(&writable[PCI_MSIX_FLAGS], PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	offset = pci_function_add_capability(
		msix->function, PCI_CAP_ID_MSIX, body, sizeof(body), writable);
	if (offset < 0)
		return offset;
	msix->capability = (uint16_t)offset;
	return 0;
}

int msix_init(struct msix *msix, struct pci_function *function,
	const struct msi_controller *controller, const struct msix_layout *layout,
	const int *eventfds, unsigned source_count)
{
	int result;

	if (!layout_valid(layout))
		return -EINVAL;
	*msix = (struct msix){.function = function,
		.controller = controller,
		.layout = *layout,
		.source_count = source_count};
	msix->vectors = calloc(layout->vectors, sizeof(*msix->vectors));
	msix->sources = calloc(source_count + 1u, sizeof(*msix->sources));
	result = msix->vectors && msix->sources ? add_capability(msix) : -ENOMEM;
	if (result) {
		free(msix->vectors);
		free(msix->sources);
		*msix = (struct msix){0};
		return result;
	}
	for (unsigned i = 0; i < layout->vectors; i++) {
		msix->vectors[i].route = NO_ROUTE;
		put_le32(&msix->vectors[i].entry[PCI_MSIX_ENTRY_VECTOR_CTRL],
			PCI_MSIX_ENTRY_CTRL_MASKBIT);
	}
	for (unsigned i = 0; i < source_count; i++)
		msix->sources[i] =
			(struct msix_source){.eventfd = eventfds[i], .vector = MSIX_NO_VECTOR};
	pthread_mutex_init(&msix->lock, NULL);
	return 0;
}

static int attach_source(struct msix *msix, struct msix_source *source)
{
	const struct msi_controller *controller = msix->controller;
	int route = msix->vectors[source->vector].route;
	int result;

	if (source->attached)
		return 0;
	result = controller->ops->attach(controller->context, route, source->eventfd);
	source->attached = !result;
	return result;
}

static void detach_source(struct msix *msix, struct msix_source *source)
{
	const struct msi_controller *controller = msix->controller;

	if (!source->attached)
		return;
	controller->ops->detach(
		controller->context, msix->vectors[source->vector].route, source->eventfd);
	source->attached = false;
}

/* Whether the guest lets the vector send. */
static bool unmasked(const struct msix *msix, const struct msix_vector *vector)
{
	return msix->enabled && !msix->function_masked &&
	       !(get_le32(&vector->entry[PCI_MSIX_ENTRY_VECTOR_CTRL]) &
		       PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Gives the route the entry's message where it has another. False where that is refused. */
static bool refresh_route(struct msix *msix, struct msix_vector *vector)
{
	const struct msi_controller *controller = msix->controller;
	uint64_t address = get_le64(&vector->entry[PCI_MSIX_ENTRY_LOWER_ADDR]);
	uint32_t data = get_le32(&vector->entry[PCI_MSIX_ENTRY_DATA]);

	if (vector->stale &&
		!controller->ops->update(controller->context, vector->route, address, data))
		vector->stale = false;
	return !vector->stale;
}

/*
 * Brings route, liveness and attachments of vector @index in line with its registers. A source
 * that cannot be attached stays detached (its signals wait); that is the return value.
 */
static int settle_vector(struct msix *msix, unsigned index)
{
	struct msix_vector *vector = &msix->vectors[index];
	int result = 0;
	bool live;

	if (vector->route == NO_ROUTE)
		return 0; /* nothing was ever bound to it */
	live = unmasked(msix, vector) && refresh_route(msix, vector);
	for (unsigned i = 0; i < msix->source_count; i++) {
		struct msix_source *source = &msix->sources[i];
		int attached = 0;

		if (source->vector != index)
			continue;
		if (live)
			attached = attach_source(msix, source);
		else
			detach_source(msix, source);
		if (attached && !result)
			result = attached;
	}
	return result;
}

static int ensure_route(struct msix *msix, struct msix_vector *vector)
{
	const struct msi_controller *controller = msix->controller;
	int route;

	if (vector->route != NO_ROUTE)
		return 0;
	route = controller->ops->allocate(controller->context);
	if (route < 0)
		return route;
	vector->route = route;
	vector->stale = true;
	return 0;
}

/* Lock held; @source is not bound to anything. */
static int bind_source(struct msix *msix, struct msix_source *source, uint16_t vector)
{
	int result;

	if (vector >= msix->layout.vectors)
		return -EINVAL;
	result = ensure_route(msix, &msix->vectors[vector]);
	if (result)
		return result;
	source->vector = vector;
	result = settle_vector(msix, vector);
	if (!result || source->attached)
		return 0; /* what failed was another source's, which is no news */
	source->vector = MSIX_NO_VECTOR;
	return result;
}

int msix_bind(struct msix *msix, unsigned source_index, uint16_t vector)
{
	struct msix_source *source = &msix->sources[source_index];
	int result = 0;

	pthread_mutex_lock(&msix->lock);
	if (source->vector != vector) {
		bool fresh = source->vector == MSIX_NO_VECTOR;

		detach_source(msix, source);
		source->vector = MSIX_NO_VECTOR;
		if (fresh)
			fd_drain(source->eventfd);
		if (vector != MSIX_NO_VECTOR)
			result = bind_source(msix, source, vector);
	}
	pthread_mutex_unlock(&msix->lock);
	return result;
}

uint16_t msix_bound_vector(struct msix *msix, unsigned source)
{
	uint16_t vector;

	pthread_mutex_lock(&msix->lock);
	vector = msix->sources[source].vector;
	pthread_mutex_unlock(&msix->lock);
	return vector;
}

bool msix_enabled(struct msix *msix)
{
	bool enabled;

	pthread_mutex_lock(&msix->lock);
	enabled = msix->enabled;
	pthread_mutex_unlock(&msix->lock);
	return enabled;
}

void msix_config_written(struct msix *msix, uint32_t offset, unsigned length)
{
	uint32_t at = msix->capability + PCI_MSIX_FLAGS;
	uint16_t control;

	if (!ranges_overlap(offset, length, at, sizeof(control)))
		return;
	control = get_le16(&msix->function->config[at]);
	pthread_mutex_lock(&msix->lock);
	msix->enabled = control & PCI_MSIX_FLAGS_ENABLE;
	msix->function_masked = control & PCI_MSIX_FLAGS_MASKALL;
	for (unsigned i = 0; i < msix->layout.vectors; i++)
		settle_vector(msix, i);
	pthread_mutex_unlock(&msix->lock);
}

void msix_table_read(struct msix *msix, uint32_t offset, void *data, unsigned length)
{
	uint8_t *bytes = data;

	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < length; i++) {
		uint64_t at = (uint64_t)offset + i;

		bytes[i] =
			at / MSIX_ENTRY_BYTES < msix->layout.vectors
				? msix->vectors[at / MSIX_ENTRY_BYTES].entry[at % MSIX_ENTRY_BYTES]
				: 0;
	}
	pthread_mutex_unlock(&msix->lock);
}

/* One aligned 4-byte unit; of the control word only the mask bit can be set. */
static void write_entry(struct msix_vector *vector, unsigned field, uint32_t value)
{
	if (field == PCI_MSIX_ENTRY_VECTOR_CTRL)
		value &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	else if (get_le32(&vector->entry[field]) != value)
		vector->stale = true;
	put_le32(&vector->entry[field], value);
}

void msix_table_write(struct msix *msix, uint32_t offset, const void *data, unsigned length)
{
	unsigned index = offset / MSIX_ENTRY_BYTES;
	const uint8_t *bytes = data;

	if ((length != 4 && length != 8) || offset % length || index >= msix->layout.vectors)
		return;
	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < length; i += 4)
		write_entry(
			&msix->vectors[index], offset % MSIX_ENTRY_BYTES + i, get_le32(&bytes[i]));
	settle_vector(msix, index);
	pthread_mutex_unlock(&msix->lock);
}

/* Lock held. What is attached has been sent: only detached sources can wait. */
static bool vector_pending(const struct msix *msix, unsigned index)
{
	for (unsigned i = 0; i < msix->source_count; i++) {
		const struct msix_source *source = &msix->sources[i];

		if (source->vector == index && !source->attached &&
			fd_is_signalled(source->eventfd))
			return true;
	}
	return false;
}

void msix_pba_read(struct msix *msix, uint32_t offset, void *data, unsigned length)
{
	uint8_t *bytes = data;

	memset(data, 0, length);
	pthread_mutex_lock(&msix->lock);
	for (unsigned bit = 0; bit < 8 * length; bit++) {
		uint64_t index = (uint64_t)offset * 8 + bit;

		if (index < msix->layout.vectors && vector_pending(msix, (unsigned)index))
			bytes[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
	pthread_mutex_unlock(&msix->lock);
}

void msix_deinit(struct msix *msix)
{
	const struct msi_controller *controller = msix->controller;

	if (!controller)
		return;
	for (unsigned i = 0; i < msix->source_count; i++)
		msix_bind(msix, i, MSIX_NO_VECTOR);
	for (unsigned i = 0; i < msix->layout.vectors; i++) {
		if (msix->vectors[i].route != NO_ROUTE)
			controller->ops->release(controller->context, msix->vectors[i].route);
	}
	pthread_mutex_destroy(&msix->lock);
	free(msix->vectors);
	free(msix->sources);
	*msix = (struct msix){0};
}
