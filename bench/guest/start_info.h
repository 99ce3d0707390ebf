/* SPDX-License-Identifier: Apache-2.0 */
/* The PVH start information (Xen's hvm_start_info), which the VMM leaves in guest memory. */
#pragma once

#include <stdint.h>

#define START_INFO_MAGIC 0x336ec578

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t modules;
	uint64_t module_list;
	uint64_t command_line;
	uint64_t rsdp;
	uint64_t memory_map; /* from version 1 on */
	uint32_t memory_map_entries;
	uint32_t reserved;
};

struct start_info_memory {
	uint64_t address;
	uint64_t size;
	uint32_t type; /* 1: RAM */
	uint32_t reserved;
};

/* Checked once; ends the run with a failure when the VMM passed something else. */
const struct start_info *start_info_get(void);
