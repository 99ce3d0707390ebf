/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A zero-length ioeventfd matches writes of any length, and on hardware KVM also takes the path
 * that does not decode the guest's instruction. Without it there is one ioeventfd for each length
 * that a virtio notification can have: 2 bytes, or 4 with notification data (virtio 1.2, 4.1.5.2).
 */
#include "vcpu/doorbell.h"

#include "vcpu/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

static int set(
	const struct kvm *kvm, uint64_t address, uint32_t length, int eventfd, uint32_t flags)
{
	struct kvm_ioeventfd request = {
		.addr = address,
		.len = length,
		.fd = eventfd,
		.flags = flags,
	};

	return ioctl(kvm_vm_fd(kvm), KVM_IOEVENTFD, &request) ? -errno : 0;
}

int doorbell_attach(const struct kvm *kvm, uint64_t gpa, int eventfd)
{
	int result;

	if (kvm_has(kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH))
		return set(kvm, gpa, 0, eventfd, 0);
	result = set(kvm, gpa, 2, eventfd, 0);
	if (result)
		return result;
	result = set(kvm, gpa, 4, eventfd, 0);
	if (result)
		set(kvm, gpa, 2, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
	return result;
}

void doorbell_detach(const struct kvm *kvm, uint64_t gpa, int eventfd)
{
	if (kvm_has(kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH)) {
		set(kvm, gpa, 0, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
		return;
	}
	set(kvm, gpa, 2, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
	set(kvm, gpa, 4, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
