# SPDX-License-Identifier: Apache-2.0
"""Boots Linux guests under fastvmm and reads what they report.

A guest runs a job (tools/guest-init) and answers on its second serial port: the time of its init,
the job's result, its exit status. Everything a guest needs lies in a directory of its own that goes
away with it.
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FASTVMM_BUILD", TOP / "build"))
FASTVMM = BUILD / "fastvmm"
GUESTS = BUILD / "guest"
# How long mixed network traffic goes on: FASTVMM_SOAK_SECONDS=600 for a long test of that alone.
SOAK_SECONDS = int(os.environ.get("FASTVMM_SOAK_SECONDS", "30"))

# What a guest may take that does not hang: several times what the longest test took on the slowest machine.
HANG_SECONDS = 1200


class Failure(Exception):
    """A test's expectation that did not hold."""


class Skip(Exception):
    """The host lacks what a test needs."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


@dataclasses.dataclass
class Outcome:
    """What one run of fastvmm left behind."""
    status: int
    output: str        # console and messages together
    report: str        # the report channel
    result: str        # the job's result; "" where there is none
    job_status: int    # of the job; None where it did not end
    stats: dict        # the counters; {} where there are none

    def words(self):
        """The result as a dictionary, from lines of "NAME VALUE..."."""
        lines = (line.split(None, 1) for line in self.result.splitlines() if line.strip())
        return {line[0]: (line[1] if len(line) > 1 else "") for line in lines}


def parse_report(text):
    lines = text.splitlines()
    result, status = "", None
    if "FASTVMM-RESULT-BEGIN" in lines and "FASTVMM-RESULT-END" in lines:
        begin = lines.index("FASTVMM-RESULT-BEGIN")
        result = "\n".join(lines[begin + 1:lines.index("FASTVMM-RESULT-END")])
    for line in lines:
        if line.startswith("FASTVMM-EXIT "):
            status = int(line.split()[1])
    return result, status


class Host:
    """Where tests run: scratch directories, images, guests."""

    def __init__(self, scratch):
        self.scratch = pathlib.Path(scratch)

    def image(self, name, megabytes, fill=False):
        """A sparse raw image, or one filled with bytes that do not compress to anything known."""
        path = self.scratch / name
        with open(path, "wb") as file:
            if fill:
                for _ in range(megabytes):
                    file.write(os.urandom(1 << 20))
            else:
                file.truncate(megabytes << 20)
        return path

    def job_initrd(self, kernel, job, minimal=False, add=()):
        """An initrd of the guest @kernel with the shell script @job in it.

        @add: programs of this machine that go into the guest under the same path.
        """
        script = self.scratch / "job.sh"
        script.write_text("#!/bin/sh\n" + job)
        output = self.scratch / "job.initrd"
        base = GUESTS / kernel / ("initrd-min" if minimal else "initrd")
        additions = [word for path in add for word in ("--add", f"{path}={path}")]
        subprocess.run([TOP / "tools/mkguest", "--quiet", "--job", script, "--base", base,
                        *additions, "--output", output], check=True, stdin=subprocess.DEVNULL)
        script.unlink()
        return output

    def command(self, kernel, initrd, arguments, cmdline, image="vmlinux"):
        """@image: the ELF kernel by default, which need not decompress itself (5 s under emulation)."""
        self.clean()
        return [FASTVMM, "--kernel", GUESTS / kernel / image, "--initrd", initrd,
                "--cmdline", f"console=ttyS0 panic=-1 {cmdline}".strip(),
                "--report", self.scratch / "report", "--stats", self.scratch / "stats.json",
                *arguments]

    def clean(self):
        for name in ("report", "stats.json"):
            (self.scratch / name).unlink(missing_ok=True)

    def outcome(self, status, output):
        report_path, stats_path = self.scratch / "report", self.scratch / "stats.json"
        report = report_path.read_text(errors="replace") if report_path.exists() else ""
        stats = json.loads(stats_path.read_text()) if stats_path.exists() else {}
        result, job_status = parse_report(report)
        return Outcome(status, output, report, result, job_status, stats)

    def wait_for_report(self, line, process, seconds=HANG_SECONDS):
        """Returns when the guest has sent @line; a guest that does not is ended, and fails the test."""
        path = self.scratch / "report"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            if path.exists() and line in path.read_text(errors="replace").splitlines():
                return
            time.sleep(0.1)
        process.kill()
        raise Failure(f"no \"{line}\" on the report channel")

    def boot(self, job, *arguments, kernel="cloud-6.1", image="vmlinux", cmdline="quiet",
             minimal=False, add=(), reboot=False, timeout=HANG_SECONDS, prefix=()):
        """Runs @job in a guest to its end. The job's failure is the test's.

        @prefix: words in front of the command, such as those that enter a network namespace.
        """
        initrd = self.job_initrd(kernel, job, minimal, add)
        options = [] if reboot else ["--no-reboot"]
        command = self.command(kernel, initrd, [*options, *arguments], cmdline, image)
        run = run_bounded([*prefix, *command], timeout)
        outcome = self.outcome(run.returncode, run.stdout)
        expect(outcome.job_status == 0,
               f"the guest's job ended with {outcome.job_status}, fastvmm with {run.returncode}:\n"
               + run.stdout[-4000:] + outcome.result[-2000:])
        return outcome


def run_bounded(command, timeout=HANG_SECONDS, **options):
    """Runs a command, both outputs together; one that does not end is ended, and fails the test."""
    with subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **options) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            try:
                output, _ = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            raise Failure(f"still running after {timeout} s:\n{output[-4000:]}") from None
    return subprocess.CompletedProcess(command, process.returncode, output)


@contextlib.contextmanager
def started(command, output=subprocess.PIPE):
    """A process that does not outlive the test, both outputs together."""
    with subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        try:
            yield process
        finally:
            process.kill()


def host_mebibytes():
    """This machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def needs_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


class Scratch:
    """A Host with a directory of its own, on ext4 where the runner made one."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="fastvmm-", dir=os.environ.get("FASTVMM_SCRATCH"))
        return Host(self.path)

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)
