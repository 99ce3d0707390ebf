/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define ARGUMENTS_MAX 16

static struct options options;
static struct error error;

/* Parses the NULL-terminated words behind "fastvmm". */
static int parse(const char *const *words)
{
	char *argv[ARGUMENTS_MAX] = {(char *)"fastvmm"};
	int argc = 1;

	for (; words[argc - 1]; argc++)
		argv[argc] = (char *)words[argc - 1];
	options_deinit(&options);
	error = ERROR_INIT;
	return options_parse(argc, argv, &options, &error);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

Test(options, defaults)
{
	cr_assert_eq(parse((const char *const[]){NULL}), 0, "%s", error.text);
	cr_assert_eq(options.command, COMMAND_RUN);
	cr_assert_eq(options.machine.cpus, 1);
	cr_assert_eq(options.machine.memory_size, 512ull << 20);
	cr_assert_str_eq(options.machine.cmdline, "console=ttyS0");
	cr_assert_null(options.machine.kernel);
	cr_assert_eq(options.machine.disk_count, 0);
	cr_assert_not(options.no_reboot);
}

Test(options, the_main_job)
{
	cr_assert_eq(PARSE("--queues", "4", "--disk", "nvme.img"), 0, "%s", error.text);
	cr_assert_eq(options.machine.disk_count, 1);
	cr_assert_str_eq(options.machine.disks[0].blk.path, "nvme.img");
	cr_assert_eq(options.machine.disks[0].blk.queues, 4);
	cr_assert_eq(options.machine.cpus, 4, "a guest uses no more queues than it has CPUs");
	options_deinit(&options);
}

Test(options, queues_is_a_default_wherever_it_stands)
{
	cr_assert_eq(
		PARSE("run", "--disk", "a,queues=2", "--disk=b", "--net", "tap=auto", "--queues=3"),
		0, "%s", error.text);
	cr_assert_eq(options.machine.disks[0].blk.queues, 2);
	cr_assert_eq(options.machine.disks[1].blk.queues, 3);
	cr_assert_eq(options.machine.nics[0].queues, 3);
	options_deinit(&options);
}

Test(options, gokvms_short_flags)
{
	cr_assert_eq(PARSE("boot", "-k", "bz", "-i", "rd", "-p", "quiet", "-d", "x.img", "-c", "4",
			     "-m", "1G"),
		0, "%s", error.text);
	cr_assert_str_eq(options.machine.kernel, "bz");
	cr_assert_str_eq(options.machine.initrd, "rd");
	cr_assert_str_eq(options.machine.cmdline, "quiet");
	cr_assert_eq(options.machine.cpus, 4);
	cr_assert_eq(options.machine.memory_size, 1ull << 30);
	options_deinit(&options);
	cr_assert_eq(PARSE("-D", "/dev/other", "-t", "tap3"), 0, "%s", error.text);
	cr_assert_str_eq(options.machine.kvm_path, "/dev/other");
	cr_assert_str_eq(options.machine.nics[0].tap, "tap3");
	options_deinit(&options);
}

Test(options, commands)
{
	cr_assert_eq(PARSE("probe", "--json"), 0);
	cr_assert_eq(options.command, COMMAND_PROBE);
	cr_assert(options.probe_json);
	cr_assert_eq(PARSE("--help", "--unknown"), 0, "help wins over what follows");
	cr_assert_eq(options.command, COMMAND_HELP);
	cr_assert_eq(PARSE("-V"), 0);
	cr_assert_eq(options.command, COMMAND_VERSION);
}

Test(options, every_refusal_names_its_option)
{
	static const struct {
		const char *words[4];
		const char *text;
	} cases[] = {
		{{"--wrong"}, "unknown option --wrong"},
		{{"-x"}, "unknown option -x"},
		{{"--cpus"}, "--cpus needs a value"},
		{{"-c"}, "-c needs a value"},
		{{"--cpus", "0"}, "--cpus 0: expected a number from 1 to 255"},
		{{"--cpus", "256"}, "--cpus 256:"},
		{{"--cpus", "two"}, "--cpus two:"},
		{{"--memory", "1M"}, "--memory 1M: too little memory"},
		{{"--memory", "lots"}, "--memory lots: expected a size"},
		{{"--memory", "99999T"}, "--memory 99999T: more memory than"},
		{{"--queues", "0"}, "--queues 0:"},
		{{"--queues", "1000"}, "--queues 1000:"},
		{{"--memory-backend", "soft"}, "--memory-backend soft: expected plain"},
		{{"--vcpu-cpus", "a"}, "--vcpu-cpus a: expected a CPU list"},
		{{"--io-cpus", "1023"}, "--io-cpus 1023: this process may not run"},
		{{"--workers", "0"}, "--workers 0:"},
		{{"--halt-poll-us", "1000001"}, "--halt-poll-us 1000001: expected a number"},
		{{"--disable-exits", "mwait"}, "--disable-exits mwait: expected hlt, pause"},
		{{"--disk", "a,queues=0"}, "--disk a,queues=0: queues=0: expected"},
		{{"--net", "tap=x,queues=0"}, "--net"},
		{{"start"}, "unknown command \"start\""},
		{{"run", "extra"}, "unexpected argument \"extra\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(parse(cases[i].words), -EINVAL, "%s", cases[i].text);
		cr_assert_eq(strncmp(error.text, cases[i].text, strlen(cases[i].text)), 0,
			"\"%s\" should start with \"%s\"", error.text, cases[i].text);
		options_deinit(&options);
	}
}

Test(options, knobs_of_kvm)
{
	cr_assert_eq(PARSE("--memory", "64M"), 0);
	cr_assert_lt(options.machine.knobs.halt_poll_ns, 0, "the host's own setting");
	cr_assert_not(options.machine.knobs.no_hlt_exits || options.machine.knobs.no_pause_exits);
	cr_assert_eq(PARSE("--halt-poll-us", "50", "--disable-exits", "hlt,pause"), 0);
	cr_assert_eq(options.machine.knobs.halt_poll_ns, 50000);
	cr_assert(options.machine.knobs.no_hlt_exits && options.machine.knobs.no_pause_exits);
}

Test(options, memory_is_rounded_up_to_whole_huge_pages)
{
	cr_assert_eq(PARSE("--memory", "65M"), 0);
	cr_assert_eq(options.machine.memory_size, 66ull << 20);
	cr_assert_eq(PARSE("--memory-backend", "huge,prealloc"), 0);
	cr_assert_eq(options.machine.memory.backend, GUEST_MEMORY_HUGE);
	cr_assert(options.machine.memory.preallocate);
}
