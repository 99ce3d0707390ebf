/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table holds every option: its names, what it takes, its help and the function that applies
 * its value. getopt_long() is fed from the table, and so is --help; what is not in the table does
 * not exist.
 */
#include "cli/options.h"

#include "cli/disk_option.h"
#include "machine/layout.h"
#include "util/checked.h"
#include "util/cpulist.h"
#include "util/error.h"
#include "util/parse.h"
#include "virtio/virtqueue.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB              (1ull << 20)
#define MEMORY_MIN       (64 * MIB)
#define MEMORY_MAX       (1ull << 46)
#define MEMORY_DEFAULT   (512 * MIB)
#define WORKERS_MAX      256
#define HALT_POLL_US_MAX 1000000
#define LONG_BASE        256 /* getopt values of options without a letter */

struct option_spec {
	const char *name;
	char letter;          /* 0: none */
	const char *argument; /* NULL: takes none */
	const char *help;
	int (*apply)(
		struct options *options, const char *name, const char *value, struct error *error);
};

static int bad_value(struct error *error, const char *name, const char *value, const char *why)
{
	return error_set(error, -EINVAL, "--%s %s: %s", name, value, why);
}

static int parse_count(const char *name, const char *value, uint64_t least, uint64_t most,
	unsigned *ret_count, struct error *error)
{
	uint64_t count;
	int result = parse_number(value, least, most, &count);

	if (result)
		return error_set(error, -EINVAL, "--%s %s: expected a number from %llu to %llu",
			name, value, (unsigned long long)least, (unsigned long long)most);
	*ret_count = (unsigned)count;
	return 0;
}

static int parse_cpus(
	const char *name, const char *value, struct machine_cpus *ret_cpus, struct error *error)
{
	int result;

	free(ret_cpus->cpus);
	*ret_cpus = (struct machine_cpus){0};
	result = cpulist_parse(value, &ret_cpus->cpus, &ret_cpus->count);
	if (result == -ENODEV)
		return bad_value(error, name, value,
			"this process may not run on one of these CPUs (see taskset -p $$)");
	if (result)
		return bad_value(error, name, value, "expected a CPU list such as 0,2-5");
	return 0;
}

static int apply_kernel(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)error;
	options->machine.kernel = value;
	return 0;
}

static int apply_initrd(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)error;
	options->machine.initrd = value;
	return 0;
}

static int apply_cmdline(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)error;
	options->machine.cmdline = value;
	return 0;
}

static int apply_cpus(
	struct options *options, const char *name, const char *value, struct error *error)
{
	return parse_count(name, value, 1, LAYOUT_CPUS_MAX, &options->machine.cpus, error);
}

static int apply_memory(
	struct options *options, const char *name, const char *value, struct error *error)
{
	uint64_t size;

	if (parse_size(value, &size))
		return bad_value(error, name, value, "expected a size such as 512M or 4G");
	if (size < MEMORY_MIN)
		return bad_value(
			error, name, value, "too little memory: a guest needs 64M or more");
	if (size > MEMORY_MAX)
		return bad_value(error, name, value, "more memory than a guest can address");
	options->machine.memory_size = align_up(size, 2 * MIB);
	return 0;
}

