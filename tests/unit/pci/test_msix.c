/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: masks, pending bits, messages, sources that share and change vectors. */
#include "pci/msix.h"

#include "pci/pci_function.h"
#include "support/mock_controllers.h"
#include "util/bytes.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#define VECTORS 70u /* more than one word of pending bits */
#define SOURCES 5u
#define ADDRESS 0xfee00000u

static struct pci_function function;
static struct mock_msi msi;
static struct msix msix;
static int fds[SOURCES];

static void written(struct pci_function *changed, uint32_t offset, unsigned length)
{
	(void)changed;
	msix_config_written(&msix, offset, length);
}

static const struct pci_function_ops ops = {.config_written = written};

static void setup(void)
{
	static const struct pci_identity identity = {.vendor = 1, .device = 2};
	static const struct msix_layout layout = {
		.vectors = VECTORS, .bar = 1, .table_offset = 0x1000, .pba_offset = 0x2000};

	mock_msi_init(&msi);
	pci_function_init(&function, &ops, &identity);
	for (unsigned i = 0; i < SOURCES; i++) {
		fds[i] = fd_eventfd();
		cr_assert_geq(fds[i], 0);
	}
	cr_assert_eq(msix_init(&msix, &function, &msi.controller, &layout, fds, SOURCES), 0);
}

static void teardown(void)
{
	msix_deinit(&msix);
	mock_msi_deinit(&msi);
	for (unsigned i = 0; i < SOURCES; i++)
		close(fds[i]);
}

TestSuite(msix, .init = setup, .fini = teardown);

static void control(uint16_t value)
{
	pci_function_config_write(&function, msix.capability + PCI_MSIX_FLAGS, 2, value);
}

static void store(unsigned vector, unsigned field, uint32_t value)
{
	msix_table_write(&msix, vector * MSIX_ENTRY_BYTES + field, &value, sizeof(value));
}

static uint32_t load(unsigned vector, unsigned field)
{
	uint32_t value = 0xdeadbeef;

	msix_table_read(&msix, vector * MSIX_ENTRY_BYTES + field, &value, sizeof(value));
	return value;
}

static void mask(unsigned vector, bool masked)
{
	store(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, masked);
}

/* Writes vector @vector's message, with @data, and unmasks it. */
static void program(unsigned vector, uint32_t data)
{
	store(vector, PCI_MSIX_ENTRY_LOWER_ADDR, ADDRESS);
	store(vector, PCI_MSIX_ENTRY_UPPER_ADDR, 0);
	store(vector, PCI_MSIX_ENTRY_DATA, data);
	mask(vector, false);
}

static bool pending(unsigned vector)
{
	uint64_t word = 0;

	msix_pba_read(&msix, vector / 64 * 8, &word, sizeof(word));
	return word >> vector % 64 & 1;
}

Test(msix, capability_describes_the_table)
{
	uint16_t at = msix.capability;

	cr_expect_eq(pci_function_config_read(&function, at, 1), PCI_CAP_ID_MSIX);
	cr_expect_eq(pci_function_config_read(&function, at + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	cr_expect_eq(pci_function_config_read(&function, at + PCI_MSIX_TABLE, 4), 0x1000 | 1);
	cr_expect_eq(pci_function_config_read(&function, at + PCI_MSIX_PBA, 4), 0x2000 | 1);
	control(0xffff);
	cr_expect_eq(pci_function_config_read(&function, at + PCI_MSIX_FLAGS, 2),
		(VECTORS - 1) | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
}

Test(msix, layouts_that_cannot_be_are_refused)
{
	struct msix other = {0};
	struct msix_layout layout = {.vectors = 0, .bar = 0};

	cr_expect_eq(msix_init(&other, &function, &msi.controller, &layout, fds, 1), -EINVAL);
	layout.vectors = MSIX_VECTORS_MAX + 1;
	cr_expect_eq(msix_init(&other, &function, &msi.controller, &layout, fds, 1), -EINVAL);
	layout.vectors = 1;
	layout.table_offset = 4;
	cr_expect_eq(msix_init(&other, &function, &msi.controller, &layout, fds, 1), -EINVAL);
	msix_deinit(&other); /* a zeroed object */
}

Test(msix, vectors_start_masked)
{
	for (unsigned i = 0; i < VECTORS; i++)
		cr_expect_eq(load(i, PCI_MSIX_ENTRY_VECTOR_CTRL), PCI_MSIX_ENTRY_CTRL_MASKBIT);
	cr_expect_not(msix_enabled(&msix));
	cr_expect_eq(msix_bound_vector(&msix, 0), MSIX_NO_VECTOR);
}

Test(msix, a_signal_becomes_the_vectors_message)
{
	program(3, 0x41);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 3), 0);
	cr_expect_eq(msix_bound_vector(&msix, 0), 3);
	fd_signal(fds[0]);
	cr_expect_eq(mock_msi_take(&msi, 0x41), 1);
	cr_expect_eq(msi.routes[0].address, ADDRESS);
	cr_expect_not(pending(3));
}

Test(msix, nothing_is_sent_before_all_gates_are_open)
{
	/* Bound first, then opened gate by gate, in the order of a careless driver. */
	cr_assert_eq(msix_bind(&msix, 0, 3), 0);
	fd_signal(fds[0]);
	program(3, 0x41);
	cr_expect_eq(msi.attached_count, 0);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	cr_expect_eq(msi.attached_count, 0);
	cr_expect(pending(3));
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_expect_eq(msi.attached_count, 1);
	cr_expect_eq(mock_msi_take(&msi, 0x41), 1);
	cr_expect_not(pending(3));
}

Test(msix, a_masked_vector_keeps_its_signal_pending_and_sends_it_once_unmasked)
{
	program(66, 0x55);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 2, 66), 0);
	mask(66, true);
	cr_expect_eq(msi.attached_count, 0);
	cr_expect_not(pending(66));
	fd_signal(fds[2]);
	fd_signal(fds[2]);
	cr_expect(pending(66));
	cr_expect_not(pending(65));
	cr_expect_eq(mock_msi_take(&msi, 0x55), 0);
	cr_expect(pending(66), "reading the bit does not clear it");
	mask(66, false);
	cr_expect_not(pending(66), "it is the kernel's now, though the eventfd may still hold it");
	cr_expect_eq(mock_msi_take(&msi, 0x55), 1);
	cr_expect_not(pending(66));
	fd_signal(fds[2]);
	cr_expect_eq(mock_msi_take(&msi, 0x55), 1);
}

