/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of option descriptions drives the parser: name, kind of value, place in struct options,
 * bounds or list of words. Adding an option is adding a row. Words are separated by blanks; the
 * first error ends the parse.
 */
#include "options.h"

#include "text.h"

enum kind {
	KIND_NUMBER32, /* with k, m, g suffixes */
	KIND_NUMBER64,
	KIND_NUMBER16,
	KIND_TIME,   /* ns, us, ms, s; plain: seconds */
	KIND_WORD,   /* one of `words`; the enumerator's number is stored */
	KIND_BOOL,   /* 0 or 1 */
	KIND_SWITCH, /* 0, 1 or auto */
	KIND_NAME,
	KIND_ALL,   /* number or "all" */
	KIND_RANGE, /* block sizes: one number or MIN-MAX */
	KIND_MAC,
	KIND_IP,
};

struct option {
	const char *name;
	enum kind kind;
	size_t offset;
	uint64_t min, max;
	const char *const *words;
};

static const char *const rw_words[] = {"read", "write", "randread", "randwrite", "randrw", "flush",
	"discard", "write-zeroes", "get-id", "torture", NULL};
static const char *const workload_words[] = {"none", "blk", "net", "idle", "info", NULL};
static const char *const apic_words[] = {"auto", "xapic", "x2apic", NULL};
static const char *const ring_words[] = {"split", "packed", NULL};
static const char *const verify_words[] = {"0", "1", "fill", "check", NULL};
static const char *const layout_words[] = {"plain", "random", NULL};
static const char *const mode_words[] = {"poll", "irq", "callback", NULL};
static const char *const exit_words[] = {"poweroff", "debug", NULL};
static const char *const direction_words[] = {"tx", "rx", "both", "reflect", "pair", "echo", NULL};
static const char *const gso_words[] = {"tcp", "udp", NULL};

#define AT(field) offsetof(struct options, field)
#define TIME_MAX  86400000000000ull

static const struct option table[] = {
	{"cpus", KIND_ALL, AT(cpus), 1, 64, NULL},
	{"apic", KIND_WORD, AT(apic), 0, 0, apic_words},
	{"exit", KIND_WORD, AT(exit_debug), 0, 0, exit_words},
	{"pci-window", KIND_NUMBER64, AT(pci_window), 1 << 20, 0xf0000000, NULL},
	{"queues", KIND_ALL, AT(queues), 1, 256, NULL},
	{"queue-size", KIND_NUMBER32, AT(queue_size), 2, 32768, NULL},
	{"mode", KIND_WORD, AT(mode), 0, 0, mode_words},
	{"ring", KIND_WORD, AT(ring), 0, 0, ring_words},
	{"indirect", KIND_SWITCH, AT(indirect), 0, 0, NULL},
	{"event-idx", KIND_SWITCH, AT(event_index), 0, 0, NULL},
	{"in-order", KIND_SWITCH, AT(in_order), 0, 0, NULL},
	{"time", KIND_TIME, AT(time_ns), 1000000, TIME_MAX, NULL},
	{"warmup", KIND_TIME, AT(warmup_ns), 0, TIME_MAX, NULL},
	{"timeout", KIND_TIME, AT(timeout_ns), 1000000, TIME_MAX, NULL},
	{"ios", KIND_NUMBER64, AT(ios), 1, 1ull << 48, NULL},
	{"rate", KIND_NUMBER64, AT(rate), 0, 1000000000, NULL},
	{"seed", KIND_NUMBER64, AT(seed), 0, UINT64_MAX, NULL},
	{"rw", KIND_WORD, AT(rw), 0, 0, rw_words},
	{"mix", KIND_NUMBER32, AT(mix), 0, 100, NULL},
	{"bs", KIND_RANGE, AT(block_min), 512, 16 << 20, NULL},
	{"qd", KIND_NUMBER32, AT(depth), 1, 4096, NULL},
	{"disk", KIND_ALL, AT(disk), 0, 31, NULL},
	{"verify", KIND_WORD, AT(verify), 0, 0, verify_words},
	{"generation", KIND_NUMBER32, AT(generation), 1, 0x7ffffffe, NULL},
	{"offset", KIND_NUMBER64, AT(offset), 0, 1ull << 60, NULL},
	{"size", KIND_NUMBER64, AT(size), 512, 1ull << 60, NULL},
	{"segs", KIND_NUMBER32, AT(segments), 1, 32, NULL},
	{"layout", KIND_WORD, AT(layout), 0, 0, layout_words},
	{"unmap", KIND_BOOL, AT(unmap), 0, 0, NULL},
	{"hostile", KIND_NAME, AT(hostile), 0, 0, NULL},
	{"dir", KIND_WORD, AT(direction), 0, 0, direction_words},
	{"nic", KIND_ALL, AT(nic), 0, 31, NULL},
	{"pairs", KIND_ALL, AT(pairs), 1, 128, NULL},
	{"frame", KIND_NUMBER32, AT(frame), 60, 9014, NULL},
	{"gso", KIND_NUMBER32, AT(gso), 0, 65536, NULL},
	{"flows", KIND_NUMBER32, AT(flows), 1, 1024, NULL},
	{"gso-type", KIND_WORD, AT(gso_type), 0, 0, gso_words},
	{"rxbuf", KIND_NUMBER32, AT(receive_buffer), 256, 65536, NULL},
	{"mrg", KIND_SWITCH, AT(mergeable), 0, 0, NULL},
	{"rx-gso", KIND_SWITCH, AT(receive_gso), 0, 0, NULL},
	{"csum", KIND_SWITCH, AT(checksum), 0, 0, NULL},
	{"mac", KIND_MAC, AT(source), 0, 0, NULL},
	{"dst", KIND_MAC, AT(destination), 0, 0, NULL},
	{"src-ip", KIND_IP, AT(source_ip), 0, 0, NULL},
	{"dst-ip", KIND_IP, AT(destination_ip), 0, 0, NULL},
	{"port", KIND_NUMBER16, AT(port), 1, 65535, NULL},
	{"drain", KIND_TIME, AT(drain_ns), 0, TIME_MAX, NULL},
};

