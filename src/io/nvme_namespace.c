/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Size and format come from the identify commands, because it is the controller that the commands
 * of the guest go to. The kernel's view of the matching block device, in sysfs, adds the bounds
 * that the driver and the host's memory management set, and the quirks of the model: a range
 * operation that the kernel does not trust the controller with is not used.
 *
 * The character device knows no exclusive opening. Whoever mounts, partitions or stacks something
 * opens the block device exclusively, so that is what is done here too, for as long as the disk is
 * open; the image lock of disk.c is taken on it as well.
 */
#include "io/nvme_namespace.h"

#include "util/bytes.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ADMIN_IDENTIFY      0x06
#define IDENTIFY_NAMESPACE  0x00
#define IDENTIFY_CONTROLLER 0x01

#define PAGE          4096u /* the smallest that a controller's unit of MDTS can be */
#define SEGMENTS_HERE 127u  /* what the kernel's PCI driver allows, where sysfs does not tell */

/* ---- identify data ---- */

int nvme_parse_namespace(const uint8_t data[NVME_IDENTIFY_BYTES],
	struct nvme_geometry *ret_geometry, const char **ret_why)
{
	unsigned formatted = data[26]; /* FLBAS */
	unsigned format = (formatted & 15) | (formatted >> 5 & 3) << 4;
	const uint8_t *entry = data + 128 + format * 4; /* LBAF */
	uint64_t blocks = get_le64(data);

	*ret_why = NULL;
	if (!blocks)
		*ret_why = "has no blocks: it is not attached";
	else if (get_le16(entry))
		*ret_why = "is formatted with metadata; a format without is needed";
	else if (data[29] & 7) /* DPS */
		*ret_why = "is formatted with protection information; a format without is needed";
	else if (entry[2] < 9 || entry[2] > 16)
		*ret_why = "has blocks of a size that is not from 512 bytes to 64 KiB";
	else if (blocks > (uint64_t)INT64_MAX >> entry[2])
		*ret_why = "claims an impossible size";
	if (*ret_why)
		return -ENOTSUP;
	*ret_geometry = (struct nvme_geometry){
		.size = blocks << entry[2],
		.block_shift = entry[2],
		.write_protected = data[99] & 1, /* NSATTR */
		/* DLFEAT: it can, and what is deallocated reads as zeros. */
		.zeroes_deallocate = (data[33] & 15) == 9,
	};
	return 0;
}

struct nvme_abilities nvme_parse_controller(const uint8_t data[NVME_IDENTIFY_BYTES])
{
	unsigned mdts = data[77], optional = get_le16(data + 520); /* ONCS */

	return (struct nvme_abilities){
		.transfer_max = mdts && mdts < 40 ? (uint64_t)PAGE << mdts : UINT64_MAX,
		.deallocate = optional & 1 << 2,
		.write_zeroes = optional & 1 << 3,
	};
}

/* 0, negative errno, or -EIO for an NVMe status. */
static int identify(int fd, uint32_t nsid, uint32_t what, uint8_t data[NVME_IDENTIFY_BYTES])
{
	struct nvme_admin_cmd command = {
		.opcode = ADMIN_IDENTIFY,
		.nsid = nsid,
		.addr = (uintptr_t)data,
		.data_len = NVME_IDENTIFY_BYTES,
		.cdw10 = what,
	};
	int result = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command);

	if (result < 0)
		return -errno;
	return result ? -EIO : 0;
}

/* ---- the kernel's view ---- */

