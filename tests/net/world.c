/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool world_enter(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
		mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		cr_skip_test("needs root, for namespaces of its own");
		return false;
	}
	if (access("/dev/net/tun", R_OK | W_OK)) {
		cr_skip_test("needs /dev/net/tun");
		return false;
	}
	if (mount("sysfs", "/sys", "sysfs", 0, NULL)) {
		cr_skip_test("needs the right to mount sysfs");
		return false;
	}
	return true;
}

bool world_open_tun(void)
{
	umask(0);
	return !mount("tmpfs", "/dev/net", "tmpfs", 0, NULL) &&
	       !mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) &&
	       !access("/dev/net/tun", W_OK);
}

void world_remove_tun(void)
{
	cr_assert_eq(mount("tmpfs", "/dev/net", "tmpfs", 0, NULL), 0);
}

bool world_has(const char *interface)
{
	return if_nametoindex(interface) != 0;
}

const char *world_read(const char *interface, const char *file)
{
	static char text[256];
	char path[256];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", interface, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return text;
}

long world_number(const char *interface, const char *file)
{
	return strtol(world_read(interface, file), NULL, 0);
}

bool world_is_up(const char *interface)
{
	return world_number(interface, "flags") & IFF_UP;
}

bool world_on_bridge(const char *interface, const char *bridge)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/net/%s/brif/%s", bridge, interface);
	return !access(path, F_OK);
}

unsigned world_count(void)
{
	struct if_nameindex *list = if_nameindex();
	unsigned count = 0;

	for (struct if_nameindex *at = list; at && at->if_index; at++)
		count += strcmp(at->if_name, "lo") != 0;
	if_freenameindex(list);
	return count;
}

static unsigned prefix_of(const struct sockaddr *mask)
{
	const unsigned char *bytes =
		mask->sa_family == AF_INET
			? (const void *)&((const struct sockaddr_in *)mask)->sin_addr
			: (const void *)&((const struct sockaddr_in6 *)mask)->sin6_addr;
	unsigned length = mask->sa_family == AF_INET ? 4 : 16, bits = 0;

	for (unsigned i = 0; i < length; i++)
		bits += (unsigned)__builtin_popcount(bytes[i]);
	return bits;
}

/* Counts @interface's addresses but link-local ones; those equal to @cidr where it is not NULL. */
static unsigned count_addresses(const char *interface, const char *cidr)
{
	struct ifaddrs *list;
	unsigned count = 0;

	cr_assert_eq(getifaddrs(&list), 0);
	for (struct ifaddrs *at = list; at; at = at->ifa_next) {
		char text[INET6_ADDRSTRLEN + 8];
		const void *bytes;
		int family = at->ifa_addr ? at->ifa_addr->sa_family : AF_UNSPEC;

		if ((family != AF_INET && family != AF_INET6) || strcmp(at->ifa_name, interface))
			continue;
		bytes = family == AF_INET
		                ? (const void *)&((struct sockaddr_in *)(void *)at->ifa_addr)
		                          ->sin_addr
		                : (const void *)&((struct sockaddr_in6 *)(void *)at->ifa_addr)
		                          ->sin6_addr;
		inet_ntop(family, bytes, text, INET6_ADDRSTRLEN);
		if (!strncmp(text, "fe80:", 5))
			continue;
		sprintf(text + strlen(text), "/%u", prefix_of(at->ifa_netmask));
		count += !cidr || !strcmp(text, cidr);
	}
	freeifaddrs(list);
	return count;
}

bool world_has_address(const char *interface, const char *cidr)
{
	return count_addresses(interface, cidr) == 1;
}

unsigned world_count_addresses(const char *interface)
{
	return count_addresses(interface, NULL);
}

void world_make_tap(const char *name, int flags, long owner, int *ret_fd)
{
	struct ifreq request = {.ifr_flags = (short)(IFF_NO_PI | flags)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strcpy(request.ifr_name, name);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
	cr_assert_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	if (owner >= 0)
		cr_assert_eq(ioctl(fd, TUNSETOWNER, owner), 0);
	if (ret_fd)
		*ret_fd = fd;
	else
		close(fd);
}
