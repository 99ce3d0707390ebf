/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NVMe namespace behind its generic character device (/dev/ng0n1): what it is, what its
 * controller can, and the hold on its block device (/dev/nvme0n1) that keeps others away.
 *
 * Threads: all by the main thread, but for nvme_namespace_flush(); the fields are constant after
 * nvme_namespace_open().
 */
#pragma once

#include "io/nvme_command.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

#define NVME_IDENTIFY_BYTES 4096u /* of the controller's answer to an identify command */

/* What the identify data of a namespace say. */
struct nvme_geometry {
	uint64_t size; /* bytes */
	unsigned block_shift;
	bool write_protected;
	bool zeroes_deallocate; /* write zeroes may unmap, and it reads as zeros then */
};

/* What those of its controller say. */
struct nvme_abilities {
	uint64_t transfer_max; /* bytes of one read or write; UINT64_MAX: no bound */
	bool deallocate;
	bool write_zeroes;
};

struct nvme_namespace {
	int block_fd; /* the block device, open as long as the disk is */
	struct nvme_target target;
	bool zeroes_deallocate;
	unsigned pages_max;   /* of host memory that the buffers of one command touch */
	uint32_t bytes_max;   /* of one read or write; a multiple of the block */
	uint64_t discard_max; /* of one deallocation; the same; 0: there is none */
	uint64_t zeroes_max;  /* of one write zeroes; the same; 0: there is none */
};

/* True where the character device numbered @device is that of a namespace. */
bool nvme_namespace_is(dev_t device);

/*
 * Identifies the namespace behind @fd, of the character device numbered @device, and takes hold of
 * its block device: exclusively, unless @readonly. Returns 0 with a namespace that
 * nvme_namespace_close() releases, or negative errno with a line in @error that names @path: -EBUSY
 * (in use), -ENOTSUP (metadata, zones), -EROFS (write protected), ...
 */
int nvme_namespace_open(int fd, dev_t device, const char *path, bool readonly,
	struct nvme_namespace **ret_namespace, struct error *error);

/* Lets go of the block device. Accepts NULL. */
void nvme_namespace_close(struct nvme_namespace *namespace);

/* Asks for the size, in bytes. 0 or negative errno: -ESTALE after a change of format. */
int nvme_namespace_size(const struct nvme_namespace *namespace, int fd, uint64_t *ret_size);

/* Waits until all that was written is on stable storage. 0 or negative errno. Any thread. */
int nvme_namespace_flush(const struct nvme_namespace *namespace, int fd);

/*
 * Pure: what identify data say. nvme_parse_namespace() returns 0, or -ENOTSUP with the reason in
 * *ret_why for a format that cannot be used.
 */
int nvme_parse_namespace(const uint8_t data[NVME_IDENTIFY_BYTES],
	struct nvme_geometry *ret_geometry, const char **ret_why);
struct nvme_abilities nvme_parse_controller(const uint8_t data[NVME_IDENTIFY_BYTES]);
