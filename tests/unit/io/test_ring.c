/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
#include "io/ring.h"
#include "memory/guest_memory.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct ring ring;

static void setup(void)
{
	struct error error = ERROR_INIT;

	cr_assert_eq(ring_init(&ring, 8, 32, &error), 0, "%s", error.text);
	cr_assert_eq(ring_enable(&ring), 0);
}

static void teardown(void)
{
	ring_deinit(&ring);
}

TestSuite(ring, .init = setup, .fini = teardown);

/* Waits for one CQE and takes it. */
static struct io_uring_cqe take_cqe(void)
{
	struct io_uring_cqe copy, *cqe;

	while (!ring_has_cqe(&ring))
		cr_assert_geq(ring_enter(&ring, true), 0);
	cr_assert_eq(io_uring_peek_cqe(&ring.uring, &cqe), 0);
	copy = *cqe;
	io_uring_cqe_seen(&ring.uring, cqe);
	return copy;
}

Test(ring, probe_agrees_with_a_ring_of_our_own)
{
	struct ring_features features;

	cr_assert_eq(ring_probe(&features), 0);
	cr_assert_eq(features.error, 0);
	cr_assert_eq(features.kernel, ring.features.kernel);
	cr_assert_eq(features.defer_taskrun, ring.features.defer_taskrun);
	cr_assert_eq(features.single_issuer, ring.features.single_issuer);
	cr_assert_eq(features.registered_ring, ring.features.registered_ring);
	cr_assert_eq(features.op_vectored_fixed, ring.features.op_vectored_fixed);
	cr_assert(features.op_read_write && features.op_fallocate && features.multishot_poll);
}

Test(ring, the_sq_fills_up_and_empties)
{
	for (unsigned i = 0; i < 8; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&ring);

		cr_assert_not_null(sqe);
		sqe->opcode = IORING_OP_NOP;
		sqe->user_data = i;
	}
	cr_assert_null(ring_sqe(&ring));
	cr_assert_eq(ring_sq_space(&ring), 0);
	cr_assert_eq(ring_pending(&ring), 8);
	cr_assert_eq(ring_enter(&ring, false), 8);
	cr_assert_eq(ring_pending(&ring), 0);
	cr_assert_eq(ring_sq_space(&ring), 8);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(take_cqe().user_data, i);
	cr_assert(!ring_has_cqe(&ring));
}

Test(ring, more_completions_than_the_cq_holds_are_not_lost)
{
	for (unsigned i = 0; i < 12; i++) {
		for (unsigned j = 0; j < 8; j++) {
			struct io_uring_sqe *sqe = ring_sqe(&ring);

			cr_assert_not_null(sqe);
			sqe->opcode = IORING_OP_NOP;
			sqe->user_data = i * 8 + j;
		}
		cr_assert_eq(ring_enter(&ring, false), 8);
	}
	cr_assert(ring_needs_enter(&ring), "96 completions in a queue of 32 must overflow");
	for (unsigned i = 0; i < 96; i++)
		cr_assert_eq(take_cqe().user_data, i);
}

Test(ring, files_beyond_the_table_are_used_as_they_are)
{
	struct ring_file files[RING_FILES + 2];

	for (unsigned i = 0; i < RING_FILES + 2; i++)
		ring_add_file(&ring, STDERR_FILENO, &files[i]);
	cr_assert(files[RING_FILES - 1].sqe_flags & IOSQE_FIXED_FILE);
	cr_assert_eq(files[RING_FILES].sqe_flags, 0);
	cr_assert_eq(files[RING_FILES].number, STDERR_FILENO);
	ring_remove_file(&ring, &files[7]);
	ring_remove_file(&ring, &files[RING_FILES]);
	ring_add_file(&ring, STDERR_FILENO, &files[7]);
	cr_assert_eq(files[7].number, 7);
	cr_assert(files[7].sqe_flags & IOSQE_FIXED_FILE);
}

Test(ring, reads_through_a_fixed_file)
{
	struct ring_file file;
	struct image image;
	struct io_uring_sqe *sqe;
	char got[4096], want[4096];

	image_init(&image, 65536, 5);
	ring_add_file(&ring, image.fd, &file);
	sqe = ring_sqe(&ring);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = file.number;
	sqe->flags = file.sqe_flags;
	sqe->addr = (uintptr_t)got;
	sqe->len = sizeof(got);
	sqe->off = 8192;
	cr_assert_eq(take_cqe().res, 4096);
	image_pattern(want, 8192, sizeof(want), 5);
	cr_assert_eq(memcmp(got, want, sizeof(want)), 0);
	ring_remove_file(&ring, &file);
	image_deinit(&image);
}

static struct guest_memory *make_memory(uint64_t low, uint64_t high)
{
	const struct guest_memory_range ranges[] = {
		{.gpa = 0, .size = low}, {.gpa = 1ull << 32, .size = high}};
	struct guest_memory_options options = {.backend = GUEST_MEMORY_PLAIN};
	struct guest_memory *memory = NULL;

	cr_assert_eq(guest_memory_create(ranges, 2, &options, &memory, NULL), 0);
	return memory;
}

Test(ring, registered_memory_is_found_by_address)
{
	struct guest_memory *memory = make_memory(MIB, 2 * MIB);
	char *low = guest_memory_pointer(memory, 0, MIB);
	char *high = guest_memory_pointer(memory, 1ull << 32, 2 * MIB);

	cr_assert_eq(ring_buffer_index(&ring, low, 1), -1);
	cr_assert_eq(ring_register_memory(&ring, memory), 0);
	cr_assert_eq(ring_register_memory(&ring, memory), 0, "twice is once");
	cr_assert_eq(ring_buffer_index(&ring, low, MIB), 0);
	cr_assert_eq(ring_buffer_index(&ring, low + MIB - 1, 1), 0);
	cr_assert_eq(ring_buffer_index(&ring, high, 2 * MIB), 1);
	cr_assert_eq(ring_buffer_index(&ring, high + 2 * MIB - 1, 2), -1);
	cr_assert_eq(ring_buffer_index(&ring, &ring, 1), -1);
	ring_deinit(&ring);
	guest_memory_destroy(memory);
}

/* Costs a GiB of memory for a moment: registering faults all of it in. */
Test(ring, memory_is_cut_into_pieces_of_a_gibibyte)
{
	struct guest_memory *large = make_memory((1ull << 30) + MIB, MIB);
	int result = ring_register_memory(&ring, large);
	char *low = guest_memory_pointer(large, 0, 1);

	if (result == -ENOMEM)
		cr_skip_test("the locked-memory limit forbids registering 1 GiB");
	cr_assert_eq(result, 0);
	cr_assert_eq(ring_buffer_index(&ring, low, 1ull << 30), 0);
	cr_assert_eq(ring_buffer_index(&ring, low + (1ull << 30), MIB), 1);
	cr_assert_eq(ring_buffer_index(&ring, low + (1ull << 30) - 1, 2), -1, "across the cut");
	ring_deinit(&ring);
	guest_memory_destroy(large);
}

Test(ring, a_low_file_limit_is_explained)
{
	struct rlimit limit, before;
	struct error error = ERROR_INIT;
	struct ring another;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 3;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_assert_eq(ring_init(&another, 8, 32, &error), -EMFILE);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_assert_not_null(strstr(error.text, "ulimit -n"), "%s", error.text);
}
