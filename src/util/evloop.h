/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's event loop: file descriptors with handlers on one epoll. Every function is
 * called by the thread that runs the loop; evloop_stop() by a handler of it.
 */
#pragma once

#include <stdint.h>

struct evloop;

/* Called with the epoll events that are pending (EPOLLIN, EPOLLHUP, ...). */
typedef void (*evloop_handler)(void *context, uint32_t events);

/* Returns 0 or negative errno. The caller destroys the loop. */
int evloop_create(struct evloop **ret_loop);

/* Accepts NULL. Watched descriptors stay open: they belong to whoever added them. */
void evloop_destroy(struct evloop *loop);

/*
 * Watches @fd for @events (EPOLLIN, ...), level-triggered. @context must live until
 * evloop_remove(). Returns 0, -EEXIST for a watched fd, -EPERM for a regular file, or -ENOMEM.
 */
int evloop_add(struct evloop *loop, int fd, uint32_t events, evloop_handler handler, void *context);

/* Stops watching @fd, at once: its handler is not called again. Unknown fds are ignored. */
void evloop_remove(struct evloop *loop, int fd);

/* Runs handlers until evloop_stop(). Returns the value given there, or negative errno. */
int evloop_run(struct evloop *loop);

/* Makes evloop_run() return @result (>= 0) once the running handler returns. */
void evloop_stop(struct evloop *loop, int result);
