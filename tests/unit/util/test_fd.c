/* SPDX-License-Identifier: Apache-2.0 */
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

Test(fd, an_eventfd_keeps_signals_until_drained)
{
	int fd = fd_eventfd();
	uint64_t count = 77;

	cr_assert_geq(fd, 0);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_not(fd_drain(fd));
	cr_assert_not(fd_is_signalled(fd));
	fd_signal(fd);
	fd_signal(fd);
	cr_assert(fd_is_signalled(fd));
	cr_assert(fd_is_signalled(fd), "looking takes nothing");
	cr_assert_eq(fd_signal_count(fd, &count), 0);
	cr_assert_eq(count, 2);
	cr_assert(fd_drain(fd));
	cr_assert_not(fd_drain(fd), "one drain takes all");
	cr_assert_eq(fd_signal_count(fd, &count), 0);
	cr_assert_eq(count, 0);
	cr_assert_eq(fd_signal_count(STDIN_FILENO, &count), -EINVAL, "not an eventfd");
	close(fd);
}

Test(fd, full_reads_and_writes_at_an_offset)
{
	FILE *file = tmpfile();
	char buffer[8] = "";
	int fd = fileno(file);

	cr_assert_eq(fd_pwrite_full(fd, "abcdef", 6, 3), 0);
	cr_assert_eq(fd_pread_full(fd, buffer, 6, 3), 0);
	cr_assert_arr_eq(buffer, "abcdef", 6);
	cr_assert_eq(fd_pread_full(fd, buffer, 7, 3), -ENODATA);
	cr_assert_eq(fd_pread_full(-1, buffer, 1, 0), -EBADF);
	cr_assert_eq(fd_pwrite_full(-1, buffer, 1, 0), -EBADF);
	fclose(file);
}

Test(fd, a_stream_write_ends_with_the_reader)
{
	int pipe_fds[2];

	cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	cr_assert_eq(fd_write_full(pipe_fds[1], "x", 1), 0);
	close(pipe_fds[0]);
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(fd_write_full(pipe_fds[1], "x", 1), -EPIPE);
	close(pipe_fds[1]);
}
