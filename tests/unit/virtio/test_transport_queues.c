/* SPDX-License-Identifier: Apache-2.0 */
/* Whole drivers by register accesses alone: bring-up, doorbells, vectors, resets. */
#include "pci_guest.h"

#include "pci/msix.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

static struct pci_guest guest;
static struct mock_queue *rings[TEST_DEVICE_QUEUES];

static void setup(void)
{
	pci_guest_init(&guest);
}

static void teardown(void)
{
	pci_guest_deinit(&guest);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++)
		mock_queue_destroy(rings[i]);
}

TestSuite(transport_queues, .init = setup, .fini = teardown);

static const uint64_t features =
	1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_RING_RESET;

/* Every queue with its own vector (queue + 1), configuration changes on vector 0. */
static void bring_up(void)
{
	pci_guest_enable_msix(&guest);
	cr_assert(pci_guest_negotiate(&guest, features));
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (uint16_t i = 0; i < TEST_DEVICE_QUEUES; i++) {
		rings[i] = pci_guest_enable_queue(&guest, i, 8, i + 1);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
		cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), i + 1);
	}
	pci_guest_driver_ok(&guest);
}

static struct virtio_queue *device_queue(unsigned queue)
{
	return &guest.test.device.queues[queue];
}

/* The device completes what the ring holds and signals as a worker would. */
static void serve(unsigned queue)
{
	struct virtqueue *virtqueue = &device_queue(queue)->virtqueue;
	struct virtqueue_entry entry;

	while (virtqueue_pop_batch(virtqueue, &entry, 1) == 1)
		virtqueue_push(virtqueue, &entry, 7);
	if (virtqueue_publish(virtqueue) && virtqueue_need_interrupt(virtqueue))
		fd_signal(device_queue(queue)->call_fd);
}

/* One request: doorbell, completion, exactly one message of the queue's vector. */
static void exchange(unsigned queue, unsigned vector)
{
	struct mock_segment segment = {.writable = true, .length = 16};
	struct mock_used used;

	segment.gpa = mock_guest_alloc(&guest.test.guest, 16, 16);
	cr_assert_geq(mock_queue_add(rings[queue], &segment, 1), 0);
	mock_queue_expose(rings[queue]);
	mock_queue_enable_interrupts(rings[queue], 0);
	cr_assert(mock_doorbells_ring(&guest.doorbells, pci_guest_doorbell(&guest, queue)));
	cr_assert(fd_drain(device_queue(queue)->kick_fd));
	serve(queue);
	cr_assert(mock_queue_get_used(rings[queue], &used));
	cr_expect_eq(used.written, 7);
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(vector)), 1);
}

Test(transport_queues, a_driver_by_registers_alone)
{
	bring_up();
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1),
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			VIRTIO_STATUS_DRIVER_OK);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++) {
		cr_expect_eq(guest.test.starts[i], 1);
		cr_expect_eq(device_queue(i)->virtqueue.layout.size, 8);
		exchange(i, i + 1);
		cr_expect_eq(virtio_pci_notify_exits(guest.transport, i), 0);
	}
	virtio_device_config_changed(&guest.test.device);
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(0)), 1);
}

Test(transport_queues, a_second_driver_after_a_reset)
{
	bring_up();
	exchange(1, 2);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1), 0);
	cr_expect_eq(guest.test.stops[1], 1);
	cr_expect_eq(guest.doorbells.count, 0);
	cr_expect_eq(guest.msi.attached_count, 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++)
		mock_queue_destroy(rings[i]);
	fd_signal(device_queue(2)->call_fd); /* left over from before */
	bring_up();
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(3)), 0);
	exchange(1, 2);
}

/* ---- doorbells ---- */

