/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge between what PCI functions need (src/pci/msi.h, src/pci/doorbell_ops.h) and what KVM
 * gives (src/vcpu/interrupt.h, src/vcpu/doorbell.h), neither of which knows the other. The results
 * are plain values that borrow their argument. Any thread.
 */
#pragma once

#include "pci/doorbell_ops.h"
#include "pci/msi.h"

struct interrupt_routes;
struct kvm;

struct msi_controller controllers_msi(struct interrupt_routes *routes);
struct doorbell_controller controllers_doorbells(struct kvm *kvm);
