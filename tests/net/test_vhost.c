/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost=on where the host has no vhost-net: one line that says what to do, and nothing left behind.
 * What it does where there is one is the Linux guests' test (tests/linux, net/vhost). In a world of
 * the test's own; skipped without root.
 */
#include "vm.h"
#include "world.h"

#include "io/worker.h"
#include "net/net_device.h"
#include "support/mock_driver.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

TestSuite(vhost, .init = vm_setup, .fini = vm_teardown, .timeout = 60);

Test(vhost, is_refused_where_there_is_none)
{
	const struct io_worker_options options = {.name = "net", .cpu = -1};
	struct error error = ERROR_INIT;
	struct net_device *device = NULL;
	struct mock_guest guest;
	struct io_worker *worker;
	struct net_config config;

	if (!access("/dev/vhost-net", F_OK)) {
		cr_skip_test("this host has vhost-net");
		return;
	}
	mock_guest_init(&guest, 1 << 20);
	cr_assert_eq(io_worker_create(&options, &worker, &error), 0, "%s", error.text);
	cr_assert_eq(net_config_parse("tap=t0,queues=2,vhost=on", &config, &error), 0);
	cr_expect_eq(net_device_create(&config, "net0", guest.memory, &worker, 1, &device, &error),
		-ENOENT);
	cr_expect(strstr(error.text, "modprobe vhost_net"), "%s", error.text);
	cr_expect_eq(world_count(), 0);
	io_worker_destroy(worker);
	mock_guest_deinit(&guest);
}