Test(transport_queues, doorbells_belong_to_enabled_queues)
{
	pci_guest_enable_msix(&guest);
	cr_assert(pci_guest_negotiate(&guest, features));
	cr_expect_eq(guest.doorbells.count, 0);
	rings[2] = pci_guest_enable_queue(&guest, 2, 8, 1);
	cr_expect_eq(guest.doorbells.count, 1);
	cr_expect(mock_doorbells_ring(&guest.doorbells, pci_guest_doorbell(&guest, 2)));
	cr_expect(fd_drain(device_queue(2)->kick_fd));
	cr_expect_not(mock_doorbells_ring(&guest.doorbells, pci_guest_doorbell(&guest, 1)));
}

Test(transport_queues, doorbells_follow_the_bar)
{
	uint64_t before, after;

	bring_up();
	before = pci_guest_doorbell(&guest, 3);
	pci_guest_config_write(&guest, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	after = pci_guest_doorbell(&guest, 3);
	cr_expect_eq(after - before, 0xd0000000 - PCI_GUEST_BAR);
	cr_expect_not(mock_doorbells_ring(&guest.doorbells, before));
	cr_expect_eq(guest.doorbells.count, TEST_DEVICE_QUEUES);
	exchange(3, 4);
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	cr_expect_eq(guest.doorbells.count, 0);
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	exchange(3, 4);
}

Test(transport_queues, a_kick_that_exits_is_counted_and_kicks)
{
	bring_up();
	pci_guest_write(&guest, guest.notify + 4 * 1, 2, 1);
	cr_expect_eq(virtio_pci_notify_exits(guest.transport, 1), 1);
	cr_expect_eq(virtio_pci_notify_exits(guest.transport, 0), 0);
	cr_expect(fd_drain(device_queue(1)->kick_fd));
	cr_expect_not(fd_drain(device_queue(0)->kick_fd));
	pci_guest_write(&guest, guest.notify + 4 * TEST_DEVICE_QUEUES, 2, 1); /* no such queue */
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++)
		cr_expect_not(fd_drain(device_queue(i)->kick_fd));
}

Test(transport_queues, without_kernel_doorbells_all_still_works)
{
	guest.doorbells.attach_fault = -ENOSPC;
	bring_up();
	cr_expect_eq(guest.doorbells.count, 0);
	pci_guest_write(&guest, guest.notify, 2, 0);
	cr_expect(fd_drain(device_queue(0)->kick_fd));
	guest.doorbells.attach_fault = 0;
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	exchange(0, 1);
}

/* ---- bus master ---- */

/* As a kernel leaves its devices to the next one: nothing may be written to memory any more. */
Test(transport_queues, a_function_that_is_no_master_stops)
{
	bring_up();
	exchange(1, 2);
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++)
		cr_expect_eq(guest.test.stops[i], 1);
	virtio_device_config_changed(&guest.test.device);
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(0)), 0);
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	cr_expect_eq(guest.test.starts[1], 1, "not before a reset");
	pci_guest_driver_ok(&guest);
	cr_expect_eq(guest.test.starts[1], 1, "not before a reset");
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++)
		mock_queue_destroy(rings[i]);
	bring_up();
	exchange(1, 2);
}

/* The bit was never set: some drivers do without. */
Test(transport_queues, a_function_that_never_was_master_works)
{
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	bring_up();
	pci_guest_config_write(&guest, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	exchange(0, 1);
}

/* ---- vectors ---- */

Test(transport_queues, all_queues_on_one_vector)
{
	pci_guest_enable_msix(&guest);
	cr_assert(pci_guest_negotiate(&guest, features));
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2, 2);
	for (uint16_t i = 0; i < TEST_DEVICE_QUEUES; i++)
		rings[i] = pci_guest_enable_queue(&guest, i, 8, 2);
	pci_guest_driver_ok(&guest);
	for (unsigned i = 0; i < TEST_DEVICE_QUEUES; i++)
		exchange(i, 2);
	virtio_device_fail(&guest.test.device, "on purpose");
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(2)), 1);
}

