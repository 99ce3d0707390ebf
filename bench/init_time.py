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
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
CMDLINE = "console=ttyS0 quiet panic=-1 fastvmm.job=ZXhpdCAwCg=="  # the job: exit 0


def commands(fastvmm, guest, report):
    kernel, initrd = guest / "vmlinuz", guest / "initrd"
    qemu = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512", "-smp", "1",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", kernel, "-initrd", initrd, "-append", CMDLINE, "-serial", "null"]
    return {
        "fastvmm": [fastvmm, "--quiet", "--kernel", kernel, "--initrd", initrd, "--cmdline", CMDLINE,
                    "--memory", "512M", "--no-reboot", "--report", report],
        "fastvmm, ELF kernel": [fastvmm, "--quiet", "--kernel", guest / "vmlinux", "--initrd",
                                initrd, "--cmdline", CMDLINE, "--memory", "512M", "--no-reboot",
                                "--report", report],
        # microvm makes one serial port by itself; the second is added by hand.
        "QEMU microvm": qemu + ["-M", "microvm", "-chardev", f"file,id=report,path={report}",
                                "-device", "isa-serial,chardev=report,index=1"],
        "QEMU q35": qemu + ["-M", "q35", "-serial", f"file:{report}"],
    }


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
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kernel", type=pathlib.Path, default=TOP / "build/guest/default")
    parser.add_argument("--fastvmm", type=pathlib.Path, default=TOP / "build/fastvmm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory, "report")
        vmms = commands(options.fastvmm, options.kernel, report)
        samples = {name: [] for name in vmms}
        for number in range(options.rounds):
            order = list(vmms) if number % 2 == 0 else list(reversed(vmms))
            for name in order:
                samples[name].append(seconds_to_init(vmms[name], report))
    print(f"{os.uname().release}, {options.rounds} rounds, seconds to the guest's init")
    print(f"{'':22}{'median':>8}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, values in samples.items():
        if None in values:
            print(f"{name:22}{values.count(None)} of {len(values)} runs did not come up")
            continue
        ratio = statistics.median(value / base for value, base in zip(values, samples["fastvmm"]))
        print(f"{name:22}{statistics.median(values):8.2f}{min(values):8.2f}{max(values):8.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
