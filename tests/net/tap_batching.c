/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a read or a write of a tap costs, one system call a frame against batches through
 * io_uring: the figures behind docs/decisions/net-batching.md. Not a test: it decides nothing and
 * is run by hand (root, nothing else busy). It works in a network namespace of its own.
 *
 * Receive: FRAMES frames are put into the tap's queue through a packet socket that goes past the
 * queueing discipline, then the time is taken to read them all. Transmit: FRAMES frames are
 * written to a tap that is on a bridge with a second one, whose queue is emptied afterwards,
 * outside the time taken. Both are repeated ROUNDS times, the ways interleaved so that drift of
 * the machine hits all of them alike; the median of the rounds is printed.
 *
 * The ways differ in the number of frames handed to the kernel at once (plain: one readv or writev
 * each), in the number of iovecs a frame is offered (44 as for a guest with 1.5 KiB mergeable
 * buffers that must be ready for a frame of 64 KiB; 4 where these are joined as they lie in memory;
 * 1), and in whether the writes of a batch are linked, as they would have to be to keep their order
 * when one of them is refused.
 */
#include "util/checked.h"
#include "util/clock.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAMES    256
#define ROUNDS    201
#define BUFFER    1536
#define IOVS_MAX  44
#define BATCH_MAX 32
#define HEADER    12

struct way {
	unsigned batch; /* 0: plain calls */
	unsigned iovs;
	bool linked;
	struct io_uring ring;
	uint64_t samples[ROUNDS];
};

static char (*buffers)[BUFFER];

static int open_tap(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), size = HEADER;

	strcpy(request.ifr_name, name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &size))
		err(1, "%s", name);
	return fd;
}

static void run(const char *command)
{
	if (system(command))
		errx(1, "failed: %s", command);
}

static int open_packet(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
		.sll_protocol = 0,
		.sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
		setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		err(1, "packet socket");
	return fd;
}

static void make_frame(char *frame)
{
	static const unsigned char to[6] = {2, 0, 0, 0, 0, 9}, from[6] = {2, 0, 0, 0, 0, 8};

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = (char)0x88;
	frame[13] = (char)0xb5; /* local experiments */
}

static void offer(struct iovec *iov, unsigned frame, unsigned iovs)
{
	for (unsigned i = 0; i < iovs; i++)
		iov[i] = (struct iovec){buffers[(frame * iovs + i) % FRAMES], BUFFER};
}

static void plain_pass(struct way *way, int fd, bool receive, size_t length)
{
	struct iovec iov[IOVS_MAX];

	for (unsigned frame = 0; frame < FRAMES; frame++) {
		ssize_t result;

		offer(iov, frame, way->iovs);
		if (!receive)
			iov[0].iov_len = length;
		result = receive ? readv(fd, iov, (int)way->iovs) : writev(fd, iov, 1);
		if (result != (ssize_t)length)
			errx(1, "frame %u: %zd of %zu, errno %d", frame, result, length, errno);
	}
}

static void batch_pass(struct way *way, bool receive, size_t length)
{
	static struct iovec iov[BATCH_MAX][IOVS_MAX];

	for (unsigned done = 0; done < FRAMES; done += way->batch) {
		for (unsigned i = 0; i < way->batch; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&way->ring);

			offer(iov[i], done + i, way->iovs);
			if (!receive)
				iov[i][0].iov_len = length;
			if (receive)
				io_uring_prep_readv2(sqe, 0, iov[i], way->iovs, 0, RWF_NOWAIT);
			else
				io_uring_prep_writev2(sqe, 0, iov[i], 1, 0, RWF_NOWAIT);
			sqe->flags |= IOSQE_FIXED_FILE;
			if (way->linked && i + 1 < way->batch)
				sqe->flags |= IOSQE_IO_LINK;
		}
		if (io_uring_submit_and_wait(&way->ring, way->batch) != (int)way->batch)
			errx(1, "short submit");
		for (unsigned i = 0; i < way->batch; i++) {
			struct io_uring_cqe *cqe;

			if (io_uring_wait_cqe(&way->ring, &cqe) || cqe->res != (int)length)
				errx(1, "completion: %d of %zu", cqe->res, length);
			io_uring_cqe_seen(&way->ring, cqe);
		}
	}
}

static uint64_t timed_pass(struct way *way, int fd, bool receive, size_t length)
{
	uint64_t start = clock_ns();

	if (way->batch)
		batch_pass(way, receive, length);
	else
		plain_pass(way, fd, receive, length);
	return clock_ns() - start;
}

