/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set-up tries the flags of the newest kernel first and steps down while the kernel answers
 * -EINVAL. The ring is born disabled, so that the thread that will own it (SINGLE_ISSUER) can be
 * another one than the maker. DEFER_TASKRUN is left out for a ring whose descriptor is polled: work
 * that is deferred until the owner comes does not wake a poll of the ring. The submission array is
 * filled in once with the identity: SQE i always travels in slot i, and submitting is a store of
 * the tail.
 */
#include "io/ring.h"

#include "memory/guest_memory.h"
#include "util/error.h"

#include <errno.h>
#include <string.h>

#define PIECE_MAX (1ull << 30) /* the kernel's bound for one registered buffer */

/* From the best to the plainest. TASKRUN_FLAG lets a spinner see that deferred work waits. */
static const unsigned setup_ladder[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_SUBMIT_ALL,
	0,
};

static int make_ring(
	struct ring *ring, const struct ring_kind *kind, unsigned sq_entries, unsigned cq_entries)
{
	size_t first = kind->watched ? 1 : 0;
	int result = -EINVAL;

	for (size_t i = first; i < ARRAY_SIZE(setup_ladder) && result == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = setup_ladder[i] | kind->setup_flags | IORING_SETUP_R_DISABLED |
		                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = cq_entries,
		};

		result = io_uring_queue_init_params(sq_entries, &ring->uring, &params);
	}
	if (result)
		return result;
	for (unsigned i = 0; i < ring->uring.sq.ring_entries; i++)
		ring->uring.sq.array[i] = i;
	ring->initialised = true;
	return 0;
}

static void find_features(struct ring *ring)
{
	struct ring_features *features = &ring->features;
	unsigned flags = ring->uring.flags;
	struct io_uring_probe *probe;

	*features = (struct ring_features){
		.kernel = ring->uring.features,
		.single_issuer = flags & IORING_SETUP_SINGLE_ISSUER,
		.defer_taskrun = flags & IORING_SETUP_DEFER_TASKRUN,
		.submit_all = flags & IORING_SETUP_SUBMIT_ALL,
		/* Multishot poll has no flag of its own; it came with resource tags, in 5.13. */
		.multishot_poll = ring->uring.features & IORING_FEAT_RSRC_TAGS,
	};
	probe = io_uring_get_probe_ring(&ring->uring);
	if (!probe)
		return;
	features->op_read_write = io_uring_opcode_supported(probe, IORING_OP_READ) &&
	                          io_uring_opcode_supported(probe, IORING_OP_WRITE);
	features->op_fallocate = io_uring_opcode_supported(probe, IORING_OP_FALLOCATE);
	features->op_uring_cmd = io_uring_opcode_supported(probe, IORING_OP_URING_CMD);
	features->op_vectored_fixed = io_uring_opcode_supported(probe, URING_OP_READV_FIXED) &&
	                              io_uring_opcode_supported(probe, URING_OP_WRITEV_FIXED);
	io_uring_free_probe(probe);
}

static void register_files(struct ring *ring)
{
	int none[RING_FILES];
	int result = io_uring_register_files_sparse(&ring->uring, RING_FILES);

	ring->features.sparse_files = !result;
	if (result) {
		memset(none, -1, sizeof(none));
		result = io_uring_register_files(&ring->uring, none, RING_FILES);
	}
	ring->files_registered = !result; /* without: plain descriptors, a little slower */
}

static int explain(struct error *error, int code)
{
	switch (-code) {
	case ENOSYS:
		return error_set(
			error, code, "io_uring is not in this kernel; 5.13 or newer is needed");
	case EPERM:
	case EACCES:
		return error_set(error, code,
			"io_uring is not permitted here: see the sysctl kernel.io_uring_disabled "
			"and the "
			"container's seccomp profile");
	case ENOMEM:
		return error_set(error, code,
			"not enough memory for an io_uring: raise the locked-memory limit (ulimit "
			"-l)");
	case EMFILE:
		return error_set(error, code,
			"too many open files for an io_uring: raise the limit (ulimit -n)");
	default:
		return error_set(error, code, "cannot make an io_uring: %s", strerror(-code));
	}
}

int ring_init(struct ring *ring, unsigned sq_entries, unsigned cq_entries, struct error *error)
{
	return ring_init_as(ring, &(struct ring_kind){0}, sq_entries, cq_entries, error);
}

