# SPDX-License-Identifier: Apache-2.0
"""From the outcome of a run to figures: rates from the guest, costs from outside, per I/O."""
from . import threads
from .net_guest import translated
from .vmm_fastvmm import own_counters

# fio and iperf3 end their load a while before they end themselves, and run it only after a start: costs are
# taken from a stretch well inside.
LOAD_END_SECONDS = 0.5
LOAD_SHARE = 0.6
ROLES = ("vcpu", "worker", "kernel", "other")
# "kernel" are io_uring's and KVM's workers that the kernel counts among the VMM's threads.


def by_role(setting, watch, begin, end):
    """{role: {counter: growth}} over the window."""
    roles = {role: dict.fromkeys(threads.COUNTERS, 0) for role in ROLES}
    for tid, growth in threads.thread_growth(watch, begin, end).items():
        role = roles[setting.role(watch.name_of[tid])]
        for name, value in growth.items():
            role[name] += value
    return roles


def _kvm_growth(points, begin, end):
    """{name: growth}; the readings nearest to the window's bounds are used, scaled to its length."""
    inside = [(at, values) for at, values in points if begin <= at <= end + 0.05]
    if len(inside) < 2:
        return {}
    (at0, first), (at1, last) = inside[0], inside[-1]
    scale = (end - begin) / (at1 - at0)
    return {name: (last[name] - first[name]) * scale for name in last if name in first}


def window(outcome):
    """The measured time, seen from outside. While a VM idles, it lies between two readings, since what
    came before was no steady load."""
    guest = outcome.guest
    if guest.get("idle_ns"):
        begin = outcome.line_at - guest["idle_ns"] / 1e9
        inside = [r.at for r in outcome.watch.readings if begin + 0.1 < r.at < outcome.line_at]
        if len(inside) >= 2:
            return inside[0], inside[-1]
    if guest.get("guest") in ("fio", "streams"):
        end = outcome.line_at - LOAD_END_SECONDS
        return end - LOAD_SHARE * guest["measured_ns"] / 1e9, end
    return outcome.line_at - guest.get("measured_ns", 0) / 1e9, outcome.line_at


def _rates(guest):
    metrics = {name: guest[name] for name in ("iops", "bytes_per_s", "frames_per_s", "requests_per_s")
               if name in guest}
    for name, value in guest.get("latency_ns", {}).items():
        metrics[f"latency_{name}_ns"] = value
    return metrics


def _counts(guest, metrics):
    """The guest's own count of notifications. The bare guest counts while it measures; a Linux guest's job
    over the whole run with its ramp, and no kicks."""
    counted = guest.get("total" if "kernel" in guest else "ios", 0)
    if not counted:
        return
    if "interrupts" in guest:
        metrics["interrupts_per_io"] = guest["interrupts"] / counted
    if "kicks" in guest:
        metrics["kicks_per_io"] = guest["kicks"] / counted
        metrics["notifications_per_io"] = metrics["kicks_per_io"] + metrics.get("interrupts_per_io", 0)
    if "enters" in guest:  # the host's loop
        metrics["syscalls_per_io"] = guest["enters"] / guest["ios"]


def _costs(roles, kvm, ios, metrics):
    for role in ROLES:
        metrics[f"cpu_{role}_ns_per_io"] = roles[role]["cpu_ns"] / ios
    metrics["cpu_io_ns_per_io"] = sum(roles[r]["cpu_ns"] for r in ROLES if r != "vcpu") / ios
    metrics["cpu_total_ns_per_io"] = sum(roles[r]["cpu_ns"] for r in ROLES) / ios
    metrics["switches_per_io"] = sum(
        roles[r]["voluntary"] + roles[r]["involuntary"] for r in ROLES) / ios
    if "exits" in kvm:
        metrics["exits_per_io"] = kvm["exits"] / ios


def evaluate(setting, outcome):
    """(metrics, ledger) of a run."""
    guest = outcome.guest = translated(outcome.guest)
    begin, end = window(outcome)
    roles = by_role(setting, outcome.watch, begin, end)
    kvm = _kvm_growth(outcome.kvm, begin, end)
    metrics = _rates(guest)
    _counts(guest, metrics)
    rate = guest.get("iops") or guest.get("units_per_s") or guest.get("frames_per_s")
    if rate and end > begin:
        _costs(roles, kvm, rate * (end - begin), metrics)
    if outcome.init_at:
        metrics["init_ns"] = (outcome.init_at - outcome.started) * 1e9
    if guest.get("idle_ns") and end > begin:
        used = sum(role["cpu_ns"] for role in roles.values())
        metrics["idle_cpu"] = used / ((end - begin) * 1e9)
    if guest.get("workload") == "info":
        # The guest says how long it had been running when it began to print.
        setup = guest["machine"]["setup_ns"]
        metrics["start_ns"] = (outcome.line_at - outcome.started) * 1e9 - setup
    if outcome.memory:
        metrics["memory_beyond_guest"] = outcome.memory["resident"]
        metrics["memory_private"] = outcome.memory["private"]
    ledger = {"roles": roles, "kvm": kvm, "memory": outcome.memory}
    if outcome.own:
        found, ledger["own"] = own_counters(outcome.own, guest["total"] if "units_per_s" in guest else 0)
        metrics = {**found, **metrics}  # what the guest counts means the same for every VMM
    return metrics, ledger
