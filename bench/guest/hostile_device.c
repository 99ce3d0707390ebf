/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile cases on registers, doorbells and resets. Some stop the device on their way; the frame
 * brings it up again afterwards in any case. After a reset the device must not touch guest memory
 * any more, which the reset cases check on a poisoned buffer.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "cpu.h"
#include "hostile.h"
#include "memory.h"

#define S_DRIVER (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)

void *memset(void *to, int value, size_t length);

/* Publishes the good read by the ordinary code; many times over in `count` slots. */
static void submit(struct hostile *hostile, uint16_t count)
{
	for (uint16_t slot = 0; slot < count; slot++)
		hostile_submit(hostile, slot);
	virtq_publish(&hostile->ring);
}

static void kick_other_queues(struct hostile *hostile)
{
	struct virtio_device *device = hostile->device;
	uint32_t step = device->notify_multiplier ? device->notify_multiplier : 2;

	for (uint32_t offset = 0, i = 0; offset + 2 <= device->notify_length && i < 64;
		offset += step, i++)
		*(volatile uint16_t *)(device->notify + offset) = (uint16_t)(i * 997);
	*(volatile uint16_t *)device->notify = 0xffff;
	submit(hostile, 1);
}

/* A kick before DRIVER_OK must not harm; the request is served after it, or the device is reset. */
static void kick_before_driver_ok(struct hostile *hostile)
{
	virtio_pci_reset(hostile->device);
	blk_disk_negotiate(hostile->options, &hostile->disk);
	virtq_restart(&hostile->ring);
	hostile_lay_out(hostile);
	submit(hostile, 1);
	hostile_pause(2000000);
	virtio_pci_start(hostile->device);
	virtq_kick(&hostile->ring);
}

static void driver_ok_unconfigured(struct hostile *hostile)
{
	virtio_pci_reset(hostile->device);
	blk_disk_negotiate(hostile->options, &hostile->disk);
	virtio_pci_start(hostile->device);
	*hostile->ring.doorbell = 0;
}

static void driver_ok_at_once(struct hostile *hostile)
{
	virtio_pci_reset(hostile->device);
	hostile->device->common->device_status = VIRTIO_CONFIG_S_DRIVER_OK;
	virtq_restart(&hostile->ring);
	submit(hostile, 1);
}

static void features_not_offered(struct hostile *hostile)
{
	volatile struct virtio_common *common = hostile->device->common;

	if (~hostile->device->offered == 0) {
		hostile->skip = "every feature is offered";
		return;
	}
	virtio_pci_reset(hostile->device);
	common->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	common->device_status = S_DRIVER;
	common->driver_feature_select = 0;
	common->driver_feature = 0xffffffff;
	common->driver_feature_select = 1;
	common->driver_feature = 0xffffffff;
	common->device_status = S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
	if (common->device_status & VIRTIO_CONFIG_S_FEATURES_OK)
		hostile->complaint = "the device took features it does not offer";
}

static void feature_select_wild(struct hostile *hostile)
{
	volatile struct virtio_common *common = hostile->device->common;

	virtio_pci_reset(hostile->device);
	for (uint32_t select = 2; select; select <<= 1) {
		common->device_feature_select = select;
		if (common->device_feature)
			hostile->complaint = "feature bits beyond 63";
		common->driver_feature_select = select;
		common->driver_feature = 0xffffffff;
	}
}

/* Sizes that no ring may have; the device must not take them, or break. */
static void queue_size(struct hostile *hostile, uint16_t size)
{
	volatile struct virtio_common *common = hostile->device->common;

	virtio_pci_reset(hostile->device);
	blk_disk_negotiate(hostile->options, &hostile->disk);
	common->queue_select = 0;
	common->queue_size = size;
	common->queue_desc_low = (uint32_t)hostile->ring.ring_address[0];
	common->queue_driver_low = (uint32_t)hostile->ring.ring_address[1];
	common->queue_device_low = (uint32_t)hostile->ring.ring_address[2];
	common->queue_enable = 1;
	virtio_pci_start(hostile->device);
	submit(hostile, 1);
}

static void queue_size_zero(struct hostile *hostile)
{
	queue_size(hostile, 0);
}

static void queue_size_odd(struct hostile *hostile)
{
	queue_size(hostile, 3);
}

static void queue_size_huge(struct hostile *hostile)
{
	queue_size(hostile, 32768);
}

static void queue_size_full(struct hostile *hostile)
{
	queue_size(hostile, 0xffff);
}

