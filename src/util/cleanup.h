/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup: a variable marked with one of these is released when its scope ends,
 * so that error paths need no hand-written unwinding. take_fd() and take_pointer() move the
 * value out when ownership passes on.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *variable)
{
	free(*(void **)variable);
}

static inline void cleanup_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_file(FILE *const *file)
{
	if (*file)
		fclose(*file);
}

/* Frees a heap pointer at the end of its scope. */
#define auto_free __attribute__((cleanup(cleanup_free)))
/* Closes a file descriptor at the end of its scope; -1 means "none". */
#define auto_fd __attribute__((cleanup(cleanup_fd)))
/* Closes a stdio stream at the end of its scope. */
#define auto_file __attribute__((cleanup(cleanup_file)))
/* Runs @destroy (taking a pointer to the variable) at the end of the scope. */
#define auto_call(destroy) __attribute__((cleanup(destroy)))

/* Returns *fd and leaves -1 behind: the caller now owns the descriptor. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Returns the pointer and leaves NULL behind: the caller now owns the object. */
#define take_pointer(variable)                                                                     \
	({                                                                                         \
		__typeof__(variable) taken_pointer_ = (variable);                                  \
		(variable) = NULL;                                                                 \
		taken_pointer_;                                                                    \
	})
