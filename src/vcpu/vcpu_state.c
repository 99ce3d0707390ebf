/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers before the guest's first instruction. KVM leaves a new vCPU as a reset leaves a
 * processor, real mode at the reset vector; the segment registers' hidden parts are changed from
 * there to what the boot protocol's GDT would have loaded. The boot CPU's interrupt pins and a few
 * MSRs are set as firmware leaves them, for no firmware runs.
 */
#include "vcpu/vcpu_internal.h"

#include "util/bytes.h"
#include "util/log.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#define RFLAGS_RESERVED 2u

#define CR0_PE   (1u << 0)
#define CR0_ET   (1u << 4)
#define CR0_NE   (1u << 5)
#define CR0_PG   (1u << 31)
#define CR4_PAE  (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

/* Segment types (Intel SDM volume 3, 3.4.5.1 and 3.5). */
#define TYPE_DATA     3u  /* read, write, accessed */
#define TYPE_CODE     11u /* execute, read, accessed */
#define TYPE_BUSY_TSS 11u

#define MSR_MISC_ENABLE  0x1a0u
#define MISC_FAST_STRING 1u
#define MSR_MTRR_DEFAULT 0x2ffu
#define MTRR_WRITE_BACK  6u
#define MTRR_ENABLE      (1u << 11)

/* Local APIC registers and delivery modes. */
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define LVT_NMI        (4u << 8)
#define LVT_EXTINT     (7u << 8)
#define LVT_MASKED     (1u << 16)

/* The PICs reach the boot CPU through LINT0 (virtual wire mode), NMIs every CPU through LINT1. */
static int set_lapic_pins(const struct vcpu *vcpu, struct error *error)
{
	struct kvm_lapic_state state;
	int code;

	if (!ioctl(vcpu->fd, KVM_GET_LAPIC, &state)) {
		put_le32(state.regs + APIC_LVT_LINT0, LVT_EXTINT | (vcpu->index ? LVT_MASKED : 0));
		put_le32(state.regs + APIC_LVT_LINT1, LVT_NMI);
		if (!ioctl(vcpu->fd, KVM_SET_LAPIC, &state))
			return 0;
	}
	code = -errno;
	return error_set(error, code, "KVM refuses the local APIC state of vCPU %u: %s",
		vcpu->index, strerror(-code));
}

/* struct kvm_msrs with one entry; the original ends in an array of no length. */
struct one_msr {
	uint32_t count;
	uint32_t pad;
	struct kvm_msr_entry entry;
};

_Static_assert(offsetof(struct one_msr, entry) == offsetof(struct kvm_msrs, entries),
	"same layout as the kernel's");

/* Kernels differ in what they let be set; none of these MSRs is worth refusing to run for. */
static void set_msr(const struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct one_msr msr = {.count = 1, .entry = {.index = index, .data = value}};

	if (ioctl(vcpu->fd, KVM_SET_MSRS, &msr) != 1)
		log_debug("vCPU %u: KVM refuses MSR 0x%x = 0x%llx", vcpu->index, index,
			(unsigned long long)value);
}

static void set_msrs(const struct vcpu *vcpu)
{
	struct one_msr misc = {.count = 1, .entry = {.index = MSR_MISC_ENABLE}};

	/* KVM keeps bits of its own in this one, and may refuse to have them changed. */
	if (ioctl(vcpu->fd, KVM_GET_MSRS, &misc) == 1)
		set_msr(vcpu, MSR_MISC_ENABLE, misc.entry.data | MISC_FAST_STRING);
	set_msr(vcpu, MSR_MTRR_DEFAULT, MTRR_ENABLE | MTRR_WRITE_BACK);
}

int vcpu_state_init(const struct vcpu *vcpu, struct error *error)
{
	set_msrs(vcpu);
	return set_lapic_pins(vcpu, error);
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool is_64)
{
	return (struct kvm_segment){
		.base = 0,
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = is_64,
		.db = !is_64,
	};
}

static void set_flat(struct kvm_sregs *sregs, const struct vcpu_boot_state *state, bool is_64)
{
	struct kvm_segment data = flat_segment(state->data_selector, TYPE_DATA, false);

	sregs->cs = flat_segment(state->code_selector, TYPE_CODE, is_64);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){
		.limit = 0x67,
		.selector = state->task_selector,
		.type = TYPE_BUSY_TSS,
		.present = 1,
	};
	sregs->gdt.base = state->gdt_base;
	sregs->gdt.limit = state->gdt_limit;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
}

static void set_mode(struct kvm_sregs *sregs, const struct vcpu_boot_state *state)
{
	switch (state->mode) {
	case VCPU_BOOT_WAIT:
		break;
	case VCPU_BOOT_LONG64:
		set_flat(sregs, state, true);
		sregs->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
		sregs->cr3 = state->cr3;
		sregs->cr4 = CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
		break;
	case VCPU_BOOT_PVH32:
		set_flat(sregs, state, false);
		sregs->cr0 = CR0_PE | CR0_ET;
		sregs->cr4 = 0;
		break;
	case VCPU_BOOT_REAL16:
		sregs->cs.base = 0;
		sregs->cs.selector = 0;
		break;
	}
}

int vcpu_set_boot_state(struct vcpu *vcpu, const struct vcpu_boot_state *state, struct error *error)
{
	struct kvm_regs regs = {
		.rip = state->rip,
		.rsp = state->rsp,
		.rsi = state->rsi,
		.rbx = state->rbx,
		.rflags = RFLAGS_RESERVED,
	};
	struct kvm_sregs sregs;
	int code;

	if (state->mode == VCPU_BOOT_WAIT)
		return 0; /* a new vCPU other than the first waits by itself */
	if (!ioctl(vcpu->fd, KVM_GET_SREGS, &sregs)) {
		set_mode(&sregs, state);
		if (!ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) &&
			!ioctl(vcpu->fd, KVM_SET_REGS, &regs))
			return 0;
	}
	code = -errno;
	return error_set(error, code, "KVM refuses the start registers of vCPU %u: %s", vcpu->index,
		strerror(-code));
}
