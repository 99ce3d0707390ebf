/* SPDX-License-Identifier: Apache-2.0 */
/* Takes values off a fuzzer's input; past its end everything is 0. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct fuzz_input {
	const uint8_t *data;
	size_t size;
	size_t at;
};

static inline uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++) {
		if (input->at < input->size)
			value |= (uint64_t)input->data[input->at++] << 8 * i;
	}
	return value;
}

static inline int fuzz_more(const struct fuzz_input *input)
{
	return input->at < input->size;
}

/* An invariant that no input may break. */
#define fuzz_require(condition)                                                                    \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
