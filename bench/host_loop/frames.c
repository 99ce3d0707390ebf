/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn writes one batch of frames and then reads batches until one comes back short. Nothing
 * waits: a tap that is full or empty says so, and the next turn tries again, since this loop has
 * the CPU for itself. All frames of a batch are of one flow and never change: they are made once.
 */
#include "frames.h"

#include "../guest/net_frame.h"
#include "measure.h"
#include "net/tap.h"
#include "net/virtio_net_abi.h"
#include "util/checked.h"
#include "util/error.h"

#include <errno.h>
#include <liburing.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

struct frames {
	const struct options *options;
	struct tap taps[2];
	unsigned tap_count;
	struct io_uring ring;
	bool ring_made;
	uint8_t *sent, *received; /* options->depth frames each */
	uint32_t length;          /* of a frame, virtio header included */
	size_t stride;            /* from one to the next */
	struct measure measure;
	struct frames_result *result;
};

static int open_tap(struct frames *frames, const char *name, uint32_t offloads)
{
	struct tap *tap = &frames->taps[frames->tap_count];
	struct error error = ERROR_INIT;
	int result;

	if (!if_nametoindex(name))
		return measure_fail("cannot find tap", name, -errno);
	result = tap_open(tap, name, 1, &error);
	if (result) {
		fprintf(stderr, "host_loop: %s\n", error.text);
		return result;
	}
	frames->tap_count++;
	result = tap_set_offloads(tap, offloads);
	if (!result)
		result = tap_queue_enable(tap, 0, true);
	return result ? measure_fail("cannot set up tap", name, result) : 0;
}

static int open_taps(struct frames *frames)
{
	const struct options *options = frames->options;
	uint32_t offloads = options->gso ? NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 : 0;
	int result = open_tap(frames, options->tap, 0), fds[2];

	if (!result && options->to)
		result = open_tap(frames, options->to, offloads);
	for (unsigned i = 0; i < frames->tap_count; i++)
		fds[i] = frames->taps[i].queues[0].fd;
	if (!result)
		result = measure_ring(&frames->ring, options->depth, fds, frames->tap_count);
	frames->ring_made = !result;
	return result;
}

/* As the bare guest's: UDP, or with gso TCP to be cut into pieces by whoever needs that. */
static void build(const struct frames *frames, uint8_t *at)
{
	const struct options *options = frames->options;
	struct frame_flow flow = {
		.kind = options->gso ? FRAME_TCP_GSO : FRAME_UDP,
		.source = {2, 0, 0, 0, 0, 1},
		.destination = {2, 0, 0, 0, 0, 2},
		.source_ip = 0x0a000001,
		.destination_ip = 0x0a000002,
		.length = frames->length - NET_HEADER_BYTES,
		.slice = options->frame - FRAME_TCP_PAYLOAD,
		.partial_checksum = options->gso,
	};
	struct virtio_net_hdr_v1 header = {.flags = 0};

	if (options->gso)
		header = (struct virtio_net_hdr_v1){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.hdr_len = FRAME_TCP_PAYLOAD,
			.gso_size = (uint16_t)flow.slice,
			.csum_start = FRAME_L4,
			.csum_offset = 16,
		};
	memcpy(at, &header, sizeof(header));
	frame_build(&flow, at + NET_HEADER_BYTES);
	frame_next(&flow, at + NET_HEADER_BYTES, 0);
}

static int make_buffers(struct frames *frames)
{
	const struct options *options = frames->options;

	frames->length = NET_HEADER_BYTES + (options->gso ? options->gso : options->frame);
	frames->stride = align_up(frames->length, CACHE_LINE);
	frames->sent = aligned_alloc(CACHE_LINE, frames->stride * options->depth);
	frames->received = aligned_alloc(CACHE_LINE, frames->stride * options->depth);
	if (!frames->sent || !frames->received)
		return -ENOMEM;
	for (uint32_t i = 0; i < options->depth; i++)
		build(frames, frames->sent + frames->stride * i);
	memset(frames->received, 0, frames->stride * options->depth);
	return 0;
}

/* One batch through tap @tap. Returns how many frames of ours went through, or negative errno. */
static int batch(struct frames *frames, int tap)
{
	const struct options *options = frames->options;
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	int through = 0, result;

	for (uint32_t i = 0; i < options->depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&frames->ring);

		if (tap)
			io_uring_prep_read(
				sqe, tap, frames->received + frames->stride * i, frames->length, 0);
		else
			io_uring_prep_write(
				sqe, tap, frames->sent + frames->stride * i, frames->length, 0);
		sqe->rw_flags = RWF_NOWAIT;
		sqe->flags |= IOSQE_FIXED_FILE;
	}
	result = io_uring_submit_and_wait(&frames->ring, options->depth);
	if (result < 0)
		return measure_fail("cannot submit to", options->tap, result);
	frames->measure.enters++;
	io_uring_for_each_cqe(&frames->ring, head, cqe)
	{
		seen++;
		through += cqe->res == (int)frames->length;
		if (cqe->res < 0 && cqe->res != -EAGAIN)
			result = cqe->res;
	}
	io_uring_cq_advance(&frames->ring, seen);
	return result < 0 ? measure_fail("a frame failed on", options->tap, result) : through;
}

/* Returns how many frames arrived, or negative errno. */
static int receive(struct frames *frames)
{
	int total = 0, count;

	do {
		count = batch(frames, 1);
		if (count < 0)
			return count;
		total += count;
	} while (count == (int)frames->options->depth);
	return total;
}

static int run(struct frames *frames)
{
	struct frames_result *result = frames->result;

	measure_start(&frames->measure, frames->options);
	while (measure_tick(&frames->measure) != MEASURE_OVER) {
		int count = batch(frames, 0);

		if (count >= 0 && frames->options->to)
			count = receive(frames);
		if (count < 0)
			return count;
		result->total += (unsigned)count;
		if (frames->measure.state == MEASURE_ON)
			result->frames += (unsigned)count;
	}
	result->bytes = result->frames * (frames->length - NET_HEADER_BYTES);
	result->measured_ns = frames->measure.measured_ns;
	result->cpu_ns = frames->measure.cpu_ns;
	result->enters = frames->measure.enters_measured;
	return 0;
}

int frames_run(const struct options *options, struct frames_result *ret_result)
{
	struct frames frames = {.options = options, .result = ret_result};
	int result;

	*ret_result = (struct frames_result){.frames = 0};
	result = open_taps(&frames);
	if (!result)
		result = make_buffers(&frames);
	if (!result)
		result = run(&frames);
	if (frames.ring_made) {
		/* The ring itself goes some time after the process, and would keep the taps busy.
		 */
		io_uring_unregister_files(&frames.ring);
		io_uring_queue_exit(&frames.ring);
	}
	for (unsigned i = 0; i < frames.tap_count; i++)
		tap_deinit(&frames.taps[i]);
	free(frames.sent);
	free(frames.received);
	return result;
}
