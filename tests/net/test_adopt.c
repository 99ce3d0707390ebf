/* SPDX-License-Identifier: Apache-2.0 */
/* fd=: queues of a tap that somebody else opened. Skipped without root. */
#include "vm.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

TestSuite(adopt, .init = vm_setup, .fini = vm_teardown, .timeout = 60);

static int open_queue(const char *name, int flags)
{
	struct ifreq request = {.ifr_flags = (short)flags};
	int fd = open("/dev/net/tun", O_RDWR);

	cr_assert_geq(fd, 0);
	strcpy(request.ifr_name, name);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0, "%s: %s", name, strerror(errno));
	return fd;
}

#define GOOD (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)

Test(adopt, adopted_descriptors_are_taken_as_they_are)
{
	char net[64];
	struct vm vm;
	int one, two;

	one = open_queue("t0", GOOD);
	two = open_queue("t0", GOOD);
	netlink_set_mtu(vm_netlink, vm_index("t0"), 2000);
	snprintf(net, sizeof(net), "fd=%d:%d", one, two);
	vm_start_well(&vm, net);
	cr_expect_str_eq(vm.tap.name, "t0");
	cr_expect_eq(vm.tap.count, 2);
	cr_expect_eq(topology_mtu(vm.topology), 2000);
	cr_expect_geq(topology_link_fd(vm.topology), 0);
	cr_expect(fcntl(one, F_GETFL) & O_NONBLOCK);
	cr_expect(fcntl(two, F_GETFD) & FD_CLOEXEC);
	cr_expect_not(world_is_up("t0"), "whether it is up is the owner's business");
	vm_stop(&vm);
	cr_expect_eq(fcntl(one, F_GETFD), -1, "they were handed over");
	cr_expect_eq(world_count(), 0);
}

static void refuse_fds(const char *text, int one, int two)
{
	char net[64];

	snprintf(net, sizeof(net), two < 0 ? "fd=%d" : "fd=%d:%d", one, two);
	vm_refuse(net, -EINVAL, text);
	cr_expect_geq(fcntl(one, F_GETFD), 0, "still the caller's");
}

Test(adopt, descriptors_that_will_not_do)
{
	int good, other;

	good = open_queue("t0", GOOD);
	other = open_queue("t1", GOOD);
	refuse_fds("is a queue of t1, the one before of t0", good, other);
	refuse_fds("is a single-queue tap", open_queue("t2", GOOD & ~IFF_MULTI_QUEUE), good);
	refuse_fds("IFF_VNET_HDR", open_queue("t3", GOOD & ~IFF_VNET_HDR), -1);
	refuse_fds("IFF_NO_PI", open_queue("t4", GOOD & ~IFF_NO_PI), -1);
	refuse_fds("IFF_TAP", open_queue("tun5", (GOOD & ~IFF_TAP) | IFF_TUN), -1);
	refuse_fds("is not a queue of a tap", open("/dev/null", O_RDWR), -1);
	refuse_fds("is not a queue of a tap", open("/dev/net/tun", O_RDWR), -1);
	vm_refuse("fd=900", -EBADF, "fd=900: no descriptor of this number is open");
}

Test(adopt, an_adopted_tap_must_hold_the_mtu)
{
	char net[64];
	int fd;

	fd = open_queue("t0", GOOD);
	snprintf(net, sizeof(net), "fd=%d,mtu=9000", fd);
	vm_refuse(net, -EINVAL, "mtu=9000 does not fit tap t0, whose MTU is 1500");
	cr_expect_geq(fcntl(fd, F_GETFD), 0);
}

/* The name of a tap in another network namespace means nothing here. */
Test(adopt, an_adopted_tap_of_another_namespace)
{
	char net[64];
	struct vm vm;
	int fd;

	fd = open_queue("t0", GOOD);
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	world_make_tap("t0", IFF_TAP, -1, NULL);
	snprintf(net, sizeof(net), "fd=%d", fd);
	vm_start_well(&vm, net);
	cr_expect_eq(topology_link_fd(vm.topology), -1);
	cr_expect_eq(topology_link_read(vm.topology), TOPOLOGY_LINK_UP);
	cr_expect_eq(topology_mtu(vm.topology), 0);
	vm_stop(&vm);
	cr_expect(world_has("t0"));
}