static int apply_memory_backend(
	struct options *options, const char *name, const char *value, struct error *error)
{
	static const struct {
		const char *text;
		struct guest_memory_options memory;
	} backends[] = {
		{"plain", {GUEST_MEMORY_PLAIN, false}},
		{"huge", {GUEST_MEMORY_HUGE, false}},
		{"prealloc", {GUEST_MEMORY_PLAIN, true}},
		{"huge,prealloc", {GUEST_MEMORY_HUGE, true}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		if (!strcmp(value, backends[i].text)) {
			options->machine.memory = backends[i].memory;
			return 0;
		}
	}
	return bad_value(error, name, value, "expected plain, huge, prealloc or huge,prealloc");
}

static int apply_queues(
	struct options *options, const char *name, const char *value, struct error *error)
{
	return parse_count(name, value, 1, NET_QUEUE_PAIRS_MAX, &options->default_queues, error);
}

static int apply_disk(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name;
	if (options->machine.disk_count == MACHINE_DISKS_MAX)
		return error_set(error, -EINVAL, "--disk %s: too many disks, a machine takes %d",
			value, MACHINE_DISKS_MAX);
	return disk_option_parse(
		value, &options->machine.disks[options->machine.disk_count++], error);
}

static int add_nic(struct options *options, const char *value,
	int (*parse)(const char *, struct net_config *, struct error *), struct error *error)
{
	int result;

	if (options->machine.nic_count == MACHINE_NICS_MAX)
		return error_set(error, -EINVAL, "--net %s: too many NICs, a machine takes %d",
			value, MACHINE_NICS_MAX);
	result = parse(value, &options->machine.nics[options->machine.nic_count], error);
	if (!result)
		options->machine.nic_count++;
	return result;
}

static int apply_net(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name;
	return add_nic(options, value, net_config_parse, error);
}

static int apply_tap(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name;
	return add_nic(options, value, net_config_parse_tap, error);
}

static int apply_workers(
	struct options *options, const char *name, const char *value, struct error *error)
{
	return parse_count(name, value, 1, WORKERS_MAX, &options->machine.workers, error);
}

static int apply_vcpu_cpus(
	struct options *options, const char *name, const char *value, struct error *error)
{
	return parse_cpus(name, value, &options->machine.vcpu_pins, error);
}

static int apply_io_cpus(
	struct options *options, const char *name, const char *value, struct error *error)
{
	return parse_cpus(name, value, &options->machine.io_pins, error);
}

static int apply_halt_poll(
	struct options *options, const char *name, const char *value, struct error *error)
{
	unsigned microseconds = 0;
	int result = parse_count(name, value, 0, HALT_POLL_US_MAX, &microseconds, error);

	if (!result)
		options->machine.knobs.halt_poll_ns = 1000ll * microseconds;
	return result;
}

static int apply_disable_exits(
	struct options *options, const char *name, const char *value, struct error *error)
{
	static const struct {
		const char *text;
		bool hlt, pause;
	} sets[] = {
		{"hlt", true, false},
		{"pause", false, true},
		{"hlt,pause", true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		if (!strcmp(value, sets[i].text)) {
			options->machine.knobs.no_hlt_exits = sets[i].hlt;
			options->machine.knobs.no_pause_exits = sets[i].pause;
			return 0;
		}
	}
	return bad_value(error, name, value, "expected hlt, pause or hlt,pause");
}

static int apply_kvm(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)error;
	options->machine.kvm_path = value;
	return 0;
}

static int apply_report(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)error;
	options->machine.report_path = value;
	return 0;
}

static int apply_stats(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)error;
	options->stats_path = value;
	return 0;
}

static int apply_no_reboot(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)value, (void)error;
	options->no_reboot = true;
	return 0;
}

static int apply_json(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)value, (void)error;
	options->probe_json = true;
	return 0;
}

static int apply_quiet(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)value, (void)error;
	options->verbosity = -1;
	return 0;
}

static int apply_verbose(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)value, (void)error;
	options->verbosity = 1;
	return 0;
}

static int apply_help(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)value, (void)error;
	options->command = COMMAND_HELP;
	return 0;
}

static int apply_version(
	struct options *options, const char *name, const char *value, struct error *error)
{
	(void)name, (void)value, (void)error;
	options->command = COMMAND_VERSION;
	return 0;
}

static const struct option_spec specs[] = {
	{"queues", 'q', "N", "virtqueues of each disk, queue pairs of each NIC (default 1)",
		apply_queues},
	{"disk", 'd', "PATH[,OPTION...]",
		"a disk: image, block device or NVMe namespace, see below", apply_disk},
	{"net", 0, "OPTION[,OPTION...]", "a NIC on a tap, see below", apply_net},
	{"tap", 't', "NAME", "short for --net tap=NAME", apply_tap},
	{"kernel", 'k', "PATH", "bzImage, or ELF with a 64-bit or PVH entry", apply_kernel},
	{"initrd", 'i', "PATH", "initial RAM disk", apply_initrd},
	{"cmdline", 'p', "TEXT", "the whole kernel command line (default \"console=ttyS0\")",
		apply_cmdline},
	{"cpus", 'c', "N", "vCPUs (default: as many as the widest device has queues)", apply_cpus},
	{"memory", 'm', "SIZE", "guest memory, e.g. 512M or 4G (default 512M)", apply_memory},
	{"memory-backend", 0, "KIND", "plain (default), huge, prealloc or huge,prealloc",
		apply_memory_backend},
	{"workers", 0, "N", "I/O threads (default: one a queue, at most one a host CPU)",
		apply_workers},
	{"vcpu-cpus", 0, "LIST", "host CPUs that vCPU threads are pinned to, e.g. 0,2-5",
		apply_vcpu_cpus},
	{"io-cpus", 0, "LIST", "host CPUs that I/O threads are pinned to", apply_io_cpus},
	{"halt-poll-us", 0, "N", "how long KVM waits for a halted vCPU (default: the host's)",
		apply_halt_poll},
	{"disable-exits", 0, "LIST", "hlt, pause or hlt,pause: the guest keeps its CPUs when idle",
		apply_disable_exits},
	{"no-reboot", 0, NULL, "end where the guest wants to reboot", apply_no_reboot},
	{"report", 0, "FILE", "write what the guest sends to its second serial port to FILE",
		apply_report},
	{"stats", 0, "FILE", "write all counters as JSON to FILE at the end (- for stdout)",
		apply_stats},
	{"kvm", 'D', "PATH", "the KVM device (default /dev/kvm)", apply_kvm},
	{"json", 0, NULL, "with probe: JSON instead of text", apply_json},
	{"quiet", 0, NULL, "warnings and errors only", apply_quiet},
	{"verbose", 'v', NULL, "say more", apply_verbose},
	{"help", 'h', NULL, "this text", apply_help},
	{"version", 'V', NULL, "the version", apply_version},
};

