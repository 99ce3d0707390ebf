/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that sends faster than the host's network carries: tap, bridge and a veth pair whose
 * queueing discipline lets almost nothing through. The guest has to wait, and no frame is lost.
 * Skipped without root or without `tc`.
 */
#include "unit/net/tap_rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES 3000u
#define LENGTH 1400u

static struct tap_rig rig;
static uint64_t buffers; /* 256 of them, a frame each */

static bool run(const char *command)
{
	return system(command) == 0;
}

/*
 * This process and its workers on one processor: frames wait between the ends of a veth pair in a
 * queue of each processor that sends, and come out of order where several do.
 */
static void use_one_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* Until the kernel has seen both ends up, the bridge and the queueing discipline drop frames. */
static void make_slow_network(void)
{
	cr_assert(run("ip link add near type veth peer name far && ip link set near master br0 && "
		      "ip link set near up && ip link set far up && "
		      "tc qdisc add dev near root tbf rate 100kbit burst 3000 limit 50000000"));
	while (!run("ip -d -o link show near | grep -q 'state forwarding'"))
		continue; /* at most the test's time */
}

static int open_far_end(void)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
		.sll_protocol = htons(0x88b5), /* not the bridge's own queries */
		.sll_ifindex = (int)if_nametoindex("far")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), size = 64 << 20;

	cr_assert_geq(fd, 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void make_frame(uint8_t *frame, uint32_t number)
{
	memset(frame, 0, LENGTH + NET_HEADER_BYTES);
	memcpy(frame + NET_HEADER_BYTES,
		((uint8_t[]){2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}), 14);
	memcpy(frame + NET_HEADER_BYTES + 14, &number, sizeof(number));
}

/* Adds as many frames as the ring takes; tokens come back as they are used. */
static void add_frames(uint32_t *next)
{
	struct mock_queue *queue = rig.driver.queues[1];

	while (*next < FRAMES && mock_queue_in_flight(queue) < 256) {
		uint64_t gpa = buffers + (*next % 256) * 2048;
		const struct mock_segment segment = {gpa, LENGTH + NET_HEADER_BYTES, false};

		make_frame(mock_guest_pointer(&rig.guest, gpa, 2048), (*next)++);
		cr_assert_geq(mock_queue_add(queue, &segment, 1), 0);
	}
	mock_driver_kick(&rig.driver, 1);
}

Test(pushback, a_slow_network_makes_the_guest_wait, .timeout = 120)
{
	const struct net_tx_counters *counters;
	uint8_t got[2048];
	uint32_t next = 0;
	struct mock_used used;
	int far;

	if (!run("tc -V >/dev/null 2>&1 && ip -V >/dev/null 2>&1"))
		cr_skip_test("needs tc and ip (iproute2)");
	if (!tap_rig_namespace())
		return;
	use_one_processor();
	tap_rig_init(&rig, "tap=t0,bridge=br0", 0);
	counters = net_device_tx_counters(rig.device, 0);
	buffers = mock_guest_alloc(&rig.guest, 256 * 2048, 2048);
	make_slow_network();
	far = open_far_end();
	while (!counter_read(&counters->full)) {
		add_frames(&next);
		cr_assert_lt(next, FRAMES, "the host takes everything");
		while (mock_queue_get_used(rig.driver.queues[1], &used))
			continue;
	}
	cr_expect_lt(counter_read(&counters->frames), FRAMES);
	/*
	 * The network is quick again: the rest follows by itself. In bursts well below the 1000
	 * frames that the kernel lets wait for a processor (net.core.netdev_max_backlog).
	 */
	cr_assert(run("tc qdisc change dev near root tbf rate 1gbit burst 50000 limit 50000000"));
	while (counter_read(&counters->frames) < FRAMES) {
		add_frames(&next);
		if (mock_queue_in_flight(rig.driver.queues[1]))
			cr_assert_eq(
				mock_driver_wait_used(&rig.driver, 1, TAP_RIG_TIMEOUT_MS, &used),
				0);
	}
	for (uint32_t i = 0; i < FRAMES; i++) {
		uint32_t number;

		cr_assert_gt(recv(far, got, sizeof(got), 0), 0);
		memcpy(&number, got + 14, sizeof(number));
		cr_assert_eq(number, i, "frame %u came where %u was due", number, i);
	}
	cr_expect_eq(counter_read(&counters->rejected), 0);
	cr_expect_eq(counter_read(&counters->link_down), 0);
	close(far);
	tap_rig_deinit(&rig);
}
