/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command that changes the policy takes two steps. The first parses it into the policy that is
 * not in force, takes away from the tap what offloads are switched off, and publishes the new
 * policy. The second, when every receive queue follows it, gives the tap the offloads that are
 * switched on and writes the answer: so a frame that needs an offload is never read by a queue that
 * does not know of it yet.
 *
 * A driver that resets this queue in between loses the answer, but the second step is made before
 * anything else: the policy that is not in force may still be read until then.
 *
 * In between the queue has nothing to do; the receive queues signal its kick eventfd when they have
 * followed, and it looks again. Commands are rare (they come from `ip`, `ethtool` and the like), so
 * that the system calls they need may be made here.
 */
#include "net/net_control_queue.h"

#include "net/net_frame.h"
#include "net/net_vhost.h"
#include "net/virtio_net_abi.h"
#include "util/bytes.h"
#include "util/fd.h"

#include <string.h>

static struct net_control_queue *control_of(struct io_source *source)
{
	return container_of(source, struct net_control_queue, source);
}

static void fail(struct net_control_queue *control, const char *what)
{
	control->dead = true;
	virtio_device_fail(control->shared->device, "control queue: %s", what);
}

/* Constant but while this queue's worker changes it. */
static const struct net_policy *policy_in_force(const struct net_control_queue *control)
{
	return atomic_load_explicit(&control->shared->policy, memory_order_relaxed);
}

static struct net_policy *free_policy(struct net_control_queue *control)
{
	return policy_in_force(control) == &control->policies[0] ? &control->policies[1]
	                                                         : &control->policies[0];
}

/* ---- one command ---- */

/* With @result_bytes of the command's result written behind the answer. */
static void answer_with(struct net_control_queue *control, bool accepted, uint32_t result_bytes)
{
	if (unlikely(control->orphaned)) {
		control->pending = control->orphaned = false;
		return;
	}
	*control->acknowledge = accepted ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	virtqueue_push(control->queue, &control->entry, 1 + result_bytes);
	control->pending = false;
}

static void answer(struct net_control_queue *control, bool accepted)
{
	answer_with(control, accepted, 0);
}

static bool followed(const struct net_control_queue *control)
{
	const struct net_policy *policy = policy_in_force(control);

	for (unsigned i = 0; i < control->shared->pairs; i++) {
		if (!net_rx_follows(control->rx[i], policy))
			return false;
	}
	return true;
}

static bool set_tap_offloads(struct net_control_queue *control, uint32_t offloads)
{
	io_source_count_syscalls(&control->source, 1);
	return !tap_set_offloads(control->shared->tap, offloads);
}

/* ECN goes with TSO, and the kernel refuses one without the other. */
static uint32_t common_offloads(uint32_t one, uint32_t other)
{
	uint32_t common = one & other;

	return common & (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6) ? common
	                                                      : common & ~(uint32_t)NET_OFFLOAD_ECN;
}

static void publish_policy(struct net_control_queue *control, const struct net_policy *policy)
{
	struct net_shared *shared = control->shared;
	uint32_t before = policy_in_force(control)->offloads;

	if (before & ~policy->offloads)
		set_tap_offloads(control, common_offloads(before, policy->offloads));
	net_shared_set_mac(shared, policy->filter.mac);
	/*
	 * Before the receive queues are looked at. Pairs with net_rx_start(), which announces a
	 * queue before it loads the policy: one of the two sees the other.
	 */
	atomic_store_explicit(&shared->policy, policy, memory_order_seq_cst);
	if (shared->vhost)
		net_vhost_follow(shared->vhost);
	for (unsigned i = 0; i < shared->pairs; i++)
		fd_signal(control->rx[i]->source.kick_fd);
	io_source_count_syscalls(&control->source, shared->pairs);
	control->pending = true;
}

/* The tap's queues are attached as the new policy says: choose among them by its rules. */
static bool set_steering(struct net_control_queue *control, const struct net_policy *policy)
{
	struct net_steering *steering = control->shared->steering;

	io_source_count_syscalls(&control->source, 2);
	if (!steering)
		return !policy->rss.on;
	return !net_steering_set(steering, &policy->rss, &policy->hash);
}

/* The second step, once everybody follows. */
static void finish(struct net_control_queue *control)
{
	const struct net_policy *policy = policy_in_force(control);
	const struct net_policy *before = free_policy(control);
	bool accepted = true;

	if (policy->offloads & ~before->offloads)
		accepted = set_tap_offloads(control, policy->offloads);
	if (policy->rss.generation != before->rss.generation)
		accepted &= set_steering(control, policy);
	answer(control, accepted);
}

/* What VQ_GET asks for goes behind the answer's byte. */
static void answer_limits(struct net_control_queue *control, const struct virtqueue_chain *chain,
	struct net_coalesce_limits limits)
{
	uint8_t result[8];

	if (chain->writable_bytes < 1 + sizeof(result)) {
		answer(control, false);
		return;
	}
	put_le32(result, limits.max_packets);
	put_le32(result + 4, limits.max_usecs);
	iov_copy(IOV_WRITE, &chain->iov[chain->readable], chain->writable, 1, result,
		sizeof(result));
	answer_with(control, true, sizeof(result));
}

