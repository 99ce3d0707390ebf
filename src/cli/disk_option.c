/* SPDX-License-Identifier: Apache-2.0 */
/* The first element is the path; the rest are keys out of one table, which --help prints too. */
#include "cli/disk_option.h"

#include "util/checked.h"
#include "util/cpulist.h"
#include "util/error.h"
#include "util/keyvalue.h"
#include "util/parse.h"
#include "virtio/virtqueue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_SIZE_DEFAULT 256
#define DISK_WORKERS_MAX   128
#define POLL_US_MAX        1000000

struct disk_key {
	const char *name;
	const char *argument;
	const char *help;
	int (*apply)(struct machine_disk *disk, const char *value, struct error *error);
};

static int apply_queues(struct machine_disk *disk, const char *value, struct error *error)
{
	uint64_t number;

	if (parse_number(value, 1, BLK_QUEUES_MAX, &number))
		return error_set(error, -EINVAL, "queues=%s: expected a number from 1 to %d", value,
			BLK_QUEUES_MAX);
	disk->blk.queues = (unsigned)number;
	return 0;
}

static int apply_queue_size(struct machine_disk *disk, const char *value, struct error *error)
{
	uint64_t number;

	if (parse_number(value, 2, VIRTQUEUE_SIZE_MAX, &number) || !is_power_of_two(number))
		return error_set(error, -EINVAL,
			"queue-size=%s: expected a power of two from 2 to %d", value,
			VIRTQUEUE_SIZE_MAX);
	disk->blk.queue_size = (uint16_t)number;
	return 0;
}

static int apply_bool(const char *key, const char *value, bool *ret_value, struct error *error)
{
	if (parse_bool(value, ret_value))
		return error_set(error, -EINVAL, "%s=%s: expected on or off", key, value);
	return 0;
}

static int apply_readonly(struct machine_disk *disk, const char *value, struct error *error)
{
	return apply_bool("readonly", value, &disk->blk.readonly, error);
}

static int apply_discard(struct machine_disk *disk, const char *value, struct error *error)
{
	return apply_bool("discard", value, &disk->blk.discard, error);
}

static int apply_fixed_buffers(struct machine_disk *disk, const char *value, struct error *error)
{
	return apply_bool("fixed-buffers", value, &disk->blk.fixed_buffers, error);
}

static int apply_merge(struct machine_disk *disk, const char *value, struct error *error)
{
	return apply_bool("merge", value, &disk->blk.merge, error);
}

static int apply_packed(struct machine_disk *disk, const char *value, struct error *error)
{
	return apply_bool("packed", value, &disk->blk.packed, error);
}

static int apply_iopoll(struct machine_disk *disk, const char *value, struct error *error)
{
	return apply_bool("iopoll", value, &disk->blk.iopoll, error);
}

static int apply_cache(struct machine_disk *disk, const char *value, struct error *error)
{
	static const char *const names[] = {
		[DISK_CACHE_NONE] = "none",
		[DISK_CACHE_WRITEBACK] = "writeback",
		[DISK_CACHE_UNSAFE] = "unsafe",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			disk->blk.cache = (enum disk_cache)i;
			return 0;
		}
	}
	return error_set(error, -EINVAL, "cache=%s: expected none, writeback or unsafe", value);
}

static int apply_serial(struct machine_disk *disk, const char *value, struct error *error)
{
	if (strlen(value) > 20)
		return error_set(error, -EINVAL, "serial=%s: longer than 20 bytes", value);
	free((char *)disk->blk.serial);
	disk->blk.serial = strdup(value);
	return disk->blk.serial ? 0 : -ENOMEM;
}

static int apply_poll(struct machine_disk *disk, const char *value, struct error *error)
{
	uint64_t number;

	if (parse_number(value, 0, POLL_US_MAX, &number))
		return error_set(error, -EINVAL,
			"poll-us=%s: expected microseconds from 0 (off) to %d", value, POLL_US_MAX);
	disk->blk.poll_us = (unsigned)number;
	return 0;
}

static int apply_workers(struct machine_disk *disk, const char *value, struct error *error)
{
	uint64_t number;

	if (parse_number(value, 1, DISK_WORKERS_MAX, &number))
		return error_set(error, -EINVAL, "workers=%s: expected a number from 1 to %d",
			value, DISK_WORKERS_MAX);
	disk->workers = (unsigned)number;
	return 0;
}

