/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain is loaded into a vector on the stack, parsed there, and what has to outlive the turn is
 * copied to the slot of the chain's id: a request lives in one 128-byte slot, plus a vector where
 * it has more than two data segments (io/blk_slots.h).
 *
 * The slot's busy mark is what catches a driver that makes a chain available twice.
 *
 * A transfer is held back until the next chain of the batch is parsed, which may continue it
 * (io/blk_merge.h). If a merged request fails, its parts are carried out one by one, so that each
 * gets the answer that it would have got alone.
 *
 * A request that finds no SQE, or waits for the bounce buffer, sits in the backlog and is submitted
 * again when that can change: after a completion, or after the next io_uring_enter().
 */
#include "io/blk_queue.h"

#include "util/checked.h"
#include "util/fd.h"
#include "virtio/device.h"

#include <errno.h>

#define LOADING_IOVS 4u /* header, two data segments, status */

_Static_assert(sizeof(struct blk_range) <= sizeof(struct iovec), "ranges fit a vector");

static void count(struct blk_queue *queue, enum blk_stat stat, uint64_t amount)
{
	counter_add(&queue->counters.values[stat], amount);
}

static struct blk_queue *queue_of(struct io_source *source)
{
	return container_of(source, struct blk_queue, source);
}

static struct blk_range *ranges_of(const struct blk_queue *queue, const struct blk_slot *slot)
{
	return (struct blk_range *)blk_slots_vector(&queue->slots, slot->vector);
}

/* ---- answering ---- */

static void answer(struct blk_queue *queue, struct blk_slot *slot, uint8_t status)
{
	*slot->status = status;
	if (unlikely(status != VIRTIO_BLK_S_OK))
		count(queue, BLK_STAT_ERRORS, 1);
	virtqueue_push(queue->virtqueue, &slot->entry, slot->written);
	blk_slots_release(&queue->slots, slot);
}

static void push_backlog(struct blk_queue *queue, struct blk_slot *slot)
{
	uint16_t index = (uint16_t)(slot - queue->slots.table);

	if (queue->backlog_count++)
		queue->slots.table[queue->backlog_tail].next = index;
	else
		queue->backlog_head = index;
	queue->backlog_tail = index;
}

static struct blk_slot *pop_backlog(struct blk_queue *queue)
{
	struct blk_slot *slot = &queue->slots.table[queue->backlog_head];

	queue->backlog_head = slot->next;
	queue->backlog_count--;
	return slot;
}

static bool next_range(struct blk_queue *queue, struct blk_slot *slot);
static void finish_merged(struct blk_queue *queue, struct blk_slot *leader);

/* Goes on with a request as far as the engine gets it. */
static void progress(struct blk_queue *queue, struct blk_slot *slot, enum disk_progress state)
{
	while (state == DISK_DONE && !slot->request.result && next_range(queue, slot))
		state = queue->channel.ops->submit(&queue->channel, &slot->request);
	if (state != DISK_DONE) {
		if (state == DISK_WAIT)
			push_backlog(queue, slot);
	} else if (unlikely(slot->leads)) {
		finish_merged(queue, slot);
	} else {
		answer(queue, slot, blk_request_status(slot->request.result));
	}
}

static void submit(struct blk_queue *queue, struct blk_slot *slot)
{
	progress(queue, slot, queue->channel.ops->submit(&queue->channel, &slot->request));
}

/* Answers all parts, or, where there was an error, carries out each alone. */
static void finish_merged(struct blk_queue *queue, struct blk_slot *leader)
{
	bool failed = leader->request.result;
	struct blk_slot *slot = leader;

	blk_merge_undo(&queue->slots, leader);
	while (slot) {
		struct blk_slot *next = blk_merge_next(&queue->slots, slot);

		slot->has_joined = false;
		if (unlikely(failed)) {
			count(queue, BLK_STAT_RESUBMITS, 1);
			submit(queue, slot);
		} else {
			answer(queue, slot, VIRTIO_BLK_S_OK);
		}
		slot = next;
	}
}

/* The driver left nothing to answer to. */
static void fail(struct blk_queue *queue, const char *what)
{
	queue->broken = true;
	virtio_device_fail(queue->setup.device, "queue %u: %s", queue->setup.index, what);
}

/* ---- taking requests ---- */

static void submit_held(struct blk_queue *queue)
{
	struct blk_slot *slot = queue->held.leader;

	queue->held.leader = NULL;
	if (likely(slot))
		submit(queue, slot);
}

