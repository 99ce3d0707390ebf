/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a disk: what it is, who else uses it, how large it is, and what direct I/O asks of
 * buffers.
 *
 * The lock is made of open-file-description locks on single bytes of the image, in the places that
 * QEMU uses for the same purpose, so that fastvmm and QEMU keep each other out as they do among
 * themselves: byte 100 says "I read", 101 to 103 "I write or resize", 201 to 203 "nobody else may
 * write or resize". A writer holds 101-103 and 201-203 for itself, which is atomic between two
 * fastvmm; a reader holds 201-203 shared, and looks whether anybody holds 101-103, for QEMU takes
 * those shared too. Closing the file gives the locks back, and they do not survive a crash.
 */
#include "io/disk.h"

#include "io/nvme_namespace.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_READS     100
#define LOCK_WRITES    101
#define LOCK_NO_WRITER 201
#define LOCK_BYTES     3

#define PAGE 4096u

/* ---- locking ---- */

static int lock_bytes(int fd, short type, off_t start, off_t length)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

/* 0, -EAGAIN where anybody holds the bytes, or another negative errno. */
static int probe_bytes(int fd, off_t start, off_t length)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	if (fcntl(fd, F_OFD_GETLK, &lock))
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* A namespace is locked where others look: at its block device. */
static int lock_fd(const struct disk *disk)
{
	return disk->nvme ? disk->nvme->block_fd : disk->fd;
}

static int take_lock(const struct disk *disk)
{
	short type = disk->readonly ? F_RDLCK : F_WRLCK;
	int fd = lock_fd(disk);
	int result = lock_bytes(fd, F_RDLCK, LOCK_READS, 1);

	if (!result)
		result = lock_bytes(fd, type, LOCK_NO_WRITER, LOCK_BYTES);
	if (!result && disk->readonly)
		return probe_bytes(fd, LOCK_WRITES, LOCK_BYTES);
	if (!result)
		result = lock_bytes(fd, type, LOCK_WRITES, LOCK_BYTES);
	return result;
}

static int lock_disk(const struct disk *disk, struct error *error)
{
	int result = take_lock(disk);

	if (result == -EAGAIN || result == -EACCES)
		return error_set(error, -EBUSY,
			"disk %s: locked by another instance%s; stop that one, or use a copy",
			disk->path, disk->readonly ? " that writes to it" : "");
	if (result)
		log_warning(
			"disk %s: cannot be locked here (%s): nothing keeps a second writer out",
			disk->path, strerror(-result));
	return 0;
}

/* ---- opening ---- */

static int explain_open(const struct disk *disk, int code, struct error *error)
{
	const char *path = disk->path;

	switch (-code) {
	case ENOENT:
		return error_set(error, code,
			"disk %s: no such file; make an empty one with: truncate -s 10G %s", path,
			path);
	case EACCES:
	case EPERM:
		return error_set(error, code,
			"disk %s: permission denied; change its mode or owner%s", path,
			disk->readonly ? "" : ", or add ,readonly=on if reading is enough");
	case EROFS:
		return error_set(error, code,
			"disk %s: is on something write-protected; add ,readonly=on", path);
	case EBUSY:
		return error_set(error, code,
			"disk %s: the block device is in use (mounted, or part of another device)",
			path);
	case ETXTBSY:
		return error_set(error, code, "disk %s: the file is being executed", path);
	default:
		return error_set(
			error, code, "disk %s: cannot be opened: %s", path, strerror(-code));
	}
}

/* Looks before opening: opening a FIFO or a device has effects of its own. */
static int check_kind(struct disk *disk, struct stat *ret_status, struct error *error)
{
	struct stat status;

	if (stat(disk->path, &status))
		return explain_open(disk, -errno, error);
	if (S_ISDIR(status.st_mode))
		return error_set(error, -EISDIR,
			"disk %s: is a directory; give a file or a block device", disk->path);
	disk->block_device = S_ISBLK(status.st_mode);
	*ret_status = status;
	if (S_ISREG(status.st_mode) || disk->block_device)
		return 0;
	if (!S_ISCHR(status.st_mode) || !nvme_namespace_is(status.st_rdev))
		return error_set(error, -EINVAL,
			"disk %s: is neither a file nor a block device, nor an NVMe namespace such "
			"as /dev/ng0n1",
			disk->path);
	return 0;
}

