/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs are taken from the MADT in its order (without one: APIC IDs 0, 1, ...), the boot CPU first.
 * Each gets a TSS, two stacks and an entry in cpu_of_apic_id before it is started, so its ring-0
 * part has nothing to build. A started CPU sleeps in the gate until the boot CPU leaves work in its
 * block and sends it the wake vector.
 */
#include "smp.h"

#include "acpi.h"
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "finish.h"
#include "memory.h"

#define STACK_SIZE     16384
#define START_LIMIT_NS 20000000000ull /* a crowded host may take its time */

struct tss {
	uint32_t reserved;
	uint64_t rsp0, rsp1, rsp2, reserved2, ist[7], reserved3;
	uint16_t reserved4, io_map;
} __attribute__((packed));

_Static_assert(sizeof(struct tss) == 104, "the GDT says so");

void entry_main(uint64_t index);
static void cpu_main(uint64_t index);

static char boot_kernel_stack[STACK_SIZE] __attribute__((aligned(64)));
static char boot_user_stack[2 * STACK_SIZE] __attribute__((aligned(64)));

/* The boot CPU's parts are initialised data: nothing has to be set up before the first iretq. */
struct cpu cpu_table[MAX_CPUS] = {
	[0] =
		{
			.user_stack = (uint64_t)(boot_user_stack + sizeof(boot_user_stack) - 8),
			.kernel_stack = (uint64_t)(boot_kernel_stack + sizeof(boot_kernel_stack)),
			.entry = (uint64_t)entry_main,
			.online = true,
		},
};

struct tss tss_table[MAX_CPUS] __attribute__((aligned(128))) = {
	[0] = {.rsp0 = (uint64_t)(boot_kernel_stack + sizeof(boot_kernel_stack)), .io_map = 104},
};

uint8_t cpu_of_apic_id[256];
extern uint64_t gdt[];
extern char trampoline_start[], trampoline_end[];
void *memcpy(void *to, const void *from, size_t length);

static unsigned running = 1;
static bool x2apic_mode;
static uint32_t barrier_arrived, barrier_generation;

static void cpu_main(uint64_t index)
{
	struct cpu *cpu = &cpu_table[index];

	apic_init(x2apic_mode);
	__atomic_store_n(&cpu->online, true, __ATOMIC_RELEASE);
	for (;;) {
		uint64_t seen = cpu->events;
		void (*work)(void *) = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);

		if (!work) {
			gate_wait(seen);
			continue;
		}
		work(cpu->argument);
		__atomic_store_n(&cpu->work, NULL, __ATOMIC_RELEASE);
	}
}

static void prepare_cpu(unsigned index, uint32_t id)
{
	struct cpu *cpu = &cpu_table[index];
	char *stacks = memory_allocate(2 * STACK_SIZE, 4096);
	uint64_t tss = (uint64_t)&tss_table[index];

	cpu->index = index;
	cpu->apic_id = id;
	cpu->kernel_stack = (uint64_t)(stacks + STACK_SIZE);
	cpu->user_stack = (uint64_t)(stacks + 2 * STACK_SIZE - 8);
	cpu->entry = (uint64_t)cpu_main;
	tss_table[index].rsp0 = cpu->kernel_stack;
	tss_table[index].io_map = sizeof(struct tss);
	gdt[(SEL_TSS + 16 * index) / 8] =
		0x0000890000000067ull | (tss & 0xffffff) << 16 | (tss >> 24) << 56;
	cpu_of_apic_id[id] = (uint8_t)index;
}

static void start_cpu(unsigned index, uint32_t id)
{
	uint64_t limit = cpu_tsc() + clock_to_ticks(START_LIMIT_NS);

	if (id > 255)
		finish_fail("CPU %u has APIC ID %u; IDs above 255 are not supported", index, id);
	prepare_cpu(index, id);
	apic_start_cpu(id);
	while (!__atomic_load_n(&cpu_table[index].online, __ATOMIC_ACQUIRE)) {
		if (cpu_tsc() > limit)
			finish_fail("CPU %u (APIC ID %u) did not start", index, id);
		cpu_relax();
	}
}

/* The APIC IDs of all CPUs but this one. */
static unsigned other_cpus(uint32_t *ret_ids, unsigned wanted)
{
	uint32_t ids[MAX_CPUS];
	unsigned found = acpi_cpus(ids, MAX_CPUS), count = 0;

	if (found == 0) {
		found = wanted < MAX_CPUS ? wanted : MAX_CPUS;
		for (unsigned i = 0; i < found; i++)
			ids[i] = i;
	}
	for (unsigned i = 0; i < found; i++) {
		if (ids[i] != cpu_table[0].apic_id)
			ret_ids[count++] = ids[i];
	}
	return count;
}

unsigned smp_start(unsigned count, bool x2apic)
{
	uint32_t ids[MAX_CPUS];
	unsigned others;

	x2apic_mode = x2apic;
	cpu_table[0].apic_id = apic_id();
	if (count == 1)
		return 1;
	others = other_cpus(ids, count);
	if (count == 0)
		count = others + 1;
	if (count > others + 1)
		finish_fail("%u CPUs wanted, the VM has %u", count, others + 1);
	memcpy((void *)TRAMPOLINE, trampoline_start, (size_t)(trampoline_end - trampoline_start));
	for (unsigned i = 1; i < count; i++)
		start_cpu(i, ids[i - 1]);
	running = count;
	return count;
}

void smp_run(unsigned count, void (*work)(void *argument), void *arguments[])
{
	for (unsigned i = 1; i < count && i < running; i++) {
		cpu_table[i].argument = arguments[i];
		__atomic_store_n(&cpu_table[i].work, work, __ATOMIC_RELEASE);
		apic_send(cpu_table[i].apic_id, VECTOR_WAKE);
	}
	work(arguments[0]);
	for (unsigned i = 1; i < count && i < running; i++) {
		while (__atomic_load_n(&cpu_table[i].work, __ATOMIC_ACQUIRE))
			cpu_relax();
	}
}

void smp_barrier(unsigned count)
{
	uint32_t generation = __atomic_load_n(&barrier_generation, __ATOMIC_ACQUIRE);

	if (__atomic_add_fetch(&barrier_arrived, 1, __ATOMIC_ACQ_REL) == count) {
		__atomic_store_n(&barrier_arrived, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&barrier_generation, generation + 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&barrier_generation, __ATOMIC_ACQUIRE) == generation)
		cpu_relax();
}
