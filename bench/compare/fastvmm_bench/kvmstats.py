# SPDX-License-Identifier: Apache-2.0
"""KVM's own counters of a VM, from debugfs where it is mounted and readable: the same for every VMM."""
import glob
import os

DIRECTORY = "/sys/kernel/debug/kvm"
NAMES = ("exits", "halt_exits", "io_exits", "mmio_exits", "irq_exits", "irq_injections", "insn_emulation",
         "signal_exits", "request_irq_exits", "hypercalls")


def available():
    return os.path.isdir(DIRECTORY) and os.access(DIRECTORY, os.R_OK | os.X_OK)


def read(pid):
    """{name: value}, summed over the process's VMs; empty where there is none."""
    totals = {}
    for directory in glob.glob(f"{DIRECTORY}/{pid}-*"):
        for name in NAMES:
            try:
                with open(f"{directory}/{name}", encoding="ascii") as file:
                    totals[name] = totals.get(name, 0) + int(file.read())
            except (OSError, ValueError):
                continue
    return totals
