/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writev() per frame, straight from guest memory, header and all: the kernel reads the guest's
 * own virtio header, checks it and copies the payload once. Batches through io_uring were measured
 * and gain nothing as long as frames must keep their order (docs/decisions/net-batching.md).
 *
 * A tap that answers EAGAIN has too many bytes on their way through the host. The chain and those
 * popped after it go back to the ring in order, and the queue waits for a one-shot poll to say that
 * the tap is writable again; meanwhile the guest's queue fills, which is how it learns. A tap that
 * is down or gone does not hold frames up: they are completed and counted as lost, as on a cable
 * that is unplugged.
 */
#include "net/net_tx.h"

#include "net/virtio_net_abi.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

/* A turn ends after so much, so that the worker's other sources get theirs. */
#define TURN_BYTES (256u << 10)

/* Without the header: an Ethernet header, and what a tap takes at most. */
#define FRAME_BYTES_MIN 14u
#define FRAME_BYTES_MAX NET_GSO_BYTES

enum outcome {
	FRAME_DONE,  /* the chain is pushed */
	FRAME_LATER, /* the tap is full */
	FRAME_FATAL, /* the ring is broken */
};

static struct net_tx *tx_of(struct io_source *source)
{
	return container_of(source, struct net_tx, source);
}

static int tap_fd(const struct net_tx *tx)
{
	return tx->shared->tap->queues[tx->pair].fd;
}

static void fail(struct net_tx *tx, const char *what)
{
	tx->dead = true;
	virtio_device_fail(tx->shared->device, "transmit queue %u: %s", tx->pair, what);
}

/* The errno of a writev() that did not take the frame. */
static enum outcome write_failed(struct net_tx *tx, int error)
{
	switch (error) {
	case EAGAIN:
		counter_add(&tx->counters.full, 1);
		tx->full = true;
		return FRAME_LATER;
	case EIO: /* the interface is down */
		counter_add(&tx->counters.link_down, 1);
		return FRAME_DONE;
	case EBADFD: /* it does not exist any more */
		counter_add(&tx->counters.link_down, 1);
		net_shared_tap_gone(tx->shared);
		return FRAME_DONE;
	default: /* a header that contradicts the frame, or no memory for it */
		counter_add(&tx->counters.rejected, 1);
		return FRAME_DONE;
	}
}

static enum outcome send_frame(struct net_tx *tx, const struct virtqueue_chain *chain)
{
	unsigned header = net_shared_header_bytes(tx->shared);
	ssize_t sent;

	if (unlikely(chain->readable_bytes < header + FRAME_BYTES_MIN ||
		     chain->readable_bytes > header + FRAME_BYTES_MAX)) {
		counter_add(&tx->counters.rejected, 1);
		return FRAME_DONE;
	}
	do {
		sent = writev(tap_fd(tx), chain->iov, (int)chain->readable);
		counter_add(&tx->counters.writes, 1);
	} while (unlikely(sent < 0 && errno == EINTR));
	if (unlikely(sent < 0))
		return write_failed(tx, errno);
	counter_add(&tx->counters.frames, 1);
	counter_add(&tx->counters.bytes, chain->readable_bytes - header);
	return FRAME_DONE;
}

static enum outcome send_chain(
	struct net_tx *tx, const struct virtqueue_entry *entry, uint64_t *bytes)
{
	struct virtqueue_chain chain = {.iov = tx->iov, .capacity = NET_TX_IOVS};
	enum outcome outcome;

	if (unlikely(virtqueue_load_chain(tx->queue, entry, &chain))) {
		fail(tx, "a malformed descriptor chain");
		return FRAME_FATAL;
	}
	outcome = send_frame(tx, &chain);
	if (likely(outcome == FRAME_DONE)) {
		virtqueue_push(tx->queue, entry, 0);
		*bytes += chain.readable_bytes;
	}
	return outcome;
}

static void arm_tap_poll(struct net_tx *tx)
{
	/* Without an SQE the next turn comes back to it. */
	tx->full = tap_poll_arm(&tx->tap_poll, &tx->source, tap_fd(tx), POLLOUT);
}

