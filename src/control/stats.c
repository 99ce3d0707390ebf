/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document is built as a tree (Jansson) and dumped at once. Names come from the modules that
 * own the counters; nothing is computed here that a reader could compute.
 */
#include "control/stats.h"

#include "io/blk_device.h"
#include "io/worker.h"
#include "machine/board.h"
#include "machine/devices.h"
#include "machine/machine.h"
#include "net/net_device.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/fd.h"
#include "vcpu/vcpu.h"
#include "virtio/device.h"
#include "virtio/pci_transport.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

static void add_number(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void add_counter(json_t *object, const char *name, const struct counter *counter)
{
	add_number(object, name, counter_read(counter));
}

/* What KVM counts itself; a kernel that does not keep a count leaves its name out. */
static json_t *kernel_document(const struct vcpu *vcpu)
{
	uint64_t values[VCPU_KERNEL_STATS];
	json_t *object = json_object();

	vcpu_kernel_stats(vcpu, values);
	for (size_t i = 0; i < VCPU_KERNEL_STATS; i++) {
		if (values[i] != VCPU_STAT_UNKNOWN)
			add_number(object, vcpu_kernel_stat_names[i], values[i]);
	}
	return object;
}

static json_t *vcpu_document(const struct vcpu *vcpu)
{
	const struct vcpu_counters *counters = vcpu_counters(vcpu);
	json_t *object = json_object(), *exits = json_object();

	for (int i = 0; i < VCPU_EXIT_COUNT; i++)
		add_counter(exits, vcpu_exit_name((enum vcpu_exit)i), &counters->exits[i]);
	json_object_set_new(object, "exits", exits);
	json_object_set_new(object, "kernel", kernel_document(vcpu));
	add_counter(object, "unclaimed_reads", &counters->unclaimed_reads);
	add_counter(object, "unclaimed_writes", &counters->unclaimed_writes);
	return object;
}

static json_t *vcpus_document(const struct board *board)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < board_vcpu_count(board); i++)
		json_array_append_new(array, vcpu_document(board_vcpu(board, i)));
	return array;
}

static json_t *worker_document(const struct io_worker *worker)
{
	uint64_t values[IO_WORKER_STATS];
	json_t *object = json_object();

	io_worker_stats(worker, values);
	for (size_t i = 0; i < IO_WORKER_STATS; i++)
		add_number(object, io_worker_stat_names[i], values[i]);
	return object;
}

static void append_pool(json_t *array, const struct worker_pool *pool)
{
	for (unsigned i = 0; i < pool->count; i++)
		json_array_append_new(array, worker_document(pool->workers[i]));
}

static json_t *workers_document(const struct devices *devices)
{
	json_t *array = json_array();

	append_pool(array, &devices->shared);
	for (unsigned i = 0; i < devices->disk_pool_count; i++)
		append_pool(array, &devices->disk_pools[i]);
	return array;
}

static void add_virtqueue(json_t *object, const struct virtqueue_counters *counters)
{
	add_counter(object, "popped", &counters->popped);
	add_counter(object, "pushed", &counters->pushed);
	add_counter(object, "publishes", &counters->publishes);
	add_counter(object, "interrupts", &counters->interrupts);
	add_counter(object, "interrupts_suppressed", &counters->suppressed);
	add_counter(object, "rearms", &counters->rearms);
}

/* What every queue of every device has: its ring's counters and the kicks that left the kernel. */
static json_t *queue_document(
	const struct virtio_device *device, const struct virtio_pci *transport, unsigned queue)
{
	json_t *object = json_object();
	uint64_t kicks;

	add_virtqueue(object, &device->queues[queue].virtqueue.counters);
	/* Workers never drain a kick's eventfd, so it holds the number of all kicks. */
	if (!fd_signal_count(device->queues[queue].kick_fd, &kicks))
		add_number(object, "kicks", kicks);
	if (transport)
		add_number(
			object, "kicks_to_user_space", virtio_pci_notify_exits(transport, queue));
	return object;
}

static json_t *disk_document(
	struct blk_device *disk, const struct virtio_pci *transport, unsigned index)
{
	json_t *object = json_object(), *queues = json_array();
	char name[16];

	snprintf(name, sizeof(name), "disk%u", index);
	json_object_set_new(object, "name", json_string(name));
	for (unsigned i = 0; i < blk_device_queue_count(disk); i++) {
		json_t *queue = queue_document(blk_device_virtio(disk), transport, i);
		uint64_t values[BLK_STATS];

		blk_device_stats(disk, i, values);
		for (size_t j = 0; j < BLK_STATS; j++)
			add_number(queue, blk_stat_names[j], values[j]);
		json_array_append_new(queues, queue);
	}
	json_object_set_new(object, "queues", queues);
	return object;
}

