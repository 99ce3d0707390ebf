/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel says little about why TUNSETIFF fails, so each errno is translated where the context
 * is known; EINVAL in particular stands for "exists and is no tap" as well as for "exists and is
 * single-queue", which a second try without IFF_MULTI_QUEUE tells apart.
 *
 * What the tap does is probed, not assumed: TUNSETOFFLOAD refuses sets with a bit that the kernel
 * does not know, so the set is built up bit by bit and left off at the end.
 */
#include "net/tap.h"

#include "net/virtio_net_abi.h"
#include "util/checked.h"
#include "util/cleanup.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

/*
 * Bytes of frames that a queue may have on their way through the host before writes are refused
 * with EAGAIN, so that a guest waits instead of filling a slow device's queue to overflow. Frames
 * that are queued for another tap or a socket do not count: the kernel lets go of them there.
 */
#define SEND_BUFFER_BYTES (1 << 20)

/* What a queue may hold that was sent before the guest was there. */
#define STALE_FRAMES_MAX 4096u

static const char device_path[] = "/dev/net/tun";

static int explain_device(int code, struct error *error)
{
	if (code == -ENOENT || code == -ENODEV || code == -ENXIO)
		return error_set(error, -ENOENT,
			"--net: %s is missing: load the tun module (modprobe tun) or, in a "
			"container, pass the device in",
			device_path);
	if (code == -EACCES || code == -EPERM)
		return error_set(error, code,
			"--net: no right to open %s: run as root, or have it made readable and "
			"writable for you",
			device_path);
	return error_set(error, code, "--net: cannot open %s: %s", device_path, strerror(-code));
}

/* TUNSETIFF with @extra flags on a fresh descriptor, which is closed on failure. */
static int open_queue(char name[NET_NAME_MAX], int extra, int *ret_fd, struct error *error)
{
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | extra)};
	auto_fd int fd = open(device_path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return explain_device(-errno, error);
	memcpy(request.ifr_name, name, NET_NAME_MAX);
	if (ioctl(fd, TUNSETIFF, &request))
		return -errno;
	memcpy(name, request.ifr_name, NET_NAME_MAX);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Is there a tap @name that would open, or be found busy, without IFF_MULTI_QUEUE? */
static bool is_single_queue(const char name[NET_NAME_MAX])
{
	char copy[NET_NAME_MAX];
	auto_fd int fd = -1;
	int result;

	memcpy(copy, name, sizeof(copy));
	if (!if_nametoindex(copy))
		return false;
	result = open_queue(copy, 0, &fd, NULL);
	return !result || result == -EBUSY;
}

static int explain_open(
	const char name[NET_NAME_MAX], unsigned count, int code, struct error *error)
{
	bool exists = if_nametoindex(name) != 0;

	switch (code) {
	case -EPERM:
		if (exists)
			return error_set(error, code,
				"--net: tap=%s: it belongs to another user; run as its owner or as "
				"root",
				name);
		return error_set(error, code,
			"--net: tap=%s: no right to make a tap; run as root, or have one made: ip "
			"tuntap add dev NAME mode tap %suser $USER",
			name, count > 1 ? "multi_queue " : "");
	case -EBUSY:
		return error_set(error, code,
			"--net: tap=%s: another process has it open; use another tap", name);
	case -E2BIG:
		return error_set(error, code,
			"--net: tap=%s: the kernel has no room for %u more queues on it; use fewer "
			"queues or another tap",
			name, count);
	case -EINVAL:
		if (is_single_queue(name))
			return error_set(error, code,
				"--net: tap=%s is a single-queue tap and cannot have %u queues; "
				"make it with multi_queue, or say queues=1",
				name, count);
		return error_set(error, code,
			"--net: tap=%s: there is an interface of this name that is no tap; use "
			"another name",
			name);
	default:
		return error_set(
			error, code, "--net: tap=%s: cannot open it: %s", name, strerror(-code));
	}
}

static int set_up_queue(const struct tap *tap, int fd, struct error *error)
{
	int buffer = SEND_BUFFER_BYTES, little_endian = 1;

	/* The default on x86 in any case; not every tap-like driver knows the request. */
	(void)ioctl(fd, TUNSETVNETLE, &little_endian);
	if (!tap->adopted && ioctl(fd, TUNSETSNDBUF, &buffer))
		return error_set(error, -errno, "--net: tap %s: cannot set its send buffer: %s",
			tap->name, strerror(errno));
	return 0;
}

static unsigned kernel_offloads(uint32_t offloads)
{
	return (offloads & NET_OFFLOAD_CSUM ? TUN_F_CSUM : 0u) |
	       (offloads & NET_OFFLOAD_TSO4 ? TUN_F_TSO4 : 0u) |
	       (offloads & NET_OFFLOAD_TSO6 ? TUN_F_TSO6 : 0u) |
	       (offloads & NET_OFFLOAD_ECN ? TUN_F_TSO_ECN : 0u) |
	       (offloads & NET_OFFLOAD_USO ? TUN_F_USO4 | TUN_F_USO6 : 0u);
}

int tap_set_offloads(struct tap *tap, uint32_t offloads)
{
	/* The argument is the value itself, as the kernel's own users pass it. */
	return ioctl(tap->queues[0].fd, TUNSETOFFLOAD, (unsigned long)kernel_offloads(offloads))
	               ? -errno
	               : 0;
}

int tap_set_header(struct tap *tap, unsigned bytes)
{
	int header = (int)bytes;

	/* One setting for all of a tap's queues, but of one queue each in tap-like drivers. */
	for (unsigned i = 0; i < tap->count; i++) {
		if (ioctl(tap->queues[i].fd, TUNSETVNETHDRSZ, &header))
			return -errno;
	}
	return 0;
}

int tap_set_program(const struct tap *tap, unsigned long request, int program_fd)
{
	return ioctl(tap->queues[0].fd, request, &program_fd) ? -errno : 0;
}

/* Checksums come first: the kernel takes the others only together with them. */
static int probe_offloads(struct tap *tap)
{
	static const uint32_t order[] = {NET_OFFLOAD_CSUM, NET_OFFLOAD_TSO4, NET_OFFLOAD_TSO6,
		NET_OFFLOAD_ECN, NET_OFFLOAD_USO};

	tap->offloads = 0;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (!tap_set_offloads(tap, tap->offloads | order[i]))
			tap->offloads |= order[i];
	}
	return tap_set_offloads(tap, 0);
}

