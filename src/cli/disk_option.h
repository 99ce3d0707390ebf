/* SPDX-License-Identifier: Apache-2.0 */
/* The value of --disk: PATH[,option=value...]. */
#pragma once

#include "machine/config.h"

struct error;

/*
 * Parses @text into @disk, whose strings are heap-allocated and released by
 * disk_option_deinit(), also after a failure. Returns 0 or -EINVAL with one line in @error.
 */
int disk_option_parse(const char *text, struct machine_disk *disk, struct error *error);

void disk_option_deinit(struct machine_disk *disk);

/* Prints the options that --disk takes, for --help. */
void disk_option_print_help(void);