/* Sends a batch in order; what the tap does not take goes back to the ring. */
static void transmit(struct net_tx *tx)
{
	uint64_t writes = counter_read(&tx->counters.writes), bytes = 0;
	struct virtqueue_entry entries[NET_TX_BATCH];
	int count = virtqueue_pop_batch(tx->queue, entries, NET_TX_BATCH), done = 0;

	if (unlikely(count < 0)) {
		fail(tx, "the ring is broken");
		return;
	}
	while (done < count && bytes < TURN_BYTES) {
		if (send_chain(tx, &entries[done], &bytes) != FRAME_DONE)
			break;
		done++;
	}
	tx->done += (unsigned)done;
	io_source_count_work(&tx->source, (unsigned)done);
	if (!tx->dead)
		virtqueue_unpop(tx->queue, &entries[done], (unsigned)(count - done));
	io_source_count_syscalls(
		&tx->source, (unsigned)(counter_read(&tx->counters.writes) - writes));
	if (tx->full)
		arm_tap_poll(tx);
}

static bool has_frames(const struct net_tx *tx)
{
	return !tx->full && !tx->dead && virtqueue_has_work(tx->queue);
}

static bool tx_poll(struct io_source *source)
{
	struct net_tx *tx = tx_of(source);

	if (unlikely(source->stopping))
		return tap_poll_must_be_cancelled(&tx->tap_poll) ||
		       net_notifier_must_be_cancelled(&tx->notifier);
	return has_frames(tx) || net_notifier_must_look(&tx->notifier);
}

/* What a stopping source has in the ring. */
static void cancel(struct net_tx *tx)
{
	tap_poll_cancel(&tx->tap_poll, &tx->source);
	net_notifier_cancel(&tx->notifier);
}

static void tx_process(struct io_source *source)
{
	struct net_tx *tx = tx_of(source);

	if (unlikely(source->stopping))
		cancel(tx);
	else if (!tx->full && !tx->dead)
		transmit(tx);
}

static void tx_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	struct net_tx *tx = tx_of(source);

	(void)result; /* writable or broken: the next write tells */
	(void)flags;
	if (net_notifier_completed(&tx->notifier, tag))
		return; /* the flush at the end of the turn sees to it */
	if (!tap_poll_completed(&tx->tap_poll, tag) || source->stopping)
		return;
	tx->full = false;
	/* Polled from now on, so that tx_arm() asks for kicks again once the ring is empty. */
	io_source_activate(source);
}

static unsigned tx_flush(struct io_source *source)
{
	struct net_tx *tx = tx_of(source);

	/* Each frame is a chain, whether or not the tap took it. */
	return net_notifier_flush(&tx->notifier, tx->done);
}

static bool tx_arm(struct io_source *source)
{
	struct net_tx *tx = tx_of(source);

	/* A kick that came while the source was polled may be for the limits, not for frames. */
	if (tx_poll(source))
		return true;
	/* While the tap is full, kicks would change nothing. */
	return !source->stopping && !tx->full && !tx->dead && virtqueue_rearm(tx->queue);
}

static void tx_disarm(struct io_source *source)
{
	virtqueue_disarm(tx_of(source)->queue);
}

static void tx_stop(struct io_source *source)
{
	cancel(tx_of(source));
}

static const struct io_source_ops tx_ops = {
	.poll = tx_poll,
	.process = tx_process,
	.complete = tx_complete,
	.flush = tx_flush,
	.arm = tx_arm,
	.disarm = tx_disarm,
	.stop = tx_stop,
};

void net_tx_init(struct net_tx *tx, struct net_shared *shared, unsigned pair, int kick_fd,
	int call_fd, struct virtqueue *queue, unsigned poll_us)
{
	io_source_init(&tx->source, &tx_ops, kick_fd, poll_us);
	tx->shared = shared;
	tx->pair = pair;
	tx->queue = queue;
	net_notifier_init(&tx->notifier, &tx->source, shared, 2 * pair + 1, queue, call_fd);
}

int net_tx_start(struct net_tx *tx, struct io_worker *worker)
{
	int result;

	tx->full = tx->dead = false;
	tx->tap_poll = (struct tap_poll){0};
	net_notifier_start(&tx->notifier, tx->done);
	result = io_worker_attach(worker, &tx->source);
	if (result)
		net_notifier_stop(&tx->notifier);
	return result;
}

void net_tx_stop(struct net_tx *tx)
{
	io_worker_detach(&tx->source);
	net_notifier_stop(&tx->notifier);
}
