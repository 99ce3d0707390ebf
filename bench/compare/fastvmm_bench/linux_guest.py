# SPDX-License-Identifier: Apache-2.0
"""Linux guests: fio or iperf3 in a guest that tools/mkguest made, its result by the second serial port.

The guest's init (tools/guest-init) sends FASTVMM-INIT first, then the job's result between two marks. What
these programs say is turned into the names that the bare guest uses, so everything behind reads one kind of
document.
"""
import json
import os
import subprocess

from . import fio, streams
from .errors import BenchError, RunFailed

_TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
_JOBS = os.path.join(_TOP, "bench", "jobs")
INIT, BEGIN, END = "FASTVMM-INIT", "FASTVMM-RESULT-BEGIN", "FASTVMM-RESULT-END"
LOAD_END = "BENCH-LOAD-END"  # of the jobs: fio or iperf3 has just ended


def job_of(workload):
    """The script that the guest runs."""
    return os.path.join(_JOBS, "iperf.sh" if workload.nics else "fio.sh")


class Guest:
    """A kernel, and an initrd for each job. Made once a session; the parameters are on the command line,
    so every run of a job boots the same bytes."""

    def __init__(self, directory, scratch):
        directory = os.path.realpath(directory or os.path.join(
            os.environ.get("FASTVMM_BUILD", os.path.join(_TOP, "build")), "guest", "default"))
        if os.path.isfile(directory):
            directory = os.path.dirname(directory)
        self.kernel = os.path.join(directory, "vmlinuz")
        self.base, self.scratch, self.made = os.path.join(directory, "initrd"), scratch, {}
        if not os.path.exists(self.kernel) or not os.path.exists(self.base):
            raise BenchError(f"{directory}: no Linux guest there; tools/mkguest makes one")

    def initrd(self, workload):
        """With the workload's job inside."""
        job = job_of(workload)
        if job not in self.made:
            self.made[job] = self._make(job)
        return self.made[job]

    def _make(self, job):
        path = os.path.join(self.scratch, f"initrd-{os.path.basename(job)}")
        try:
            subprocess.run([os.path.join(_TOP, "tools", "mkguest"), "--quiet", "--job", job,
                            "--base", self.base, "--output", path], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            raise BenchError(f"tools/mkguest could not make the guest: {error}") from error
        return path


def command_line(workload, context):
    """The kernel's command line, the same for every VMM."""
    defaults = {} if workload.nics else {"rw": "randread", "bs": 4096, "qd": 1, "jobs": 1}
    words = {**defaults, **workload.words,
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

    def load_has_ended(self):
        return LOAD_END in self.text()

    def document(self):
        return guest_document(self.text())


def guest_document(text):
    """The bare guest's names for what the job sent; None where it sent nothing."""
    lines = text.replace("\r", "").split("\n")
    if BEGIN not in lines or END not in lines:
        return None
    try:
        sent = json.loads("\n".join(lines[lines.index(BEGIN) + 1:lines.index(END)]))
        found = _disk_document(sent) if "fio" in sent else streams.document(sent)
        return {**found, "kernel": sent["kernel"], "interrupts": sent["interrupts"]}
    except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise RunFailed(f"the guest's result is not what was expected: {error!r}") from error


def _disk_document(sent):
    """fio's result, and how many requests there were while interrupts were counted."""
    found = fio.document(sent["fio"])
    found["params"]["queues"] = sent["queues"]
    return {**found, "total": fio.all_ios(fio.sides_of(sent["fio"]), fio.options_of(sent["fio"]))}
