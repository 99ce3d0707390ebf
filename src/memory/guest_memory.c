/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each region is an anonymous mapping of its own: hosts give transparent huge pages to anonymous
 * memory that asks for them, and by default not to a memfd (docs/decisions/guest-memory.md). There
 * are at most a handful of regions, and the one that answered last is by far the likeliest to
 * answer next, but remembering it would make look-ups write to shared state: a short linear scan is
 * quicker.
 */
#include "memory/guest_memory.h"

#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"

#include <errno.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES      4096u
#define HUGE_PAGE_BYTES (2u << 20)

struct guest_memory {
	size_t count;
	uint64_t size;
	struct guest_memory_region regions[GUEST_MEMORY_MAX_REGIONS];
};

static bool ranges_valid(const struct guest_memory_range *ranges, size_t count, uint64_t alignment)
{
	uint64_t end = 0;

	if (!count || count > GUEST_MEMORY_MAX_REGIONS)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct guest_memory_range *range = &ranges[i];

		if (!range->size || range->gpa < end || range->size > UINT64_MAX - range->gpa)
			return false;
		if (range->gpa % alignment || range->size % alignment)
			return false;
		end = range->gpa + range->size;
	}
	return true;
}

static uint64_t backend_page_size(enum guest_memory_backend backend)
{
	return backend == GUEST_MEMORY_HUGE ? HUGE_PAGE_BYTES : PAGE_BYTES;
}

/* From the host's pool of huge pages, which reserves them. */
static void *map_huge(uint64_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
}

/*
 * Host virtual and guest physical addresses agree below 2 MiB: only so can KVM map a huge page of
 * the host as one. MAP_NORESERVE keeps an overcommitting host usable.
 */
static void *map_plain(uint64_t gpa, uint64_t size)
{
	uint64_t head;
	char *at;

	if (size > SIZE_MAX - HUGE_PAGE_BYTES) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	at = mmap(NULL, size + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return at;
	head = (gpa - (uintptr_t)at) % HUGE_PAGE_BYTES;
	if (head)
		munmap(at, head);
	munmap(at + head + size, HUGE_PAGE_BYTES - head);
	return at + head;
}

static int map_region(struct guest_memory_region *region,
	const struct guest_memory_options *options, struct error *error)
{
	bool huge = options->backend == GUEST_MEMORY_HUGE;
	void *host = huge ? map_huge(region->size) : map_plain(region->gpa, region->size);
	int code = -errno;

	if (host == MAP_FAILED)
		return error_set(error, code, "--memory: cannot map %llu MiB of %s: %s%s",
			(unsigned long long)(region->size >> 20),
			huge ? "2 MiB huge pages" : "guest memory", strerror(-code),
			huge ? "; raise /proc/sys/vm/nr_hugepages or use --memory-backend plain"
			     : "; ask for less memory");
	region->host = host;
	/* Both are advice: a host without the feature works all the same. */
	madvise(host, region->size, MADV_HUGEPAGE);
	madvise(host, region->size, MADV_DONTDUMP);
	if (!options->preallocate || !madvise(host, region->size, MADV_POPULATE_WRITE))
		return 0;
	code = -errno;
	return error_set(error, code,
		"--memory-backend: cannot preallocate %llu MiB: %s; ask for less memory",
		(unsigned long long)(region->size >> 20), strerror(-code));
}

static void cleanup_guest_memory(struct guest_memory **memory)
{
	guest_memory_destroy(*memory);
}

int guest_memory_create(const struct guest_memory_range *ranges, size_t count,
	const struct guest_memory_options *options, struct guest_memory **ret_memory,
	struct error *error)
{
	auto_call(cleanup_guest_memory) struct guest_memory *memory = NULL;
	int result;

	if (!ranges_valid(ranges, count, backend_page_size(options->backend)))
		return -EINVAL;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	memory->count = count;
	for (size_t i = 0; i < count; i++) {
		memory->regions[i] = (struct guest_memory_region){
			.gpa = ranges[i].gpa, .size = ranges[i].size, .host = MAP_FAILED};
		memory->size += ranges[i].size;
	}
	for (size_t i = 0; i < count; i++) {
		result = map_region(&memory->regions[i], options, error);
		if (result)
			return result;
	}
	*ret_memory = take_pointer(memory);
	return 0;
}

void guest_memory_destroy(struct guest_memory *memory)
{
	if (!memory)
		return;
	for (size_t i = 0; i < memory->count; i++) {
		if (memory->regions[i].host != MAP_FAILED)
			munmap(memory->regions[i].host, memory->regions[i].size);
	}
	free(memory);
}

void *guest_memory_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];
		uint64_t offset = gpa - region->gpa; /* wraps to a huge number below the region */

		if (offset < region->size && length <= region->size - offset)
			return (char *)region->host + offset;
	}
	return NULL;
}

int guest_memory_read(
	const struct guest_memory *memory, uint64_t gpa, void *buffer, uint64_t length)
{
	const void *from = guest_memory_pointer(memory, gpa, length);

	if (!from)
		return -EFAULT;
	memcpy(buffer, from, length);
	return 0;
}

int guest_memory_write(
	const struct guest_memory *memory, uint64_t gpa, const void *buffer, uint64_t length)
{
	void *to = guest_memory_pointer(memory, gpa, length);

	if (!to)
		return -EFAULT;
	memcpy(to, buffer, length);
	return 0;
}

size_t guest_memory_region_count(const struct guest_memory *memory)
{
	return memory->count;
}

const struct guest_memory_region *guest_memory_region(
	const struct guest_memory *memory, size_t index)
{
	return &memory->regions[index];
}

uint64_t guest_memory_size(const struct guest_memory *memory)
{
	return memory->size;
}