static int option_value(size_t index)
{
	return specs[index].letter ? specs[index].letter : LONG_BASE + (int)index;
}

static const struct option_spec *find_spec(int value)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (option_value(i) == value)
			return &specs[i];
	}
	return NULL;
}

static void build_getopt_tables(struct option longs[static ARRAY_SIZE(specs) + 1],
	char shorts[static 2 * ARRAY_SIZE(specs) + 3])
{
	char *at = shorts;

	*at++ = ':'; /* a missing argument is told apart from an unknown option */
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		longs[i] = (struct option){
			.name = specs[i].name,
			.has_arg = specs[i].argument ? required_argument : no_argument,
			.val = option_value(i),
		};
		if (!specs[i].letter)
			continue;
		*at++ = specs[i].letter;
		if (specs[i].argument)
			*at++ = ':';
	}
	longs[ARRAY_SIZE(specs)] = (struct option){0};
	*at = '\0';
}

static int parse_command(int *argc, char ***argv, struct options *options)
{
	static const struct {
		const char *word;
		enum command command;
	} commands[] = {
		{"run", COMMAND_RUN},
		{"boot", COMMAND_RUN}, /* gokvm's word */
		{"probe", COMMAND_PROBE},
		{"help", COMMAND_HELP},
	};

	if (*argc < 2 || (*argv)[1][0] == '-')
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp((*argv)[1], commands[i].word)) {
			options->command = commands[i].command;
			(*argv)++;
			(*argc)--;
			return 0;
		}
	}
	return -EINVAL;
}

static void set_defaults(struct options *options)
{
	*options = (struct options){.command = COMMAND_RUN};
	options->machine.kvm_path = "/dev/kvm";
	options->machine.memory_size = MEMORY_DEFAULT;
	options->machine.knobs.halt_poll_ns = -1;
	options->machine.cmdline = "console=ttyS0";
}

/* --queues holds for every device that does not say otherwise, wherever it stands. */
static unsigned apply_default_queues(struct options *options)
{
	unsigned queues = options->default_queues ? options->default_queues : 1;
	unsigned most = 1;

	for (unsigned i = 0; i < options->machine.disk_count; i++) {
		struct blk_config *blk = &options->machine.disks[i].blk;

		if (!blk->queues)
			blk->queues = queues;
		most = max_of(most, blk->queues);
	}
	for (unsigned i = 0; i < options->machine.nic_count; i++) {
		struct net_config *nic = &options->machine.nics[i];

		if (!nic->queues)
			nic->queues = queues;
		most = max_of(most, nic->queues);
	}
	return most;
}

/* A guest's driver uses no more queues than it has CPUs: so many there are, if nobody says. */
static void apply_default_cpus(struct options *options, unsigned most_queues)
{
	if (!options->machine.cpus)
		options->machine.cpus = most_queues;
}

static int unknown_option(char **argv, struct error *error)
{
	const struct option_spec *spec = find_spec(optopt);

	if (spec) /* getopt knows it: what is wrong is a value behind it */
		return error_set(
			error, -EINVAL, "--%s takes no value; see fastvmm --help", spec->name);
	if (optopt && optopt < LONG_BASE)
		return error_set(error, -EINVAL, "unknown option -%c; see fastvmm --help", optopt);
	return error_set(error, -EINVAL, "unknown option %s; see fastvmm --help", argv[optind - 1]);
}

