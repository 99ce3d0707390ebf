/* SPDX-License-Identifier: Apache-2.0 */
/* Eventfds, and reads and writes that finish what they start. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes a non-blocking, close-on-exec eventfd with count 0. Returns the fd or negative errno. */
int fd_eventfd(void);

/* Adds one to an eventfd. Cannot fail on a valid eventfd short of 2^64-2 unread signals. */
void fd_signal(int eventfd);

/* Takes all signals of an eventfd; true where there was at least one. Never blocks. */
bool fd_drain(int eventfd);

/* True where the eventfd holds at least one signal; takes none. */
bool fd_is_signalled(int eventfd);

/*
 * How many signals the eventfd holds, without taking any: 0 or negative errno. Reads procfs: for
 * reports, not for fast paths.
 */
int fd_signal_count(int eventfd, uint64_t *ret_count);

/* Reads exactly @length bytes at @offset. 0, -ENODATA at end of file, or negative errno. */
int fd_pread_full(int fd, void *buffer, size_t length, off_t offset);

/* Writes exactly @length bytes at @offset. 0 or negative errno. */
int fd_pwrite_full(int fd, const void *buffer, size_t length, off_t offset);

/* Writes exactly @length bytes to a stream, retrying on EINTR. 0 or negative errno. */
int fd_write_full(int fd, const void *buffer, size_t length);
