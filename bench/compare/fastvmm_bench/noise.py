# SPDX-License-Identifier: Apache-2.0
"""The noise guard: was the host quiet while a run was measured?

Three figures a run: the part of the time that the hypervisor above took away (steal), the CPU time that
processes other than the VMM, the program that its guest talks to and this one used, and the time that a fixed
piece of work took just before the run, which shows a change of the processor's frequency where no file tells it.
"""
import os
import time

from . import ledger, threads

STEAL_MAX = 0.03          # of all CPUs' time
FOREIGN_MAX = 0.10        # of one CPU
SPEED_SPREAD_MAX = 1.15   # slowest calibration over the median one
_WORK = 120000


def calibrate():
    """Nanoseconds that a fixed piece of work takes: the quickest of three, so that being interrupted
    does not count."""
    best = None
    for _ in range(3):
        begin = time.perf_counter_ns()
        total = 0
        for number in range(_WORK):
            total += number
        elapsed = time.perf_counter_ns() - begin
        best = elapsed if best is None else min(best, elapsed)
    return best


def frequency_mhz():
    """Of the quickest CPU now, or None where the host does not say."""
    values = []
    for index in range(os.cpu_count() or 1):
        try:
            with open(f"/sys/devices/system/cpu/cpu{index}/cpufreq/scaling_cur_freq",
                      encoding="ascii") as file:
                values.append(int(file.read()) / 1000)
        except (OSError, ValueError):
            continue
    return max(values) if values else None


def before_run():
    return {"calibration_ns": calibrate(), "load_1min": os.getloadavg()[0],
            "frequency_mhz": frequency_mhz(), "own_cpu_ns": time.process_time_ns()}


def after_run(before, setting, outcome):
    """What is kept with the sample."""
    begin, end = ledger.window(outcome)
    if not outcome.watch.readings or end <= begin:
        return {**before, "steal": None, "foreign": None}
    busy, steal, idle = threads.machine_growth(outcome.watch, begin, end)
    roles = ledger.by_role(setting, outcome.watch, begin, end)
    used = sum(role["cpu_ns"] for role in roles.values()) + threads.growth(
        outcome.watch.readings, begin, end, lambda reading: reading.children_ns)
    whole = max(outcome.ended - outcome.started, 1e-3)
    own = (time.process_time_ns() - before["own_cpu_ns"]) * (end - begin) / whole
    total = busy + steal + idle
    return {**before, "steal": steal / total if total else None,
            "foreign": max(0.0, busy - used - own) / ((end - begin) * 1e9)}


def complaints(noise):
    """Why a run should be made again; empty where it was quiet."""
    found = []
    if noise.get("steal") is not None and noise["steal"] > STEAL_MAX:
        found.append(f"steal {100 * noise['steal']:.0f} %")
    if noise.get("foreign") is not None and noise["foreign"] > FOREIGN_MAX:
        found.append(f"other processes used {100 * noise['foreign']:.0f} % of a CPU")
    return found


def speed_complaint(calibrations):
    """Did the processor's speed change in the course of the runs?"""
    if len(calibrations) < 3:
        return ""
    ordered = sorted(calibrations)
    middle = ordered[len(ordered) // 2]
    if ordered[-1] <= SPEED_SPREAD_MAX * middle:
        return ""
    return (f"the processor's speed varied: a fixed piece of work took from "
            f"{ordered[0] / 1e6:.1f} to {ordered[-1] / 1e6:.1f} ms")
