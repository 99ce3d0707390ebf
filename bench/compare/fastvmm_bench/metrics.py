# SPDX-License-Identifier: Apache-2.0
"""The measured quantities: title, unit, which direction is better, how to print them."""
from dataclasses import dataclass
from typing import Callable

from . import units


@dataclass(frozen=True)
class Metric:
    name: str
    title: str
    unit: str
    better: str  # "higher", "lower"
    show: Callable[[float], str]


_METRICS = [
    Metric("iops", "I/O per second", "1/s", "higher", units.rate),
    Metric("bytes_per_s", "bandwidth", "B/s", "higher", units.octets_per_second),
    Metric("latency_mean_ns", "mean latency", "ns", "lower", units.nanoseconds),
    Metric("latency_p50_ns", "median latency", "ns", "lower", units.nanoseconds),
    Metric("latency_p99_ns", "99th percentile latency", "ns", "lower", units.nanoseconds),
    Metric("latency_p99.9_ns", "99.9th percentile latency", "ns", "lower", units.nanoseconds),
    Metric("latency_p99.99_ns", "99.99th percentile latency", "ns", "lower", units.nanoseconds),
    Metric("cpu_vcpu_ns_per_io", "vCPU threads' CPU time per I/O", "ns", "lower", units.nanoseconds),
    Metric("cpu_worker_ns_per_io", "I/O threads' CPU time per I/O", "ns", "lower", units.nanoseconds),
    Metric("cpu_kernel_ns_per_io", "kernel workers' CPU time per I/O", "ns", "lower",
           units.nanoseconds),
    Metric("cpu_other_ns_per_io", "other threads' CPU time per I/O", "ns", "lower", units.nanoseconds),
    Metric("cpu_io_ns_per_io", "CPU time per I/O outside vCPU threads", "ns", "lower",
           units.nanoseconds),
    Metric("cpu_total_ns_per_io", "all CPU time per I/O", "ns", "lower", units.nanoseconds),
    Metric("kicks_per_io", "kicks per I/O", "1", "lower", units.significant),
    Metric("interrupts_per_io", "interrupts per I/O", "1", "lower", units.significant),
    Metric("notifications_per_io", "kicks and interrupts per I/O", "1", "lower", units.significant),
    Metric("switches_per_io", "context switches per I/O", "1", "lower", units.significant),
    Metric("exits_per_io", "KVM exits per I/O", "1", "lower", units.significant),
    Metric("syscalls_per_io", "system calls of I/O threads per I/O", "1", "lower", units.significant),
    Metric("memory_beyond_guest", "memory beyond guest RAM", "B", "lower", units.octets),
    Metric("memory_private", "private memory beyond guest RAM", "B", "lower", units.octets),
    Metric("start_ns", "start to the guest's first instruction", "ns", "lower", units.nanoseconds),
    Metric("init_ns", "start to the guest's init", "ns", "lower", units.nanoseconds),
    Metric("idle_cpu", "CPU used by an idle VM", "of a core", "lower", units.percent),
    Metric("frames_per_s", "frames per second", "1/s", "higher", units.rate),
    Metric("requests_per_s", "request-response pairs per second", "1/s", "higher", units.rate),
]
METRICS = {metric.name: metric for metric in _METRICS}

# The cost ledger's order in tables.
LEDGER = ["cpu_vcpu_ns_per_io", "cpu_worker_ns_per_io", "cpu_kernel_ns_per_io",
          "cpu_other_ns_per_io", "kicks_per_io", "interrupts_per_io", "switches_per_io",
          "exits_per_io", "syscalls_per_io"]


def get(name):
    return METRICS[name]


def show(name, value):
    return "-" if value is None else METRICS[name].show(value)


def advantage(name, ratio):
    """A ratio first/second turned so that above 1 is better for the first."""
    if ratio is None:
        return None
    return ratio if METRICS[name].better == "higher" else 1 / ratio


def advantage_interval(name, low, high):
    if low is None or high is None:
        return None, None
    return (low, high) if METRICS[name].better == "higher" else (1 / high, 1 / low)
