/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to tell the user when KVM gives up on a guest. The line that goes up names the instruction
 * and the likeliest cause, which depends on the kind of KVM: a software-only one interprets the
 * guest's kernel and lacks many instructions, a hardware one gives up only on exotic guests or on
 * trouble of its own. The registers go to the log.
 */
#include "vcpu/vcpu_internal.h"

#include "memory/guest_memory.h"
#include "util/log.h"
#include "vcpu/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define INSTRUCTION_MAX 15u
#define PAGE_BYTES      4096u

/* Newer than Debian 12's headers. */
#define EXIT_MEMORY_FAULT 39u

#define SOFTWARE_ONLY_ADVICE                                                                       \
	"this host's KVM is software-only (PVM) and cannot emulate this instruction of a stock "   \
	"kernel; run it with tools/nested-host, or on a host with VMX or SVM"

#define MEMORY_ADVICE                                                                              \
	"the host cannot provide a page of guest memory: give it more memory or huge pages, or "   \
	"the guest less (--memory)"

/* What an exit tells about itself. */
struct scene {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t bytes[INSTRUCTION_MAX];
	size_t length;
	bool page_missing;                 /* rip is in RAM, but this host has no page for it */
	char hex[INSTRUCTION_MAX * 3 + 1]; /* "?" where the bytes cannot be read */
};

/* ---- instruction names ---- */

static bool is_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	case 0x66:
	case 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return true;
	default:
		return false;
	}
}

/* The opcode groups whose ModRM byte chooses the instruction; NULL for those of no interest. */
static const char *group_name(uint8_t opcode, uint8_t modrm, bool wide)
{
	static const char *const group15[8] = {"fxsave", "fxrstor", "ldmxcsr", "stmxcsr", "xsave",
		"xrstor", "xsaveopt", "clflush"};
	static const char *const group9[8] = {
		NULL, "cmpxchg8b", NULL, "xrstors", "xsavec", "xsaves", NULL, NULL};
	bool memory = modrm >> 6 != 3;
	unsigned reg = modrm >> 3 & 7;

	switch (opcode) {
	case 0x01:
		return modrm == 0xd0   ? "xgetbv"
		       : modrm == 0xd1 ? "xsetbv"
		       : modrm == 0xca ? "clac"
		       : modrm == 0xcb ? "stac"
		                       : NULL;
	case 0xae:
		return memory ? group15[reg] : NULL;
	case 0xc7:
		if (!memory)
			return reg == 6 ? "rdrand" : reg == 7 ? "rdseed" : NULL;
		return reg == 1 && wide ? "cmpxchg16b" : group9[reg];
	default:
		return NULL;
	}
}

const char *vcpu_instruction_name(const uint8_t *bytes, size_t length)
{
	bool wide = false;
	size_t at = 0;

	while (at < length && is_prefix(bytes[at]))
		at++;
	if (at < length && (bytes[at] & 0xf0) == 0x40) /* REX, the last prefix */
		wide = bytes[at++] & 8;
	if (at >= length)
		return NULL;
	switch (bytes[at]) {
	case 0xcc:
		return "int3";
	case 0xcd:
		return "int";
	case 0xcf:
		return "iret";
	case 0xc4:
	case 0xc5:
		return "an AVX instruction";
	case 0x62:
		return "an AVX-512 instruction";
	case 0x0f:
		return length - at >= 3 ? group_name(bytes[at + 1], bytes[at + 2], wide) : NULL;
	default:
		return NULL;
	}
}

/* ---- the scene ---- */

