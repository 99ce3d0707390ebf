/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: parse, choose a guest, run machines until one ends for good, tell by the exit
 * status how. The only place where errors are printed.
 */
#include "cli/guest_select.h"
#include "cli/options.h"
#include "cli/probe.h"
#include "cli/terminal.h"
#include "control/stats.h"
#include "machine/machine.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/log.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* docs/man/fastvmm.1 describes them. */
enum exit_status {
	EXIT_POWERED_OFF = 0,
	EXIT_CANNOT_START = 1,
	EXIT_USAGE = 2,
	EXIT_KVM_FAILED = 3,
	EXIT_PANICKED = 4,
	EXIT_TRIPLE_FAULT = 5,
	EXIT_SIGNAL_BASE = 128,
};

static int fail(int status, const struct error *error)
{
	log_error("%s", error->text);
	return status;
}

/* Queues, taps and eventfds add up: take what the hard limit gives. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Fills in what the user left open, and says what was chosen. */
static int choose_guest(
	struct machine_config *machine, struct guest_selection *selection, struct error *error)
{
	int result;

	if (machine->kernel)
		return 0;
	result = guest_select(selection, error);
	if (result)
		return result;
	machine->kernel = selection->kernel;
	if (!machine->initrd)
		machine->initrd = selection->initrd;
	log_info("kernel %s, initrd %s", machine->kernel,
		machine->initrd ? machine->initrd : "none");
	return 0;
}

/* Says how the machine ended and returns the exit status for it. */
static int report_end(const struct machine_end *end)
{
	switch (end->reason) {
	case MACHINE_POWERED_OFF:
		log_debug("the guest powered off");
		return EXIT_POWERED_OFF;
	case MACHINE_RESET:
		log_info("the guest asked for a reboot; ended because of --no-reboot");
		return EXIT_POWERED_OFF;
	case MACHINE_LEFT:
		return EXIT_POWERED_OFF;
	case MACHINE_TRIPLE_FAULT:
		log_error("triple fault in the guest; ended because of --no-reboot");
		return EXIT_TRIPLE_FAULT;
	case MACHINE_PANICKED:
		log_error("the guest's kernel panicked; its last messages are above");
		return EXIT_PANICKED;
	case MACHINE_SIGNALLED:
		log_info("ended by signal %d (%s)", end->signal, strsignal(end->signal));
		return EXIT_SIGNAL_BASE + end->signal;
	case MACHINE_FAILED:
		return fail(EXIT_KVM_FAILED, &end->error);
	}
	return EXIT_KVM_FAILED;
}

static bool wants_reboot(const struct options *options, const struct machine_end *end)
{
	if (options->no_reboot)
		return false;
	return end->reason == MACHINE_RESET || end->reason == MACHINE_TRIPLE_FAULT;
}

/* Runs the machine through all its reboots; returns the exit status. */
static int run_to_end(struct machine *machine, const struct options *options)
{
	struct log_limit reboots = {0};
	struct machine_end end;

	for (;;) {
		if (machine_run(machine, &end))
			return fail(EXIT_KVM_FAILED, &end.error);
		if (!wants_reboot(options, &end))
			break;
		if (log_limit_allows(&reboots))
			log_info("%s: rebooting", end.reason == MACHINE_RESET
							  ? "the guest asked for it"
							  : "triple fault in the guest");
		if (machine_reset(machine, &end.error))
			return fail(EXIT_CANNOT_START, &end.error);
	}
	return report_end(&end);
}

static void destroy_machine(struct machine **machine)
{
	machine_destroy(*machine);
}

static int run_machine(const struct options *options)
{
	auto_call(destroy_machine) struct machine *machine = NULL;
	bool interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	const struct machine_console console = {
		.input_fd = STDIN_FILENO,
		.output_fd = STDOUT_FILENO,
		.escape_keys = interactive,
	};
	struct error error = ERROR_INIT;
	int status;

	if (machine_create(&options->machine, &console, &machine, &error))
		return fail(EXIT_CANNOT_START, &error);
	if (interactive) {
		log_info("console: Ctrl-a x ends the guest, Ctrl-a h helps");
		if (terminal_enter_raw(STDIN_FILENO, &error))
			return fail(EXIT_CANNOT_START, &error);
		log_set_raw_terminal(isatty(STDERR_FILENO));
	}
	status = run_to_end(machine, options);
	terminal_restore();
	log_set_raw_terminal(false);
	if (options->stats_path && stats_write(machine, options->stats_path, &error))
		return fail(EXIT_CANNOT_START, &error);
	return status;
}

static int run(struct options *options)
{
	auto_call(guest_selection_deinit) struct guest_selection selection = {0};
	struct error error = ERROR_INIT;

	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	if (choose_guest(&options->machine, &selection, &error))
		return fail(EXIT_CANNOT_START, &error);
	return run_machine(options);
}

/* Nothing of ours may become a standard descriptor that somebody has closed: it would be the
 * console. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	auto_call(options_deinit) struct options options = {0};
	struct error error = ERROR_INIT;

	fill_standard_descriptors();
	if (options_parse(argc, argv, &options, &error))
		return fail(EXIT_USAGE, &error);
	if (options.verbosity)
		log_set_level(options.verbosity > 0 ? LOG_DEBUG : LOG_WARNING);
	switch (options.command) {
	case COMMAND_HELP:
		options_print_help();
		return 0;
	case COMMAND_VERSION:
		puts("fastvmm " FASTVMM_VERSION);
		return 0;
	case COMMAND_PROBE:
		return probe_run(&options);
	case COMMAND_RUN:
		return run(&options);
	}
	return EXIT_USAGE;
}
