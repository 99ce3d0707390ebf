# SPDX-License-Identifier: Apache-2.0
"""Linux guests: fio in a guest that tools/mkguest made, its result by the second serial port.

The guest's init (tools/guest-init) sends FASTVMM-INIT first, then the job's result between two marks. What
fio says is turned into the names that the bare guest uses, so everything behind reads one kind of
document.
"""
import json
import os
import subprocess

from . import fio
from .errors import BenchError, RunFailed

_TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
JOB = os.path.join(_TOP, "bench", "jobs", "fio.sh")
INIT, BEGIN, END = "FASTVMM-INIT", "FASTVMM-RESULT-BEGIN", "FASTVMM-RESULT-END"


class Guest:
    """Kernel and initrd with the job inside. Made once a session; the parameters are on the command
    line, so every run boots the same bytes."""

    def __init__(self, directory, scratch):
        directory = os.path.realpath(directory or os.path.join(_TOP, "build", "guest", "default"))
        if os.path.isfile(directory):
            directory = os.path.dirname(directory)
        self.kernel = os.path.join(directory, "vmlinuz")
        base = os.path.join(directory, "initrd")
        if not os.path.exists(self.kernel) or not os.path.exists(base):
            raise BenchError(f"{directory}: no Linux guest there; tools/mkguest makes one")
        self.initrd = os.path.join(scratch, "initrd")
        try:
            subprocess.run([os.path.join(_TOP, "tools", "mkguest"), "--quiet", "--job", JOB,
                            "--base", base, "--output", self.initrd], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            raise BenchError(f"tools/mkguest could not make the guest: {error}") from error


def command_line(workload, context):
    """The kernel's command line, the same for every VMM."""
    words = {"rw": "randread", "bs": 4096, "qd": 1, "jobs": 1, **workload.words,
             "seconds": max(1, round(context.seconds)), "warmup": max(1, round(context.warmup))}
    return " ".join(["console=ttyS0 quiet panic=-1 mitigations=auto"]
                    + [f"bench.{name}={value}" for name, value in words.items()])


class Report:
    """The file that a VMM writes the guest's second serial port to."""

    def __init__(self, path):
        self.path = path

    def text(self):
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def has_init(self):
        return INIT in self.text()

    def has_result(self):
        return BEGIN in self.text()

    def document(self):
        return guest_document(self.text())


def guest_document(text):
    """The bare guest's names for what the job sent; None where it sent nothing."""
    lines = text.replace("\r", "").split("\n")
    if BEGIN not in lines or END not in lines:
        return None
    try:
        sent = json.loads("\n".join(lines[lines.index(BEGIN) + 1:lines.index(END)]))
        return _translated(sent)
    except (ValueError, KeyError, IndexError) as error:
        raise RunFailed(f"fio's result in the guest is not what was expected: {error!r}") from error


def _translated(sent):
    """fio's result with the kernel's counts beside it."""
    found = fio.document(sent["fio"])
    found["params"]["queues"] = sent["queues"]
    # fio counts from after the ramp, the kernel all of it; scaled to fio's part by time.
    return {**found, "kernel": sent["kernel"], "interrupts": sent["interrupts"],
            "total": _all_ios(fio.sides_of(sent["fio"]), fio.options_of(sent["fio"]))}


def _all_ios(sides, options):
    """Requests of the whole run with its ramp, in which the interrupts were counted."""
    measured = max(side["runtime"] for side in sides) / 1000
    whole = measured + float(options.get("ramp_time", "0").rstrip("s"))
    return sum(side["total_ios"] for side in sides) * whole / measured