static int apply_io_cpus(struct machine_disk *disk, const char *value, struct error *error)
{
	int result;

	free(disk->pins.cpus);
	disk->pins = (struct machine_cpus){0};
	result = cpulist_parse(value, &disk->pins.cpus, &disk->pins.count);
	if (result == -ENODEV)
		return error_set(error, -EINVAL,
			"io-cpus=%s: this process may not run on one of these CPUs", value);
	if (result)
		return error_set(
			error, -EINVAL, "io-cpus=%s: expected a CPU list such as 0,,2-5", value);
	return 0;
}

static const struct disk_key keys[] = {
	{"queues", "N", "virtqueues (default: --queues)", apply_queues},
	{"queue-size", "N", "entries of each, a power of two up to 1024 (default 256)",
		apply_queue_size},
	{"readonly", "on|off", "refuse writes; several machines may share the image (default off)",
		apply_readonly},
	{"cache", "none|writeback|unsafe",
		"O_DIRECT (default); host page cache; page cache without flushes", apply_cache},
	{"discard", "on|off", "give discarded blocks back to the host (default on)", apply_discard},
	{"serial", "TEXT", "what the guest reads as the disk's id, up to 20 bytes", apply_serial},
	{"poll-us", "N", "longest time that a worker looks for work (default 32; 0: none)",
		apply_poll},
	{"fixed-buffers", "on|off", "register guest memory with io_uring (default off)",
		apply_fixed_buffers},
	{"merge", "on|off", "carry out neighbouring reads or writes as one (default on)",
		apply_merge},
	{"packed", "on|off", "offer packed virtqueues (default off)", apply_packed},
	{"iopoll", "on|off", "poll the device for completions, with cache=none (default off)",
		apply_iopoll},
	{"workers", "N", "I/O threads of its own (default: the shared ones)", apply_workers},
	{"io-cpus", "LIST", "host CPUs for its own I/O threads; double the commas: 0,,2-5",
		apply_io_cpus},
};

static int apply_key(struct machine_disk *disk, const struct keyvalue *list, struct error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = list->value;

		if (strcmp(list->key, keys[i].name))
			continue;
		if (!value && !strcmp(keys[i].argument, "on|off"))
			value = "on";
		if (!value || !*value)
			return error_set(error, -EINVAL, "%s needs a value: %s=%s", list->key,
				list->key, keys[i].argument);
		return keys[i].apply(disk, value, error);
	}
	return error_set(error, -EINVAL, "unknown option \"%s\"; see fastvmm --help", list->key);
}

static int parse_elements(const char *text, struct machine_disk *disk, struct error *error)
{
	struct keyvalue list;
	int result;

	keyvalue_init(&list, text);
	while ((result = keyvalue_next(&list)) == 1) {
		if (!disk->blk.path) {
			/* A path may hold '='; put back what the reader split. */
			if (list.value)
				list.text[strlen(list.key)] = '=';
			disk->blk.path = strdup(list.text);
			if (!disk->blk.path)
				return -ENOMEM;
			continue;
		}
		result = apply_key(disk, &list, error);
		if (result)
			return result;
	}
	if (result)
		error_set(error, result,
			"expected PATH[,option=value...] (a comma in the path is written twice)");
	return result;
}

int disk_option_parse(const char *text, struct machine_disk *disk, struct error *error)
{
	int result;

	*disk = (struct machine_disk){
		.blk =
			{
				.cache = DISK_CACHE_NONE,
				.discard = true,
				.merge = true,
				.queue_size = QUEUE_SIZE_DEFAULT,
				.poll_us = BLK_POLL_US_DEFAULT,
			},
	};
	result = parse_elements(text, disk, error);
	if (!result && disk->blk.iopoll && disk->blk.cache != DISK_CACHE_NONE)
		result = error_set(error, -EINVAL,
			"iopoll=on goes with cache=none alone: the host's page cache cannot be "
			"polled");
	if (result)
		return error_prefix(error, result, "--disk %s: ", text);
	if (disk->pins.count && !disk->workers)
		disk->workers = disk->pins.count;
	return 0;
}

void disk_option_deinit(struct machine_disk *disk)
{
	free((char *)disk->blk.path);
	free((char *)disk->blk.serial);
	free(disk->pins.cpus);
	*disk = (struct machine_disk){0};
}

void disk_option_print_help(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s=%s", keys[i].name, keys[i].argument);
		printf("  %-30s %s\n", left, keys[i].help);
	}
}
