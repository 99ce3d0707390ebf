/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk_option.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(disk_option, a_bare_path_gets_the_defaults)
{
	struct error error = ERROR_INIT;
	struct machine_disk disk;

	cr_assert_eq(disk_option_parse("a.img", &disk, &error), 0, "%s", error.text);
	cr_assert_str_eq(disk.blk.path, "a.img");
	cr_assert_eq(disk.blk.queues, 0, "left to --queues");
	cr_assert_eq(disk.blk.queue_size, 256);
	cr_assert_eq(disk.blk.cache, DISK_CACHE_NONE);
	cr_assert(disk.blk.discard);
	cr_assert_not(disk.blk.readonly);
	cr_assert(disk.blk.merge);
	cr_assert_not(disk.blk.iopoll);
	cr_assert_null(disk.blk.serial);
	disk_option_deinit(&disk);
}

Test(disk_option, every_option)
{
	struct error error = ERROR_INIT;
	struct machine_disk disk;

	cr_assert_eq(disk_option_parse("a=b.img,queues=4,queue-size=1024,readonly,cache=unsafe,"
				       "serial=S1,discard=off,poll-us=0,workers=2,io-cpus=0,"
				       "fixed-buffers=on,merge=off,packed",
			     &disk, &error),
		0, "%s", error.text);
	cr_assert_str_eq(disk.blk.path, "a=b.img", "a path may hold '='");
	cr_assert_eq(disk.blk.queues, 4);
	cr_assert_eq(disk.blk.queue_size, 1024);
	cr_assert(disk.blk.readonly);
	cr_assert_eq(disk.blk.cache, DISK_CACHE_UNSAFE);
	cr_assert_str_eq(disk.blk.serial, "S1");
	cr_assert_not(disk.blk.discard);
	cr_assert_eq(disk.blk.poll_us, 0);
	cr_assert(disk.blk.fixed_buffers);
	cr_assert_not(disk.blk.merge);
	cr_assert(disk.blk.packed);
	cr_assert_eq(disk.workers, 2);
	cr_assert_eq(disk.pins.count, 1);
	disk_option_deinit(&disk);
}

Test(disk_option, polling_goes_past_the_page_cache_or_not_at_all)
{
	struct error error = ERROR_INIT;
	struct machine_disk disk;

	cr_assert_eq(disk_option_parse("a,iopoll", &disk, &error), 0, "%s", error.text);
	cr_assert(disk.blk.iopoll);
	disk_option_deinit(&disk);
	cr_assert_eq(disk_option_parse("a,cache=writeback,iopoll=off", &disk, &error), 0);
	disk_option_deinit(&disk);
	cr_assert_eq(disk_option_parse("a,iopoll=on,cache=unsafe", &disk, &error), -EINVAL);
	cr_assert_str_eq(error.text,
		"--disk a,iopoll=on,cache=unsafe: iopoll=on goes with cache=none alone: the host's "
		"page cache cannot be polled");
	disk_option_deinit(&disk);
}

Test(disk_option, pins_alone_make_a_worker_each)
{
	struct error error = ERROR_INIT;
	struct machine_disk disk;

	cr_assert_eq(
		disk_option_parse("a,,b.img,io-cpus=0,,0", &disk, &error), 0, "%s", error.text);
	cr_assert_str_eq(disk.blk.path, "a,b.img");
	cr_assert_eq(disk.workers, 2);
	disk_option_deinit(&disk);
}

Test(disk_option, refusals_name_the_disk_and_the_option)
{
	static const char *const cases[][2] = {
		{"", "--disk : expected PATH"},
		{"a,", "--disk a,: expected PATH"},
		{"a,queues", "--disk a,queues: queues needs a value: queues=N"},
		{"a,queues=129", "--disk a,queues=129: queues=129: expected a number from 1"},
		{"a,queue-size=100", "--disk a,queue-size=100: queue-size=100: expected a power"},
		{"a,queue-size=2048", "--disk a,queue-size=2048: queue-size=2048: expected"},
		{"a,cache=fast", "--disk a,cache=fast: cache=fast: expected none"},
		{"a,readonly=maybe", "--disk a,readonly=maybe: readonly=maybe: expected on"},
		{"a,serial=123456789012345678901", "--disk a,serial=123456789012345678901: serial"},
		{"a,iopoll,cache=writeback", "--disk a,iopoll,cache=writeback: iopoll=on goes"},
		{"a,iopoll=maybe", "--disk a,iopoll=maybe: iopoll=maybe: expected on or off"},
		{"a,poll-us=x", "--disk a,poll-us=x: poll-us=x: expected microseconds"},
		{"a,colour=red", "--disk a,colour=red: unknown option \"colour\""},
		{"a,io-cpus=x", "--disk a,io-cpus=x: io-cpus=x: expected a CPU list"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = ERROR_INIT;
		struct machine_disk disk;

		cr_assert_lt(disk_option_parse(cases[i][0], &disk, &error), 0, "%s", cases[i][0]);
		cr_assert_eq(strncmp(error.text, cases[i][1], strlen(cases[i][1])), 0,
			"\"%s\" should start with \"%s\"", error.text, cases[i][1]);
		disk_option_deinit(&disk);
	}
}