static void queue_select_wild(struct hostile *hostile)
{
	volatile struct virtio_common *common = hostile->device->common;

	for (uint32_t q = hostile->device->num_queues; q < 0x10000; q = 2 * q + 1) {
		common->queue_select = (uint16_t)q;
		if (common->queue_size)
			hostile->complaint = "a queue that does not exist has a size";
		common->queue_msix_vector = 1;
		common->queue_enable = 1;
	}
	common->queue_select = 0;
	submit(hostile, 1);
}

/* The three areas at a given address, then a kick. */
static void ring_at(struct hostile *hostile, uint64_t address)
{
	uint64_t saved[3];

	for (unsigned i = 0; i < 3; i++) {
		saved[i] = hostile->ring.ring_address[i];
		hostile->ring.ring_address[i] = address + (i << 16);
	}
	virtio_pci_reset(hostile->device);
	blk_disk_negotiate(hostile->options, &hostile->disk);
	virtq_restart(&hostile->ring);
	virtio_pci_start(hostile->device);
	virtq_kick(&hostile->ring);
	for (unsigned i = 0; i < 3; i++)
		hostile->ring.ring_address[i] = saved[i];
}

static void ring_out_of_range(struct hostile *hostile)
{
	ring_at(hostile, memory_hole());
}

static void ring_wraps(struct hostile *hostile)
{
	ring_at(hostile, 0xfffffffffffdf000);
}

static void ring_in_device(struct hostile *hostile)
{
	ring_at(hostile, (uint64_t)hostile->device->common);
}

static void ring_misaligned(struct hostile *hostile)
{
	ring_at(hostile, (uint64_t)hostile->data + 1);
}

/* Addresses and size of a live queue change under it. */
static void ring_moves_live(struct hostile *hostile)
{
	volatile struct virtio_common *common = hostile->device->common;

	submit(hostile, hostile->ring.size / 4);
	common->queue_select = 0;
	common->queue_size = 2;
	common->queue_desc_low = (uint32_t)memory_hole();
	common->queue_desc_high = (uint32_t)(memory_hole() >> 32);
	common->queue_enable = 0;
	virtq_kick(&hostile->ring);
}

/* Random values to random registers. The doorbells and MSI-X tables are left to other cases. */
static void registers_fuzz(struct hostile *hostile)
{
	uint64_t rounds = hostile->options->ios ? hostile->options->ios : 2000;
	volatile uint8_t *common = (volatile uint8_t *)hostile->device->common;
	uint32_t config_length = hostile->device->config_length;

	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t value = random_next(&hostile->random);
		bool to_config = config_length >= 8 && value >> 61 == 0;
		volatile uint8_t *place = to_config ? hostile->device->config : common;
		uint32_t length = to_config ? config_length : hostile->device->common_length;
		uint32_t offset = (uint32_t)random_below(&hostile->random, length - 7);

		if (value & 0x10000)
			value &= 7; /* small numbers go deeper: existing queues, status bits */
		switch (value >> 8 & 3) {
		case 0:
			place[offset] = (uint8_t)value;
			break;
		case 1:
			*(volatile uint16_t *)(place + (offset & ~1u)) = (uint16_t)value;
			break;
		case 2:
			*(volatile uint32_t *)(place + (offset & ~3u)) = (uint32_t)value;
			break;
		default:
			(void)*(volatile uint32_t *)(place + (offset & ~3u));
		}
	}
}

/* Accesses that no driver makes: wrong widths, odd offsets, reads of the notify window and beyond.
 */
static void registers_odd_access(struct hostile *hostile)
{
	struct virtio_device *device = hostile->device;
	volatile uint8_t *common = (volatile uint8_t *)device->common;

	for (uint32_t offset = 0; offset + 8 <= device->common_length; offset++) {
		(void)*(volatile uint64_t *)(common + offset);
		(void)*(volatile uint16_t *)(common + offset);
	}
	for (uint32_t offset = 0; offset + 8 <= device->config_length; offset++)
		(void)*(volatile uint64_t *)(device->config + offset);
	(void)*(volatile uint16_t *)device->notify;
	(void)*(volatile uint8_t *)device->notify;
	*(volatile uint8_t *)device->notify = 0;
	*(volatile uint32_t *)device->notify = 0;
	(void)*device->isr;
	*device->isr = 0xff;
	submit(hostile, 1);
}

static bool buffer_is(const struct hostile *hostile, uint8_t value)
{
	for (unsigned i = 0; i < HOSTILE_DATA; i++) {
		if (hostile->data[i] != value)
			return false;
	}
	return true;
}

