/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe without a controller: commands, what its answers mean, what identify data say. */
#include "fixture.h"
#include "io/nvme_command.h"
#include "io/nvme_namespace.h"
#include "util/error.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const struct nvme_target target = {.nsid = 3, .block_shift = 12};

/* ---- commands ---- */

Test(nvme, reads_and_writes)
{
	struct nvme_uring_cmd command = {0};

	nvme_command_transfer(&command, &target, false, false, 0x1234567890ull << 12, 8 << 12);
	cr_assert_eq(command.opcode, 2);
	cr_assert_eq(command.nsid, 3);
	cr_assert_eq(command.cdw10, 0x34567890);
	cr_assert_eq(command.cdw11, 0x12);
	cr_assert_eq(command.cdw12, 7, "blocks less one");
	command = (struct nvme_uring_cmd){0};
	nvme_command_transfer(&command, &target, true, false, 4096, 4096);
	cr_assert_eq(command.opcode, 1);
	cr_assert_eq(command.cdw10, 1);
	cr_assert_eq(command.cdw11, 0);
	cr_assert_eq(command.cdw12, 0);
}

Test(nvme, durable_writes_force_unit_access)
{
	struct nvme_uring_cmd command = {0};

	nvme_command_transfer(&command, &target, true, true, 0, (uint64_t)NVME_BLOCKS_MAX * 4096);
	cr_assert_eq(command.cdw12, 0x4000ffff);
}

Test(nvme, flush)
{
	struct nvme_uring_cmd command = {0}, want = {.nsid = 3};

	nvme_command_flush(&command, &target);
	cr_assert_eq(memcmp(&command, &want, sizeof(want)), 0);
}

Test(nvme, zeroes)
{
	struct nvme_uring_cmd command = {0};

	nvme_command_write_zeroes(&command, &target, false, false, 8192, 16384);
	cr_assert_eq(command.opcode, 8);
	cr_assert_eq(command.cdw10, 2);
	cr_assert_eq(command.cdw12, 3);
	cr_assert_eq(command.addr, 0);
	command = (struct nvme_uring_cmd){0};
	nvme_command_write_zeroes(&command, &target, true, true, 8192, 16384);
	cr_assert_eq(command.cdw12, 0x42000003);
}

Test(nvme, deallocation)
{
	struct nvme_range range = {.attributes = 9};
	struct nvme_uring_cmd command = {0};

	nvme_command_deallocate(&command, &target, &range, 0x5000, 1ull << 40);
	cr_assert_eq(command.opcode, 9);
	cr_assert_eq(command.addr, (uintptr_t)&range);
	cr_assert_eq(command.data_len, 16);
	cr_assert_eq(command.cdw10, 0, "one range");
	cr_assert_eq(command.cdw11, 4);
	cr_assert_eq(range.attributes, 0);
	cr_assert_eq(le32toh(range.blocks), 1u << 28);
	cr_assert_eq(le64toh(range.first), 5);
}

Test(nvme, statuses)
{
	static const int32_t cases[][2] = {
		{0, 0},
		{-EINTR, -EINTR},
		{-EOPNOTSUPP, -EOPNOTSUPP},
		{0x4001, -EOPNOTSUPP}, /* with "do not retry" */
		{0x002, -EOPNOTSUPP},
		{0x4080, -EIO},
		{0x082, -EAGAIN},
		{0x4082, -EIO}, /* no use in asking again */
		{0x021, -EAGAIN},
		{0x081, -ENOSPC},
		{0x083, -EBADE},
		{0x020, -EROFS},
		{0x4182, -EROFS},
		{0x280, -ENODATA},
		{0x4281, -ENODATA},
		{0x4282, -EILSEQ},
		{0x2281, -ENODATA}, /* with "more" */
		{0x7ff, -EIO},
		{INT32_MAX, -EIO},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(nvme_status_errno(cases[i][0]), cases[i][1], "%x: %d",
			(unsigned)cases[i][0], nvme_status_errno(cases[i][0]));
}

/* ---- identify data ---- */

static uint8_t data[NVME_IDENTIFY_BYTES];

/* 2^20 blocks of 4 KiB, by format 1. */
static void good_namespace(void)
{
	memset(data, 0, sizeof(data));
	data[2] = 0x10;
	data[25] = 1;
	data[26] = 1;
	data[128 + 2] = 9;
	data[132 + 2] = 12;
}

Test(nvme, a_namespace)
{
	struct nvme_geometry geometry;
	const char *why;

	good_namespace();
	cr_assert_eq(nvme_parse_namespace(data, &geometry, &why), 0);
	cr_assert_eq(geometry.size, 1ull << 32);
	cr_assert_eq(geometry.block_shift, 12);
	cr_assert(!geometry.write_protected && !geometry.zeroes_deallocate);
	data[33] = 9;
	data[99] = 1;
	cr_assert_eq(nvme_parse_namespace(data, &geometry, &why), 0);
	cr_assert(geometry.write_protected && geometry.zeroes_deallocate);
	data[33] = 8;
	cr_assert_eq(nvme_parse_namespace(data, &geometry, &why), 0);
	cr_assert_not(geometry.zeroes_deallocate, "what it reads as then is not known");
}

static void refused(const char *text)
{
	struct nvme_geometry geometry;
	const char *why = NULL;

	cr_assert_eq(nvme_parse_namespace(data, &geometry, &why), -ENOTSUP);
	cr_assert_not_null(why);
	cr_assert_not_null(strstr(why, text), "\"%s\" should say \"%s\"", why, text);
	good_namespace();
}

Test(nvme, formats_that_cannot_be_used)
{
	good_namespace();
	data[132] = 8;
	refused("metadata");
	data[29] = 1;
	refused("protection information");
	data[132 + 2] = 8;
	refused("size");
	data[132 + 2] = 17;
	refused("size");
	data[2] = 0;
	refused("no blocks");
	data[7] = 0x80;
	refused("impossible");
	/* A format beyond the first sixteen: the upper bits of its number lie apart. */
	data[26] = 1 | 1 << 5;
	data[128 + 17 * 4 + 1] = 1;
	data[128 + 17 * 4 + 2] = 12;
	refused("metadata");
}

Test(nvme, a_controller)
{
	struct nvme_abilities abilities;

	memset(data, 0, sizeof(data));
	abilities = nvme_parse_controller(data);
	cr_assert_eq(abilities.transfer_max, UINT64_MAX);
	cr_assert(!abilities.deallocate && !abilities.write_zeroes);
	data[77] = 7;
	data[520] = 1 << 2 | 1 << 3;
	abilities = nvme_parse_controller(data);
	cr_assert_eq(abilities.transfer_max, 512u << 10);
	cr_assert(abilities.deallocate && abilities.write_zeroes);
	data[77] = 255;
	cr_assert_eq(nvme_parse_controller(data).transfer_max, UINT64_MAX);
}

Test(nvme, other_character_devices_are_no_namespaces)
{
	struct stat status;

	cr_assert_eq(stat("/dev/null", &status), 0);
	cr_assert_not(nvme_namespace_is(status.st_rdev));
	cr_assert_not(nvme_namespace_is(makedev(4095, 77)));
}