static int parse_options(int argc, char **argv, struct options *options, struct error *error)
{
	char shorts[2 * ARRAY_SIZE(specs) + 3];
	struct option longs[ARRAY_SIZE(specs) + 1];
	int value;

	build_getopt_tables(longs, shorts);
	optind = 0; /* glibc: start over, so that tests may parse many times */
	opterr = 0;
	while ((value = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct option_spec *spec = find_spec(value);
		int result;

		if (value == ':')
			return error_set(error, -EINVAL, "%s needs a value; see fastvmm --help",
				argv[optind - 1]);
		if (!spec)
			return unknown_option(argv, error);
		result = spec->apply(options, spec->name, optarg, error);
		if (result)
			return result;
		if (options->command == COMMAND_HELP || options->command == COMMAND_VERSION)
			return 0;
	}
	if (optind < argc)
		return error_set(error, -EINVAL, "unexpected argument \"%s\"; see fastvmm --help",
			argv[optind]);
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret_options, struct error *error)
{
	int result;

	set_defaults(ret_options);
	if (parse_command(&argc, &argv, ret_options))
		return error_set(error, -EINVAL,
			"unknown command \"%s\": expected run or probe; see fastvmm --help",
			argv[1]);
	result = parse_options(argc, argv, ret_options, error);
	if (result)
		return result;
	if (ret_options->probe_json && ret_options->command == COMMAND_RUN)
		return error_set(error, -EINVAL,
			"--json: only fastvmm probe takes it; --stats writes a guest's counters as "
		        "JSON");
	apply_default_cpus(ret_options, apply_default_queues(ret_options));
	return 0;
}

void options_deinit(struct options *options)
{
	for (unsigned i = 0; i < options->machine.disk_count; i++)
		disk_option_deinit(&options->machine.disks[i]);
	free(options->machine.vcpu_pins.cpus);
	free(options->machine.io_pins.cpus);
	options->machine.disk_count = 0;
	options->machine.vcpu_pins = options->machine.io_pins = (struct machine_cpus){0};
}

void options_print_help(void)
{
	puts("Usage: fastvmm [run] [OPTION...]     run a guest\n"
	     "       fastvmm probe [--json]        what this host offers\n"
	     "\n"
	     "Without --kernel, the guest that tools/mkguest made is run, else the newest "
	     "readable\n"
	     "kernel in /boot. On the console, Ctrl-a x ends the guest, Ctrl-a h lists the keys.\n"
	     "\n"
	     "Options:");
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s %s", specs[i].letter ? '-' : ' ',
			specs[i].letter ? specs[i].letter : ' ', specs[i].letter ? "," : " ",
			specs[i].name, specs[i].argument ? specs[i].argument : "");
		printf("  %-32s %s\n", left, specs[i].help);
	}
	puts("\nOptions of --disk (several disks allowed):");
	disk_option_print_help();
	puts("\nOptions of --net (several NICs allowed):\n"
	     "  tap=NAME|auto            the tap; made where it is missing, and then removed at "
	     "exit\n"
	     "  bridge=NAME              put it on this bridge; made where it is missing\n"
	     "  mac=XX:XX:XX:XX:XX:XX    the guest's address (default: made up)\n"
	     "  mtu=N                    MTU of tap and guest (default: that of the tap or "
	     "bridge)\n"
	     "  queues=N                 queue pairs (default: --queues)\n"
	     "  host-ip=CIDR             address of the host on the bridge or tap; may be "
	     "repeated\n"
	     "  offload=on|off|LIST      LIST of csum, tso4, tso6, ecn, uso joined by ':' (default "
	     "on)\n"
	     "  rss=on|off               offer receive-side scaling and hashes (default off)\n"
	     "  packed=on|off            offer packed virtqueues (default off)\n"
	     "  vhost=on|off             let the kernel's vhost-net move the frames (default off)\n"
	     "  fd=N:N...                tap queues opened by somebody else, instead of tap=\n"
	     "\n"
	     "Exit status: 0 the guest powered off, 1 a file, device or right is missing, 2 bad\n"
	     "usage, 3 KVM cannot go on, 4 the guest's kernel panicked, 5 triple fault with\n"
	     "--no-reboot, 128+N ended by signal N.");
}
