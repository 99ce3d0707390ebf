/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's own word comes first, because CPUID 0x15 may describe the host while the guest's
 * counter is scaled: leaf 0x40000010 (kHz), then the scale that kvmclock publishes, then CPUID 0x15
 * and 0x16, then counting against the PIT's channel 2 for 50 ms.
 */
#include "clock.h"

#include "cpu.h"
#include "finish.h"
#include "muldiv.h"
#include "ring0.h"

#define NS_PER_S     1000000000ull
#define KVM_LEAVES   0x40000000u
#define MSR_KVMCLOCK 0x4b564d01
#define PIT_HZ       1193182ull

struct kvmclock {
	uint32_t version, padding;
	uint64_t tsc, system_time;
	uint32_t multiplier;
	int8_t shift;
	uint8_t flags, padding2[2];
};

static uint64_t frequency;
static const char *source;

static bool hypervisor_leaves(uint32_t *ret_maximum, bool *ret_kvm)
{
	uint32_t r[4];

	cpuid_read(1, 0, r);
	if (!(r[2] & 1u << 31))
		return false;
	cpuid_read(KVM_LEAVES, 0, r);
	*ret_maximum = r[0];
	*ret_kvm = r[1] == 0x4b4d564b && r[2] == 0x564b4d56 && r[3] == 0x4d;
	return true;
}

static uint64_t from_hypervisor_leaf(void)
{
	uint32_t r[4], maximum = 0;
	bool kvm = false;

	if (!hypervisor_leaves(&maximum, &kvm) || maximum < KVM_LEAVES + 0x10 ||
		maximum > KVM_LEAVES + 0xff)
		return 0;
	cpuid_read(KVM_LEAVES + 0x10, 0, r);
	return r[0] * 1000ull;
}

static uint64_t from_kvmclock(void)
{
	static volatile struct kvmclock clock __attribute__((aligned(64)));
	uint32_t r[4], maximum = 0;
	bool kvm = false;
	uint64_t hz;

	if (!hypervisor_leaves(&maximum, &kvm) || !kvm)
		return 0;
	cpuid_read(KVM_LEAVES + 1, 0, r);
	if (!(r[0] & 1u << 3))
		return 0;
	msr_write(MSR_KVMCLOCK, (uint64_t)&clock | 1);
	for (unsigned i = 0; i < 1000 && (clock.multiplier == 0 || clock.version & 1); i++)
		cpu_relax();
	msr_write(MSR_KVMCLOCK, 0);
	if (clock.multiplier == 0)
		return 0;
	hz = (NS_PER_S << 32) / clock.multiplier; /* shift left: the ticks are doubled first */
	return clock.shift < 0 ? hz << -clock.shift : hz >> clock.shift;
}

static uint64_t from_cpuid(uint32_t leaf)
{
	uint32_t r[4];

	cpuid_read(0, 0, r);
	if (r[0] < leaf)
		return 0;
	cpuid_read(leaf, 0, r);
	if (leaf == 0x16)
		return (r[0] & 0xffff) * 1000000ull;
	if (r[0] == 0 || r[1] == 0 || r[2] == 0)
		return 0;
	return (uint64_t)r[2] * r[1] / r[0];
}

static uint64_t count_against_pit(void)
{
	uint32_t count = (uint32_t)(PIT_HZ / 20); /* 50 ms */
	uint64_t start, ticks;

	port_out8(0x61, (uint8_t)((port_in8(0x61) & ~2u) | 1)); /* gate on, speaker off */
	port_out8(0x43, 0xb0);                                  /* channel 2, mode 0, both bytes */
	port_out8(0x42, (uint8_t)count);
	start = cpu_tsc();
	port_out8(0x42, (uint8_t)(count >> 8)); /* starts the count */
	while (!(port_in8(0x61) & 0x20) && cpu_tsc() - start < 1ull << 34)
		;
	ticks = cpu_tsc() - start;
	return ticks * 20;
}

/* The least of three: being interrupted can only make it more. */
static uint64_t from_pit(void)
{
	uint64_t best = count_against_pit();

	for (unsigned i = 0; i < 2; i++) {
		uint64_t again = count_against_pit();

		best = again < best ? again : best;
	}
	return best;
}

static bool take(uint64_t hz, const char *name)
{
	if (hz < 1000000)
		return false;
	frequency = hz;
	source = name;
	return true;
}

void clock_init(void)
{
	if (take(from_hypervisor_leaf(), "hypervisor-leaf") || take(from_kvmclock(), "kvmclock") ||
		take(from_cpuid(0x15), "cpuid-15") || take(from_cpuid(0x16), "cpuid-16") ||
		take(from_pit(), "pit"))
		return;
	finish_fail("no source for the frequency of the time stamp counter");
}

uint64_t clock_frequency(void)
{
	return frequency;
}

const char *clock_source(void)
{
	return source;
}

uint64_t clock_to_ns(uint64_t ticks)
{
	return muldiv(ticks, NS_PER_S, frequency);
}

uint64_t clock_to_ticks(uint64_t ns)
{
	return muldiv(ns, frequency, NS_PER_S);
}