/* Submits a transfer, at the latest when the batch is over. */
static void submit_or_join(struct blk_queue *queue, struct blk_slot *slot)
{
	if (!queue->setup.merge) {
		submit(queue, slot);
	} else if (unlikely(blk_merge_join(&queue->slots, &queue->held, slot))) {
		count(queue, BLK_STAT_MERGED, 1);
	} else {
		submit_held(queue);
		queue->held = (struct blk_merge){.leader = slot, .tail = slot};
	}
}

static void set_request(struct blk_queue *queue, struct blk_slot *slot, enum disk_op op,
	uint64_t offset, uint64_t length)
{
	slot->request.op = op;
	slot->request.durable = queue->durable;
	slot->request.started = false;
	slot->request.tag = slot->entry.id;
	slot->request.offset = offset;
	slot->request.length = length;
}

static void start_transfer(
	struct blk_queue *queue, struct blk_slot *slot, const struct blk_request *parsed)
{
	bool write = parsed->type == VIRTIO_BLK_T_OUT;
	struct iovec *iov = slot->iov;

	count(queue, write ? BLK_STAT_WRITES : BLK_STAT_READS, 1);
	count(queue, write ? BLK_STAT_WRITE_BYTES : BLK_STAT_READ_BYTES, parsed->data_bytes);
	if (parsed->data_count > BLK_SLOT_IOVS)
		iov = blk_slots_take_vector(&queue->slots, slot);
	for (unsigned i = 0; i < parsed->data_count; i++)
		iov[i] = parsed->data[i];
	set_request(queue, slot, write ? DISK_WRITE : DISK_READ, parsed->sector * DISK_SECTOR,
		parsed->data_bytes);
	slot->request.iov = iov;
	slot->request.iov_count = parsed->data_count;
	submit_or_join(queue, slot);
}

static void set_range(struct blk_queue *queue, struct blk_slot *slot)
{
	const struct blk_range *range = &ranges_of(queue, slot)[slot->range];

	set_request(queue, slot, slot->request.op, range->sector * DISK_SECTOR,
		(uint64_t)range->sectors * DISK_SECTOR);
	slot->request.unmap = range->unmap;
}

/* True where a discard or write zeroes has a further range, which is then the request. */
static bool next_range(struct blk_queue *queue, struct blk_slot *slot)
{
	if (likely(slot->request.op != DISK_DISCARD && slot->request.op != DISK_WRITE_ZEROES))
		return false;
	if (++slot->range >= slot->ranges)
		return false;
	if (unlikely(queue->source.stopping)) {
		slot->request.result = -ECANCELED;
		return false;
	}
	set_range(queue, slot);
	return true;
}

static void start_ranges(
	struct blk_queue *queue, struct blk_slot *slot, const struct blk_request *parsed)
{
	bool discard = parsed->type == VIRTIO_BLK_T_DISCARD;
	unsigned ranges = 0;
	uint8_t status;

	count(queue, discard ? BLK_STAT_DISCARDS : BLK_STAT_WRITE_ZEROES, 1);
	blk_slots_take_vector(&queue->slots, slot);
	status = blk_request_ranges(parsed, &queue->limits, ranges_of(queue, slot), &ranges);
	if (status != VIRTIO_BLK_S_OK) {
		answer(queue, slot, status);
		return;
	}
	slot->request.op = discard ? DISK_DISCARD : DISK_WRITE_ZEROES;
	slot->ranges = (uint8_t)ranges;
	slot->range = 0;
	set_range(queue, slot);
	submit(queue, slot);
}

static void start_checked(
	struct blk_queue *queue, struct blk_slot *slot, const struct blk_request *parsed)
{
	switch (parsed->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		start_transfer(queue, slot, parsed);
		break;
	case VIRTIO_BLK_T_FLUSH:
		count(queue, BLK_STAT_FLUSHES, 1);
		set_request(queue, slot, DISK_FLUSH, 0, 0);
		submit(queue, slot);
		break;
	case VIRTIO_BLK_T_GET_ID:
		count(queue, BLK_STAT_OTHERS, 1);
		blk_request_fill(parsed, queue->setup.serial, VIRTIO_BLK_ID_BYTES);
		answer(queue, slot, VIRTIO_BLK_S_OK);
		break;
	default:
		start_ranges(queue, slot, parsed);
		break;
	}
}

