#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What idle devices beside it cost a busy disk: the bare guest on one disk, in machines that grow.

Usage: growth.py [--rounds N] [--seconds N] [--fastvmm PATH] [--guest PATH]

Each machine runs 4 KiB random reads at depth 32 on the first queue of its first disk, a file in the page
cache; what else it has is ready but unused. Runs are interleaved, the order changes every round. Prints
each machine's median rate and its ratio to the machine that has the one disk only, with the 95 % interval,
the same of each machine's best run, which a noisy host disturbs least, and the worker's turns a request, which
the noise hardly touches.
NICs need root: everything happens in a network namespace of its own.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import guests
from fastvmm_bench import stats

DISK_BYTES, IDLE_DISK_BYTES = 256 << 20, 1 << 20
# name: (disks, queues of each disk, NICs)
MACHINES = {"1 disk": (1, 1, 0), "4 disks": (4, 1, 0), "16 disks": (16, 1, 0),
            "4 queues": (1, 4, 0), "16 queues": (1, 16, 0), "1 NIC": (1, 1, 1), "64 NICs": (1, 1, 64)}


def command(options, directory, disks, queues, nics):
    words = [options.fastvmm, "--quiet", "--kernel", options.guest, "--memory", "128M", "--no-reboot",
             "--workers", 1, "--stats", f"{directory}/stats", "--cmdline",
             f"blk rw=randread bs=4096 qd=32 mode=poll time={options.seconds}s warmup=200ms queues=1"]
    for number in range(disks):
        words += ["--disk", f"{directory}/disk{number},cache=writeback,queues={queues}"]
    for _ in range(nics):
        words += ["--net", "tap=auto,queues=1"]
    return [str(word) for word in words]


def run(words, directory):
    """(I/O per second, turns of the worker a request) of one machine."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    result = json.loads(lines[-1]) if lines else {}
    if result.get("status") != "ok":
        sys.exit(f"growth.py: the guest failed: {result.get('reason')}{done.stderr}")
    with open(f"{directory}/stats", encoding="utf-8") as file:
        worker = json.load(file)["workers"][0]
    return result["iops"], worker["loops"] / worker["work"]


def make_disks(directory):
    for number in range(max(disks for disks, _, _ in MACHINES.values())):
        with open(f"{directory}/disk{number}", "wb") as disk:
            disk.write(os.urandom(IDLE_DISK_BYTES if number else DISK_BYTES))


def show(samples):
    alone = [rate for rate, _ in samples[next(iter(MACHINES))]]
    print(f"{'machine':12}{'I/O per second':>16}{'to the first':>14}   {'95 % interval':16}{'best':>12}"
          f"{'to the first':>14}{'turns a request':>17}")
    for name, runs in samples.items():
        rates = [rate for rate, _ in runs]
        ratio = stats.paired_ratio(rates, alone)
        interval = f"{ratio['low']:.3f} to {ratio['high']:.3f}"
        print(f"{name:12}{statistics.median(rates):16.0f}{ratio['ratio']:14.3f}   {interval:16}"
              f"{max(rates):12.0f}{max(rates) / max(alone):14.3f}"
              f"{statistics.median(turns for _, turns in runs):17.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--fastvmm", type=pathlib.Path, default=guests.TOP / "build/fastvmm")
    parser.add_argument("--guest", type=pathlib.Path,
                        default=guests.TOP / "build/bench/guest/bareguest.elf")
    options = parser.parse_args()
    guests.in_namespace("growth.py")
    with tempfile.TemporaryDirectory(dir=options.fastvmm.parent) as directory:
        make_disks(directory)
        samples = {name: [] for name in MACHINES}
        for number, name in guests.interleaved(list(MACHINES), options.rounds):
            samples[name].append(run(command(options, directory, *MACHINES[name]), directory))
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
    show(samples)


if __name__ == "__main__":
    main()
