/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of a source's own in its worker's ring that completes once, and may be cancelled
 * before: a poll, a timeout. It and its cancellation have a CQE each, in either order; only its own
 * ends it. All functions belong to the source's worker.
 */
#pragma once

#include "io/worker.h"

#include <stdbool.h>
#include <stdint.h>

/* Embedded; zeroed before its source is attached. */
struct one_shot {
	bool armed; /* it is in the ring */
	bool cancel_sent;
	uint64_t user_data; /* of its SQE */
};

/* An SQE with @tag, to be filled in: it is in the ring from now on. NULL where there is none now.
 */
struct io_uring_sqe *one_shot_arm(
	struct one_shot *one_shot, struct io_source *source, uint32_t tag);

/* True where it is in the ring and nobody has cancelled it yet. */
static inline bool one_shot_must_be_cancelled(const struct one_shot *one_shot)
{
	return one_shot->armed && !one_shot->cancel_sent;
}

/*
 * Takes it out of the ring, where it is in it, by an SQE with @tag; without an SQE this is to be
 * asked again in the next turn.
 */
void one_shot_cancel(struct one_shot *one_shot, struct io_source *source, uint32_t tag);