/* The last part of where a link in sysfs leads to. */
static int link_name(const char *link, char ret_name[NAME_MAX + 1])
{
	char target[PATH_MAX];
	ssize_t length = readlink(link, target, sizeof(target) - 1);
	const char *name;

	if (length < 0)
		return -errno;
	target[length] = 0;
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (strlen(name) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(ret_name, name);
	return 0;
}

/* What the block device's queue says under @name, or @otherwise. */
static uint64_t queue_number(int block_fd, const char *name, uint64_t otherwise)
{
	char path[96], text[32] = "";
	auto_fd int fd = -1;
	struct stat status;
	unsigned long long value;

	if (fstat(block_fd, &status))
		return otherwise;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/%s", major(status.st_rdev),
		minor(status.st_rdev), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return otherwise;
	return sscanf(text, "%llu", &value) == 1 ? value : otherwise;
}

bool nvme_namespace_is(dev_t device)
{
	char link[64], name[NAME_MAX + 1];

	snprintf(link, sizeof(link), "/sys/dev/char/%u:%u/subsystem", major(device), minor(device));
	return !link_name(link, name) && !strcmp(name, "nvme-generic");
}

/* "/dev/nvme0n1" for ng0n1. */
static int find_block_device(dev_t device, char ret_path[NAME_MAX + 16])
{
	char link[64], name[NAME_MAX + 1];
	int result;

	snprintf(link, sizeof(link), "/sys/dev/char/%u:%u", major(device), minor(device));
	result = link_name(link, name);
	if (result)
		return result;
	if (strncmp(name, "ng", 2))
		return -ENODEV;
	snprintf(ret_path, NAME_MAX + 16, "/dev/nvme%s", name + 2);
	return 0;
}

/* True where the open block device is the one that the kernel calls so. */
static bool is_block_device(int fd, const char *path)
{
	char link[64], name[NAME_MAX + 1];
	struct stat status;

	if (fstat(fd, &status) || !S_ISBLK(status.st_mode))
		return false;
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(status.st_rdev),
		minor(status.st_rdev));
	return !link_name(link, name) && !strcmp(name, path + strlen("/dev/"));
}

static int take_block_device(struct nvme_namespace *namespace, dev_t device, const char *path,
	bool readonly, struct error *error)
{
	int flags = readonly ? O_RDONLY : O_RDWR | O_EXCL;
	char block[NAME_MAX + 16];
	int result = find_block_device(device, block);

	if (result)
		return error_set(error, result, "disk %s: its block device is not known: %s", path,
			strerror(-result));
	namespace->block_fd = open(block, flags | O_CLOEXEC);
	if (namespace->block_fd < 0 && errno == EBUSY)
		return error_set(error, -EBUSY,
			"disk %s: the same namespace is in use as %s (mounted, part of another "
			"device, or by another instance)",
			path, block);
	if (namespace->block_fd < 0)
		return error_set(error, -errno,
			"disk %s: %s, by which other users are kept away, cannot be opened: %s",
			path, block, strerror(errno));
	if (!is_block_device(namespace->block_fd, block))
		return error_set(error, -ENODEV, "disk %s: %s is another device", path, block);
	return 0;
}

/* ---- the whole ---- */

static int ask(int fd, const char *path, struct nvme_namespace *namespace,
	struct nvme_geometry *ret_geometry, struct nvme_abilities *ret_abilities,
	struct error *error)
{
	uint8_t data[NVME_IDENTIFY_BYTES] cache_aligned;
	const char *why;
	int result = ioctl(fd, NVME_IOCTL_ID);

	if (result <= 0)
		return error_set(error, result ? -errno : -ENODEV,
			"disk %s: the namespace has no number: %s", path,
			strerror(result ? errno : ENODEV));
	namespace->target.nsid = (uint32_t)result;
	result = identify(fd, 0, IDENTIFY_CONTROLLER, data);
	if (!result) {
		*ret_abilities = nvme_parse_controller(data);
		result = identify(fd, namespace->target.nsid, IDENTIFY_NAMESPACE, data);
	}
	if (result)
		return error_set(error, result, "disk %s: the controller does not identify it: %s",
			path, strerror(-result));
	if (nvme_parse_namespace(data, ret_geometry, &why))
		return error_set(error, -ENOTSUP, "disk %s: the namespace %s", path, why);
	namespace->target.block_shift = ret_geometry->block_shift;
	namespace->zeroes_deallocate = ret_geometry->zeroes_deallocate;
	return 0;
}

