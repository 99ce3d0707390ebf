/* SPDX-License-Identifier: Apache-2.0 */
/* The poll and its cancellation have a CQE each, in either order; only the poll's own ends it. */
#include "net/tap_poll.h"

bool tap_poll_arm(struct tap_poll *poll, struct io_source *source, int fd, unsigned events)
{
	struct io_uring_sqe *sqe;

	if (poll->armed)
		return true;
	sqe = io_source_sqe(source, TAP_POLL_TAG);
	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, fd, events);
	poll->user_data = sqe->user_data;
	poll->armed = true;
	return true;
}

void tap_poll_cancel(struct tap_poll *poll, struct io_source *source)
{
	struct io_uring_sqe *sqe;

	if (!tap_poll_must_be_cancelled(poll))
		return;
	sqe = io_source_sqe(source, TAP_POLL_CANCEL_TAG);
	if (!sqe)
		return;
	ring_prepare_cancel(sqe, poll->user_data);
	poll->cancel_sent = true;
}

bool tap_poll_completed(struct tap_poll *poll, uint32_t tag)
{
	if (tag == TAP_POLL_CANCEL_TAG)
		return false; /* whether or not it came in time: the poll has a CQE of its own */
	poll->armed = false;
	return true;
}