Test(msix, the_function_mask_works_like_all_masks)
{
	program(0, 0x30);
	program(1, 0x31);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 0), 0);
	cr_assert_eq(msix_bind(&msix, 1, 1), 0);
	control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	fd_signal(fds[1]);
	cr_expect_not(pending(0));
	cr_expect(pending(1));
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_expect_eq(mock_msi_take(&msi, 0x30), 0);
	cr_expect_eq(mock_msi_take(&msi, 0x31), 1);
}

Test(msix, disabling_stops_delivery)
{
	program(0, 0x30);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 0), 0);
	control(0);
	cr_expect_eq(msi.attached_count, 0);
	fd_signal(fds[0]);
	cr_expect_eq(mock_msi_take(&msi, 0x30), 0);
	cr_expect(fd_is_signalled(fds[0]));
}

Test(msix, sources_share_a_vector)
{
	program(7, 0x70);
	control(PCI_MSIX_FLAGS_ENABLE);
	for (unsigned i = 0; i < SOURCES; i++)
		cr_assert_eq(msix_bind(&msix, i, 7), 0);
	cr_expect_eq(mock_msi_attached(&msi, 0x70), SOURCES);
	cr_expect_eq(msi.routes_allocated, 1);
	fd_signal(fds[0]);
	fd_signal(fds[4]);
	cr_expect_eq(mock_msi_take(&msi, 0x70), 2);
	mask(7, true);
	fd_signal(fds[3]);
	cr_expect(pending(7), "one source is enough");
	cr_assert_eq(msix_bind(&msix, 3, MSIX_NO_VECTOR), 0);
	cr_expect_not(pending(7), "its signal left with it");
	mask(7, false);
	cr_expect_eq(mock_msi_attached(&msi, 0x70), SOURCES - 1);
}

Test(msix, stale_signals_are_dropped_on_the_first_binding)
{
	program(1, 0x31);
	control(PCI_MSIX_FLAGS_ENABLE);
	fd_signal(fds[0]);
	cr_assert_eq(msix_bind(&msix, 0, 1), 0);
	cr_expect_eq(mock_msi_take(&msi, 0x31), 0);
}

Test(msix, a_pending_signal_moves_along_to_another_vector)
{
	program(1, 0x31);
	program(2, 0x32);
	mask(1, true);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 1), 0);
	fd_signal(fds[0]);
	cr_assert_eq(msix_bind(&msix, 0, 2), 0);
	cr_expect_not(pending(1));
	cr_expect_eq(mock_msi_take(&msi, 0x31), 0);
	cr_expect_eq(mock_msi_take(&msi, 0x32), 1);
}

Test(msix, a_new_message_reaches_the_route)
{
	program(1, 0x31);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 1), 0);
	cr_expect_eq(msi.routes[0].updates, 1);
	store(1, PCI_MSIX_ENTRY_DATA, 0x31); /* no change, no update */
	cr_expect_eq(msi.routes[0].updates, 1);
	store(1, PCI_MSIX_ENTRY_DATA, 0x99); /* while unmasked */
	cr_expect_eq(msi.routes[0].data, 0x99);
	mask(1, true);
	store(1, PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee01000);
	store(1, PCI_MSIX_ENTRY_UPPER_ADDR, 0x5);
	cr_expect_eq(msi.routes[0].updates, 2, "not before it matters");
	mask(1, false);
	cr_expect_eq(msi.routes[0].address, 0x5fee01000);
	cr_expect_eq(msi.routes[0].updates, 3);
	fd_signal(fds[0]);
	cr_expect_eq(mock_msi_take(&msi, 0x99), 1);
}