/* The smallest of what the controller, its driver and the memory's pages allow. */
static void find_bounds(struct nvme_namespace *namespace, const struct nvme_abilities *abilities)
{
	int fd = namespace->block_fd;
	uint64_t block = 1ull << namespace->target.block_shift;
	uint64_t segments = queue_number(fd, "max_segments", SEGMENTS_HERE);
	uint64_t kilobytes = queue_number(fd, "max_hw_sectors_kb", UINT32_MAX);
	uint64_t bytes = min_of(abilities->transfer_max, kilobytes * 1024);

	segments = max_of(min_of(segments, (uint64_t)UINT16_MAX), (uint64_t)2);
	bytes = min_of(bytes, (segments - 1) * PAGE); /* no two pages need be neighbours */
	bytes = min_of(bytes, NVME_BLOCKS_MAX * block);
	namespace->pages_max = (unsigned)segments;
	namespace->bytes_max = (uint32_t)align_down(bytes, block);
	bytes = abilities->deallocate ? queue_number(fd, "discard_max_bytes", 0) : 0;
	namespace->discard_max = align_down(bytes, block);
	if (!abilities->write_zeroes)
		return;
	bytes = min_of(queue_number(fd, "write_zeroes_max_bytes", 0), NVME_BLOCKS_MAX * block);
	namespace->zeroes_max = align_down(bytes, block);
}

static int check_use(const struct nvme_namespace *namespace, const struct nvme_geometry *geometry,
	const char *path, bool readonly, struct error *error)
{
	if (geometry->write_protected && !readonly)
		return error_set(error, -EROFS,
			"disk %s: the namespace is write-protected; add ,readonly=on", path);
	if (queue_number(namespace->block_fd, "nr_zones", 0))
		return error_set(error, -ENOTSUP, "disk %s: the namespace is zoned", path);
	if (!namespace->bytes_max)
		return error_set(error, -ENOTSUP,
			"disk %s: the host cannot transfer a whole block of it at once", path);
	return 0;
}

int nvme_namespace_open(int fd, dev_t device, const char *path, bool readonly,
	struct nvme_namespace **ret_namespace, struct error *error)
{
	struct nvme_namespace *namespace = calloc(1, sizeof(*namespace));
	struct nvme_abilities abilities = {0};
	struct nvme_geometry geometry = {0};
	int result;

	if (!namespace)
		return error_set(error, -ENOMEM, "disk %s: out of memory", path);
	namespace->block_fd = -1;
	result = ask(fd, path, namespace, &geometry, &abilities, error);
	if (!result)
		result = take_block_device(namespace, device, path, readonly, error);
	if (!result) {
		find_bounds(namespace, &abilities);
		result = check_use(namespace, &geometry, path, readonly, error);
	}
	if (result) {
		nvme_namespace_close(namespace);
		return result;
	}
	*ret_namespace = namespace;
	return 0;
}

void nvme_namespace_close(struct nvme_namespace *namespace)
{
	if (!namespace)
		return;
	if (namespace->block_fd >= 0)
		close(namespace->block_fd);
	free(namespace);
}

int nvme_namespace_size(const struct nvme_namespace *namespace, int fd, uint64_t *ret_size)
{
	uint8_t data[NVME_IDENTIFY_BYTES] cache_aligned;
	struct nvme_geometry geometry;
	const char *why;
	int result = identify(fd, namespace->target.nsid, IDENTIFY_NAMESPACE, data);

	if (!result)
		result = nvme_parse_namespace(data, &geometry, &why);
	if (result)
		return result;
	if (geometry.block_shift != namespace->target.block_shift)
		return -ESTALE; /* formatted anew */
	*ret_size = geometry.size;
	return 0;
}

int nvme_namespace_flush(const struct nvme_namespace *namespace, int fd)
{
	struct nvme_passthru_cmd command = {
		.opcode = NVME_OPCODE_FLUSH, .nsid = namespace->target.nsid};
	int result = ioctl(fd, NVME_IOCTL_IO_CMD, &command);

	return result < 0 ? -errno : nvme_status_errno(result);
}
