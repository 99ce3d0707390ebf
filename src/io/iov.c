/* SPDX-License-Identifier: Apache-2.0 */
/* Straight loops over the elements; zero-length elements are allowed anywhere. */
#include "io/iov.h"

#include "util/checked.h"

#include <string.h>

size_t iov_bytes(const struct iovec *iov, unsigned count)
{
	size_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += iov[i].iov_len;
	return sum;
}

void iov_consume(struct iovec **iov, unsigned *count, size_t bytes)
{
	while (*count && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count && bytes) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
}

/* The element that the byte before @bytes is in, and how many bytes of it that makes. */
static unsigned element_at(
	const struct iovec *iov, unsigned count, size_t bytes, size_t *ret_length)
{
	unsigned i = 0;

	while (i < count && bytes > iov[i].iov_len)
		bytes -= iov[i++].iov_len;
	*ret_length = bytes;
	return i;
}

unsigned iov_cut(struct iovec *iov, unsigned count, size_t bytes)
{
	size_t length;
	unsigned i = element_at(iov, count, bytes, &length);

	if (i == count)
		return count;
	iov[i].iov_len = length;
	return i + 1;
}

void iov_uncut(struct iovec *iov, unsigned count, size_t bytes, size_t lost)
{
	size_t length;
	unsigned i = element_at(iov, count, bytes, &length);

	if (i < count)
		iov[i].iov_len += lost;
}

size_t iov_gather(void *buffer, size_t bytes, const struct iovec *iov, unsigned count)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < bytes; i++) {
		size_t part = min_of(iov[i].iov_len, bytes - done);

		memcpy((char *)buffer + done, iov[i].iov_base, part);
		done += part;
	}
	return done;
}

size_t iov_scatter(const struct iovec *iov, unsigned count, const void *buffer, size_t bytes)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < bytes; i++) {
		size_t part = min_of(iov[i].iov_len, bytes - done);

		memcpy(iov[i].iov_base, (const char *)buffer + done, part);
		done += part;
	}
	return done;
}

void iov_zero(const struct iovec *iov, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
}

void iov_append(struct iovec *iov, unsigned *count, const struct iovec *next)
{
	struct iovec *last = *count ? &iov[*count - 1] : NULL;

	if (last && (char *)last->iov_base + last->iov_len == next->iov_base)
		last->iov_len += next->iov_len;
	else
		iov[(*count)++] = *next;
}
