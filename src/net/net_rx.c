/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One readv() per frame, straight into receive buffers: into as many of them as the longest frame
 * could fill, of which the frame takes what it needs and the rest stays in the reserve for the next
 * (net_reserve.h). Batches through io_uring were measured and gain nothing here
 * (docs/decisions/net-batching.md); the ring is used for what it does better, telling when the tap
 * has frames.
 *
 * What wakes the queue is one of two things. As long as there are receive buffers, a one-shot poll
 * of the tap, armed when a read found nothing; the driver need not kick for buffers that it adds.
 * When frames wait and there are no buffers left, the driver's kick; the tap is left alone, so that
 * its queue fills and the host sees it.
 *
 * The last iovec of a read is a buffer of our own, the spill. It tells a frame that is too long for
 * what was offered from one that just fits. Only where the guest has run short of buffers does it
 * ever hold payload: then the frame's first part is in guest memory already, and the rest is copied
 * when buffers come (counted as bounced). No frame is lost for want of buffers that way.
 *
 * The header that the kernel wrote is looked at before the guest may see the frame: num_buffers is
 * ours to fill in, and a frame that was queued before the driver switched an offload off may need
 * what the driver does not do any more.
 */
#include "net/net_rx.h"

#include "net/net_frame.h"
#include "util/bytes.h"
#include "util/fd.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

/* A turn ends after so much, so that the worker's other sources get theirs. */
#define TURN_FRAMES 64u
#define TURN_BYTES  (512u << 10)

/* Header and the part of the frame that filters look at, at most. */
#define LOOK_BYTES_MAX (NET_HEADER_HASH_BYTES + NET_FILTER_BYTES)

static struct net_rx *rx_of(struct io_source *source)
{
	return container_of(source, struct net_rx, source);
}

static int tap_fd(const struct net_rx *rx)
{
	return rx->shared->tap->queues[rx->pair].fd;
}

static const struct net_policy *current_policy(const struct net_rx *rx)
{
	return atomic_load_explicit(&rx->shared->policy, memory_order_seq_cst);
}

static void fail(struct net_rx *rx, const char *what)
{
	rx->dead = true;
	virtio_device_fail(rx->shared->device, "receive queue %u: %s", rx->pair, what);
}

/* ---- the policy ---- */

static void enable(struct net_rx *rx, bool enabled)
{
	if (rx->enabled == enabled)
		return;
	rx->enabled = enabled;
	rx->pending = 0;
	rx->readable =
		false; /* receive() arms the poll, which tells at once where there is something */
	io_source_count_syscalls(&rx->source, 1);
	if (enabled && !rx->shared->tap->multi_queue)
		counter_add(&rx->counters.stale, tap_drop_frames(rx->shared->tap, rx->pair));
	if (!net_shared_enable_queue(rx->shared, rx->pair, enabled))
		rx->dead = true;
}

static uint64_t longest_frame(const struct net_rx *rx, const struct net_policy *policy)
{
	unsigned header = net_shared_header_bytes(rx->shared);

	if (policy->offloads & (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_USO))
		return header + NET_GSO_BYTES;
	return header + NET_L2_BYTES + rx->shared->frame_mtu;
}

/* Takes a new policy over and tells the control queue, which may be waiting for just that. */
static void take_policy(struct net_rx *rx)
{
	const struct net_policy *policy = current_policy(rx);

	if (likely(policy == rx->policy))
		return;
	if (rx->policy && rx->pending) {
		/* Read by the old rules. */
		counter_add(&rx->counters.stale, 1);
		rx->pending = 0;
	}
	rx->policy = policy;
	rx->wanted = longest_frame(rx, policy);
	enable(rx, rx->pair < policy->pairs);
	/* Release: pairs with the acquire in net_rx_follows(); the old policy is not read again. */
	atomic_store_explicit(&rx->applied, policy, memory_order_release);
	fd_signal(rx->shared->control_fd);
}

bool net_rx_follows(const struct net_rx *rx, const struct net_policy *policy)
{
	return !atomic_load_explicit(&rx->running, memory_order_seq_cst) ||
	       atomic_load_explicit(&rx->applied, memory_order_acquire) == policy;
}

/* ---- one frame ---- */

