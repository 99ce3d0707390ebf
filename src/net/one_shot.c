/* SPDX-License-Identifier: Apache-2.0 */
#include "net/one_shot.h"

struct io_uring_sqe *one_shot_arm(struct one_shot *one_shot, struct io_source *source, uint32_t tag)
{
	struct io_uring_sqe *sqe = io_source_sqe(source, tag);

	if (sqe)
		*one_shot = (struct one_shot){.armed = true, .user_data = sqe->user_data};
	return sqe;
}

void one_shot_cancel(struct one_shot *one_shot, struct io_source *source, uint32_t tag)
{
	struct io_uring_sqe *sqe;

	if (!one_shot_must_be_cancelled(one_shot))
		return;
	sqe = io_source_sqe(source, tag);
	if (!sqe)
		return;
	ring_prepare_cancel(sqe, one_shot->user_data);
	one_shot->cancel_sent = true;
}