int ring_init_as(struct ring *ring, const struct ring_kind *kind, unsigned sq_entries,
	unsigned cq_entries, struct error *error)
{
	int result;

	memset(ring, 0, sizeof(*ring));
	result = make_ring(ring, kind, sq_entries, cq_entries);
	if (result)
		return explain(error, result);
	find_features(ring);
	if (!ring->features.multishot_poll || !ring->features.op_read_write) {
		ring_deinit(ring);
		return error_set(error, -EOPNOTSUPP,
			"this kernel's io_uring is too old: 5.13 or newer is needed");
	}
	return 0;
}

void ring_deinit(struct ring *ring)
{
	if (!ring->initialised)
		return;
	io_uring_queue_exit(&ring->uring);
	ring->initialised = false;
}

int ring_enable(struct ring *ring)
{
	/* liburing 2.3 declares a function for this and does not export it. */
	int result = io_uring_register(
		(unsigned)ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	if (result < 0)
		return result;
	register_files(ring);
	if (io_uring_register_ring_fd(&ring->uring) == 1) {
		ring->features.registered_ring = true;
		ring->enter_flags = IORING_ENTER_REGISTERED_RING;
	}
	ring->enabled = true;
	return 0;
}

int ring_probe(struct ring_features *ret_features)
{
	struct ring ring = {0};
	int result = make_ring(&ring, &(struct ring_kind){0}, 4, 8);

	if (result) {
		*ret_features = (struct ring_features){.error = result};
		return result;
	}
	find_features(&ring);
	result = ring_enable(&ring);
	ring.features.error = result;
	*ret_features = ring.features;
	ring_deinit(&ring);
	return result;
}

void ring_add_file(struct ring *ring, int fd, struct ring_file *ret_file)
{
	*ret_file = (struct ring_file){.number = fd};
	if (!ring->files_registered)
		return;
	for (int i = 0; i < RING_FILES; i++) {
		uint64_t bit = 1ull << (i % 64);

		if (ring->files_used[i / 64] & bit)
			continue;
		if (io_uring_register_files_update(&ring->uring, (unsigned)i, &fd, 1) != 1)
			return;
		ring->files_used[i / 64] |= bit;
		*ret_file = (struct ring_file){.number = i, .sqe_flags = IOSQE_FIXED_FILE};
		return;
	}
}

void ring_remove_file(struct ring *ring, const struct ring_file *file)
{
	int none = -1;

	if (!(file->sqe_flags & IOSQE_FIXED_FILE))
		return;
	io_uring_register_files_update(&ring->uring, (unsigned)file->number, &none, 1);
	ring->files_used[file->number / 64] &= ~(1ull << (file->number % 64));
}

/* Cuts all regions into pieces. Returns their number, or -E2BIG. */
static int cut_pieces(const struct guest_memory *memory, struct iovec pieces[RING_BUFFERS_MAX])
{
	unsigned count = 0;

	for (size_t i = 0; i < guest_memory_region_count(memory); i++) {
		const struct guest_memory_region *region = guest_memory_region(memory, i);

		for (uint64_t at = 0; at < region->size; at += PIECE_MAX) {
			if (count == RING_BUFFERS_MAX)
				return -E2BIG;
			pieces[count++] = (struct iovec){
				.iov_base = (char *)region->host + at,
				.iov_len = min_of(region->size - at, PIECE_MAX),
			};
		}
	}
	return (int)count;
}

int ring_register_memory(struct ring *ring, const struct guest_memory *memory)
{
	struct iovec pieces[RING_BUFFERS_MAX];
	int count, result;

	if (ring->buffer_count)
		return 0;
	count = cut_pieces(memory, pieces);
	if (count < 0)
		return count;
	result = io_uring_register_buffers(&ring->uring, pieces, (unsigned)count);
	if (result)
		return result;
	for (int i = 0; i < count; i++) {
		ring->buffers[i] = (struct ring_buffer){
			.start = (uintptr_t)pieces[i].iov_base, .size = pieces[i].iov_len};
	}
	ring->buffer_count = (unsigned)count;
	return 0;
}

static int submit_pending(struct ring *ring, unsigned wait_for, unsigned flags)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	unsigned count = ring_pending(ring);

	/* Release pairs with the kernel's acquire of the tail: the SQEs before it are written. */
	__atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
	return io_uring_enter((unsigned)ring->uring.enter_ring_fd, count, wait_for,
		ring->enter_flags | flags, NULL);
}

int ring_enter(struct ring *ring, bool wait)
{
	bool events = wait || ring_needs_enter(ring);

	return submit_pending(ring, wait ? 1 : 0, events ? IORING_ENTER_GETEVENTS : 0);
}

int ring_poll(struct ring *ring)
{
	return submit_pending(ring, 0, IORING_ENTER_GETEVENTS);
}
