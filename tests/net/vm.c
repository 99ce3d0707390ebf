/* SPDX-License-Identifier: Apache-2.0 */
#include "vm.h"

#include "world.h"

#include <criterion/criterion.h>
#include <net/if.h>
#include <string.h>

struct netlink *vm_netlink;
static bool ready;

void vm_setup(void)
{
	ready = world_enter();
	if (ready)
		cr_assert_eq(netlink_create(&vm_netlink), 0);
}

void vm_teardown(void)
{
	netlink_destroy(vm_netlink);
}

int vm_start(struct vm *vm, const char *net)
{
	struct net_config config;

	cr_assert(ready);
	*vm = (struct vm){.error = ERROR_INIT};
	cr_assert_eq(net_config_parse(net, &config, &vm->error), 0, "%s", vm->error.text);
	if (!config.queues)
		config.queues = 1; /* as the machine would fill it in */
	return topology_create(&config, &vm->tap, &vm->topology, &vm->error);
}

void vm_start_well(struct vm *vm, const char *net)
{
	cr_assert_eq(vm_start(vm, net), 0, "%s", vm->error.text);
}

void vm_stop(struct vm *vm)
{
	topology_destroy(vm->topology);
}

void vm_refuse(const char *net, int code, const char *text)
{
	unsigned before = world_count();
	struct vm vm;

	cr_expect_eq(vm_start(&vm, net), code, "%s", net);
	cr_expect(strstr(vm.error.text, text), "%s: \"%s\" is not in \"%s\"", net, text,
		vm.error.text);
	cr_expect_not(strchr(vm.error.text, '\n'));
	cr_expect_eq(world_count(), before, "%s left something behind", net);
}

int vm_index(const char *interface)
{
	return (int)if_nametoindex(interface);
}

void vm_make_bridge(const char *name, unsigned mtu)
{
	cr_assert_eq(netlink_add_bridge(vm_netlink, name, mtu), 0);
	cr_assert_eq(netlink_set_up(vm_netlink, vm_index(name), true), 0);
}
