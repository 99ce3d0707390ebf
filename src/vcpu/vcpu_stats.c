/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most exits never reach user space: doorbells, interrupt windows, halts. The kernel counts them
 * and shows the counts in a small file a vCPU: a header, descriptors with names, the values (KVM
 * API, KVM_GET_STATS_FD). The descriptors are looked through once; then a value is one 8-byte read.
 * The file is opened at the start because the request for it would wait for a running vCPU.
 */
#include "vcpu/vcpu_internal.h"

#include "util/cleanup.h"
#include "util/fd.h"
#include "vcpu/kvm.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Far more than any kernel has; bounds what is read on its word. */
#define DESCRIPTORS_MAX 1024u
#define NAME_MAX_SIZE   256u

const char *const vcpu_kernel_stat_names[VCPU_KERNEL_STATS] = {
	"exits",
	"io_exits",
	"mmio_exits",
	"halt_exits",
	"irq_exits",
	"irq_window_exits",
	"signal_exits",
	"irq_injections",
	"halt_wakeup",
	"halt_attempted_poll",
	"halt_successful_poll",
	"insn_emulation",
	"insn_emulation_fail",
	"hypercalls",
};

static void note_offset(struct vcpu *vcpu, const struct kvm_stats_header *header,
	const struct kvm_stats_desc *descriptor)
{
	for (size_t i = 0; i < VCPU_KERNEL_STATS; i++) {
		if (!strncmp(descriptor->name, vcpu_kernel_stat_names[i], header->name_size))
			vcpu->stat_offsets[i] = header->data_offset + descriptor->offset;
	}
}

static void find_offsets(struct vcpu *vcpu)
{
	struct kvm_stats_header header;
	auto_free char *descriptors = NULL;
	size_t size;

	if (fd_pread_full(vcpu->stats_fd, &header, sizeof(header), 0) ||
		header.num_desc > DESCRIPTORS_MAX || header.name_size > NAME_MAX_SIZE)
		return;
	size = sizeof(struct kvm_stats_desc) + header.name_size;
	descriptors = calloc(header.num_desc, size);
	if (!descriptors || fd_pread_full(vcpu->stats_fd, descriptors, header.num_desc * size,
				    header.desc_offset))
		return;
	for (size_t i = 0; i < header.num_desc; i++)
		note_offset(vcpu, &header, (struct kvm_stats_desc *)(descriptors + i * size));
}

void vcpu_stats_init(struct vcpu *vcpu)
{
	if (!kvm_has(vcpu->kvm, KVM_CAP_BINARY_STATS_FD))
		return;
	vcpu->stats_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, NULL);
	if (vcpu->stats_fd >= 0)
		find_offsets(vcpu);
}

void vcpu_kernel_stats(const struct vcpu *vcpu, uint64_t values[VCPU_KERNEL_STATS])
{
	for (size_t i = 0; i < VCPU_KERNEL_STATS; i++) {
		uint64_t offset = vcpu->stat_offsets[i];

		values[i] = VCPU_STAT_UNKNOWN;
		if (offset)
			fd_pread_full(vcpu->stats_fd, &values[i], sizeof(values[i]), (off_t)offset);
	}
}