/* Segmentation types that the driver takes, with the offload that each belongs to. */
static uint32_t offload_of(uint8_t gso_type)
{
	switch (gso_type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return NET_OFFLOAD_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return NET_OFFLOAD_TSO6;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return NET_OFFLOAD_USO;
	default:
		return UINT32_MAX; /* no such offload: never allowed */
	}
}

/* Whether the driver takes a frame with this header now (section 5.1.6.4). */
static bool header_allowed(const struct net_rx *rx, const uint8_t *header)
{
	uint32_t needs = 0;
	uint8_t flags = header[0], type = header[1];

	if (flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		needs |= NET_OFFLOAD_CSUM;
	if (type & VIRTIO_NET_HDR_GSO_ECN)
		needs |= NET_OFFLOAD_ECN;
	if ((type & ~VIRTIO_NET_HDR_GSO_ECN) != VIRTIO_NET_HDR_GSO_NONE)
		needs |= offload_of(type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN);
	return !(needs & ~rx->policy->offloads);
}

/*
 * Looks at the start of a frame of @length bytes in @iov. False where the guest is not to have it,
 * which is counted.
 */
static bool frame_wanted(struct net_rx *rx, struct iovec *iov, unsigned count, size_t length)
{
	size_t header = net_shared_header_bytes(rx->shared);
	size_t looked = min_of(length, header + NET_FILTER_BYTES);
	uint8_t copy[LOOK_BYTES_MAX] = {0};
	const uint8_t *look = iov->iov_base;

	if (unlikely(iov->iov_len < looked)) {
		iov_copy(IOV_READ, iov, count, 0, copy, looked);
		look = copy;
	}
	if (unlikely(!header_allowed(rx, look))) {
		counter_add(&rx->counters.stale, 1);
		return false;
	}
	if (unlikely(!net_filter_accepts(&rx->policy->filter, look + header, looked - header))) {
		counter_add(&rx->counters.filtered, 1);
		return false;
	}
	return true;
}

/*
 * Fills in the part of the header that VIRTIO_NET_F_HASH_REPORT adds. The frame lies in guest
 * memory: what is hashed is copied first.
 */
static void report_hash(const struct net_rx *rx, const struct iovec *iov, unsigned iovs,
	size_t length, uint8_t report[NET_HEADER_HASH_BYTES - NET_HEADER_BYTES])
{
	uint8_t copy[NET_HASH_LOOK_BYTES];
	uint16_t what = VIRTIO_NET_HASH_REPORT_NONE;
	uint32_t value = 0;

	if (rx->policy->hash.types) {
		size_t part = min_of(length - NET_HEADER_HASH_BYTES, sizeof(copy));

		part = iov_copy(IOV_READ, iov, iovs, NET_HEADER_HASH_BYTES, copy, part);
		value = net_hash_frame(&rx->policy->hash, copy, part, &what);
	}
	put_le32(report, value);
	put_le16(report + 4, what);
	put_le16(report + 6, 0);
}

/* The frame is whole in the first @length bytes of the reserve: hand it over. */
static void deliver(struct net_rx *rx, size_t length)
{
	struct net_reserve *reserve = &rx->reserve;
	struct iovec *iov = &reserve->iov[reserve->iov_first];
	unsigned iovs = reserve->iov_end - reserve->iov_first;
	unsigned chains = net_reserve_chains(reserve, length);
	size_t header = net_shared_header_bytes(rx->shared);
	uint8_t flags = 0, ours[NET_HEADER_HASH_BYTES - NET_HEADER_NUM_BUFFERS];

	put_le16(ours, (uint16_t)chains);
	if (rx->shared->hash_report)
		report_hash(rx, iov, iovs, length, ours + 2);
	iov_copy(IOV_WRITE, iov, iovs, NET_HEADER_NUM_BUFFERS, ours,
		header - NET_HEADER_NUM_BUFFERS);
	/* Without GUEST_CSUM there is no DATA_VALID either, but the tap says so regardless. */
	if (!(rx->policy->offloads & NET_OFFLOAD_CSUM))
		iov_copy(IOV_WRITE, iov, iovs, 0, &flags, sizeof(flags));
	net_reserve_use(reserve, rx->queue, length);
	counter_add(&rx->counters.frames, 1);
	counter_add(&rx->counters.bytes, length - header);
	counter_add(&rx->counters.chains, chains);
}

/* Appends the spilled end of the pending frame to its start. False where buffers still lack. */
static bool finish_pending(struct net_rx *rx)
{
	struct net_reserve *reserve = &rx->reserve;

	if (reserve->bytes < rx->pending)
		return false;
	iov_copy(IOV_WRITE, &reserve->iov[reserve->iov_first],
		reserve->iov_end - reserve->iov_first, rx->pending - rx->pending_spilled, rx->spill,
		rx->pending_spilled);
	counter_add(&rx->counters.bounced, rx->pending_spilled);
	deliver(rx, rx->pending);
	rx->pending = 0;
	return true;
}

/* A frame of @length bytes lies in the window and, as far as that was too short, in the spill. */
static void take_frame(struct net_rx *rx, const struct net_window *window, size_t length)
{
	if (likely(length <= window->bytes)) {
		deliver(rx, length);
		return;
	}
	rx->pending_spilled = length - window->bytes;
	if (!rx->reserve.mergeable || rx->pending_spilled == sizeof(rx->spill)) {
		counter_add(&rx->counters.truncated, 1);
		return;
	}
	rx->pending = length;
	finish_pending(rx);
}

static void read_failed(struct net_rx *rx, int error)
{
	rx->readable = false;
	if (error == EAGAIN || error == EINTR)
		return;
	counter_add(&rx->counters.errors, 1);
	if (error == EBADFD) {
		rx->dead = true;
		net_shared_tap_gone(rx->shared);
	}
}

/* Reads one frame. Returns its length, or 0 where there was none. */
static size_t read_frame(struct net_rx *rx)
{
	struct net_window window = net_reserve_window(&rx->reserve, rx->wanted);
	struct iovec saved = window.iov[window.count];
	bool wanted = false;
	ssize_t length;

	window.iov[window.count] = (struct iovec){rx->spill, sizeof(rx->spill)};
	length = readv(tap_fd(rx), window.iov, (int)window.count + 1);
	counter_add(&rx->counters.reads, 1);
	if (unlikely(length < (ssize_t)net_shared_header_bytes(rx->shared) + 1))
		read_failed(rx, length < 0 ? errno : EPROTO);
	else
		wanted = frame_wanted(rx, window.iov, window.count + 1, (size_t)length);
	window.iov[window.count] = saved;
	if (length < 0)
		return 0;
	if (wanted)
		take_frame(rx, &window, (size_t)length);
	return (size_t)length;
}

/* ---- the source ---- */

/* Makes sure that there is something to read into. False where there is not, or not any more. */
static bool have_buffers(struct net_rx *rx)
{
	uint64_t wanted = max_of(rx->wanted, (uint64_t)rx->pending);

	if (unlikely(net_reserve_fill(&rx->reserve, rx->queue, wanted))) {
		fail(rx, "a malformed buffer or ring");
		return false;
	}
	if (unlikely(rx->pending) && !finish_pending(rx)) {
		if (!rx->reserve.full)
			return false;
		/* All the room there is, in buffers of a few bytes each: it will never fit. */
		counter_add(&rx->counters.truncated, 1);
		rx->pending = 0;
	}
	return net_reserve_count(&rx->reserve);
}

static void arm_tap_poll(struct net_rx *rx)
{
	if (rx->dead)
		return;
	/* Without an SQE the next turn comes back to it. */
	rx->readable = !tap_poll_arm(&rx->tap_poll, &rx->source, tap_fd(rx), POLLIN);
}

static void note_starved(struct net_rx *rx)
{
	counter_add(&rx->counters.starved, !rx->starved);
	rx->starved = true;
}

static void receive(struct net_rx *rx)
{
	unsigned frames = 0;
	size_t bytes = 0;

	while (rx->readable && frames < TURN_FRAMES && bytes < TURN_BYTES) {
		if (!have_buffers(rx)) {
			note_starved(rx);
			break;
		}
		rx->starved = false;
		bytes += read_frame(rx);
		frames++;
	}
	io_source_count_syscalls(&rx->source, frames);
	io_source_count_work(&rx->source, frames);
	if (!rx->readable)
		arm_tap_poll(rx);
}

static bool rx_poll(struct io_source *source)
{
	struct net_rx *rx = rx_of(source);

	if (unlikely(source->stopping))
		return tap_poll_must_be_cancelled(&rx->tap_poll) ||
		       net_notifier_must_be_cancelled(&rx->notifier);
	if (unlikely(current_policy(rx) != rx->policy) || net_notifier_must_look(&rx->notifier))
		return true;
	if (!rx->readable || !rx->enabled || rx->dead)
		return false;
	return (net_reserve_count(&rx->reserve) && !rx->pending) || virtqueue_has_work(rx->queue);
}

/* What a stopping source has in the ring. */
static void cancel(struct net_rx *rx)
{
	tap_poll_cancel(&rx->tap_poll, &rx->source);
	net_notifier_cancel(&rx->notifier);
}

static void rx_process(struct io_source *source)
{
	struct net_rx *rx = rx_of(source);

	if (unlikely(source->stopping)) {
		cancel(rx);
		return;
	}
	take_policy(rx);
	if (rx->enabled && !rx->dead)
		receive(rx);
}

static void rx_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	struct net_rx *rx = rx_of(source);

	(void)result; /* readable or broken: the next read tells */
	(void)flags;
	if (net_notifier_completed(&rx->notifier, tag))
		return; /* the flush at the end of the turn sees to it */
	if (!tap_poll_completed(&rx->tap_poll, tag) || source->stopping)
		return;
	rx->readable = rx->enabled;
	if (rx->readable && !rx_poll(source))
		note_starved(rx);
	/* Polled from now on, so that rx_arm() is asked what to wait for should there be no
	 * buffers. */
	io_source_activate(source);
}

