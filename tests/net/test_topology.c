/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --net makes of the host and what is left of it afterwards, in namespaces of the test's own
 * and as the kernel reports it. Skipped without root.
 */
#include "vm.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(topology, .init = vm_setup, .fini = vm_teardown, .timeout = 60);

/* ---- a tap alone ---- */

Test(topology, tap_is_made_and_removed_twice)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vm vm;

		vm_start_well(&vm, "tap=t0,mtu=9000,queues=3");
		cr_expect_eq(world_number("t0", "mtu"), 9000);
		cr_expect(world_is_up("t0"));
		cr_expect_eq(world_number("t0", "carrier"), 1);
		cr_expect_eq(world_number("t0", "tun_flags") &
				     (IFF_TAP | IFF_MULTI_QUEUE | IFF_VNET_HDR | IFF_NO_PI),
			IFF_TAP | IFF_MULTI_QUEUE | IFF_VNET_HDR | IFF_NO_PI);
		cr_expect_eq(vm.tap.count, 3);
		cr_expect_eq(topology_mtu(vm.topology), 9000);
		cr_expect_eq(world_count(), 1);
		vm_stop(&vm);
		cr_expect_eq(world_count(), 0);
	}
}

Test(topology, auto_picks_free_names)
{
	struct vm one, two;

	vm_start_well(&one, "tap=auto");
	vm_start_well(&two, "tap=auto,queues=2");
	cr_expect_str_neq(one.tap.name, two.tap.name);
	cr_expect(world_is_up(one.tap.name));
	cr_expect(world_is_up(two.tap.name));
	cr_expect_eq(topology_mtu(one.topology), 1500);
	vm_stop(&one);
	vm_stop(&two);
	cr_expect_eq(world_count(), 0);
}

Test(topology, addresses_on_the_tap)
{
	struct vm vm;

	vm_start_well(&vm, "tap=t0,host-ip=10.7.0.1/24,host-ip=fd07::1/64");
	cr_expect(world_has_address("t0", "10.7.0.1/24"));
	cr_expect(world_has_address("t0", "fd07::1/64"));
	cr_expect_eq(world_count_addresses("t0"), 2);
	vm_stop(&vm);
	cr_expect_eq(world_count(), 0);
}

/* ---- a bridge of ours ---- */

Test(topology, bridge_is_made_and_removed_twice)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vm vm;

		vm_start_well(&vm, "tap=t0,bridge=br0,mtu=4000,queues=2,host-ip=10.7.0.1/24");
		cr_expect(world_on_bridge("t0", "br0"));
		cr_expect(world_is_up("br0"));
		cr_expect_eq(world_number("br0", "mtu"), 4000);
		cr_expect_eq(world_number("t0", "mtu"), 4000);
		cr_expect(world_has_address("br0", "10.7.0.1/24"));
		cr_expect_eq(world_count_addresses("t0"), 0);
		vm_stop(&vm);
		cr_expect_eq(world_count(), 0);
	}
}

Test(topology, bridge_goes_with_the_last_vm_on_it)
{
	struct vm one, two;

	vm_start_well(&one, "tap=t0,bridge=br0,host-ip=10.7.0.1/24");
	vm_start_well(&two, "tap=t1,bridge=br0,host-ip=10.7.0.1/24");
	cr_expect(world_on_bridge("t0", "br0"));
	cr_expect(world_on_bridge("t1", "br0"));
	vm_stop(&one);
	cr_expect_not(world_has("t0"));
	cr_expect(world_on_bridge("t1", "br0"), "the first to come is not the last to go");
	cr_expect(world_has_address("br0", "10.7.0.1/24"));
	vm_stop(&two);
	cr_expect_eq(world_count(), 0);
}