/* Requests in flight, then `stop`; from then on nothing may be written. */
static void stop_in_flight(
	struct hostile *hostile, bool (*stop)(struct hostile *hostile), unsigned rounds)
{
	for (unsigned round = 0; round < rounds && !hostile->complaint; round++) {
		submit(hostile, (uint16_t)(hostile->ring.size / 4));
		hostile_pause(random_below(&hostile->random, 100000));
		if (!stop(hostile)) {
			hostile->complaint = "does not stop";
			return;
		}
		memset(hostile->data, 0x77, HOSTILE_DATA);
		hostile_pause(2000000);
		if (!buffer_is(hostile, 0x77))
			hostile->complaint = "guest memory was written after the reset";
		hostile_begin(hostile);
	}
}

static bool stop_by_reset(struct hostile *hostile)
{
	return virtio_pci_reset(hostile->device);
}

static void reset_in_flight(struct hostile *hostile)
{
	stop_in_flight(hostile, stop_by_reset, 20);
}

static bool stop_by_queue_reset(struct hostile *hostile)
{
	volatile struct virtio_common *common = hostile->device->common;

	common->queue_select = 0;
	common->queue_reset = 1;
	for (unsigned i = 0; i < 50000; i++) {
		if (common->queue_reset == 0)
			return common->queue_enable == 0;
	}
	return false;
}

/* The feature for one queue; afterwards the queue is enabled again and must work, without a device
 * reset. */
static void queue_reset(struct hostile *hostile)
{
	if (!(hostile->device->features & 1ull << VIRTIO_F_RING_RESET) ||
		hostile->device->common_length < sizeof(struct virtio_common)) {
		hostile->skip = "RING_RESET is not agreed on";
		return;
	}
	for (unsigned round = 0; round < 5; round++) {
		submit(hostile, (uint16_t)(hostile->ring.size / 4));
		hostile_pause(random_below(&hostile->random, 100000));
		if (!stop_by_queue_reset(hostile)) {
			hostile->complaint = "queue reset does not end";
			return;
		}
		memset(hostile->data, 0x77, HOSTILE_DATA);
		hostile_pause(2000000);
		if (!buffer_is(hostile, 0x77)) {
			hostile->complaint = "guest memory was written after the queue reset";
			return;
		}
		virtq_restart(&hostile->ring);
		hostile_lay_out(hostile);
	}
	submit(hostile, 1);
}

static void reset_storm(struct hostile *hostile)
{
	for (unsigned i = 0; i < 100; i++) {
		virtq_kick(&hostile->ring);
		hostile->device->common->device_status = 0;
	}
	if (!virtio_pci_reset(hostile->device))
		hostile->complaint = "does not come out of reset";
}

const struct hostile_case hostile_device_cases[] = {
	{"kick-other-queues", kick_other_queues, HOSTILE_COMPLETED},
	{"kick-before-driver-ok", kick_before_driver_ok, HOSTILE_ANY},
	{"driver-ok-unconfigured", driver_ok_unconfigured, HOSTILE_BROKEN | HOSTILE_IGNORED},
	{"driver-ok-at-once", driver_ok_at_once, HOSTILE_ANY},
	{"features-not-offered", features_not_offered, HOSTILE_IGNORED | HOSTILE_BROKEN},
	{"feature-select-wild", feature_select_wild, HOSTILE_IGNORED},
	{"queue-size-zero", queue_size_zero, HOSTILE_ANY},
	{"queue-size-odd", queue_size_odd, HOSTILE_ANY},
	{"queue-size-huge", queue_size_huge, HOSTILE_ANY},
	{"queue-size-full", queue_size_full, HOSTILE_ANY},
	{"queue-select-wild", queue_select_wild, HOSTILE_COMPLETED},
	{"ring-out-of-range", ring_out_of_range, HOSTILE_REJECTED},
	{"ring-wraps", ring_wraps, HOSTILE_REJECTED},
	{"ring-in-device", ring_in_device, HOSTILE_REJECTED},
	{"ring-misaligned", ring_misaligned, HOSTILE_REJECTED},
	{"ring-moves-live", ring_moves_live, HOSTILE_ANY},
	{"registers-fuzz", registers_fuzz, HOSTILE_ANY},
	{"registers-odd-access", registers_odd_access, HOSTILE_ANY},
	{"reset-in-flight", reset_in_flight, HOSTILE_ANY},
	{"queue-reset", queue_reset, HOSTILE_COMPLETED},
	{"reset-storm", reset_storm, HOSTILE_ANY},
	{NULL, NULL, 0},
};
