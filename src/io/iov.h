/* SPDX-License-Identifier: Apache-2.0 */
/* Moving bytes between a buffer and the front of an iovec array. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

/* The sum of all lengths. */
size_t iov_bytes(const struct iovec *iov, unsigned count);

/* Drops the first @bytes from the array, moving its start and trimming the element that is cut. */
void iov_consume(struct iovec **iov, unsigned *count, size_t bytes);

/*
 * Shortens the array's front to @bytes, which is at most what it holds: returns how many elements
 * that is, the last of which may have been cut. Doing it again changes nothing.
 */
unsigned iov_cut(struct iovec *iov, unsigned count, size_t bytes);

/* Undoes iov_cut() to @bytes: gives the element that it cut its last @lost bytes back. */
void iov_uncut(struct iovec *iov, unsigned count, size_t bytes, size_t lost);

/* Copies up to @bytes from the array's start into @buffer. Returns how many there were. */
size_t iov_gather(void *buffer, size_t bytes, const struct iovec *iov, unsigned count);

/* Copies up to @bytes of @buffer to the array's start. Returns how many fitted. */
size_t iov_scatter(const struct iovec *iov, unsigned count, const void *buffer, size_t bytes);

/* Fills the whole array with zeros. */
void iov_zero(const struct iovec *iov, unsigned count);

/* Adds @next to the end of @iov, which has room: to its last element where the bytes are adjacent.
 */
void iov_append(struct iovec *iov, unsigned *count, const struct iovec *next);
