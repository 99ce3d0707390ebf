/* SPDX-License-Identifier: Apache-2.0 */
/* A table of names and functions, so that a word that is not in it is refused and never ignored. */
#include "options.h"

#include "util/checked.h"
#include "util/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	bool write, random;
} patterns[] = {
	{"read", false, false},
	{"write", true, false},
	{"randread", false, true},
	{"randwrite", true, true},
};

static int apply_rw(struct options *options, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (strcmp(value, patterns[i].name))
			continue;
		options->write = patterns[i].write;
		options->random = patterns[i].random;
		return 0;
	}
	return -EINVAL;
}

static int apply_bs(struct options *options, const char *value)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) || bytes < 512 || bytes > 16u << 20 || bytes % 512)
		return -EINVAL;
	options->block = (uint32_t)bytes;
	return 0;
}

static int apply_qd(struct options *options, const char *value)
{
	uint64_t number;

	if (parse_number(value, 1, DEPTH_MAX, &number))
		return -EINVAL;
	options->depth = (uint32_t)number;
	return 0;
}

static int apply_rate(struct options *options, const char *value)
{
	return parse_number(value, 1, RATE_MAX, &options->rate);
}

static int apply_size(struct options *options, const char *value)
{
	return parse_size(value, &options->size);
}

static int apply_seed(struct options *options, const char *value)
{
	return parse_number(value, 0, UINT64_MAX, &options->seed);
}

/* Seconds, with or without a fraction. */
static int parse_seconds(const char *value, uint64_t *ret_ns)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !(seconds >= 0 && seconds <= 86400))
		return -EINVAL;
	*ret_ns = (uint64_t)(seconds * 1e9);
	return 0;
}

static int apply_time(struct options *options, const char *value)
{
	return parse_seconds(value, &options->time_ns) || !options->time_ns ? -EINVAL : 0;
}

static int apply_warmup(struct options *options, const char *value)
{
	return parse_seconds(value, &options->warmup_ns);
}

static int apply_direct(struct options *options, const char *value)
{
	return parse_bool(value, &options->direct);
}

static int apply_fixed_buffers(struct options *options, const char *value)
{
	return parse_bool(value, &options->fixed_buffers);
}

static int apply_to(struct options *options, const char *value)
{
	options->to = value;
	return *value ? 0 : -EINVAL;
}

static int apply_frame(struct options *options, const char *value)
{
	uint64_t bytes;

	if (parse_number(value, 64, 9014, &bytes))
		return -EINVAL;
	options->frame = (uint32_t)bytes;
	return 0;
}

static int apply_gso(struct options *options, const char *value)
{
	uint64_t bytes;

	if (parse_number(value, 0, 65535, &bytes) || (bytes && bytes < 9014))
		return -EINVAL;
	options->gso = (uint32_t)bytes;
	return 0;
}

static const struct {
	const char *name, *help;
	int (*apply)(struct options *, const char *);
} words[] = {
	{"rw", "read, write, randread (default) or randwrite", apply_rw},
	{"bs", "bytes of a request, 512 to 16M (default 4096)", apply_bs},
	{"qd", "requests in flight, 1 to 4096 (default 32)", apply_qd},
	{"rate", "requests a second, 1 to 10000000 (default: as many as go)", apply_rate},
	{"size", "bytes of the file that are used (default: all)", apply_size},
	{"seed", "of the random places (default 1)", apply_seed},
	{"time", "seconds that are measured (default 5)", apply_time},
	{"warmup", "seconds before them (default 0.5)", apply_warmup},
	{"direct", "1: O_DIRECT; 0 (default): page cache", apply_direct},
	{"to", "with tap:NAME: the tap that the frames arrive at (default: nobody reads them)",
		apply_to},
	{"frame", "bytes of a frame or TCP segment, 64 to 9014 (default 64; with gso= 1514)",
		apply_frame},
	{"gso", "bytes of a TCP frame that is to be cut up, 9014 to 65535; 0 (default): none",
		apply_gso},
	{"fixed-buffers", "1 (default): registered buffers; 0: plain", apply_fixed_buffers},
};

static void print_usage(FILE *file)
{
	fputs("usage: host_loop FILE|tap:NAME [NAME=VALUE...]\n"
	      "The host's own limit, as one line of JSON: one thread, one io_uring, a fixed file.\n"
	      "FILE is read or written; tap:NAME gets frames.\n",
		file);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		fprintf(file, "  %-14s %s\n", words[i].name, words[i].help);
}

static int apply_word(struct options *options, const char *word)
{
	const char *equals = strchr(word, '=');

	for (size_t i = 0; equals && i < ARRAY_SIZE(words); i++) {
		size_t length = strlen(words[i].name);

		if (length != (size_t)(equals - word) || memcmp(word, words[i].name, length))
			continue;
		if (words[i].apply(options, equals + 1) == 0)
			return 0;
		fprintf(stderr, "host_loop: %s: expected %s\n", word, words[i].help);
		return -EINVAL;
	}
	fprintf(stderr, "host_loop: unknown word %s; host_loop --help lists them\n", word);
	return -EINVAL;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	struct options options = {
		.random = true,
		.fixed_buffers = true,
		.block = 4096,
		.depth = 32,
		.seed = 1,
		.time_ns = 5000000000u,
		.warmup_ns = 500000000u,
	};

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		print_usage(stdout);
		exit(0);
	}
	if (argc < 2) {
		print_usage(stderr);
		return -EINVAL;
	}
	if (!strncmp(argv[1], "tap:", 4))
		options.tap = argv[1] + 4;
	else
		options.path = argv[1];
	for (int i = 2; i < argc; i++) {
		int result = apply_word(&options, argv[i]);

		if (result)
			return result;
	}
	if (options.tap && options.rate) {
		fputs("host_loop: rate= is for files, not for taps\n", stderr);
		return -EINVAL;
	}
	if (!options.frame)
		options.frame = options.gso ? 1514 : 64;
	*ret_options = options;
	return 0;
}

const char *options_rw(const struct options *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (patterns[i].write == options->write && patterns[i].random == options->random)
			return patterns[i].name;
	}
	return "?";
}