static const struct options defaults = {
	.cpus = 1,
	.queues = 1,
	.time_ns = 5000000000ull,
	.warmup_ns = 500000000ull,
	.timeout_ns = 10000000000ull,
	.seed = 1,
	.rw = RW_RANDREAD,
	.mix = 50,
	.block_min = 4096,
	.block_max = 4096,
	.generation = 1,
	.segments = 1,
	.pairs = 1,
	.flows = 1,
	.port = 9,
	.receive_buffer = 2048,
	.drain_ns = 200000000ull,
};

/* A piece of the command line. */
struct word {
	const char *data;
	size_t length;
};

static bool parse_digits(struct word *word, uint64_t *ret_value)
{
	uint64_t value = 0, base = 10;
	size_t start;

	if (word->length > 2 && word->data[0] == '0' && word->data[1] == 'x') {
		base = 16;
		word->data += 2;
		word->length -= 2;
	}
	for (start = word->length; word->length; word->data++, word->length--) {
		char c = *word->data;
		uint64_t digit = c >= '0' && c <= '9'                 ? (uint64_t)(c - '0')
		                 : base == 16 && c >= 'a' && c <= 'f' ? (uint64_t)(c - 'a') + 10
		                                                      : base;

		if (digit == base)
			break;
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	*ret_value = value;
	return word->length < start;
}

struct suffix {
	const char *name;
	uint64_t factor;
};

static const struct suffix size_suffixes[] = {{"", 1}, {"k", 1 << 10}, {"K", 1 << 10},
	{"m", 1 << 20}, {"M", 1 << 20}, {"g", 1 << 30}, {"G", 1 << 30}, {NULL, 0}};
static const struct suffix time_suffixes[] = {
	{"", 1000000000}, {"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}, {NULL, 0}};

static bool parse_number(struct word word, const struct suffix *suffixes, uint64_t *ret_value)
{
	uint64_t value;

	if (!parse_digits(&word, &value))
		return false;
	for (; suffixes->name; suffixes++) {
		if (!text_equal_n(word.data, word.length, suffixes->name))
			continue;
		if (value > UINT64_MAX / suffixes->factor)
			return false;
		*ret_value = value * suffixes->factor;
		return true;
	}
	return false;
}

static bool in_bounds(const struct option *option, uint64_t value)
{
	return value >= option->min && value <= option->max;
}

static bool parse_word(const struct option *option, struct word value, unsigned *ret_number)
{
	for (unsigned i = 0; option->words[i]; i++) {
		if (text_equal_n(value.data, value.length, option->words[i])) {
			*ret_number = i;
			return true;
		}
	}
	return false;
}

static bool parse_switch(struct word value, enum option_switch *ret_switch)
{
	static const char *const words[] = {"auto", "0", "1", NULL};
	const struct option option = {.words = words};
	unsigned number;

	if (!parse_word(&option, value, &number))
		return false;
	*ret_switch = (enum option_switch)number;
	return true;
}

/* Block sizes: the place is block_min, and block_max follows it. Multiples of 512. */
static bool parse_range(const struct option *option, struct word value, uint32_t *ret_bounds)
{
	struct word parts[2] = {value, value};
	uint64_t numbers[2];

	for (size_t i = 0; i < value.length; i++) {
		if (value.data[i] == '-') {
			parts[0].length = i;
			parts[1] = (struct word){value.data + i + 1, value.length - i - 1};
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		if (!parse_number(parts[i], size_suffixes, &numbers[i]) ||
			!in_bounds(option, numbers[i]) || numbers[i] % 512)
			return false;
	}
	if (numbers[0] > numbers[1] || numbers[1] % numbers[0])
		return false;
	ret_bounds[0] = (uint32_t)numbers[0];
	ret_bounds[1] = (uint32_t)numbers[1];
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_mac(struct word value, uint8_t *ret_mac)
{
	uint8_t mac[6];

	if (value.length != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		int high = hex_digit(value.data[3 * i]), low = hex_digit(value.data[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && value.data[3 * i + 2] != ':'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	for (unsigned i = 0; i < 6; i++)
		ret_mac[i] = mac[i];
	return true;
}

static bool parse_ip(struct word value, uint32_t *ret_address)
{
	uint32_t address = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t byte;

		if (!parse_digits(&value, &byte) || byte > 255)
			return false;
		address = address << 8 | (uint32_t)byte;
		if (i < 3) {
			if (value.length == 0 || *value.data != '.')
				return false;
			value.data++;
			value.length--;
		}
	}
	*ret_address = address;
	return value.length == 0;
}

static bool parse_name(struct word value, char *ret_name)
{
	if (value.length == 0 || value.length >= OPTION_NAME_SIZE)
		return false;
	for (size_t i = 0; i < value.length; i++)
		ret_name[i] = value.data[i];
	ret_name[value.length] = '\0';
	return true;
}

/* "all" is stored as 0 where 0 is no number of its own, else as OPTION_ALL. */
static bool parse_all(const struct option *option, struct word value, uint32_t *ret_number)
{
	uint64_t number;

	if (text_equal_n(value.data, value.length, "all")) {
		*ret_number = option->min ? 0 : OPTION_ALL;
		return true;
	}
	if (!parse_number(value, size_suffixes, &number) || !in_bounds(option, number))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

static bool parse_scalar(const struct option *option, struct word value, void *place)
{
	uint64_t number;

	if (!parse_number(
		    value, option->kind == KIND_TIME ? time_suffixes : size_suffixes, &number) ||
		!in_bounds(option, number))
		return false;
	if (option->kind == KIND_NUMBER32)
		*(uint32_t *)place = (uint32_t)number;
	else if (option->kind == KIND_NUMBER16)
		*(uint16_t *)place = (uint16_t)number;
	else
		*(uint64_t *)place = number;
	return true;
}

static bool parse_choice(const struct option *option, struct word value, void *place)
{
	static const char *const bool_words[] = {"0", "1", NULL};
	const struct option two = {.words = bool_words};
	unsigned number;

	if (!parse_word(option->kind == KIND_BOOL ? &two : option, value, &number))
		return false;
	if (option->kind == KIND_BOOL || option->words == exit_words)
		*(bool *)place = number;
	else
		*(unsigned *)place =
			number; /* the enumerations are unsigned int with both compilers */
	return true;
}

static bool parse_value(struct options *options, const struct option *option, struct word value)
{
	void *place = (char *)options + option->offset;

	switch (option->kind) {
	case KIND_NUMBER16:
	case KIND_NUMBER32:
	case KIND_NUMBER64:
	case KIND_TIME:
		return parse_scalar(option, value, place);
	case KIND_WORD:
	case KIND_BOOL:
		return parse_choice(option, value, place);
	case KIND_SWITCH:
		return parse_switch(value, place);
	case KIND_NAME:
		return parse_name(value, place);
	case KIND_ALL:
		return parse_all(option, value, place);
	case KIND_RANGE:
		return parse_range(option, value, place);
	case KIND_MAC:
		return parse_mac(value, place);
	case KIND_IP:
		return parse_ip(value, place);
	}
	return false;
}

static void say_bad_value(struct text *error, const struct option *option)
{
	text_format(error, "%s= wants ", option->name);
	if (option->words) {
		for (unsigned i = 0; option->words[i]; i++)
			text_format(error, i ? "|%s" : "%s", option->words[i]);
	} else if (option->kind == KIND_BOOL) {
		text_string(error, "0|1");
	} else if (option->kind == KIND_SWITCH) {
		text_string(error, "0|1|auto");
	} else if (option->kind == KIND_NAME) {
		text_string(error, "a name");
	} else if (option->kind == KIND_MAC) {
		text_string(error, "six bytes as 52:54:00:12:34:56");
	} else if (option->kind == KIND_IP) {
		text_string(error, "four numbers as 10.0.0.1");
	} else if (option->kind == KIND_RANGE) {
		text_string(error, "bytes or MIN-MAX, multiples of 512, MAX a multiple of MIN");
	} else {
		text_format(error, "%U to %U%s", option->min, option->max,
			option->kind == KIND_TIME  ? " ns"
			: option->kind == KIND_ALL ? " or all"
						   : "");
	}
}

static bool parse_one(struct options *options, struct word word, struct text *error)
{
	static const struct option workload = {
		"workload", KIND_WORD, AT(workload), 0, 0, workload_words};
	struct word name = word, value = {NULL, 0};

	for (size_t i = 0; i < word.length && !value.data; i++) {
		if (word.data[i] == '=') {
			name.length = i;
			value = (struct word){word.data + i + 1, word.length - i - 1};
		}
	}
	if (!value.data && options->workload == WORKLOAD_NONE &&
		parse_value(options, &workload, word))
		return true;
	for (size_t i = 0; value.data && i < sizeof(table) / sizeof(table[0]); i++) {
		if (!text_equal_n(name.data, name.length, table[i].name))
			continue;
		if (parse_value(options, &table[i], value))
			return true;
		say_bad_value(error, &table[i]);
		return false;
	}
	text_string(error, "unknown word '");
	for (size_t i = 0; i < name.length; i++)
		text_character(error, name.data[i]);
	text_string(error, "'");
	return false;
}

static bool check_combination(const struct options *options, struct text *error)
{
	if (options->workload == WORKLOAD_NONE)
		text_string(error, "no workload: begin with blk, net, idle or info");
	else if ((options->verify == VERIFY_FILL || options->verify == VERIFY_CHECK) &&
		 options->block_min != options->block_max)
		text_string(error, "verify=fill and verify=check want one block size");
	else if (options->workload == WORKLOAD_NET && options->verify > VERIFY_ON)
		text_string(error, "verify= wants 0|1 with net");
	else if (options->gso && options->gso < options->frame)
		text_string(error, "gso= must be at least frame=");
	return error->length == 0;
}

/* What is left open until the workload is known. */
static void fill_in(struct options *options)
{
	if (options->depth == 0)
		options->depth = options->workload == WORKLOAD_NET ? 256 : 32;
	if (options->frame == 0)
		options->frame = options->gso ? 1514 : 64;
}

bool options_parse(struct options *ret_options, const char *command_line, char *ret_error)
{
	struct text error;

	*ret_options = defaults;
	text_init(&error, ret_error, OPTION_ERROR_SIZE);
	for (;;) {
		struct word word;

		while (*command_line == ' ' || *command_line == '\t' || *command_line == '\n')
			command_line++;
		if (*command_line == '\0')
			break;
		word.data = command_line;
		while (*command_line != '\0' && *command_line != ' ' && *command_line != '\t' &&
			*command_line != '\n')
			command_line++;
		word.length = (size_t)(command_line - word.data);
		if (!parse_one(ret_options, word, &error))
			return false;
	}
	fill_in(ret_options);
	return check_combination(ret_options, &error);
}

const char *options_rw_name(enum option_rw rw)
{
	return rw_words[rw];
}

const char *options_mode_name(enum option_mode mode)
{
	return mode_words[mode];
}

const char *options_direction_name(enum option_direction direction)
{
	return direction_words[direction];
}

const char *options_verify_name(enum option_verify verify)
{
	return verify_words[verify];
}