/* The chain has more segments than we serve: its last one, the status, is the scratch's last. */
static int parse_oversized(const struct virtqueue_chain *chain, struct blk_request *ret_request)
{
	const struct iovec *last = &chain->iov[chain->capacity - 1];

	if (!chain->writable)
		return -EPROTO;
	ret_request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	ret_request->written = (uint32_t)min_of(chain->writable_bytes, (uint64_t)UINT32_MAX);
	return -EBADMSG;
}

/*
 * A chain on its way from the ring to a slot. All chains of a batch are loaded, and their headers
 * and status bytes asked for, before the first is parsed: the lines come from the driver's CPU, and
 * so come together. Longer chains than this holds are loaded (again, and as a whole) into the
 * scratch vector.
 */
struct loading {
	struct virtqueue_chain chain;
	int result;
	struct iovec iov[LOADING_IOVS];
};

static void load(
	struct blk_queue *queue, const struct virtqueue_entry *entry, struct loading *loading)
{
	loading->chain.iov = loading->iov;
	loading->chain.capacity = LOADING_IOVS;
	loading->result = virtqueue_load_chain(queue->virtqueue, entry, &loading->chain);
	if (unlikely(loading->result))
		return;
	__builtin_prefetch(loading->iov[0].iov_base);
	__builtin_prefetch(&queue->slots.table[entry->id], 1);
}

/* 0, -EBADMSG where the answer is an error whatever was asked, -EPROTO where none can be given. */
static int parse(struct blk_queue *queue, const struct virtqueue_entry *entry,
	struct loading *loading, struct blk_request *ret_request)
{
	struct virtqueue_chain *chain = &loading->chain;
	int result = loading->result;

	if (unlikely(result == -E2BIG)) {
		chain->iov = queue->slots.scratch;
		chain->capacity = queue->slots.scratch_iovs;
		result = virtqueue_load_chain(queue->virtqueue, entry, chain);
	}
	if (likely(!result))
		return blk_request_parse(chain, ret_request);
	return result == -E2BIG ? parse_oversized(chain, ret_request) : -EPROTO;
}

static void take(
	struct blk_queue *queue, const struct virtqueue_entry *entry, struct loading *loading)
{
	struct blk_slot *slot = &queue->slots.table[entry->id];
	struct blk_request parsed;
	uint8_t status;
	int result;

	if (unlikely(slot->busy)) {
		fail(queue, "a descriptor chain was made available twice");
		return;
	}
	result = parse(queue, entry, loading, &parsed);
	if (unlikely(result == -EPROTO)) {
		fail(queue, "a descriptor chain is malformed");
		return;
	}
	slot->busy = true;
	queue->slots.busy++;
	slot->entry = *entry;
	slot->status = parsed.status;
	slot->written = parsed.written;
	status = result ? VIRTIO_BLK_S_IOERR : blk_request_check(&parsed, &queue->limits);
	if (likely(status == VIRTIO_BLK_S_OK)) {
		start_checked(queue, slot, &parsed);
	} else {
		count(queue, BLK_STAT_OTHERS, 1);
		answer(queue, slot, status);
	}
}

/* A driver with one request at a time uses the same memory again: all lines are asked for at once.
 */
static void prefetch_lone(const struct blk_queue *queue)
{
	virtqueue_prefetch(queue->virtqueue, queue->last_head);
	__builtin_prefetch(queue->last_header);
	__builtin_prefetch(queue->last_status, 1);
}

static void note_lone(
	struct blk_queue *queue, const struct virtqueue_entry *entry, const struct loading *loading)
{
	const struct virtqueue_chain *chain = &loading->chain;

	queue->last_head = entry->head;
	queue->last_header = loading->iov[0].iov_base;
	queue->last_status = loading->iov[chain->readable + chain->writable - 1].iov_base;
}

