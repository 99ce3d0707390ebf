/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info lists the virtio devices as they offer themselves; disks are asked for their ID, which takes
 * a request each. idle does the same, then halts with the devices up, so that the cost of an idle
 * VM can be measured from outside: no timer runs meanwhile but the one that ends it.
 */
#include "info.h"

#include <linux/virtio_ids.h>

#include "apic.h"
#include "blk.h"
#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "memory.h"
#include "report.h"

#define MAX_DEVICES  64
#define IDLE_STEP_NS 1000000000ull

/* One GET_ID by an own little queue; the device stays up with that queue. */
static void read_id(
	const struct options *options, struct virtio_device *device, char ret_id[BLK_ID_SIZE + 1])
{
	struct blk_disk disk = {.device = device};
	struct options one = *options;
	struct blk_queue *queue = memory_allocate(sizeof(*queue), 64);

	one.rw = RW_GET_ID;
	one.depth = 1;
	one.ios = 1;
	one.verify = VERIFY_OFF;
	one.block_min = one.block_max = 4096;
	one.offset = one.size = 0;
	blk_disk_negotiate(&one, &disk);
	if (disk.sectors < 4096 / 512)
		return;
	if (device->msix_entries)
		virtio_pci_enable_msix(device, 1);
	*queue = (struct blk_queue){.options = &one, .disk = &disk, .all_queues = 1};
	blk_queue_init(queue, 0, 1);
	virtio_pci_start(device);
	queue->task.ops->begin(&queue->task, cpu_tsc());
	while (!queue->task.done)
		queue->task.ops->turn(&queue->task);
	for (unsigned i = 0;
		i < BLK_ID_SIZE && queue->counters.errors + queue->counters.unsupported == 0; i++)
		ret_id[i] = (char)queue->slots[0].data[i];
}

static void report_device(
	struct json *json, const struct options *options, struct virtio_device *device)
{
	char id[BLK_ID_SIZE + 1] = "";

	json_object(json, NULL);
	json_number(json, "type", device->type);
	json_number(json, "pci_device", device->pci.device);
	json_number(json, "pci_function", device->pci.function);
	json_number(json, "queues", device->num_queues);
	json_number(json, "msix_entries", device->msix_entries);
	json_hex(json, "offered", device->offered);
	if (device->type == VIRTIO_ID_BLOCK) {
		read_id(options, device, id);
		json_number(json, "sectors", virtio_config64(device, 0));
		json_string(json, "id", id);
	}
	json_end(json);
}

/* Halts for the time given; the APIC timer wakes it once a second at most. */
static void idle(uint64_t ns)
{
	uint64_t end = cpu_tsc() + clock_to_ticks(ns);

	for (uint64_t now = cpu_tsc(); now < end; now = cpu_tsc()) {
		uint64_t seen = cpu_table[0].events, left = clock_to_ns(end - now);

		apic_timer((uint32_t)(left < IDLE_STEP_NS ? left + 1 : IDLE_STEP_NS), false);
		gate_wait(seen);
	}
}

void info_run(const struct options *options, unsigned cpus)
{
	struct virtio_device *devices = memory_allocate(MAX_DEVICES * sizeof(*devices), 64);
	unsigned count = virtio_pci_find(0, devices, MAX_DEVICES);
	struct json json;

	report_begin(&json, "ok", "", options->workload == WORKLOAD_IDLE ? "idle" : "info");
	json_array(&json, "devices");
	for (unsigned i = 0; i < count; i++)
		report_device(&json, options, &devices[i]);
	json_end(&json);
	if (options->workload == WORKLOAD_IDLE)
		idle(options->time_ns);
	json_number(&json, "idle_ns", options->workload == WORKLOAD_IDLE ? options->time_ns : 0);
	report_machine(&json, cpus);
	report_finish(&json, FINISH_OK);
}
