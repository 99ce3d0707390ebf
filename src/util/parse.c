/* SPDX-License-Identifier: Apache-2.0 */
/* strtoull accepts signs and blanks in front; these parsers do not. */
#include "util/parse.h"

#include "util/checked.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int parse_digits(const char *text, char **ret_end, uint64_t *ret_number)
{
	unsigned long long number;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, ret_end, 10);
	if (errno == ERANGE)
		return -ERANGE;
	*ret_number = number;
	return 0;
}

static int suffix_shift(char **at)
{
	static const char letters[] = "KMGT";
	const char *found = **at ? strchr(letters, toupper((unsigned char)**at)) : NULL;

	if (!found)
		return 0;
	(*at)++;
	return 10 * (int)(found - letters + 1);
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t number;
	char *end;
	int shift, result;

	result = parse_digits(text, &end, &number);
	if (result)
		return result;
	shift = suffix_shift(&end);
	if (strcasecmp(end, "") && strcasecmp(end, "B") && (!shift || strcasecmp(end, "iB")))
		return -EINVAL;
	if (number > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = number << shift;
	return 0;
}

int parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number)
{
	uint64_t number;
	char *end;
	int result;

	result = parse_digits(text, &end, &number);
	if (result)
		return result;
	if (*end)
		return -EINVAL;
	if (number < least || number > most)
		return -ERANGE;
	*ret_number = number;
	return 0;
}

int parse_bool(const char *text, bool *ret_value)
{
	static const char *const words[][2] = {
		{"off", "on"}, {"no", "yes"}, {"false", "true"}, {"0", "1"}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int value = 0; value < 2; value++) {
			if (!strcmp(text, words[i][value])) {
				*ret_value = value;
				return 0;
			}
		}
	}
	return -EINVAL;
}
