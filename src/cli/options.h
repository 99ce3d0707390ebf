/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line, turned into a machine_config. Nothing is opened or created here; what can be
 * judged from the text alone is refused here, with a line that names the option.
 */
#pragma once

#include "machine/config.h"

#include <stdbool.h>

struct error;

enum command {
	COMMAND_RUN,
	COMMAND_PROBE,
	COMMAND_HELP,
	COMMAND_VERSION,
};

struct options {
	enum command command;
	struct machine_config machine;
	unsigned default_queues; /* --queues; 0: not given */
	bool no_reboot;
	const char *stats_path; /* NULL: none; "-": standard output */
	int verbosity;          /* -1 quiet, 0, 1 verbose */
	bool probe_json;
};

/*
 * Parses @argv. Returns 0; or -EINVAL with one line in @error. The strings of the result point
 * into @argv or belong to @ret_options, which options_deinit() releases in either case.
 */
int options_parse(int argc, char **argv, struct options *ret_options, struct error *error);

/* Accepts a zeroed object. */
void options_deinit(struct options *options);

/* Prints what `fastvmm --help` shows, from the same table that the parser uses. */
void options_print_help(void);