/* Newer kernels hand the bytes over. */
static size_t bytes_from_exit(const struct kvm_run *run, uint8_t *bytes)
{
	size_t length;

	if (run->exit_reason != KVM_EXIT_INTERNAL_ERROR ||
		run->emulation_failure.suberror != KVM_INTERNAL_ERROR_EMULATION ||
		run->emulation_failure.ndata < 3 ||
		!(run->emulation_failure.flags &
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return 0;
	length = min_of((size_t)run->emulation_failure.insn_size, (size_t)INSTRUCTION_MAX);
	memcpy(bytes, run->emulation_failure.insn_bytes, length);
	return length;
}

/*
 * Reads guest memory that may have no page behind it on this host, which is one of the troubles to
 * be diagnosed: a plain access would raise a signal where this only fails.
 */
static bool read_carefully(void *from, void *buffer, size_t length)
{
	struct iovec source = {.iov_base = from, .iov_len = length};
	struct iovec target = {.iov_base = buffer, .iov_len = length};

	return process_vm_readv(getpid(), &target, 1, &source, 1, 0) == (ssize_t)length;
}

/* Else they are read where RIP points, as far as the page goes. */
static void bytes_from_memory(const struct vcpu *vcpu, struct scene *scene)
{
	uint64_t linear = scene->sregs.cs.l ? scene->regs.rip
	                                    : (uint32_t)(scene->sregs.cs.base + scene->regs.rip);
	struct kvm_translation translation = {.linear_address = linear};
	size_t length = min_of((size_t)INSTRUCTION_MAX, (size_t)(PAGE_BYTES - linear % PAGE_BYTES));
	void *from;

	if (!vcpu->memory || ioctl(vcpu->fd, KVM_TRANSLATE, &translation) || !translation.valid)
		return;
	from = guest_memory_pointer(vcpu->memory, translation.physical_address, length);
	if (!from)
		return;
	if (read_carefully(from, scene->bytes, length))
		scene->length = length;
	else
		scene->page_missing = errno == EFAULT;
}

static void look(const struct vcpu *vcpu, struct scene *ret_scene)
{
	struct scene scene = {.hex = "?"};

	ioctl(vcpu->fd, KVM_GET_REGS, &scene.regs);
	ioctl(vcpu->fd, KVM_GET_SREGS, &scene.sregs);
	scene.length = bytes_from_exit(vcpu->run, scene.bytes);
	if (!scene.length)
		bytes_from_memory(vcpu, &scene);
	for (size_t i = 0; i < scene.length; i++)
		snprintf(scene.hex + i * 3, 4, "%02x%s", scene.bytes[i],
			i + 1 < scene.length ? " " : "");
	*ret_scene = scene;
}

static void log_registers(const struct vcpu *vcpu, const struct scene *scene)
{
	const struct kvm_regs *r = &scene->regs;
	const struct kvm_sregs *s = &scene->sregs;

	log_info("vCPU %u: rip %016llx  rflags %08llx  cs %04x  ss %04x  cpl %u  code: %s",
		vcpu->index, r->rip, r->rflags, s->cs.selector, s->ss.selector, s->ss.dpl,
		scene->hex);
	log_info("vCPU %u: rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx", vcpu->index, r->rax,
		r->rbx, r->rcx, r->rdx);
	log_info("vCPU %u: rsi %016llx  rdi %016llx  rbp %016llx  rsp %016llx", vcpu->index, r->rsi,
		r->rdi, r->rbp, r->rsp);
	log_info("vCPU %u: r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx", vcpu->index, r->r8,
		r->r9, r->r10, r->r11);
	log_info("vCPU %u: r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx", vcpu->index, r->r12,
		r->r13, r->r14, r->r15);
	log_info("vCPU %u: cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  efer %04llx",
		vcpu->index, s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
}

/* ---- the line for the user ---- */

static void explain_emulation(
	const struct vcpu *vcpu, const struct scene *scene, struct vcpu_end *end)
{
	const char *name = vcpu_instruction_name(scene->bytes, scene->length);
	const char *why = "the guest has jumped astray, or reaches a device or unbacked memory by "
			  "an instruction that KVM does not know";

	/* Where there are no bytes, rip points outside RAM: no instruction is to blame. */
	if (scene->page_missing)
		why = MEMORY_ADVICE;
	else if (kvm_kind(vcpu->kvm) == KVM_KIND_SOFTWARE && scene->length)
		why = SOFTWARE_ONLY_ADVICE;
	end->code = error_set(&end->error, -EOPNOTSUPP,
		"vCPU %u: KVM cannot emulate the guest's instruction at rip 0x%llx (%s%s%s): %s",
		vcpu->index, scene->regs.rip, scene->hex, name ? ": " : "", name ? name : "", why);
}

static void explain_internal_error(
	const struct vcpu *vcpu, const struct scene *scene, struct vcpu_end *end)
{
	const char *what;

	switch (vcpu->run->internal.suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		explain_emulation(vcpu, scene, end);
		return;
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		what = "several exceptions at once";
		break;
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		what = "an exit while an interrupt was being delivered";
		break;
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		what = "an exit that KVM does not know";
		break;
	default:
		what = "an unnamed internal error";
		break;
	}
	end->code = error_set(&end->error, -EOPNOTSUPP,
		"vCPU %u: KVM gave up at rip 0x%llx: %s (suberror %u)%s", vcpu->index,
		scene->regs.rip, what, vcpu->run->internal.suberror,
		kvm_kind(vcpu->kvm) == KVM_KIND_SOFTWARE
			? "; this host's KVM is software-only (PVM): run the guest with "
			  "tools/nested-host, or on a host with VMX or SVM"
			: "; see the host's kernel log");
}

void vcpu_diagnose_exit(const struct vcpu *vcpu, struct vcpu_end *ret_end)
{
	const struct kvm_run *run = vcpu->run;
	struct scene scene;

	look(vcpu, &scene);
	ret_end->reason = VCPU_END_CANNOT_RUN;
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		explain_internal_error(vcpu, &scene, ret_end);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		ret_end->code = error_set(&ret_end->error, -EOPNOTSUPP,
			"vCPU %u: the processor refuses to enter the guest at rip 0x%llx: hardware "
			"reason 0x%llx; see the host's kernel log",
			vcpu->index, scene.regs.rip, run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_UNKNOWN:
		ret_end->code = error_set(&ret_end->error, -EOPNOTSUPP,
			"vCPU %u: KVM does not understand the processor's exit at rip 0x%llx: "
			"hardware reason 0x%llx; see the host's kernel log",
			vcpu->index, scene.regs.rip, run->hw.hardware_exit_reason);
		break;
	default:
		ret_end->reason = VCPU_END_HOST_FAILURE;
		ret_end->code = error_set(&ret_end->error, -EPROTO,
			"vCPU %u: KVM left the guest at rip 0x%llx for a reason that fastvmm does "
			"not know: %u",
			vcpu->index, scene.regs.rip, run->exit_reason);
		break;
	}
	log_registers(vcpu, &scene);
}

/* AMD processors reset themselves first: rip 0xfff0 there says nothing. */
void vcpu_diagnose_shutdown(const struct vcpu *vcpu)
{
	struct scene scene;

	look(vcpu, &scene);
	log_debug("vCPU %u: triple fault, rip 0x%llx, rsp 0x%llx, cr3 0x%llx, code: %s",
		vcpu->index, scene.regs.rip, scene.regs.rsp, scene.sregs.cr3, scene.hex);
}

/* The kernel could not get at guest memory: the usual cause is an empty pool of huge pages. */
static bool is_memory_failure(const struct kvm_run *run, int code)
{
	return code == -EFAULT || code == -EHWPOISON || code == -ENOMEM ||
	       run->exit_reason == EXIT_MEMORY_FAULT;
}

void vcpu_diagnose_failure(const struct vcpu *vcpu, int code, struct vcpu_end *ret_end)
{
	struct scene scene;

	look(vcpu, &scene);
	ret_end->reason = VCPU_END_HOST_FAILURE;
	ret_end->code = error_set(&ret_end->error, code,
		"vCPU %u: KVM cannot go on with the guest at rip 0x%llx: %s%s", vcpu->index,
		scene.regs.rip, strerror(-code),
		is_memory_failure(vcpu->run, code) ? "; " MEMORY_ADVICE : "");
	log_registers(vcpu, &scene);
}