static int open_namespace(struct disk *disk, dev_t device, struct error *error)
{
	if (disk->cache == DISK_CACHE_WRITEBACK)
		return error_set(error, -EINVAL,
			"disk %s: cache=writeback does not go with an NVMe namespace, which has no "
			"page cache; use its block device",
			disk->path);
	return nvme_namespace_open(
		disk->fd, device, disk->path, disk->readonly, &disk->nvme, error);
}

static int open_file(struct disk *disk, const struct stat *before, struct error *error)
{
	int flags = O_CLOEXEC | O_NOCTTY | (disk->readonly ? O_RDONLY : O_RDWR);
	struct stat status;

	/* O_EXCL keeps mounts, RAID and other exclusive users away from what we write to. */
	if (disk->block_device && !disk->readonly)
		flags |= O_EXCL;
	disk->fd = open(disk->path, flags);
	if (disk->fd < 0)
		return explain_open(disk, -errno, error);
	if (fstat(disk->fd, &status))
		return explain_open(disk, -errno, error);
	if ((status.st_mode & S_IFMT) != (before->st_mode & S_IFMT) ||
		status.st_rdev != before->st_rdev)
		return error_set(
			error, -EINVAL, "disk %s: was replaced while it was opened", disk->path);
	return S_ISCHR(status.st_mode) ? open_namespace(disk, status.st_rdev, error) : 0;
}

/* ---- size and geometry ---- */

static int read_size(const struct disk *disk, uint64_t *ret_size)
{
	struct stat status;

	if (disk->nvme)
		return nvme_namespace_size(disk->nvme, disk->fd, ret_size);
	if (disk->block_device)
		return ioctl(disk->fd, BLKGETSIZE64, ret_size) ? -errno : 0;
	if (fstat(disk->fd, &status))
		return -errno;
	*ret_size = (uint64_t)status.st_size;
	return 0;
}

static int check_size(struct disk *disk, struct error *error)
{
	uint64_t size = 0;
	int result = read_size(disk, &size);

	if (result)
		return error_set(error, result, "disk %s: its size is not known: %s", disk->path,
			strerror(-result));
	if (!size)
		return error_set(error, -ENODATA,
			"disk %s: is empty; give it a size with: truncate -s 10G %s", disk->path,
			disk->path);
	if (size % disk->logical_block)
		return error_set(error, -EINVAL,
			"disk %s: its size, %llu bytes, is not a multiple of %u; round it up with: "
			"truncate -s %%%u %s",
			disk->path, (unsigned long long)size, disk->logical_block,
			disk->logical_block, disk->path);
	atomic_store_explicit(&disk->size, size, memory_order_relaxed);
	return 0;
}

static bool plausible_block(uint32_t bytes)
{
	return is_power_of_two(bytes) && bytes >= DISK_SECTOR && bytes <= 65536;
}

static void find_blocks(struct disk *disk)
{
	int fd = lock_fd(disk), logical = 0;
	unsigned physical = 0, optimal = 0;
	struct stat status;

	disk->logical_block = DISK_SECTOR;
	if (disk->block_device || disk->nvme) {
		if (!ioctl(fd, BLKSSZGET, &logical) && plausible_block((uint32_t)logical))
			disk->logical_block = (uint32_t)logical;
		if (disk->nvme)
			disk->logical_block = 1u << disk->nvme->target.block_shift;
		if (ioctl(fd, BLKPBSZGET, &physical))
			physical = 0;
		if (!ioctl(fd, BLKIOOPT, &optimal))
			disk->optimal_io = optimal;
	} else if (!fstat(disk->fd, &status)) {
		physical = (unsigned)status.st_blksize;
	}
	disk->physical_block = plausible_block(physical) ? physical : PAGE;
	disk->physical_block = max_of(disk->physical_block, disk->logical_block);
}