/* Starts in a child, which is killed; the rest of this process's world stays. */
static void start_and_be_killed(const char *net)
{
	int ends[2], status;
	char byte;
	pid_t child;

	cr_assert_eq(pipe(ends), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (!child) {
		struct net_config config;
		struct topology *topology;
		struct tap tap;

		if (net_config_parse(net, &config, NULL) ||
			topology_create(&config, &tap, &topology, NULL) ||
			write(ends[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	cr_assert_eq(read(ends[0], &byte, 1), 1, "the child did not start");
	kill(child, SIGKILL);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status));
	close(ends[0]);
}

Test(topology, nothing_blocks_a_start_after_kill_9)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vm vm;

		start_and_be_killed("tap=t0,bridge=br0,mtu=1500,queues=2,host-ip=10.7.0.1/24");
		cr_expect_not(world_has("t0"), "the kernel removes a tap with its descriptors");
		cr_expect(world_has("br0"));
		/* Other values than before: nothing of the old ones may be in the way. */
		vm_start_well(&vm, "tap=t0,bridge=br0,mtu=9000,queues=2,host-ip=10.7.9.1/24");
		cr_expect(world_on_bridge("t0", "br0"));
		cr_expect_eq(world_number("br0", "mtu"), 9000);
		cr_expect(world_has_address("br0", "10.7.9.1/24"));
		cr_expect_not(world_has_address("br0", "10.7.0.1/24"));
		vm_stop(&vm);
		cr_expect_eq(world_count(), 0);
	}
}

Test(topology, a_killed_vm_does_not_take_the_bridge_from_others)
{
	struct vm vm;

	vm_start_well(&vm, "tap=t1,bridge=br0,host-ip=10.7.0.1/24");
	start_and_be_killed("tap=t0,bridge=br0,queues=2");
	cr_expect(world_on_bridge("t1", "br0"));
	cr_expect(world_has_address("br0", "10.7.0.1/24"));
	vm_stop(&vm);
	cr_expect_eq(world_count(), 0);
}

Test(topology, a_failed_start_takes_everything_back)
{
	vm_make_bridge("other", 0);
	vm_refuse("tap=t0,bridge=br0,mtu=9000,host-ip=10.7.0.1/24,host-ip=ff02::77/64",
		-EADDRNOTAVAIL, "adding host-ip failed");
	cr_expect_eq(world_count(), 1);
}

/* ---- somebody else's bridge ---- */

Test(topology, a_found_bridge_is_joined_and_left_as_it_was)
{
	struct net_address address = {.family = AF_INET, .bytes = {10, 9, 0, 1}, .prefix = 16};
	struct vm vm;

	vm_make_bridge("br0", 3000);
	cr_assert_eq(netlink_add_address(vm_netlink, vm_index("br0"), &address), 0);
	vm_start_well(&vm, "tap=t0,bridge=br0,host-ip=10.9.0.1/16");
	cr_expect(world_on_bridge("t0", "br0"));
	cr_expect_eq(world_number("t0", "mtu"), 3000, "the tap takes the bridge's MTU");
	cr_expect_eq(topology_mtu(vm.topology), 3000);
	cr_expect_eq(world_number("br0", "mtu"), 3000);
	cr_expect_str_eq(world_read("br0", "ifalias"), "");
	vm_stop(&vm);
	cr_expect(world_has("br0"));
	cr_expect(world_is_up("br0"));
	cr_expect_eq(world_number("br0", "mtu"), 3000);
	cr_expect(world_has_address("br0", "10.9.0.1/16"));
	cr_expect_eq(world_count(), 1);
}

Test(topology, a_smaller_mtu_is_the_guests_alone)
{
	struct vm vm;

	vm_make_bridge("br0", 3000);
	vm_start_well(&vm, "tap=t0,bridge=br0,mtu=1400");
	cr_expect_eq(world_number("br0", "mtu"), 3000);
	cr_expect_eq(world_number("t0", "mtu"), 3000);
	cr_expect_eq(topology_mtu(vm.topology), 1400);
	vm_stop(&vm);
}

Test(topology, what_a_found_bridge_refuses)
{
	vm_make_bridge("br0", 1500);
	vm_refuse("tap=t0,bridge=br0,mtu=9000", -EINVAL,
		"mtu=9000 does not fit bridge br0, whose MTU is 1500");
	vm_refuse("tap=t0,bridge=br0,host-ip=10.7.0.1/24", -EPERM, "br0 was not made by fastvmm");
	cr_expect_eq(world_count_addresses("br0"), 0);
	world_make_tap("taken", IFF_TAP, -1, NULL);
	vm_refuse("tap=t0,bridge=taken", -EINVAL,
		"bridge=taken: there is an interface of this name that is no bridge");
	vm_refuse("tap=t0,bridge=lo", -EINVAL, "no bridge");
}

/* ---- somebody else's tap ---- */

Test(topology, a_found_tap_is_set_back)
{
	struct vm vm;

	world_make_tap("t0", IFF_TAP | IFF_MULTI_QUEUE, -1, NULL);
	vm_start_well(&vm, "tap=t0,bridge=br0,mtu=5000,queues=4");
	cr_expect(world_on_bridge("t0", "br0"));
	cr_expect(world_is_up("t0"));
	cr_expect_eq(world_number("t0", "mtu"), 5000);
	vm_stop(&vm);
	cr_expect(world_has("t0"));
	cr_expect_not(world_has("br0"));
	cr_expect_not(world_is_up("t0"));
	cr_expect_eq(world_number("t0", "mtu"), 1500);
	vm_start_well(&vm, "tap=t0,host-ip=10.7.0.1/24");
	cr_expect(world_has_address("t0", "10.7.0.1/24"));
	vm_stop(&vm);
	cr_expect_eq(world_count_addresses("t0"), 0);
	cr_expect_eq(world_count(), 1);
}

Test(topology, a_found_tap_that_is_up_and_on_a_bridge_stays_so)
{
	struct vm vm;

	vm_make_bridge("br0", 0);
	world_make_tap("t0", IFF_TAP | IFF_MULTI_QUEUE, -1, NULL);
	netlink_set_master(vm_netlink, vm_index("t0"), vm_index("br0"));
	netlink_set_up(vm_netlink, vm_index("t0"), true);
	vm_start_well(&vm, "tap=t0,bridge=br0");
	vm_stop(&vm);
	cr_expect(world_on_bridge("t0", "br0"));
	cr_expect(world_is_up("t0"));
	vm_make_bridge("br1", 0);
	vm_refuse("tap=t0,bridge=br1", -EBUSY, "tap=t0 is on another bridge than br1");
	cr_expect(world_on_bridge("t0", "br0"));
}

Test(topology, a_single_queue_tap_does_for_one_queue)
{
	struct vm vm;

	world_make_tap("t0", IFF_TAP, -1, NULL);
	vm_start_well(&vm, "tap=t0,queues=1");
	cr_expect_not(vm.tap.multi_queue);
	vm_stop(&vm);
	vm_refuse("tap=t0,queues=2", -EINVAL, "t0 is a single-queue tap and cannot have 2 queues");
}

Test(topology, names_that_are_taken)
{
	int open_one, open_many;

	vm_make_bridge("br0", 0);
	vm_refuse("tap=br0", -EINVAL, "tap=br0: there is an interface of this name that is no tap");
	vm_refuse("tap=lo", -EINVAL, "no tap");
	world_make_tap("tun0", IFF_TUN, -1, NULL);
	vm_refuse("tap=tun0", -EINVAL, "no tap");
	world_make_tap("one", IFF_TAP, -1, &open_one);
	vm_refuse("tap=one", -EBUSY, "tap=one: another process has it open");
	world_make_tap("many", IFF_TAP | IFF_MULTI_QUEUE, -1, &open_many);
	vm_refuse("tap=many,queues=2", -EBUSY, "tap=many: another process has it open");
	close(open_one);
	close(open_many);
}

/* ---- rights ---- */

/* Runs @function in a child without root's rights; what it asserts fails the test. */
static void as_ordinary_user(void (*function)(void))
{
	pid_t child;
	int status;

	if (!world_open_tun())
		cr_skip_test("needs the right to make device nodes");
	child = fork();
	if (!child) {
		if (setresgid(4321, 4321, 4321) || setresuid(4321, 4321, 4321))
			_exit(2);
		function();
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

/* In the child, criterion's assertions have nobody to report to: plain exits. */
static void require(bool condition, const char *what, const struct vm *vm)
{
	if (condition)
		return;
	fprintf(stderr, "ordinary user: %s: %s\n", what, vm->error.text);
	_exit(1);
}

static void use_own_tap(void)
{
	struct vm vm;

	require(!vm_start(&vm, "tap=mine,queues=3"), "a tap of its own", &vm);
	require(vm.tap.count == 3, "three queues", &vm);
	require(!tap_queue_enable(&vm.tap, 2, true), "attach", &vm);
	vm_stop(&vm);
	require(!vm_start(&vm, "tap=mine,bridge=br0"), "on its bridge already", &vm);
	vm_stop(&vm);
}

Test(topology, a_persistent_tap_of_an_ordinary_user)
{
	vm_make_bridge("br0", 0);
	world_make_tap("mine", IFF_TAP | IFF_MULTI_QUEUE, 4321, NULL);
	netlink_set_master(vm_netlink, vm_index("mine"), vm_index("br0"));
	netlink_set_up(vm_netlink, vm_index("mine"), true);
	as_ordinary_user(use_own_tap);
	cr_expect(world_on_bridge("mine", "br0"));
	cr_expect(world_is_up("mine"));
}

static void meet_refusals(void)
{
	static const struct {
		const char *net, *text;
	} cases[] = {
		{"tap=new", "no right to make a tap"},
		{"tap=auto", "no right to make a tap"},
		{"tap=others", "tap=others: it belongs to another user"},
		{"tap=down", "bringing the tap up needs root or CAP_NET_ADMIN; or have it done "
			     "beforehand: ip link set down up"},
		{"tap=mine,mtu=9000", "setting the tap's MTU needs root"},
		{"tap=mine,bridge=br0", "making the bridge needs root"},
		{"tap=mine,bridge=br1", "putting the tap on the bridge needs root"},
		{"tap=mine,host-ip=10.7.0.1/24", "adding host-ip needs root"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vm vm;

		require(vm_start(&vm, cases[i].net) == -EPERM, cases[i].net, &vm);
		require(strstr(vm.error.text, cases[i].text), cases[i].net, &vm);
	}
}

Test(topology, missing_rights_have_their_line)
{
	vm_make_bridge("br1", 0);
	world_make_tap("mine", IFF_TAP | IFF_MULTI_QUEUE, 4321, NULL);
	netlink_set_up(vm_netlink, vm_index("mine"), true);
	world_make_tap("others", IFF_TAP | IFF_MULTI_QUEUE, 1234, NULL);
	world_make_tap("down", IFF_TAP | IFF_MULTI_QUEUE, 4321, NULL);
	as_ordinary_user(meet_refusals);
}

Test(topology, no_tun_device)
{
	world_remove_tun();
	vm_refuse("tap=t0", -ENOENT, "/dev/net/tun is missing: load the tun module");
}

/* ---- while it runs ---- */

static enum topology_link next_state(struct vm *vm)
{
	struct pollfd pollfd = {.fd = topology_link_fd(vm->topology), .events = POLLIN};

	cr_assert_eq(poll(&pollfd, 1, 20000), 1, "the kernel told nothing");
	return topology_link_read(vm->topology);
}

Test(topology, the_link_is_watched)
{
	struct vm vm;

	vm_start_well(&vm, "tap=t0");
	cr_expect_eq(topology_link_read(vm.topology), TOPOLOGY_LINK_UP);
	netlink_set_up(vm_netlink, vm_index("t0"), false);
	cr_expect_eq(next_state(&vm), TOPOLOGY_LINK_DOWN);
	netlink_set_up(vm_netlink, vm_index("t0"), true);
	cr_expect_eq(next_state(&vm), TOPOLOGY_LINK_UP);
	netlink_delete(vm_netlink, vm_index("t0"));
	cr_expect_eq(next_state(&vm), TOPOLOGY_LINK_GONE);
	vm_stop(&vm);
}

/* Others' interfaces come and go by the hundred; the state of ours stays right. */
Test(topology, the_watch_survives_a_flood)
{
	struct vm vm;

	vm_start_well(&vm, "tap=t0");
	for (unsigned i = 0; i < 300; i++) {
		netlink_add_bridge(vm_netlink, "noise", 0);
		netlink_delete(vm_netlink, vm_index("noise"));
	}
	netlink_set_up(vm_netlink, vm_index("t0"), false);
	cr_expect_eq(next_state(&vm), TOPOLOGY_LINK_DOWN);
	vm_stop(&vm);
}

/* What the tap is asked for offloads of is what it has: probing leaves them off. */
Test(topology, offloads_are_probed_and_off)
{
	struct vm vm;

	vm_start_well(&vm, "tap=t0,queues=2");
	cr_expect_eq(vm.tap.offloads & (NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6),
		NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6);
	cr_expect_eq(tap_set_offloads(&vm.tap, vm.tap.offloads), 0);
	cr_expect_eq(tap_set_offloads(&vm.tap, NET_OFFLOAD_TSO4), -EINVAL, "not without checksums");
	vm_stop(&vm);
}