/*
 * A queue goes by its limits from its next flush on. One that keeps a notification back may have to
 * send it now: its worker looks when it is kicked.
 */
static void set_coalesce(struct net_control_queue *control, const struct virtqueue_chain *chain,
	struct net_coalesce_command *command)
{
	struct net_shared *shared = control->shared;
	bool accepted = net_coalesce_execute(&shared->coalesce, shared->pairs, command);
	unsigned kicks = 0;

	if (accepted && command->command == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET) {
		answer_limits(control, chain, command->limits);
		return;
	}
	for (unsigned i = 0; accepted && i < 2 * shared->pairs; i++) {
		if (!net_coalesce_sets(command, i))
			continue;
		fd_signal(shared->device->queues[i].kick_fd);
		kicks++;
	}
	io_source_count_syscalls(&control->source, kicks);
	answer(control, accepted);
}

static void execute(struct net_control_queue *control, const struct virtqueue_chain *chain)
{
	struct net_policy *next = free_policy(control);
	struct net_coalesce_command command;

	*next = *policy_in_force(control);
	switch (net_control_execute(&control->limits, chain->iov, chain->readable,
		chain->readable_bytes, next, &command)) {
	case NET_CONTROL_POLICY:
		publish_policy(control, next);
		break;
	case NET_CONTROL_ANNOUNCED:
		atomic_fetch_and(&control->shared->status, (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
		answer(control, true);
		break;
	case NET_CONTROL_COALESCE:
		set_coalesce(control, chain, &command);
		break;
	case NET_CONTROL_REFUSED:
		answer(control, false);
		break;
	}
}

/* Takes the next command. False where there is none. */
static bool next_command(struct net_control_queue *control)
{
	struct virtqueue_chain chain = {.iov = control->iov, .capacity = NET_CONTROL_IOVS};
	int count = virtqueue_pop_batch(control->queue, &control->entry, 1);

	if (!count)
		return false;
	if (count < 0 || virtqueue_load_chain(control->queue, &control->entry, &chain)) {
		fail(control, "a malformed descriptor chain or ring");
		return false;
	}
	if (!chain.writable) {
		fail(control, "a command without room for the answer");
		return false;
	}
	control->acknowledge = chain.iov[chain.readable].iov_base;
	execute(control, &chain);
	return true;
}

/* ---- the source ---- */

static bool control_poll(struct io_source *source)
{
	struct net_control_queue *control = control_of(source);

	if (source->stopping || control->dead)
		return false;
	return control->pending ? followed(control) : virtqueue_has_work(control->queue);
}

static void control_process(struct io_source *source)
{
	struct net_control_queue *control = control_of(source);
	unsigned left = control->queue->layout.size;

	if (source->stopping || control->dead)
		return;
	for (;;) {
		if (control->pending) {
			if (!followed(control))
				return;
			finish(control);
		}
		if (!left-- || !next_command(control))
			return;
	}
}

/* The queue makes no SQEs. */
static void control_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	(void)source;
	(void)tag;
	(void)result;
	(void)flags;
}

static unsigned control_flush(struct io_source *source)
{
	struct net_control_queue *control = control_of(source);

	return net_shared_flush(control->queue, control->call_fd);
}

static bool control_arm(struct io_source *source)
{
	struct net_control_queue *control = control_of(source);

	if (source->stopping || control->dead || control->pending)
		return control_poll(source);
	return virtqueue_rearm(control->queue);
}

static void control_disarm(struct io_source *source)
{
	virtqueue_disarm(control_of(source)->queue);
}

static const struct io_source_ops control_ops = {
	.poll = control_poll,
	.process = control_process,
	.complete = control_complete,
	.flush = control_flush,
	.arm = control_arm,
	.disarm = control_disarm,
};

/* ---- life ---- */

void net_control_queue_init(
	struct net_control_queue *control, struct net_shared *shared, struct net_rx *const *rx)
{
	static const uint8_t no_mac[NET_MAC_LENGTH];

	control->shared = shared;
	control->rx = rx;
	net_control_queue_reset(control, 0, no_mac);
}

void net_control_queue_reset(
	struct net_control_queue *control, uint64_t features, const uint8_t mac[NET_MAC_LENGTH])
{
	control->limits = (struct net_control_limits){
		.features = features, .pairs_max = control->shared->pairs};
	control->pending = control->orphaned = false;
	net_policy_init(&control->policies[0], features, mac);
	net_coalesce_reset(&control->shared->coalesce);
	atomic_store_explicit(
		&control->shared->policy, &control->policies[0], memory_order_seq_cst);
}

int net_control_queue_start(struct net_control_queue *control, struct io_worker *worker,
	struct virtqueue *queue, int kick_fd, int call_fd)
{
	/* A command has no successor that would make polling for it pay. */
	io_source_init(&control->source, &control_ops, kick_fd, 0);
	control->queue = queue;
	control->call_fd = call_fd;
	control->dead = false;
	control->orphaned = control->pending;
	return io_worker_attach(worker, &control->source);
}

void net_control_queue_stop(struct net_control_queue *control)
{
	io_worker_detach(&control->source);
}
