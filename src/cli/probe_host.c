/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about the host apart from KVM and io_uring. Whether taps, their offloads and bridges work
 * cannot be read anywhere, so they are tried: a child process moves into a network namespace of its
 * own (where users may make namespaces, this needs no rights), makes a tap and a bridge there,
 * tells the result through a pipe and takes everything with it when it ends.
 */
#include "cli/probe_facts.h"

#include "net/tap.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define THP        "/sys/kernel/mm/transparent_hugepage/enabled"

const struct probe_offload probe_offloads[PROBE_OFFLOADS] = {
	{NET_OFFLOAD_CSUM, "csum"},
	{NET_OFFLOAD_TSO4, "tso4"},
	{NET_OFFLOAD_TSO6, "tso6"},
	{NET_OFFLOAD_ECN, "ecn"},
	{NET_OFFLOAD_USO, "uso"},
};

/* The first line of @path without its end; "" where it cannot be read. */
static void read_line(const char *path, char *line, size_t size)
{
	auto_file FILE *file = fopen(path, "re");

	if (!file || !fgets(line, (int)size, file))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

static uint64_t read_number(const char *path)
{
	char line[32];

	read_line(path, line, sizeof(line));
	return strtoull(line, NULL, 10);
}

/* The kernel marks the setting in force: "always [madvise] never". */
static void read_choice(const char *path, char *choice, size_t size)
{
	char line[128];
	char *start, *end;

	read_line(path, line, sizeof(line));
	start = strchr(line, '[');
	end = start ? strchr(start, ']') : NULL;
	if (!end) {
		choice[0] = '\0';
		return;
	}
	*end = '\0';
	snprintf(choice, size, "%s", start + 1);
}

/* The text behind "KEY:" or "KEY :" in a file of such lines, from its first occurrence. */
static void find_value(const char *path, const char *key, char *value, size_t size)
{
	auto_file FILE *file = fopen(path, "re");
	size_t length = strlen(key);
	char line[512];

	value[0] = '\0';
	while (file && fgets(line, sizeof(line), file)) {
		char *text = line + length;

		if (strncmp(line, key, length) != 0 || !strchr("\t :", *text))
			continue;
		text += strspn(text, "\t :");
		text[strcspn(text, "\n")] = '\0';
		snprintf(value, size, "%s", text);
		return;
	}
}

static uint64_t memory_bytes(const char *key)
{
	char value[64];

	find_value("/proc/meminfo", key, value, sizeof(value));
	return strtoull(value, NULL, 10) << 10;
}

static bool has_net_admin(void)
{
	char value[64];

	find_value("/proc/self/status", "CapEff", value, sizeof(value));
	return strtoull(value, NULL, 16) >> CAP_NET_ADMIN & 1;
}

static uint64_t hard_limit(__rlimit_resource_t resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) || limit.rlim_max == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_max;
}

static int try_open(const char *path)
{
	auto_fd int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

/* ---- in the child ---- */

static int enter_namespace(void)
{
	if (!unshare(CLONE_NEWNET) || !unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 0;
	return -errno;
}

static int try_bridge(void)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 || ioctl(fd, SIOCBRADDBR, "probe0") ? -errno : 0;
}

static void try_network(struct probe_network *ret_network)
{
	struct probe_network network = {.namespace_error = enter_namespace()};
	struct error error = ERROR_INIT;
	struct tap tap;

	if (!network.namespace_error) {
		network.bridge_error = try_bridge();
		network.tap_error = tap_open(&tap, "probe%d", 2, &error);
		snprintf(network.tap_text, sizeof(network.tap_text), "%.159s",
			error.text + (strncmp(error.text, "--net: ", 7) ? 0 : 7));
		if (!network.tap_error) {
			network.offloads = tap.offloads;
			tap_deinit(&tap);
		}
	}
	*ret_network = network;
}

/* ---- */

static void gather_network(struct probe_network *ret_network)
{
	struct probe_network network = {.namespace_error = -EIO};
	int pipe_fds[2];
	pid_t child;

	*ret_network = network;
	if (pipe2(pipe_fds, O_CLOEXEC))
		return;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		try_network(&network);
		/* Smaller than a pipe's buffer: written as a whole or not at all. */
		_exit(write(pipe_fds[1], &network, sizeof(network)) != sizeof(network));
	}
	close(pipe_fds[1]);
	if (child > 0) {
		if (read(pipe_fds[0], &network, sizeof(network)) == sizeof(network))
			*ret_network = network;
		waitpid(child, NULL, 0);
	}
	close(pipe_fds[0]);
}

void probe_host_gather(struct probe_host *ret_host)
{
	struct probe_host host = {
		.cpus = cpulist_available(),
		.memory_total = memory_bytes("MemTotal"),
		.memory_available = memory_bytes("MemAvailable"),
		.huge_2m = {read_number(HUGE_PAGES "nr_hugepages"),
			read_number(HUGE_PAGES "free_hugepages")},
		.memlock = hard_limit(RLIMIT_MEMLOCK),
		.nofile = hard_limit(RLIMIT_NOFILE),
		.net_admin = has_net_admin(),
		.tun_error = try_open("/dev/net/tun"),
		.vhost_net_error = try_open("/dev/vhost-net"),
	};
	struct utsname name;

	if (!uname(&name))
		snprintf(host.kernel, sizeof(host.kernel), "%s", name.release);
	find_value("/proc/cpuinfo", "model name", host.processor, sizeof(host.processor));
	read_choice(THP, host.thp, sizeof(host.thp));
	gather_network(&host.network);
	*ret_host = host;
}
