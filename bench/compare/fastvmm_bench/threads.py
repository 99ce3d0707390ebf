# SPDX-License-Identifier: Apache-2.0
"""Cumulative counters of a process's threads, read from /proc, and their growth over a window.

Threads are looked for at each reading, since I/O threads and kernel workers come and go. Their files stay
open: a reading of a dozen threads takes a few hundred microseconds, and five a second are made, the same
for every VMM. Values at the bounds of the window are interpolated, which is right for a steady load.
"""
import os
import time
from dataclasses import dataclass

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
COUNTERS = ("cpu_ns", "user_ns", "system_ns", "wait_ns", "voluntary", "involuntary")


@dataclass
class Reading:
    at: float      # time.monotonic()
    threads: dict  # tid -> tuple in the order of COUNTERS
    machine: tuple  # of machine_times()
    children_ns: int = 0  # of processes that the VMM's own came with


class _Thread:
    def __init__(self, directory):
        self.files = []
        try:
            with open(f"{directory}/comm", encoding="utf-8", errors="replace") as file:
                self.name = file.read().strip()
            for name in ("schedstat", "stat", "status"):
                self.files.append(os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise

    def read(self):
        schedstat, stat, status = (os.pread(fd, 8192, 0) for fd in self.files)
        cpu_ns, wait_ns = (int(field) for field in schedstat.split()[:2])
        fields = stat[stat.rindex(b")") + 2:].split()
        switches = [int(line.split()[1]) for line in status.splitlines()
                    if b"voluntary_ctxt_switches" in line]
        return (cpu_ns, int(fields[11]) * _TICK_NS, int(fields[12]) * _TICK_NS, wait_ns, *switches)

    def close(self):
        for fd in self.files:
            os.close(fd)
        self.files = []


class ThreadWatch:
    """Readings of one process. name_of maps every thread ever seen to the name it has last had."""

    def __init__(self, pid):
        self.pid = pid
        self.readings = []
        self.name_of = {}
        self._threads = {}

    def read(self):
        values = {}
        try:
            tids = os.listdir(f"/proc/{self.pid}/task")
        except OSError:
            return
        for tid in tids:
            try:
                if tid not in self._threads:
                    self._threads[tid] = _Thread(f"/proc/{self.pid}/task/{tid}")
                values[tid] = self._threads[tid].read()
            except (OSError, ValueError):
                continue  # it has just ended
        self._rename()
        if values:
            self.readings.append(Reading(time.monotonic(), values, machine_times(),
                                         children_ns(self.pid)))

    def _rename(self):
        """Threads get their names after they were made; look again until they have run a while."""
        for tid, thread in self._threads.items():
            try:
                with open(f"/proc/{self.pid}/task/{tid}/comm", encoding="utf-8",
                          errors="replace") as file:
                    thread.name = file.read().strip()
            except OSError:
                pass
            self.name_of[tid] = thread.name

    def close(self):
        for thread in self._threads.values():
            thread.close()
        self._threads = {}


def children_ns(pid):
    """CPU time of the process's children: what a network workload's VMM talks to (tap.py)."""
    found = 0
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
    except OSError:
        return 0
    for child in children:
        try:
            with open(f"/proc/{child}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue  # it has just ended
        user, system = stat[stat.rindex(b")") + 2:].split()[11:13]
        found += (int(user) + int(system)) * _TICK_NS
    return found


def machine_times():
    """(user and system, steal, idle) of all CPUs in ns, as far as ticks tell."""
    with open("/proc/stat", "rb") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    user, nice, system, idle, iowait, _irq, _softirq, steal = fields
    return ((user + nice + system) * _TICK_NS, steal * _TICK_NS, (idle + iowait) * _TICK_NS)


def _at(readings, when, pick):
    """The value of a cumulative counter at a time; pick(reading) is None where it was not yet there."""
    points = [(reading.at, pick(reading)) for reading in readings]
    points = [(at, 0 if value is None else value) for at, value in points]
    # A thread that ended keeps its last value.
    for i in range(1, len(points)):
        if points[i][1] < points[i - 1][1]:
            points[i] = (points[i][0], points[i - 1][1])
    if when <= points[0][0]:
        return points[0][1]
    for (at0, value0), (at1, value1) in zip(points, points[1:]):
        if when <= at1:
            return value0 + (value1 - value0) * (when - at0) / (at1 - at0)
    return points[-1][1]


def growth(readings, begin, end, pick):
    return _at(readings, end, pick) - _at(readings, begin, pick)


def thread_growth(watch, begin, end):
    """tid -> {counter: growth} over the window."""
    result = {}
    for tid in watch.name_of:
        result[tid] = {
            name: growth(watch.readings, begin, end,
                         lambda r, i=index, t=tid: r.threads[t][i] if t in r.threads else None)
            for index, name in enumerate(COUNTERS)}
    return result


def machine_growth(watch, begin, end):
    """(user and system, steal, idle) in ns over the window."""
    return tuple(growth(watch.readings, begin, end, lambda r, i=index: r.machine[i])
                 for index in range(3))