Test(msix, a_refused_message_leaves_the_vector_silent_until_another_is_written)
{
	program(1, 0x31);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 1), 0);
	msi.update_fault = -EINVAL;
	store(1, PCI_MSIX_ENTRY_DATA, 0x99);
	cr_expect_eq(msi.attached_count, 0);
	fd_signal(fds[0]);
	cr_expect(pending(1));
	msi.update_fault = 0;
	store(1, PCI_MSIX_ENTRY_DATA, 0x9a);
	cr_expect_eq(mock_msi_take(&msi, 0x9a), 1);
}

Test(msix, failures_to_bind_leave_the_source_unbound)
{
	program(1, 0x31);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_expect_eq(msix_bind(&msix, 0, VECTORS), -EINVAL);
	cr_expect_eq(msix_bound_vector(&msix, 0), MSIX_NO_VECTOR);
	msi.allocate_fault = -ENOSPC;
	cr_expect_eq(msix_bind(&msix, 0, 1), -ENOSPC);
	cr_expect_eq(msix_bound_vector(&msix, 0), MSIX_NO_VECTOR);
	msi.allocate_fault = 0;
	msi.attach_fault = -EBUSY;
	cr_expect_eq(msix_bind(&msix, 0, 1), -EBUSY);
	cr_expect_eq(msix_bound_vector(&msix, 0), MSIX_NO_VECTOR);
	msi.attach_fault = 0;
	cr_expect_eq(msix_bind(&msix, 0, 1), 0);
	cr_expect_eq(msix_bound_vector(&msix, 0), 1);
	/* A failed move does not leave the old binding behind. */
	cr_expect_eq(msix_bind(&msix, 0, VECTORS + 5), -EINVAL);
	cr_expect_eq(msix_bound_vector(&msix, 0), MSIX_NO_VECTOR);
	cr_expect_eq(msi.attached_count, 0);
}

Test(msix, table_accesses_of_any_width)
{
	uint64_t wide = 0x00000005fee02000;
	uint8_t byte = 0xff;
	uint8_t bytes[8];

	msix_table_write(&msix, 2 * MSIX_ENTRY_BYTES, &wide, 8);
	cr_expect_eq(load(2, PCI_MSIX_ENTRY_LOWER_ADDR), 0xfee02000);
	cr_expect_eq(load(2, PCI_MSIX_ENTRY_UPPER_ADDR), 5);
	wide = 0xfffffffe00000042; /* data and control at once: unmasked, reserved bits stay 0 */
	msix_table_write(&msix, 2 * MSIX_ENTRY_BYTES + 8, &wide, 8);
	cr_expect_eq(load(2, PCI_MSIX_ENTRY_DATA), 0x42);
	cr_expect_eq(load(2, PCI_MSIX_ENTRY_VECTOR_CTRL), 0);
	msix_table_write(&msix, 2 * MSIX_ENTRY_BYTES + 8, &byte, 1);  /* too narrow */
	msix_table_write(&msix, 2 * MSIX_ENTRY_BYTES + 10, &wide, 4); /* misaligned */
	cr_expect_eq(load(2, PCI_MSIX_ENTRY_DATA), 0x42);
	msix_table_write(&msix, VECTORS * MSIX_ENTRY_BYTES, &wide, 8); /* beyond the end */
	memset(bytes, 0xee, sizeof(bytes));
	msix_table_read(&msix, VECTORS * MSIX_ENTRY_BYTES - 4, bytes, 8);
	cr_expect_eq(get_le32(bytes), PCI_MSIX_ENTRY_CTRL_MASKBIT);
	cr_expect_eq(get_le32(bytes + 4), 0);
	msix_table_read(&msix, 2 * MSIX_ENTRY_BYTES + 1, bytes, 2);
	cr_expect_eq(get_le16(bytes), 0xe020);
	memset(bytes, 0xee, sizeof(bytes));
	msix_pba_read(&msix, 0x1000, bytes, 8);
	cr_expect_eq(get_le64(bytes), 0);
}

Test(msix, destruction_while_live_leaves_nothing_behind)
{
	program(1, 0x31);
	control(PCI_MSIX_FLAGS_ENABLE);
	cr_assert_eq(msix_bind(&msix, 0, 1), 0);
	cr_assert_eq(msix_bind(&msix, 1, 2), 0);
	msix_deinit(&msix);
	mock_msi_deinit(&msi); /* aborts otherwise */
	cr_expect_eq(msi.routes_allocated, 0);
}