static void add_receive(json_t *object, const struct net_rx_counters *counters)
{
	add_counter(object, "frames", &counters->frames);
	add_counter(object, "bytes", &counters->bytes);
	add_counter(object, "chains", &counters->chains);
	add_counter(object, "reads", &counters->reads);
	add_counter(object, "filtered", &counters->filtered);
	add_counter(object, "truncated", &counters->truncated);
	add_counter(object, "stale", &counters->stale);
	add_counter(object, "starved", &counters->starved);
	add_counter(object, "bounced", &counters->bounced);
	add_counter(object, "errors", &counters->errors);
}

static void add_transmit(json_t *object, const struct net_tx_counters *counters)
{
	add_counter(object, "frames", &counters->frames);
	add_counter(object, "bytes", &counters->bytes);
	add_counter(object, "writes", &counters->writes);
	add_counter(object, "full", &counters->full);
	add_counter(object, "rejected", &counters->rejected);
	add_counter(object, "link_down", &counters->link_down);
}

static json_t *nic_document(
	struct net_device *nic, const struct virtio_pci *transport, unsigned index)
{
	json_t *object = json_object(), *pairs = json_array();
	char name[16];

	snprintf(name, sizeof(name), "net%u", index);
	json_object_set_new(object, "name", json_string(name));
	json_object_set_new(object, "tap", json_string(net_device_tap_name(nic)));
	json_object_set_new(object, "vhost", json_boolean(net_device_vhost(nic)));
	json_object_set_new(object, "pairs", pairs);
	/* The kernel drains the kicks and counts nothing. */
	for (unsigned i = 0; i < net_device_pair_count(nic) && !net_device_vhost(nic); i++) {
		struct virtio_device *device = net_device_virtio(nic);
		json_t *receive = queue_document(device, transport, 2 * i);
		json_t *transmit = queue_document(device, transport, 2 * i + 1);
		json_t *pair = json_object();

		add_receive(receive, net_device_rx_counters(nic, i));
		add_transmit(transmit, net_device_tx_counters(nic, i));
		json_object_set_new(pair, "receive", receive);
		json_object_set_new(pair, "transmit", transmit);
		json_array_append_new(pairs, pair);
	}
	return object;
}

/* A machine that could not be built again after a reset has no board: what that knows is left out.
 */
static const struct virtio_pci *transport_of(const struct board *board, unsigned index)
{
	return board ? board_transport(board, index) : NULL;
}

static json_t *document(const struct machine *machine)
{
	const struct devices *devices = machine_devices(machine);
	const struct board *board = machine_board(machine);
	json_t *root = json_object(), *disks = json_array(), *nics = json_array();

	for (unsigned i = 0; i < devices->disk_count; i++)
		json_array_append_new(
			disks, disk_document(devices->disks[i], transport_of(board, i), i));
	for (unsigned i = 0; i < devices->nic_count; i++)
		json_array_append_new(
			nics, nic_document(devices->nics[i],
				      transport_of(board, devices->disk_count + i), i));
	if (board)
		json_object_set_new(root, "vcpus", vcpus_document(board));
	json_object_set_new(root, "workers", workers_document(devices));
	json_object_set_new(root, "disks", disks);
	json_object_set_new(root, "nics", nics);
	return root;
}

static int write_to(json_t *root, FILE *file)
{
	return json_dumpf(root, file, JSON_INDENT(1)) || fputc('\n', file) == EOF || fflush(file)
	               ? -EIO
	               : 0;
}

/* A pipe or device cannot be replaced, only written to. A pipe that nobody reads is not waited for.
 */
static int write_special(json_t *root, const char *path)
{
	auto_fd int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	auto_file FILE *file = NULL;

	if (fd < 0 || fcntl(fd, F_SETFL, 0))
		return -errno;
	file = fdopen(fd, "w");
	if (!file)
		return -errno;
	fd = -1; /* the stream's now */
	return write_to(root, file);
}

/* Replaces the file as a whole. */
static int write_file(json_t *root, const char *path)
{
	auto_free char *temporary = NULL;
	auto_file FILE *file = NULL;
	int fd;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	fchmod(fd, 0644);
	file = fdopen(fd, "w");
	if (!file || write_to(root, file) || rename(temporary, path)) {
		int code = errno ? -errno : -EIO;

		unlink(temporary);
		return code;
	}
	return 0;
}

int stats_write(const struct machine *machine, const char *path, struct error *error)
{
	json_t *root = document(machine);
	struct stat status;
	int result;

	/* Not by opening it, which would cut off what a file has of the console already. */
	if (!strcmp(path, "-") || !strcmp(path, "/dev/stdout"))
		result = write_to(root, stdout);
	else if (!stat(path, &status) && !S_ISREG(status.st_mode))
		result = write_special(root, path);
	else
		result = write_file(root, path);
	json_decref(root);
	if (result)
		error_set(
			error, result, "--stats %s: cannot write it: %s", path, strerror(-result));
	return result;
}
