/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A one-shot poll of a tap in a worker's ring: what a queue sleeps on while the tap has nothing to
 * read, or no room. All functions belong to the source's worker.
 */
#pragma once

#include "net/one_shot.h"

#include <stdbool.h>
#include <stdint.h>

/* Tags of the SQEs; a source that uses this passes their completions to tap_poll_completed(). */
enum {
	TAP_POLL_TAG,
	TAP_POLL_CANCEL_TAG,
	TAP_POLL_TAGS, /* a source's own begin here */
};

/* Embedded; zeroed before its source is attached. */
struct tap_poll {
	struct one_shot shot; /* a POLL_ADD on the tap */
};

/* Polls @fd once for @events (POLLIN, ...). False where there is no SQE now. */
bool tap_poll_arm(struct tap_poll *poll, struct io_source *source, int fd, unsigned events);

/* Takes an armed poll out of the ring; without an SQE it is to be asked again in the next turn. */
void tap_poll_cancel(struct tap_poll *poll, struct io_source *source);

/* True where a poll is armed that nobody has cancelled yet. */
static inline bool tap_poll_must_be_cancelled(const struct tap_poll *poll)
{
	return one_shot_must_be_cancelled(&poll->shot);
}

/* True where the completion with @tag ends the poll, false where it is the cancellation's own. */
bool tap_poll_completed(struct tap_poll *poll, uint32_t tag);
