/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program is written here instruction by instruction, so that building needs no compiler for
 * it. It does what net_hash.c does, over the frame as the kernel has it (a VLAN tag may be out of
 * line there, which changes nothing: tags are not hashed).
 *
 * Registers that calls preserve: r6 the frame, r7 the slot in force, r8 where the IP header begins,
 * r9 an offset behind that, later the number of bytes to hash. On the stack: the bytes to hash, and
 * a header that is being looked at. The hash itself is unrolled over all bytes, with exits where
 * the four lengths end; each byte is looked up in two rows of the map.
 */
#include "net/net_steering_program.h"

#include "util/checked.h"
#include "util/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSNS_MAX  1400u
#define JUMPS_MAX  300u
#define LABELS_MAX 128u

/* Offsets from the frame pointer. */
#define INPUT    (-40) /* the bytes to hash; 36, and 4 for alignment */
#define HEADER   (-56) /* 16 bytes of a header */
#define PROTOCOL (-64) /* of the extension header that is being skipped */
#define KEY      (-72) /* of the map */

/* Extension headers of 8 bytes each that lie before NET_HASH_PORTS_MAX: none is skipped in vain. */
#define EXTENSIONS_MAX ((NET_HASH_PORTS_MAX - 40) / 8 + 1)

enum label {
	L_HAVE_MAP,
	L_IP,
	L_IP4_ADDRESSES,
	L_IP4_TCP,
	L_IP4_UDP,
	L_IP6,
	L_IP6_ADDRESSES,
	L_IP6_TCP,
	L_IP6_UDP,
	L_HASH,
	L_HASHED,
	L_UNCLASSIFIED,
	L_FREE, /* the first of those that new_label() gives out */
};

struct program {
	struct bpf_insn insns[INSNS_MAX];
	unsigned count;
	struct {
		unsigned at, label;
	} jumps[JUMPS_MAX];
	unsigned jump_count;
	unsigned labels[LABELS_MAX];
	unsigned label_count;
};

/* What the two IP versions differ in, once the transport header is found. */
struct version {
	int address_bytes; /* both addresses; the ports follow them in the input */
	uint32_t ip, tcp, udp;
	enum label to_addresses, to_tcp, to_udp;
};

static const struct version version_4 = {8, VIRTIO_NET_RSS_HASH_TYPE_IPv4,
	VIRTIO_NET_RSS_HASH_TYPE_TCPv4, VIRTIO_NET_RSS_HASH_TYPE_UDPv4, L_IP4_ADDRESSES, L_IP4_TCP,
	L_IP4_UDP};
static const struct version version_6 = {32, VIRTIO_NET_RSS_HASH_TYPE_IPv6,
	VIRTIO_NET_RSS_HASH_TYPE_TCPv6, VIRTIO_NET_RSS_HASH_TYPE_UDPv6, L_IP6_ADDRESSES, L_IP6_TCP,
	L_IP6_UDP};

/* ---- an assembler ---- */

static void emit(struct program *program, uint8_t code, unsigned to, unsigned from, int offset,
	int32_t immediate)
{
	if (program->count < INSNS_MAX)
		program->insns[program->count++] = (struct bpf_insn){.code = code,
			.dst_reg = to & 15,
			.src_reg = from & 15,
			.off = (int16_t)offset,
			.imm = immediate};
}

/* An operation on 64 bits: BPF_ADD and the like, with a number or with a register. */
static void number(struct program *program, uint8_t operation, unsigned to, int32_t value)
{
	emit(program, BPF_ALU64 | operation | BPF_K, to, 0, 0, value);
}

static void registers(struct program *program, uint8_t operation, unsigned to, unsigned from)
{
	emit(program, BPF_ALU64 | operation | BPF_X, to, from, 0, 0);
}

/* Loads BPF_B, BPF_H or BPF_W at @offset from the pointer in @from. */
static void load(struct program *program, uint8_t size, unsigned to, unsigned from, int offset)
{
	emit(program, BPF_LDX | size | BPF_MEM, to, from, offset, 0);
}

static void jump(
	struct program *program, uint8_t condition, unsigned left, int32_t right, unsigned label)
{
	if (program->jump_count < JUMPS_MAX) {
		program->jumps[program->jump_count].at = program->count;
		program->jumps[program->jump_count++].label = label;
	}
	emit(program, BPF_JMP | condition | BPF_K, left, 0, 0, right);
}