/* ---- direct I/O ---- */

/* The alignment that the file asks for; false where it does no direct I/O. */
static bool find_alignment(struct disk *disk)
{
	struct statx status;

	/* What holds everywhere, for kernels before 6.1 that do not tell. */
	disk->memory_align = PAGE;
	disk->length_align = disk->logical_block;
	if (statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status))
		return true;
	if (!(status.stx_mask & STATX_DIOALIGN))
		return true;
	if (!status.stx_dio_mem_align || !status.stx_dio_offset_align)
		return false;
	disk->memory_align = status.stx_dio_mem_align;
	disk->length_align = status.stx_dio_offset_align;
	return is_power_of_two(disk->memory_align) && is_power_of_two(disk->length_align);
}

/* A read of one block shows whether the file takes direct I/O of the guest's block size. */
static bool direct_read_works(const struct disk *disk)
{
	auto_free void *buffer = aligned_alloc(65536, 65536);

	return buffer && pread(disk->fd, buffer, disk->logical_block, 0) >= 0;
}

static void set_direct(struct disk *disk)
{
	int flags = fcntl(disk->fd, F_GETFL);

	disk->memory_align = disk->length_align = 1;
	disk->direct = disk->nvme;
	if (disk->cache != DISK_CACHE_NONE || disk->nvme)
		return;
	if (!fcntl(disk->fd, F_SETFL, flags | O_DIRECT)) {
		if (find_alignment(disk) && disk->length_align <= disk->logical_block &&
			direct_read_works(disk)) {
			disk->direct = true;
			return;
		}
		fcntl(disk->fd, F_SETFL, flags);
	}
	disk->memory_align = disk->length_align = 1;
	log_info("disk %s: cache=none, but the file takes no direct I/O in %u-byte blocks: "
		 "the host's page cache is used",
		disk->path, disk->logical_block);
}

void disk_stop_polling(struct disk *disk, const char *why)
{
	if (atomic_exchange_explicit(&disk->polled, false, memory_order_relaxed))
		log_warning("disk %s: iopoll=on has no effect: %s", disk->path, why);
}

/* Whether the file can be polled shows its first request: there is no asking. */
static void set_polled(struct disk *disk, bool wanted)
{
	atomic_store_explicit(&disk->polled, wanted, memory_order_relaxed);
	if (!disk->direct)
		disk_stop_polling(disk, "the file takes no direct I/O");
}

/* ---- the whole ---- */

static int open_steps(struct disk *disk, struct error *error)
{
	struct stat status = {0};
	int result = check_kind(disk, &status, error);

	if (!result)
		result = open_file(disk, &status, error);
	if (result)
		return result;
	find_blocks(disk);
	result = check_size(disk, error);
	if (!result)
		result = lock_disk(disk, error);
	if (result)
		return result;
	set_direct(disk);
	disk->zeroes = mmap(
		NULL, DISK_ZEROES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (disk->zeroes == MAP_FAILED) {
		disk->zeroes = NULL;
		return error_set(error, -ENOMEM, "disk %s: out of memory", disk->path);
	}
	return 0;
}

static void set_methods(struct disk *disk)
{
	disk->discard_method = disk->block_device ? DISK_RANGE_URING_CMD : DISK_RANGE_PUNCH;
	disk->unmap_method = DISK_RANGE_PUNCH;
	disk->zero_method = DISK_RANGE_ZERO;
	if (!disk->nvme)
		return;
	disk->discard_method = disk->nvme->discard_max ? DISK_RANGE_ZERO : DISK_RANGE_WRITE;
	disk->zero_method = disk->nvme->zeroes_max ? DISK_RANGE_ZERO : DISK_RANGE_WRITE;
	disk->unmap_method = disk->zero_method;
}

int disk_open(const struct disk_options *options, struct disk **ret_disk, struct error *error)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	int result;

	if (!disk)
		return error_set(error, -ENOMEM, "disk %s: out of memory", options->path);
	disk->fd = -1;
	disk->path = strdup(options->path);
	disk->readonly = options->readonly;
	disk->cache = options->cache;
	disk->discard = options->discard && !options->readonly;
	result = disk->path ? open_steps(disk, error) : -ENOMEM;
	if (result) {
		disk_close(disk);
		return result;
	}
	disk->part_max = disk->nvme ? disk->nvme->bytes_max : DISK_PART_MAX;
	set_polled(disk, options->iopoll);
	set_methods(disk);
	*ret_disk = disk;
	return 0;
}

