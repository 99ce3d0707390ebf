#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stands for a VMM with its guest: prints the guest's JSON line with the rate that it is told.

Usage: fake_vmm.py RATE STATE-FILE GUEST-WORDS
The state file counts the runs; from run to run the rate varies by a known few percent. A rate of 0 fails
as a guest would, a negative one prints nothing, nor does fail-at=DEPTH at that depth.
"""
import json
import sys


def count_of(path):
    try:
        with open(path, encoding="ascii") as file:
            count = int(file.read()) + 1
    except (OSError, ValueError):
        count = 0
    with open(path, "w", encoding="ascii") as file:
        file.write(str(count))
    return count


def main():
    rate, words = float(sys.argv[1]), dict(word.partition("=")[::2] for word in " ".join(sys.argv[3:]).split())
    if rate < 0 or words["qd"] == words.get("fail-at"):
        sys.exit("fake_vmm: no such luck")
    iops = rate * (1 + 0.01 * ((count_of(sys.argv[2]) * 3) % 5 - 2))
    milliseconds = int(words["time"].removesuffix("ms"))
    ios = int(iops * milliseconds / 1000)
    print("# a note of the guest")
    print(json.dumps({
        "guest": "fake", "version": 1, "status": "ok" if rate else "fail", "reason": "told so",
        "workload": "blk", "measured_ns": milliseconds * 1000000, "ios": ios, "iops": int(iops),
        "bytes_per_s": int(iops) * 4096, "total": ios, "kicks": ios // 10, "interrupts": 0,
        "latency_ns": {"min": 1, "mean": 1000, "p50": 900, "p99": 3000, "p99.9": 4000, "p99.99": 5000},
        "params": {"rw": words["rw"], "qd": int(words["qd"]), "bs": int(words["bs"])},
        "machine": {"setup_ns": 1000, "cpus": 1}, "disks": [], "queues": []}))


main()