static void go(struct program *program, unsigned label)
{
	jump(program, BPF_JA, 0, 0, label);
}

static void place(struct program *program, unsigned label)
{
	program->labels[label] = program->count;
}

static unsigned new_label(struct program *program)
{
	return program->label_count < LABELS_MAX - 1 ? program->label_count++ : LABELS_MAX - 1;
}

static int resolve(struct program *program)
{
	if (program->count == INSNS_MAX || program->jump_count == JUMPS_MAX ||
		program->label_count == LABELS_MAX - 1)
		return -E2BIG;
	for (unsigned i = 0; i < program->jump_count; i++) {
		unsigned at = program->jumps[i].at;
		unsigned to = program->labels[program->jumps[i].label];

		program->insns[at].off = (int16_t)((int)to - (int)at - 1);
	}
	return 0;
}

/* ---- pieces of the program ---- */

/* Copies @length bytes of the frame at r2 to the stack; r0 is 0 where they are there. */
static void copy_from_r2(struct program *program, int to, int32_t length)
{
	registers(program, BPF_MOV, 1, 6);
	registers(program, BPF_MOV, 3, 10);
	number(program, BPF_ADD, 3, to);
	number(program, BPF_MOV, 4, length);
	emit(program, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
}

/* The same from @offset behind r8. */
static void copy(struct program *program, int32_t offset, int to, int32_t length)
{
	registers(program, BPF_MOV, 2, 8);
	number(program, BPF_ADD, 2, offset);
	copy_from_r2(program, to, length);
}

/* The same from r8 + r9. */
static void copy_at_r9(struct program *program, int to, int32_t length)
{
	registers(program, BPF_MOV, 2, 8);
	registers(program, BPF_ADD, 2, 9);
	copy_from_r2(program, to, length);
}

/* Goes to @label unless the types contain @type. */
static void need_type(struct program *program, uint32_t type, unsigned label)
{
	load(program, BPF_W, 1, 7, offsetof(struct net_steering_slot, types));
	number(program, BPF_AND, 1, (int32_t)type);
	jump(program, BPF_JEQ, 1, 0, label);
}

static void find_slot(struct program *program, int map_fd)
{
	registers(program, BPF_MOV, 6, 1);
	emit(program, BPF_ST | BPF_MEM | BPF_W, 10, 0, KEY, 0);
	registers(program, BPF_MOV, 2, 10);
	number(program, BPF_ADD, 2, KEY);
	emit(program, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map_fd);
	emit(program, 0, 0, 0, 0, 0); /* its second half */
	emit(program, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	jump(program, BPF_JNE, 0, 0, L_HAVE_MAP);
	number(program, BPF_MOV, 0, NET_STEERING_DROP); /* cannot be */
	emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	place(program, L_HAVE_MAP);
	registers(program, BPF_MOV, 7, 0);
	load(program, BPF_W, 1, 7, offsetof(struct net_steering_map, current));
	number(program, BPF_AND, 1, 1);
	number(program, BPF_MUL, 1, sizeof(struct net_steering_slot));
	registers(program, BPF_ADD, 7, 1);
	number(program, BPF_ADD, 7, offsetof(struct net_steering_map, slots));
	for (int at = INPUT; at < 0; at += 8)
		emit(program, BPF_ST | BPF_MEM | BPF_DW, 10, 0, at, 0);
}

/* Leaves the EtherType in r1 and the beginning of what it names in r8. */
static void find_ip(struct program *program)
{
	number(program, BPF_MOV, 8, 12);
	for (unsigned tags = 0;; tags++) {
		unsigned tagged = new_label(program);

		copy(program, 0, HEADER, 2);
		jump(program, BPF_JNE, 0, 0, L_UNCLASSIFIED);
		load(program, BPF_H, 1, 10, HEADER);
		if (tags == 2)
			break;
		jump(program, BPF_JEQ, 1, htons(ETHERTYPE_VLAN), tagged);
		jump(program, BPF_JNE, 1, htons(NET_ETHERTYPE_QINQ), L_IP);
		place(program, tagged);
		number(program, BPF_ADD, 8, 4);
	}
	place(program, L_IP);
	number(program, BPF_ADD, 8, 2);
	jump(program, BPF_JEQ, 1, htons(ETHERTYPE_IPV6), L_IP6);
	jump(program, BPF_JNE, 1, htons(ETHERTYPE_IP), L_UNCLASSIFIED);
}

/*
 * The addresses are in the input. At the labels of a transport protocol, whose header is at r9,
 * adds the ports where that is asked for and they are there; goes to L_HASH with the input's length
 * in r9.
 */
static void classify(struct program *program, const struct version *version)
{
	unsigned ports = new_label(program);

	place(program, version->to_tcp);
	need_type(program, version->tcp, version->to_addresses);
	go(program, ports);
	place(program, version->to_udp);
	need_type(program, version->udp, version->to_addresses);
	place(program, ports);
	copy_at_r9(program, INPUT + version->address_bytes, 4);
	number(program, BPF_MOV, 9, version->address_bytes + 4);
	jump(program, BPF_JEQ, 0, 0, L_HASH);
	place(program, version->to_addresses);
	need_type(program, version->ip, L_UNCLASSIFIED);
	number(program, BPF_MOV, 9, version->address_bytes);
	go(program, L_HASH);
}

static void find_4(struct program *program)
{
	copy(program, 12, INPUT, 8);
	jump(program, BPF_JNE, 0, 0, L_UNCLASSIFIED);
	copy(program, 0, HEADER, 12);
	jump(program, BPF_JNE, 0, 0, L_UNCLASSIFIED);
	load(program, BPF_B, 9, 10, HEADER); /* version and length */
	registers(program, BPF_MOV, 1, 9);
	number(program, BPF_RSH, 1, 4);
	jump(program, BPF_JNE, 1, 4, L_UNCLASSIFIED);
	number(program, BPF_AND, 9, 15);
	jump(program, BPF_JLT, 9, 5, L_UNCLASSIFIED);
	number(program, BPF_LSH, 9, 2);
	load(program, BPF_H, 1, 10, HEADER + 6); /* fragment */
	number(program, BPF_AND, 1, htons(0x3fff));
	jump(program, BPF_JNE, 1, 0, L_IP4_ADDRESSES);
	load(program, BPF_B, 1, 10, HEADER + 9); /* protocol */
	jump(program, BPF_JEQ, 1, IPPROTO_UDP, L_IP4_UDP);
	jump(program, BPF_JNE, 1, IPPROTO_TCP, L_IP4_ADDRESSES);
	classify(program, &version_4);
}

/* With the protocol in r1: goes to its label, or behind its header, whose offset is in r9. */
static void skip_extension(struct program *program)
{
	unsigned skip = new_label(program), authentication = new_label(program),
		 next = new_label(program);

	jump(program, BPF_JEQ, 1, IPPROTO_TCP, L_IP6_TCP);
	jump(program, BPF_JEQ, 1, IPPROTO_UDP, L_IP6_UDP);
	jump(program, BPF_JEQ, 1, IPPROTO_HOPOPTS, skip);
	jump(program, BPF_JEQ, 1, IPPROTO_ROUTING, skip);
	jump(program, BPF_JEQ, 1, IPPROTO_DSTOPTS, skip);
	jump(program, BPF_JNE, 1, IPPROTO_AH, L_IP6_ADDRESSES);
	place(program, skip);
	emit(program, BPF_STX | BPF_MEM | BPF_DW, 10, 1, PROTOCOL, 0);
	copy_at_r9(program, HEADER, 2);
	jump(program, BPF_JNE, 0, 0, L_IP6_ADDRESSES);
	load(program, BPF_B, 2, 10, HEADER + 1); /* length */
	load(program, BPF_DW, 3, 10, PROTOCOL);
	jump(program, BPF_JEQ, 3, IPPROTO_AH, authentication);
	number(program, BPF_ADD, 2, 1);
	number(program, BPF_LSH, 2, 3);
	go(program, next);
	place(program, authentication);
	number(program, BPF_ADD, 2, 2);
	number(program, BPF_LSH, 2, 2);
	place(program, next);
	registers(program, BPF_ADD, 9, 2);
	jump(program, BPF_JGT, 9, NET_HASH_PORTS_MAX, L_IP6_ADDRESSES);
	load(program, BPF_B, 1, 10, HEADER);
}

static void find_6(struct program *program)
{
	place(program, L_IP6);
	copy(program, 8, INPUT, 32);
	jump(program, BPF_JNE, 0, 0, L_UNCLASSIFIED);
	copy(program, 0, HEADER, 8);
	jump(program, BPF_JNE, 0, 0, L_UNCLASSIFIED);
	load(program, BPF_B, 1, 10, HEADER);
	number(program, BPF_RSH, 1, 4);
	jump(program, BPF_JNE, 1, 6, L_UNCLASSIFIED);
	number(program, BPF_MOV, 9, 40);
	load(program, BPF_B, 1, 10, HEADER + 6);
	for (unsigned i = 0; i < EXTENSIONS_MAX; i++)
		skip_extension(program);
	go(program, L_IP6_ADDRESSES);
	classify(program, &version_6);
}

/* r0 ^= the row's entry for r1, which is below 16. */
static void add_row(struct program *program, unsigned row)
{
	size_t offset = offsetof(struct net_steering_slot, toeplitz.rows) +
	                row * sizeof(((struct net_toeplitz *)NULL)->rows[0]);

	number(program, BPF_LSH, 1, 2);
	registers(program, BPF_ADD, 1, 7);
	load(program, BPF_W, 1, 1, (int)offset);
	registers(program, BPF_XOR, 0, 1);
}

/* Hashes r9 bytes of the input into r0. */
static void hash(struct program *program)
{
	place(program, L_HASH);
	number(program, BPF_MOV, 0, 0);
	for (unsigned i = 0; i < NET_TOEPLITZ_INPUT_MAX; i++) {
		if (i == 8 || i == 12 || i == 32)
			jump(program, BPF_JEQ, 9, (int32_t)i, L_HASHED);
		load(program, BPF_B, 1, 10, INPUT + (int)i);
		number(program, BPF_RSH, 1, 4);
		add_row(program, 2 * i);
		load(program, BPF_B, 1, 10, INPUT + (int)i);
		number(program, BPF_AND, 1, 15);
		add_row(program, 2 * i + 1);
	}
	place(program, L_HASHED);
}

static void choose(struct program *program)
{
	load(program, BPF_W, 1, 7, offsetof(struct net_steering_slot, mask));
	registers(program, BPF_AND, 1, 0);
	number(program, BPF_AND, 1, NET_RSS_TABLE_MAX - 1);
	number(program, BPF_LSH, 1, 2);
	registers(program, BPF_ADD, 7, 1);
	load(program, BPF_W, 0, 7, offsetof(struct net_steering_slot, table));
	emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	place(program, L_UNCLASSIFIED);
	load(program, BPF_W, 0, 7, offsetof(struct net_steering_slot, unclassified));
	emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* ---- the kernel ---- */

static int bpf(int command, union bpf_attr *attributes)
{
	long result = syscall(SYS_bpf, command, attributes, sizeof(*attributes));

	return result < 0 ? -errno : (int)result;
}

size_t net_steering_map_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct net_steering_map) + page - 1) / page * page;
}

