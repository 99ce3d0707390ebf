# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a host: what makes two sets of results comparable, and what explains them."""
import glob
import hashlib
import os
import platform

# Two results are alike only where all of these agree.
IDENTITY = ("machine", "processor", "cpus", "kernel", "virtualisation", "guest_sha256", "file_system",
            "transparent_hugepages")


def _read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return default


def _cpuinfo(name):
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return ""


def _flags():
    return set(_cpuinfo("flags").split())


def software_kvm():
    """KVM without VMX or SVM (PVM): guests' kernels are interpreted there."""
    return not _flags() & {"vmx", "svm"}


def _virtualisation():
    if software_kvm():
        return "software-only KVM (no vmx, no svm)"
    return "nested KVM" if "hypervisor" in _flags() else "hardware KVM"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _machine():
    """One machine's id, without giving the id itself away."""
    return hashlib.sha256(("fastvmm-bench" + _read("/etc/machine-id")).encode()).hexdigest()[:16]


def fingerprint(context):
    thp = _read("/sys/kernel/mm/transparent_hugepage/enabled")
    governors = {_read(path) for path in
                 glob.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")}
    return {
        "machine": _machine(),
        "processor": _cpuinfo("model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "virtualisation": _virtualisation(),
        "guest_sha256": sha256(context.guest) if context.guest else "",
        "file_system": context.file_system,
        "disk_bytes": context.disk_size,
        "transparent_hugepages": thp[thp.find("[") + 1:thp.find("]")] if "[" in thp else thp,
        "frequency_governor": ", ".join(sorted(governors)) or "not shown by this host",
        "mitigations": {os.path.basename(path): _read(path) for path in
                        sorted(glob.glob("/sys/devices/system/cpu/vulnerabilities/*"))},
        "system": _read("/etc/os-release").partition("PRETTY_NAME=")[2].partition("\n")[0].strip('"'),
    }


def unlike(first, second):
    """What keeps two fingerprints from being compared: [(field, first, second)]."""
    return [(name, first.get(name), second.get(name)) for name in IDENTITY
            if first.get(name) != second.get(name)]