/*
 * A persistent tap keeps the programs of a process that was killed (net_steering.c), which would
 * send frames to the wrong queue or drop them.
 */
static void remove_programs(const struct tap *tap)
{
	(void)tap_set_program(tap, TUNSETSTEERINGEBPF, -1);
	(void)tap_set_program(tap, TUNSETFILTEREBPF, -1);
}

static int finish(struct tap *tap, struct error *error)
{
	int result;

	if (tap->multi_queue && !tap->adopted)
		remove_programs(tap);
	result = tap_set_header(tap, NET_HEADER_BYTES);
	if (result)
		return error_set(error, result,
			"--net: tap %s: cannot set a header of %u bytes: %s", tap->name,
			NET_HEADER_BYTES, strerror(-result));
	for (unsigned i = 0; !result && i < tap->count; i++)
		result = set_up_queue(tap, tap->queues[i].fd, error);
	if (result)
		return result;
	result = probe_offloads(tap);
	if (result)
		return error_set(error, result, "--net: tap %s: cannot switch its offloads off: %s",
			tap->name, strerror(-result));
	for (unsigned i = 0; i < tap->count; i++) {
		result = tap_queue_enable(tap, i, false);
		if (result)
			return error_set(error, result, "--net: tap %s: cannot detach queue %u: %s",
				tap->name, i, strerror(-result));
	}
	return 0;
}

/* With one queue, a tap that somebody made single-queue is good enough. */
static int open_first(struct tap *tap, unsigned count, struct error *error)
{
	int result = open_queue(tap->name, IFF_MULTI_QUEUE, &tap->queues[0].fd, error);

	tap->multi_queue = true;
	if (result == -EINVAL && count == 1) {
		tap->multi_queue = false;
		result = open_queue(tap->name, 0, &tap->queues[0].fd, error);
	}
	return result;
}

int tap_open(struct tap *tap, const char *name, unsigned count, struct error *error)
{
	int result = 0;

	*tap = (struct tap){.count = 0};
	strncpy(tap->name, name, sizeof(tap->name) - 1);
	for (unsigned i = 0; !result && i < count; i++) {
		result = i ? open_queue(tap->name, IFF_MULTI_QUEUE, &tap->queues[i].fd, error)
		           : open_first(tap, count, error);
		if (result)
			result = explain_open(tap->name, count, result, error);
		else
			tap->queues[tap->count++].enabled = true;
	}
	if (!result)
		result = finish(tap, error);
	if (result)
		tap_deinit(tap);
	return result;
}