static unsigned rx_flush(struct io_source *source)
{
	struct net_rx *rx = rx_of(source);

	return net_notifier_flush(&rx->notifier, counter_read(&rx->counters.frames));
}

/* Kicks matter only to a queue that has frames and no buffers. */
static bool rx_arm(struct io_source *source)
{
	struct net_rx *rx = rx_of(source);

	if (rx_poll(source))
		return true;
	if (source->stopping || !rx->readable || !rx->enabled || rx->dead)
		return false;
	return virtqueue_rearm(rx->queue);
}

static void rx_disarm(struct io_source *source)
{
	virtqueue_disarm(rx_of(source)->queue);
}

static void rx_stop(struct io_source *source)
{
	struct net_rx *rx = rx_of(source);

	enable(rx, false);
	cancel(rx);
}

static const struct io_source_ops rx_ops = {
	.poll = rx_poll,
	.process = rx_process,
	.complete = rx_complete,
	.flush = rx_flush,
	.arm = rx_arm,
	.disarm = rx_disarm,
	.stop = rx_stop,
};

/* ---- life ---- */

void net_rx_init(struct net_rx *rx, struct net_shared *shared, unsigned pair, int kick_fd,
	int call_fd, struct virtqueue *queue, unsigned poll_us)
{
	io_source_init(&rx->source, &rx_ops, kick_fd, poll_us);
	rx->shared = shared;
	rx->pair = pair;
	rx->queue = queue;
	net_notifier_init(&rx->notifier, &rx->source, shared, 2 * pair, queue, call_fd);
	atomic_init(&rx->applied, NULL);
	atomic_init(&rx->running, false);
}

