/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: a guest's write to an address signals an eventfd inside the kernel (ioeventfd). The
 * functions mirror src/pci/doorbell_ops.h. Any thread.
 */
#pragma once

#include <stdint.h>

struct kvm;

/*
 * A write to @gpa signals @eventfd and never reaches user space. Where KVM has zero-length
 * ioeventfds the length is not looked at, which lets hardware KVM skip decoding the instruction;
 * elsewhere writes of 2 and 4 bytes count. Returns 0, -EEXIST where @gpa has a doorbell already,
 * or another negative errno.
 */
int doorbell_attach(const struct kvm *kvm, uint64_t gpa, int eventfd);

/* The opposite, with the same values. */
void doorbell_detach(const struct kvm *kvm, uint64_t gpa, int eventfd);
