/* SPDX-License-Identifier: Apache-2.0 */
/* Thin wrappers: each turns errno into a return value and retries what a signal interrupted. */
#include "util/fd.h"

#include "util/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

int fd_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void fd_signal(int eventfd)
{
	uint64_t one = 1;

	/* EAGAIN means that the counter is full: the reader is signalled already. */
	if (write(eventfd, &one, sizeof(one)) < 0)
		return;
}

bool fd_drain(int eventfd)
{
	uint64_t count;

	return read(eventfd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

bool fd_is_signalled(int eventfd)
{
	struct pollfd pollfd = {.fd = eventfd, .events = POLLIN};

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLIN);
}

int fd_signal_count(int eventfd, uint64_t *ret_count)
{
	auto_file FILE *file = NULL;
	char path[64], line[128];
	unsigned long long count;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", eventfd);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "eventfd-count: %llx", &count) == 1) {
			*ret_count = count;
			return 0;
		}
	}
	return -EINVAL;
}

int fd_pread_full(int fd, void *buffer, size_t length, off_t offset)
{
	char *at = buffer;

	while (length) {
		ssize_t done = pread(fd, at, length, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -ENODATA;
		at += done;
		offset += done;
		length -= (size_t)done;
	}
	return 0;
}

int fd_pwrite_full(int fd, const void *buffer, size_t length, off_t offset)
{
	const char *at = buffer;

	while (length) {
		ssize_t done = pwrite(fd, at, length, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		offset += done;
		length -= (size_t)done;
	}
	return 0;
}

int fd_write_full(int fd, const void *buffer, size_t length)
{
	const char *at = buffer;

	while (length) {
		ssize_t done = write(fd, at, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		length -= (size_t)done;
	}
	return 0;
}
