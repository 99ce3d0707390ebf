/* SPDX-License-Identifier: Apache-2.0 */
/* A signalfd on the event loop: handlers run as ordinary code, not in signal context. */
#include "machine/signals.h"

#include "util/checked.h"
#include "util/evloop.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

struct signals {
	struct evloop *loop;
	signals_handler handler;
	void *context;
	int fd;
	sigset_t before;
};

bool signals_ends(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
		if (ending[i] == number)
			return true;
	}
	return false;
}

/* A launcher that ignores SIGHUP, or SIGINT of a background job, is obeyed. */
static bool is_ignored(int number)
{
	struct sigaction now;

	return !sigaction(number, NULL, &now) && now.sa_handler == SIG_IGN;
}

static void deliver(void *context, uint32_t events)
{
	struct signals *signals = context;
	struct signalfd_siginfo info;

	(void)events;
	if (read(signals->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signals->handler(signals->context, (int)info.ssi_signo);
}

int signals_create(
	struct evloop *loop, signals_handler handler, void *context, struct signals **ret_signals)
{
	struct signals *signals = calloc(1, sizeof(*signals));
	sigset_t set;
	int result;

	if (!signals)
		return -ENOMEM;
	*signals = (struct signals){.loop = loop, .handler = handler, .context = context};
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
		if (!is_ignored(ending[i]))
			sigaddset(&set, ending[i]);
	}
	pthread_sigmask(SIG_BLOCK, &set, &signals->before);
	signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	result =
		signals->fd < 0 ? -errno : evloop_add(loop, signals->fd, EPOLLIN, deliver, signals);
	if (result) {
		signals_destroy(signals);
		return result;
	}
	*ret_signals = signals;
	return 0;
}

void signals_destroy(struct signals *signals)
{
	if (!signals)
		return;
	if (signals->fd >= 0) {
		evloop_remove(signals->loop, signals->fd);
		close(signals->fd);
	}
	pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
	free(signals);
}
