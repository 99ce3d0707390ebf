# SPDX-License-Identifier: Apache-2.0
"""What the tests share: the package's path, and results documents made of known numbers."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench", "compare"))

from fastvmm_bench import compare, profiles  # noqa: E402 (the path comes first)

ENVIRONMENT = {
    "machine": "0123456789abcdef", "processor": "Test processor", "cpus": 2, "memory_bytes": 1 << 34,
    "kernel": "6.1.0", "virtualisation": "hardware KVM", "guest_sha256": "00", "file_system": "ext4",
    "disk_bytes": 1 << 29, "transparent_hugepages": "madvise", "frequency_governor": "performance",
    "mitigations": {"spectre_v2": "Mitigation: test"}, "system": "Debian GNU/Linux 12 (bookworm)",
}
QUIET = {"steal": 0.001, "foreign": 0.01, "calibration_ns": 5000000, "load_1min": 0.1,
         "frequency_mhz": None}
NAMES = {"fastvmm": "fastvmm", "qemu-7.2-q35-io_uring-iothread": "qemu", "host": "host"}


def guest(queue_size=256, qd=32, features="0x130007e44"):
    return {"guest": "bareguest", "status": "ok", "params": {"rw": "randread", "bs": 4096, "qd": qd},
            "machine": {"cpus": 1, "ram_bytes": 1 << 27, "tsc_source": "kvmclock", "apic": "xapic"},
            "disks": [{"sectors": 1 << 20, "block_size": 512, "queues_offered": 1,
                       "features": features}],
            "queues": [{"size": queue_size}]}


def sample(workload, setting, number, metrics, noisy=False, document=None):
    return {"workload": workload, "setting": setting, "round": number, "kind": "main",
            "order": 0, "metrics": metrics, "ledger": {}, "noise": dict(QUIET), "noisy": noisy,
            "guest": document or guest()}


def document(workloads, values, rounds=7, noisy=False):
    """Results in which values(workload, setting, round) gives the metrics (None: did not run)."""
    results = {
        "tool": "fastvmm-bench", "version": 1, "profile": "test", "began": "2024-01-01T00:00:00+0000",
        "seconds": 1.0, "warmup": 0.5, "pairs": rounds, "environment": dict(ENVIRONMENT),
        "settings": [{"name": name, "label": name, "family": family,
                      "configuration": {"program": {"qemu": "QEMU 7.2.0"}.get(family, name)}}
                     for name, family in NAMES.items()],
        "workloads": {w.name: w.describe() for w in workloads}, "plan": [], "preselection": [],
        "samples": [], "skipped": [], "command_lines": {}, "noise": {"complaints": []},
    }
    for workload in workloads:
        order = [name for name in NAMES if values(workload, name, 0) is not None]
        results["plan"].append({"workload": workload.name, "settings": order, "row": workload.row,
                                "metric": workload.metric, "also": list(workload.also)})
        for name in order:
            results["command_lines"][f"{workload.name}/{name}"] = f"{name} --for <{workload.name}>"
            results["samples"] += [sample(workload.name, name, number,
                                          values(workload, name, number), noisy)
                                   for number in range(rounds)]
    return compare.analyse(results)


def plausible(workload, setting, number):
    """Metrics for any workload: fastvmm 1.5 times QEMU, the host 1.25 times fastvmm."""
    if setting == "host" and not workload.host_limit:
        return None
    factor = {"fastvmm": 1.5, "host": 1.9}.get(setting, 1.0) * (1 + 0.01 * ((number * 5) % 7 - 3))
    if workload.kind == "boot":
        return {"start_ns": 20e6 / factor}
    if workload.kind == "idle":
        return {"idle_cpu": 0.001 / factor, "memory_beyond_guest": 8e6 / factor,
                "memory_private": 4e6 / factor}
    depth = workload.depth
    iops = 100000 * factor * depth / (depth + 3)
    if workload.words.get("rate"):
        iops = float(workload.words["rate"])
    found = {"iops": iops, "bytes_per_s": iops * int(workload.words["bs"]),
             "latency_mean_ns": depth / iops * 1e9, "latency_p50_ns": 0.9e9 * depth / iops,
             "latency_p99_ns": 3e9 * depth / iops, "latency_p99.9_ns": 9e9 * depth / iops,
             "cpu_vcpu_ns_per_io": 0 if setting == "host" else 1e9 / iops,
             "cpu_worker_ns_per_io": 2000 / factor, "cpu_kernel_ns_per_io": 100.0,
             "cpu_other_ns_per_io": 0.0, "cpu_io_ns_per_io": 2100 / factor,
             "cpu_total_ns_per_io": 1e9 / iops + 2100 / factor, "switches_per_io": 0.01}
    if setting != "host":
        found.update(kicks_per_io=0.1, interrupts_per_io=0.0, notifications_per_io=0.1)
    return found


def full_document():
    return document(profiles.workloads("standard"), plausible)
