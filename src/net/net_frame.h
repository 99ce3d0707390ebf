/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames lie in guest memory as lists of segments, cut wherever the guest likes. These functions
 * read and write a few bytes of such a list. Pure; any thread.
 */
#pragma once

#include "util/checked.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

enum iov_direction {
	IOV_READ,  /* from the segments into the buffer */
	IOV_WRITE, /* the opposite */
};

/*
 * Copies up to @length bytes between @buffer and the bytes from @offset on of @count segments.
 * Returns how many there were.
 */
static inline size_t iov_copy(enum iov_direction direction, const struct iovec *iov, size_t count,
	size_t offset, void *buffer, size_t length)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < length; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = min_of(iov[i].iov_len - offset, length - done);
		if (direction == IOV_READ)
			memcpy((char *)buffer + done, (char *)iov[i].iov_base + offset, part);
		else
			memcpy((char *)iov[i].iov_base + offset, (char *)buffer + done, part);
		done += part;
		offset = 0;
	}
	return done;
}