void disk_close(struct disk *disk)
{
	if (!disk)
		return;
	if (disk->fd >= 0) {
		/* An io_uring may hold the file for a moment longer: the locks must not wait for
		 * it. */
		lock_bytes(lock_fd(disk), F_UNLCK, 0, 0);
		close(disk->fd);
	}
	nvme_namespace_close(disk->nvme);
	if (disk->zeroes)
		munmap(disk->zeroes, DISK_ZEROES);
	free(disk->path);
	free(disk);
}

int disk_sync(const struct disk *disk)
{
	if (disk->nvme)
		return nvme_namespace_flush(disk->nvme, disk->fd);
	return fdatasync(disk->fd) ? -errno : 0;
}

int disk_refresh_size(struct disk *disk, bool *ret_changed)
{
	uint64_t size = 0;
	int result = read_size(disk, &size);

	if (result)
		return result;
	size = align_down(size, disk->logical_block); /* a file caught while it grows */
	*ret_changed = size != disk_size(disk);
	atomic_store_explicit(&disk->size, size, memory_order_relaxed);
	return 0;
}

/* ---- what the engines share ---- */

bool disk_needs_bounce(const struct disk *disk, const struct disk_request *request)
{
	uintptr_t bits = 0;
	size_t lengths = 0;

	if (likely(!disk->direct))
		return false;
	for (unsigned i = 0; i < request->iov_count; i++) {
		bits |= (uintptr_t)request->iov[i].iov_base;
		lengths |= request->iov[i].iov_len;
	}
	return (bits & (disk->memory_align - 1)) || (lengths & (disk->length_align - 1));
}

static _Atomic int *method_of(struct disk *disk, const struct disk_request *request)
{
	if (request->op == DISK_DISCARD)
		return &disk->discard_method;
	return request->unmap && disk->discard ? &disk->unmap_method : &disk->zero_method;
}

enum disk_range_method disk_range_first(struct disk *disk, const struct disk_request *request)
{
	if (request->op == DISK_DISCARD && !disk->discard)
		return DISK_RANGE_WRITE;
	return (enum disk_range_method)atomic_load_explicit(
		method_of(disk, request), memory_order_relaxed);
}

bool disk_range_step_down(struct disk *disk, struct disk_request *request, int error)
{
	enum disk_range_method next;

	/* EINVAL is how kernels answer what is newer than they are, but not only that. */
	if (error != -EOPNOTSUPP && error != -ENOSYS && error != -ENOTTY && error != -EINVAL)
		return false;
	if (request->method == DISK_RANGE_WRITE)
		return false;
	if (request->method == DISK_RANGE_URING_CMD)
		next = DISK_RANGE_PUNCH;
	else if (request->method == DISK_RANGE_PUNCH && request->op == DISK_WRITE_ZEROES)
		next = DISK_RANGE_ZERO;
	else
		next = DISK_RANGE_WRITE;
	request->method = (uint8_t)next;
	if (error != -EINVAL)
		atomic_store_explicit(method_of(disk, request), (int)next, memory_order_relaxed);
	return true;
}

int disk_range_fallocate_mode(enum disk_range_method method)
{
	return FALLOC_FL_KEEP_SIZE |
	       (method == DISK_RANGE_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}