static int create_map(void)
{
	union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(struct net_steering_map),
		.max_entries = 1,
		.map_flags = BPF_F_MMAPABLE,
		.map_name = "fastvmm_rss"};

	return bpf(BPF_MAP_CREATE, &attributes);
}

static int load_program(int map_fd)
{
	auto_free struct program *program = calloc(1, sizeof(*program));
	union bpf_attr attributes = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};
	int result;

	if (!program)
		return -ENOMEM;
	program->label_count = L_FREE;
	find_slot(program, map_fd);
	find_ip(program);
	find_4(program);
	find_6(program);
	hash(program);
	choose(program);
	result = resolve(program);
	if (result)
		return result;
	attributes.insns = (uintptr_t)program->insns;
	attributes.insn_cnt = program->count;
	attributes.license = (uintptr_t) "Apache-2.0"; /* no helper asks for another */
	memcpy(attributes.prog_name, "fastvmm_rss", sizeof("fastvmm_rss"));
	return bpf(BPF_PROG_LOAD, &attributes);
}

int net_steering_program_load(int *ret_program_fd, struct net_steering_map **ret_map)
{
	auto_fd int map_fd = create_map();
	auto_fd int program_fd = -1;
	void *map;

	if (map_fd < 0)
		return map_fd;
	program_fd = load_program(map_fd);
	if (program_fd < 0)
		return program_fd;
	map = mmap(NULL, net_steering_map_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_program_fd = take_fd(&program_fd);
	*ret_map = map;
	return 0;
}
