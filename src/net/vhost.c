/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost translates addresses itself: it gets the memory's regions once, and ring areas as addresses
 * of this process. A ring that gets a tap queue starts; it stops when that is taken away, which
 * waits for what is under way.
 */
#include "net/vhost.h"

#include "memory/guest_memory.h"
#include "util/cleanup.h"
#include "util/fd.h"
#include "virtio/virtqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static int request(int vhost_fd, unsigned long number, const void *argument)
{
	return ioctl(vhost_fd, number, argument) ? -errno : 0;
}

static int set_memory(int vhost_fd, const struct guest_memory *memory)
{
	size_t count = guest_memory_region_count(memory);
	size_t bytes = sizeof(struct vhost_memory) + count * sizeof(struct vhost_memory_region);
	struct vhost_memory *table = calloc(1, bytes);
	int result;

	if (!table)
		return -ENOMEM;
	table->nregions = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		const struct guest_memory_region *region = guest_memory_region(memory, i);

		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = region->gpa,
			.memory_size = region->size,
			.userspace_addr = (uintptr_t)region->host,
		};
	}
	result = request(vhost_fd, VHOST_SET_MEM_TABLE, table);
	free(table);
	return result;
}

int vhost_open(const struct guest_memory *memory, int *ret_fd)
{
	auto_fd int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -errno;
	result = request(fd, VHOST_SET_OWNER, NULL);
	if (!result)
		result = set_memory(fd, memory);
	if (!result)
		*ret_fd = take_fd(&fd);
	return result;
}

int vhost_features(int vhost_fd, uint64_t *ret_features)
{
	return request(vhost_fd, VHOST_GET_FEATURES, ret_features);
}

int vhost_set_features(int vhost_fd, uint64_t features)
{
	return request(vhost_fd, VHOST_SET_FEATURES, &features);
}

static int set_file(int vhost_fd, unsigned long number, enum vhost_ring ring, int fd)
{
	struct vhost_vring_file file = {.index = ring, .fd = fd};

	return request(vhost_fd, number, &file);
}

/* Where the ring is and where it begins. */
static int set_ring(int vhost_fd, enum vhost_ring ring, const struct virtqueue *queue)
{
	struct virtqueue_areas areas = virtqueue_areas(queue);
	struct vhost_vring_state size = {.index = ring, .num = queue->layout.size};
	struct vhost_vring_state base = {.index = ring, .num = 0};
	struct vhost_vring_addr addresses = {
		.index = ring,
		.desc_user_addr = (uintptr_t)areas.desc,
		.avail_user_addr = (uintptr_t)areas.driver,
		.used_user_addr = (uintptr_t)areas.device,
	};
	int result = request(vhost_fd, VHOST_SET_VRING_NUM, &size);

	if (!result)
		result = request(vhost_fd, VHOST_SET_VRING_BASE, &base);
	if (!result)
		result = request(vhost_fd, VHOST_SET_VRING_ADDR, &addresses);
	return result;
}

int vhost_ring_start(int vhost_fd, enum vhost_ring ring, const struct virtqueue *queue, int kick_fd,
	int call_fd, int error_fd, int tap_fd)
{
	int result = set_ring(vhost_fd, ring, queue);

	if (!result)
		result = set_file(vhost_fd, VHOST_SET_VRING_CALL, ring, call_fd);
	if (!result)
		result = set_file(vhost_fd, VHOST_SET_VRING_ERR, ring, error_fd);
	if (!result)
		result = set_file(vhost_fd, VHOST_SET_VRING_KICK, ring, kick_fd);
	if (!result)
		result = set_file(vhost_fd, VHOST_NET_SET_BACKEND, ring, tap_fd);
	if (result)
		vhost_ring_stop(vhost_fd, ring);
	else
		fd_signal(kick_fd); /* for what was made available before */
	return result;
}

void vhost_ring_stop(int vhost_fd, enum vhost_ring ring)
{
	(void)set_file(vhost_fd, VHOST_NET_SET_BACKEND, ring, -1);
	(void)set_file(vhost_fd, VHOST_SET_VRING_KICK, ring, -1);
	(void)set_file(vhost_fd, VHOST_SET_VRING_ERR, ring, -1);
	(void)set_file(vhost_fd, VHOST_SET_VRING_CALL, ring, -1);
}