/*
 * The flags of an opened queue. TUNGETIFF has one bit for both "no packet information" and "no
 * socket filter", so that the former shows only while there is a filter: one that lets everything
 * through is put in for the time of asking.
 */
static int queue_flags(int fd, struct ifreq *request)
{
	struct sock_filter accept = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog program = {.len = 1, .filter = &accept};
	bool filtered;
	int result;

	if (ioctl(fd, TUNGETIFF, request))
		return -errno;
	filtered = (request->ifr_flags & IFF_NOFILTER) && !ioctl(fd, TUNATTACHFILTER, &program);
	if (!filtered)
		return 0;
	result = ioctl(fd, TUNGETIFF, request) ? -errno : 0;
	(void)ioctl(fd, TUNDETACHFILTER, &program);
	return result;
}

static int check_adopted(struct tap *tap, int fd, unsigned count, struct error *error)
{
	static const int wanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq request = {.ifr_flags = 0};
	int flags;

	if (fcntl(fd, F_GETFD) < 0)
		return error_set(
			error, -EBADF, "--net: fd=%d: no descriptor of this number is open", fd);
	if (queue_flags(fd, &request))
		return error_set(error, -EINVAL, "--net: fd=%d: it is not a queue of a tap", fd);
	flags = (unsigned short)request.ifr_flags;
	if ((flags & wanted) != wanted)
		return error_set(error, -EINVAL,
			"--net: fd=%d: the tap must be opened with IFF_TAP, IFF_NO_PI and "
			"IFF_VNET_HDR",
			fd);
	tap->multi_queue = flags & IFF_MULTI_QUEUE;
	if (count > 1 && !tap->multi_queue)
		return error_set(error, -EINVAL,
			"--net: fd=%d: %s is a single-queue tap; give one descriptor, or open it "
			"with IFF_MULTI_QUEUE",
			fd, request.ifr_name);
	if (tap->count && strncmp(tap->name, request.ifr_name, NET_NAME_MAX) != 0)
		return error_set(error, -EINVAL,
			"--net: fd=%d is a queue of %s, the one before of %s", fd, request.ifr_name,
			tap->name);
	memcpy(tap->name, request.ifr_name, NET_NAME_MAX - 1);
	tap->queues[tap->count++] =
		(struct tap_queue){.fd = fd, .enabled = !(flags & IFF_DETACH_QUEUE)};
	return 0;
}

static int make_nonblocking(int fd, struct error *error)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return error_set(error, -errno, "--net: fd=%d: %s", fd, strerror(errno));
	return 0;
}

int tap_adopt(struct tap *tap, const int *fds, unsigned count, struct error *error)
{
	int result = 0;

	*tap = (struct tap){.adopted = true};
	for (unsigned i = 0; !result && i < count; i++)
		result = check_adopted(tap, fds[i], count, error);
	for (unsigned i = 0; !result && i < count; i++)
		result = make_nonblocking(fds[i], error);
	if (!result)
		result = finish(tap, error);
	if (result)
		*tap = (struct tap){.count = 0};
	return result;
}

void tap_deinit(struct tap *tap)
{
	for (unsigned i = 0; i < tap->count; i++)
		close(tap->queues[i].fd);
	*tap = (struct tap){.count = 0};
}

int tap_queue_enable(struct tap *tap, unsigned index, bool enable)
{
	struct tap_queue *queue = &tap->queues[index];
	struct ifreq request = {.ifr_flags = (short)(enable ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE)};

	if (!tap->multi_queue || queue->enabled == enable)
		return 0;
	if (ioctl(queue->fd, TUNSETQUEUE, &request))
		return -errno;
	queue->enabled = enable;
	return 0;
}

unsigned tap_drop_frames(struct tap *tap, unsigned index)
{
	uint8_t start[NET_HEADER_HASH_BYTES]; /* the kernel forgets the rest of a frame */
	unsigned count = 0;

	while (count < STALE_FRAMES_MAX && read(tap->queues[index].fd, start, sizeof(start)) >= 0)
		count++;
	return count;
}

int tap_hardware_address(const struct tap *tap, uint8_t ret_mac[NET_MAC_LENGTH])
{
	struct ifreq request = {.ifr_flags = 0};

	if (ioctl(tap->queues[0].fd, SIOCGIFHWADDR, &request))
		return -errno;
	memcpy(ret_mac, request.ifr_hwaddr.sa_data, NET_MAC_LENGTH);
	return 0;
}
