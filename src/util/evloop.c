/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches sit in a list; a removed one is unlinked from epoll at once but freed only between
 * rounds, because the round under way may still hold an event that points to it.
 */
#include "util/evloop.h"

#include "util/checked.h"
#include "util/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>

struct watch {
	struct watch *next;
	evloop_handler handler;
	void *context;
	int fd; /* -1: removed, waits to be freed */
};

struct evloop {
	struct watch *watches;
	int epoll_fd;
	int result;
	bool stopped;
};

int evloop_create(struct evloop **ret_loop)
{
	struct evloop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int error = errno;

		free(loop);
		return -error;
	}
	*ret_loop = loop;
	return 0;
}

static void free_watches(struct evloop *loop, bool all)
{
	struct watch **link = &loop->watches;

	while (*link) {
		struct watch *watch = *link;

		if (all || watch->fd < 0) {
			*link = watch->next;
			free(watch);
		} else {
			link = &watch->next;
		}
	}
}

void evloop_destroy(struct evloop *loop)
{
	if (!loop)
		return;
	free_watches(loop, true);
	close(loop->epoll_fd);
	free(loop);
}

int evloop_add(struct evloop *loop, int fd, uint32_t events, evloop_handler handler, void *context)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (!watch)
		return -ENOMEM;
	*watch = (struct watch){
		.next = loop->watches, .handler = handler, .context = context, .fd = fd};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
		int error = errno;

		free(watch);
		return -error;
	}
	loop->watches = watch;
	return 0;
}

void evloop_remove(struct evloop *loop, int fd)
{
	if (fd < 0)
		return;
	for (struct watch *watch = loop->watches; watch; watch = watch->next) {
		if (watch->fd == fd) {
			epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
			watch->fd = -1;
			return;
		}
	}
}

int evloop_run(struct evloop *loop)
{
	struct epoll_event events[16];

	loop->stopped = false;
	while (!loop->stopped) {
		int count = epoll_wait(loop->epoll_fd, events, ARRAY_SIZE(events), -1);

		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count && !loop->stopped; i++) {
			struct watch *watch = events[i].data.ptr;

			if (watch->fd >= 0)
				watch->handler(watch->context, events[i].events);
		}
		free_watches(loop, false);
	}
	return loop->result;
}

void evloop_stop(struct evloop *loop, int result)
{
	loop->stopped = true;
	loop->result = result;
}
