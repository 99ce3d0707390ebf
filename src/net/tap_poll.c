/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tap_poll.h"

bool tap_poll_arm(struct tap_poll *poll, struct io_source *source, int fd, unsigned events)
{
	struct io_uring_sqe *sqe;

	if (poll->shot.armed)
		return true;
	sqe = one_shot_arm(&poll->shot, source, TAP_POLL_TAG);
	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, fd, events);
	return true;
}

void tap_poll_cancel(struct tap_poll *poll, struct io_source *source)
{
	one_shot_cancel(&poll->shot, source, TAP_POLL_CANCEL_TAG);
}

bool tap_poll_completed(struct tap_poll *poll, uint32_t tag)
{
	if (tag == TAP_POLL_CANCEL_TAG)
		return false; /* whether or not it came in time: the poll has a CQE of its own */
	poll->shot.armed = false;
	return true;
}
