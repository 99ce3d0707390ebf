/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files out of nowhere. The first four bytes of an input choose the circumstances (the
 * protocol, the initrd's size, the command line's length), the rest is the kernel file. Whatever
 * boot_load() says yes to must be bootable on its own terms: all it names is RAM, the kernel, the
 * initrd and the start structures do not overlap, and the entry lies in the kernel.
 */
#include "machine/boot_image.h"
#include "machine/layout.h"
#include "memory/guest_memory.h"
#include "util/checked.h"
#include "util/error.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHOICES     4
#define LOW_RAM     (6u << 20)
#define HIGH_RAM    (1u << 20)
#define CMDLINE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guest_memory *memory;
static int kernel_fd, initrd_fd;
static char kernel_path[32], initrd_path[32];
static char cmdline[CMDLINE_MAX + 1];

#define require(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static int open_memory_file(char *path, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	require(fd >= 0);
	snprintf(path, size, "/proc/self/fd/%d", fd);
	return fd;
}

static void set_up(void)
{
	static const struct guest_memory_range ranges[] = {
		{.gpa = 0, .size = LOW_RAM},
		{.gpa = LAYOUT_HIGH_RAM_GPA, .size = HIGH_RAM},
	};
	static const struct guest_memory_options options;

	if (memory)
		return;
	require(!guest_memory_create(ranges, ARRAY_SIZE(ranges), &options, &memory, NULL));
	kernel_fd = open_memory_file(kernel_path, sizeof(kernel_path));
	initrd_fd = open_memory_file(initrd_path, sizeof(initrd_path));
}

static void check(const struct boot_result *result)
{
	const struct boot_state *state = &result->state;
	uint64_t kernel_size = result->kernel_end - result->kernel_gpa;

	require(result->format);
	require(result->kernel_gpa >= LAYOUT_HIGH_START);
	require(result->kernel_end > result->kernel_gpa && result->kernel_end <= LOW_RAM);
	require(state->entry >= result->kernel_gpa && state->entry < result->kernel_end);
	require(guest_memory_pointer(memory, result->initrd_gpa, result->initrd_size));
	if (result->initrd_size) {
		require(result->initrd_gpa >= LAYOUT_HIGH_START);
		require(!ranges_overlap(
			result->kernel_gpa, kernel_size, result->initrd_gpa, result->initrd_size));
	}
	require(state->protocol == BOOT_PROTOCOL_LINUX64 || state->protocol == BOOT_PROTOCOL_PVH);
	require(state->argument < LAYOUT_EBDA_START);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_options options = {.kernel_path = kernel_path, .cmdline = cmdline};
	struct boot_result result;
	struct error error = ERROR_INIT;
	size_t cmdline_length;

	if (size < CHOICES)
		return 0;
	set_up();
	options.protocol = data[0] % 3;
	if (data[0] & 0x80)
		options.initrd_path = initrd_path;
	require(!ftruncate(initrd_fd, (off_t)data[1] << 15));
	cmdline_length = (size_t)(data[2] | data[3] << 8) % (CMDLINE_MAX + 1);
	memset(cmdline, 'c', cmdline_length);
	cmdline[cmdline_length] = 0;
	data += CHOICES;
	size -= CHOICES;
	require(!ftruncate(kernel_fd, (off_t)size));
	require(pwrite(kernel_fd, data, size, 0) == (ssize_t)size);
	if (!boot_load(memory, &options, &result, &error))
		check(&result);
	else
		require(error.text[0]);
	return 0;
}
