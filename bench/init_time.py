#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Time from the start of the VMM to the guest's init, fastvmm beside QEMU, interleaved.

Usage: init_time.py [--rounds N] [--kernel DIR] [--fastvmm PATH]

Each VMM boots the same kernel and initrd (tools/mkguest) with the same command line, one vCPU and
512 MiB; the clock runs from the start of the process to the arrival of the line FASTVMM-INIT on
the report channel, the first thing that the guest's init does. The order changes every round.
Prints the median, the least and the greatest of each, and the ratio to fastvmm's median, pair by
pair. Where this machine cannot run Linux guests: tools/nested-host bench/init_time.py.
"""
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import guests

CMDLINE = "console=ttyS0 quiet panic=-1 fastvmm.job=ZXhpdCAwCg=="  # the job: exit 0


def commands(fastvmm, guest, report):
    bzimage, elf = ((guest / name, guest / "initrd", CMDLINE, report, 1)
                    for name in ("vmlinuz", "vmlinux"))
    return {"fastvmm": guests.fastvmm(fastvmm, *bzimage),
            "fastvmm, ELF kernel": guests.fastvmm(fastvmm, *elf),
            "QEMU microvm": guests.qemu("microvm", *bzimage),
            "QEMU q35": guests.qemu("q35", *bzimage),
            "QEMU q35, qboot": [*guests.qemu("q35", *bzimage), "-bios", "qboot.rom"]}


def seconds_to_init(command, report):
    """None where the guest's init did not come up."""
    report.unlink(missing_ok=True)
    begin = time.monotonic()
    with subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        found = None
        while process.poll() is None and time.monotonic() - begin < 120:
            if report.exists() and b"FASTVMM-INIT" in report.read_bytes():
                found = time.monotonic() - begin
                break
            time.sleep(0.005)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
    return found


def main():
    options = guests.parser(rounds=5).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory, "report")
        vmms = commands(options.fastvmm, options.kernel, report)
        samples = {name: [] for name in vmms}
        for _, name in guests.interleaved(list(vmms), options.rounds):
            samples[name].append(seconds_to_init(vmms[name], report))
    print(f"{os.uname().release}, {options.rounds} rounds, seconds to the guest's init")
    print(f"{'':22}{'median':>8}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, values in samples.items():
        if None in values:
            print(f"{name:22}{values.count(None)} of {len(values)} runs did not come up")
            continue
        ratios = [value / base for value, base in zip(values, samples["fastvmm"]) if base]
        shown = f"{statistics.median(ratios):8.2f}" if ratios else f"{'-':>8}"
        print(f"{name:22}{statistics.median(values):8.2f}{min(values):8.2f}{max(values):8.2f}{shown}")


if __name__ == "__main__":
    main()
