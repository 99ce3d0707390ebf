/* SPDX-License-Identifier: Apache-2.0 */
#include "util/evloop.h"
#include "util/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

struct fixture {
	struct evloop *loop;
	int fd, other;
	int calls;
};

static void setup(struct fixture *fixture)
{
	*fixture = (struct fixture){.fd = fd_eventfd(), .other = fd_eventfd()};
	cr_assert_eq(evloop_create(&fixture->loop), 0);
}

static void teardown(struct fixture *fixture)
{
	evloop_destroy(fixture->loop);
	close(fixture->fd);
	close(fixture->other);
}

static void stop_on_third_call(void *context, uint32_t events)
{
	struct fixture *fixture = context;

	cr_assert(events & EPOLLIN);
	if (++fixture->calls == 3)
		evloop_stop(fixture->loop, 42);
}

Test(evloop, runs_handlers_level_triggered_until_stopped)
{
	struct fixture fixture;

	setup(&fixture);
	fd_signal(fixture.fd);
	cr_assert_eq(
		evloop_add(fixture.loop, fixture.fd, EPOLLIN, stop_on_third_call, &fixture), 0);
	cr_assert_eq(evloop_run(fixture.loop), 42);
	cr_assert_eq(fixture.calls, 3);
	teardown(&fixture);
}

/* Both fds are ready in one round; whichever handler runs first removes both. */
static void remove_both_and_stop(void *context, uint32_t events)
{
	struct fixture *fixture = context;

	(void)events;
	fixture->calls++;
	evloop_remove(fixture->loop, fixture->fd);
	evloop_remove(fixture->loop, fixture->other);
	cr_assert_eq(evloop_add(fixture->loop, fixture->fd, EPOLLIN, stop_on_third_call, fixture),
		0, "an fd that was removed can be added again in the same round");
}

Test(evloop, a_removed_watch_is_not_called_again_in_the_same_round)
{
	struct fixture fixture;

	setup(&fixture);
	fd_signal(fixture.fd);
	fd_signal(fixture.other);
	evloop_add(fixture.loop, fixture.fd, EPOLLIN, remove_both_and_stop, &fixture);
	evloop_add(fixture.loop, fixture.other, EPOLLIN, remove_both_and_stop, &fixture);
	cr_assert_eq(evloop_run(fixture.loop), 42);
	cr_assert_eq(fixture.calls, 3, "one removal, then two calls of the new watch");
	teardown(&fixture);
}

Test(evloop, refuses_the_same_fd_twice_and_regular_files)
{
	FILE *file = tmpfile();
	struct fixture fixture;

	setup(&fixture);
	cr_assert_eq(evloop_add(fixture.loop, fixture.fd, EPOLLIN, stop_on_third_call, NULL), 0);
	cr_assert_eq(
		evloop_add(fixture.loop, fixture.fd, EPOLLIN, stop_on_third_call, NULL), -EEXIST);
	cr_assert_eq(
		evloop_add(fixture.loop, fileno(file), EPOLLIN, stop_on_third_call, NULL), -EPERM);
	evloop_remove(fixture.loop, -1);
	fclose(file);
	teardown(&fixture);
}