static void fill_queue(int packet, size_t length)
{
	char frame[BUFFER] = {0};

	make_frame(frame);
	for (unsigned i = 0; i < FRAMES; i++) {
		if (send(packet, frame, length, 0) != (ssize_t)length)
			err(1, "send");
	}
}

static unsigned empty_queue(int fd)
{
	static char sink[65536];
	unsigned frames = 0;

	while (read(fd, sink, sizeof(sink)) > 0)
		frames++;
	return frames;
}

static void make_ring(struct way *way, int fd)
{
	struct io_uring_params parameters = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	int result;

	if (!way->batch)
		return;
	result = io_uring_queue_init_params(BATCH_MAX, &way->ring, &parameters);
	if (result)
		errx(1, "io_uring: %s", strerror(-result));
	result = io_uring_register_files(&way->ring, &fd, 1);
	if (result)
		errx(1, "register: %s", strerror(-result));
}

static int by_value(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void report(const char *direction, struct way *ways, size_t count, size_t frame)
{
	for (size_t i = 0; i < count; i++) {
		char name[32] = "plain";

		if (ways[i].batch)
			snprintf(name, sizeof(name), "io_uring by %u%s", ways[i].batch,
				ways[i].linked ? ", linked" : "");
		qsort(ways[i].samples, ROUNDS, sizeof(ways[i].samples[0]), by_value);
		printf("%-8s %4zu bytes  %2u iovecs  %-22s %6.3f us a frame (%.3f to %.3f)\n",
			direction, frame, ways[i].iovs, name,
			(double)ways[i].samples[ROUNDS / 2] / FRAMES / 1000,
			(double)ways[i].samples[ROUNDS / 10] / FRAMES / 1000,
			(double)ways[i].samples[ROUNDS * 9 / 10] / FRAMES / 1000);
		if (ways[i].batch)
			io_uring_queue_exit(&ways[i].ring);
	}
}

static void measure_receive(int fd, int packet, size_t frame)
{
	static const unsigned batches[] = {0, 1, 4, 8, 16, 32}, iovs[] = {1, 4, IOVS_MAX};
	static struct way ways[ARRAY_SIZE(batches) * ARRAY_SIZE(iovs)];
	size_t count = ARRAY_SIZE(ways);

	memset(ways, 0, sizeof(ways));
	for (size_t i = 0; i < count; i++) {
		ways[i].batch = batches[i % ARRAY_SIZE(batches)];
		ways[i].iovs = iovs[i / ARRAY_SIZE(batches)];
		make_ring(&ways[i], fd);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < count; i++) {
			fill_queue(packet, frame);
			ways[i].samples[round] = timed_pass(&ways[i], fd, true, frame + HEADER);
			if (empty_queue(fd))
				errx(1, "frames were left");
		}
	}
	report("receive", ways, count, frame);
}

static void measure_transmit(int fd, int peer, size_t frame)
{
	static const unsigned batches[] = {0, 1, 4, 8, 16, 32, 8, 16, 32};
	static struct way ways[ARRAY_SIZE(batches)];

	memset(ways, 0, sizeof(ways));
	for (unsigned i = 0; i < FRAMES; i++) {
		memset(buffers[i], 0, HEADER);
		make_frame(buffers[i] + HEADER);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		ways[i] = (struct way){.batch = batches[i], .iovs = 1, .linked = i >= 6};
		make_ring(&ways[i], fd);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
			ways[i].samples[round] = timed_pass(&ways[i], fd, false, frame + HEADER);
			if (empty_queue(peer) != FRAMES)
				errx(1, "frames were lost");
		}
	}
	report("transmit", ways, ARRAY_SIZE(ways), frame);
}

int main(void)
{
	static const size_t sizes[] = {64, 1400};
	int left, right, packet;

	if (unshare(CLONE_NEWNET))
		err(77, "needs root, for a network namespace of its own");
	buffers = calloc(FRAMES, sizeof(*buffers));
	left = open_tap("left");
	run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; "
	    "ip link set left up");
	packet = open_packet("left");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		measure_receive(left, packet, sizes[i]);
	right = open_tap("right");
	run("ip link add name joint type bridge mcast_snooping 0 && ip link set left master joint "
	    "&& "
	    "ip link set right master joint && ip link set joint up && ip link set right up");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		measure_transmit(left, right, sizes[i]);
	return 0;
}
