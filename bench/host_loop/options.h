/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of host_loop: FILE or tap:NAME, then words NAME=VALUE spelt as the bare guest
 * spells them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DEPTH_MAX 4096
#define RATE_MAX  10000000

struct options {
	const char *path; /* NULL: frames */
	const char *tap;  /* to write frames to; NULL: a file */
	const char *to;   /* the tap that gets them; NULL: nobody reads them */
	bool write, random;
	bool direct;        /* O_DIRECT; else through the page cache */
	bool fixed_buffers; /* READ_FIXED, WRITE_FIXED */
	uint32_t block;     /* bytes of a request, a multiple of 512 */
	uint32_t depth;     /* requests in flight, frames of a batch */
	uint64_t rate;      /* requests a second; 0: as many as go */
	uint32_t frame;     /* bytes of a frame, or of a segment */
	uint32_t gso;       /* bytes of a frame that is to be cut up; 0: none is */
	uint64_t size;      /* bytes of the file that are used; 0: all */
	uint64_t seed;
	uint64_t time_ns, warmup_ns;
};

/*
 * Parses @argv. Returns 0, or -EINVAL after one line on standard error that names the word. Paths
 * and names point into @argv.
 */
int options_parse(int argc, char **argv, struct options *ret_options);

/* The name of the access pattern, as rw= takes it. */
const char *options_rw(const struct options *options);