static void take_batch(struct blk_queue *queue, unsigned max)
{
	struct virtqueue_entry entries[BLK_BATCH];
	struct loading loadings[BLK_BATCH];
	int taken;

	prefetch_lone(queue);
	taken = virtqueue_pop_batch(queue->virtqueue, entries, min_of(max, BLK_BATCH));
	if (unlikely(taken < 0)) {
		fail(queue, "the ring is malformed");
		return;
	}
	io_source_count_work(&queue->source, (unsigned)taken);
	queue->limits.capacity = disk_size(queue->channel.disk) / DISK_SECTOR;
	queue->durable = atomic_load_explicit(queue->setup.writethrough, memory_order_relaxed);
	queue->channel.lone = taken == 1 && !queue->source.in_flight;
	for (int i = 0; i < taken; i++)
		load(queue, &entries[i], &loadings[i]);
	if (queue->channel.lone && !loadings[0].result)
		note_lone(queue, &entries[0], &loadings[0]);
	for (int i = 0; i < taken && likely(!queue->broken); i++)
		take(queue, &entries[i], &loadings[i]);
	submit_held(queue);
	queue->channel.lone = false;
	count(queue, BLK_STAT_BATCHES, taken > 0);
}

static void retry_backlog(struct blk_queue *queue)
{
	unsigned tries = queue->backlog_count;

	queue->backlog_ready = false;
	while (tries--) {
		count(queue, BLK_STAT_RESUBMITS, 1);
		submit(queue, pop_backlog(queue));
	}
	/* What is left waits for the bounce buffer, unless the SQ is the reason. */
	queue->backlog_ready = queue->backlog_count && !io_source_space(&queue->source);
}

/* ---- what the worker calls ---- */

/*
 * A queue that could not take what the ring holds, for want of SQEs, is blocked. With requests of
 * its own in flight it is left alone: the completion of one looks at it again. Without any, nobody
 * would, so it counts as having work until there is room.
 */
static bool may_take(const struct blk_queue *queue)
{
	return likely(!queue->blocked) || !queue->source.in_flight ||
	       io_source_space(&queue->source);
}

static bool has_new_work(const struct blk_queue *queue)
{
	return likely(!queue->broken && !queue->source.stopping) &&
	       virtqueue_has_work(queue->virtqueue) && may_take(queue);
}

static bool blk_poll(struct io_source *source)
{
	struct blk_queue *queue = queue_of(source);

	return has_new_work(queue) || unlikely(queue->backlog_ready);
}

static void blk_process(struct io_source *source)
{
	struct blk_queue *queue = queue_of(source);
	unsigned space;

	if (unlikely(queue->backlog_ready))
		retry_backlog(queue);
	if (unlikely(queue->broken || source->stopping))
		return;
	space = io_source_space(source);
	queue->blocked = !space && virtqueue_has_work(queue->virtqueue);
	if (likely(space))
		take_batch(queue, space);
}

static void blk_complete(struct io_source *source, uint32_t tag, int32_t result, uint32_t flags)
{
	struct blk_queue *queue = queue_of(source);
	struct blk_slot *slot = &queue->slots.table[tag];
	enum disk_progress state;

	(void)flags;
	state = queue->channel.ops->complete(&queue->channel, &slot->request, result);
	if (unlikely(state == DISK_STARTED))
		count(queue, BLK_STAT_RESUBMITS, 1);
	progress(queue, slot, state);
	queue->backlog_ready = queue->backlog_count;
}

static unsigned blk_flush(struct io_source *source)
{
	struct blk_queue *queue = queue_of(source);

	if (!virtqueue_publish(queue->virtqueue) || !virtqueue_need_interrupt(queue->virtqueue))
		return 0;
	fd_signal(queue->call_fd);
	return 1;
}

static bool blk_arm(struct io_source *source)
{
	struct blk_queue *queue = queue_of(source);

	if (queue->broken || source->stopping)
		return queue->backlog_ready;
	if (queue->blocked && source->in_flight)
		return false; /* a completion makes room, and wakes the worker */
	return virtqueue_rearm(queue->virtqueue) || queue->backlog_ready;
}

static void blk_disarm(struct io_source *source)
{
	struct blk_queue *queue = queue_of(source);

	if (!queue->broken)
		virtqueue_disarm(queue->virtqueue);
}

static bool blk_drained(struct io_source *source)
{
	return !queue_of(source)->slots.busy;
}

const struct io_source_ops blk_queue_source_ops = {
	.poll = blk_poll,
	.process = blk_process,
	.complete = blk_complete,
	.flush = blk_flush,
	.arm = blk_arm,
	.disarm = blk_disarm,
	.drained = blk_drained,
};

/* ---- without a worker ---- */

bool blk_queue_turn_sync(struct blk_queue *queue)
{
	if (queue->broken || !virtqueue_has_work(queue->virtqueue))
		return false;
	take_batch(queue, BLK_BATCH);
	virtqueue_publish(queue->virtqueue);
	return true;
}