Test(transport_queues, vectors_that_cannot_be_had)
{
	pci_guest_enable_msix(&guest);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, TEST_DEVICE_QUEUES + 1);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	guest.msi.allocate_fault = -ENOSPC;
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	guest.msi.allocate_fault = 0;
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2), 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}

Test(transport_queues, a_masked_vector_shows_in_the_pending_bits)
{
	bring_up();
	pci_guest_mask(&guest, 2, true);
	fd_signal(device_queue(1)->call_fd);
	cr_expect_eq(pci_guest_read(&guest, guest.pba, 8), 1u << 2);
	cr_expect_eq(pci_guest_read(&guest, guest.isr, 1), 0, "the signal is the vector's");
	cr_expect_eq(pci_guest_read(&guest, guest.pba, 4), 1u << 2);
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(2)), 0);
	pci_guest_mask(&guest, 2, false);
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(2)), 1);
	cr_expect_eq(pci_guest_read(&guest, guest.pba, 8), 0);
}

Test(transport_queues, without_msix_the_isr_tells)
{
	cr_assert(pci_guest_negotiate(&guest, features));
	rings[0] = pci_guest_enable_queue(&guest, 0, 8, VIRTIO_MSI_NO_VECTOR);
	pci_guest_driver_ok(&guest);
	cr_expect_eq(pci_guest_read(&guest, guest.isr, 1), 0);
	fd_signal(device_queue(0)->call_fd);
	cr_expect_eq(pci_guest_read(&guest, guest.isr, 1), 1);
	cr_expect_eq(pci_guest_read(&guest, guest.isr, 1), 0, "reading clears");
	virtio_device_config_changed(&guest.test.device);
	fd_signal(device_queue(0)->call_fd);
	cr_expect_eq(pci_guest_read(&guest, guest.isr, 1), 3);
	cr_expect_eq(pci_guest_read(&guest, guest.isr, 4), 0);
}

/* ---- queue reset ---- */

Test(transport_queues, one_queue_is_reset_and_enabled_again)
{
	bring_up();
	exchange(1, 2);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_SIZE, 2), TEST_DEVICE_QUEUE_SIZE);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
	cr_expect_eq(guest.test.stops[1], 1);
	cr_expect_eq(guest.doorbells.count, TEST_DEVICE_QUEUES - 1);
	exchange(0, 1);
	mock_queue_destroy(rings[1]);
	rings[1] = pci_guest_enable_queue(&guest, 1, 4, 2);
	cr_expect_eq(guest.test.starts[1], 2);
	exchange(1, 2);
	exchange(0, 1);
}

Test(transport_queues, a_queue_reset_that_was_not_negotiated)
{
	cr_assert(pci_guest_negotiate(&guest, features & ~(1ull << VIRTIO_F_RING_RESET)));
	rings[0] = pci_guest_enable_queue(&guest, 0, 8, VIRTIO_MSI_NO_VECTOR);
	pci_guest_driver_ok(&guest);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	cr_expect_eq(guest.test.stops[0], 0);
}

Test(transport_queues, a_queue_is_not_disabled_by_writing_zero)
{
	bring_up();
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	cr_expect_eq(pci_guest_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	exchange(0, 1);
}

Test(transport_queues, a_broken_driver_is_told_to_reset)
{
	bring_up();
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0xffffffffffff0000);
	pci_guest_set_common(&guest, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	cr_expect(
		pci_guest_common(&guest, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_STATUS_NEEDS_RESET);
	cr_expect_eq(mock_msi_take(&guest.msi, PCI_GUEST_MESSAGE(0)), 1);
}

Test(transport_queues, destruction_of_a_running_device_leaves_nothing_behind)
{
	bring_up();
	virtio_pci_destroy(guest.transport);
	guest.transport = NULL;
	mock_msi_deinit(&guest.msi); /* abort where something is left */
	mock_doorbells_deinit(&guest.doorbells);
	cr_expect_eq(guest.test.stops[0], 1);
}