int net_rx_start(struct net_rx *rx, struct io_worker *worker)
{
	int result;

	net_reserve_init(
		&rx->reserve, virtio_device_has(rx->shared->device, VIRTIO_NET_F_MRG_RXBUF));
	rx->policy = NULL;
	rx->enabled = rx->readable = rx->dead = false;
	rx->starved = false;
	rx->tap_poll = (struct tap_poll){0};
	rx->pending = 0;
	net_notifier_start(&rx->notifier, counter_read(&rx->counters.frames));
	atomic_store_explicit(&rx->applied, NULL, memory_order_relaxed);
	/*
	 * Before the worker loads the policy. Pairs with the control queue, which stores the policy
	 * before it looks at this: one of the two sees the other.
	 */
	atomic_store_explicit(&rx->running, true, memory_order_seq_cst);
	result = io_worker_attach(worker, &rx->source);
	if (result) {
		net_notifier_stop(&rx->notifier);
		atomic_store_explicit(&rx->running, false, memory_order_seq_cst);
	}
	return result;
}

void net_rx_stop(struct net_rx *rx)
{
	io_worker_detach(&rx->source);
	net_notifier_stop(&rx->notifier);
	atomic_store_explicit(&rx->running, false, memory_order_seq_cst);
	fd_signal(rx->shared->control_fd); /* a command may be waiting for this queue */
}
