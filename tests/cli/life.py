# SPDX-License-Identifier: Apache-2.0
"""How the program lives and ends with the descriptors and signals that it was given.

Each test takes (binary, kernel, directory) and returns a problem, or None.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

SECONDS = 60
# 32-bit: waits for a byte on the first serial port, then resets the machine through the keyboard controller.
WAITS_AND_RESETS = bytes.fromhex("66bafd03" "ec" "a801" "74fb" "b0fe" "e664" "f4" "ebfd")


def _words(binary, kernel, *more):
    return [str(word) for word in (binary, "--quiet", "--kernel", kernel, "--memory", "128M", *more)]


@contextlib.contextmanager
def _started(command, **options):
    """A process that does not outlive the test."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          **options) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(condition):
    """True where it has come true in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def _proc(process, name):
    return pathlib.Path(f"/proc/{process.pid}/{name}")


def _runs(process):
    """Its vCPU is there."""
    names = []
    for path in _proc(process, "task").glob("*/comm"):
        with contextlib.suppress(OSError):
            names.append(path.read_text())
    return "vcpu0\n" in names


def _mask(process, name):
    line = next(line for line in _proc(process, "status").read_text().splitlines()
                if line.startswith(f"{name}:"))
    return int(line.split()[1], 16)


def kernel_gone_at_a_reboot(binary, guest, directory):
    """It cannot go on, says why, and what is told in the end is told."""
    guest.rename(gone := directory / "gone-soon")
    stats = directory / "stats.json"
    with _started(_words(binary, gone, "--stats", stats), stdin=subprocess.PIPE) as process:
        if not _until(lambda: _runs(process)):
            return "the guest did not start"
        gone.rename(guest)
        _, errors = process.communicate("x", timeout=SECONDS)
    if process.returncode != 1 or "gone-soon" not in errors:
        return f"exit status {process.returncode}: {errors}"
    document = json.loads(stats.read_text())
    stats.unlink()
    return None if document["workers"] == [] and "vcpus" not in document else f"statistics: {document}"


def statistics_behind_the_console(binary, kernel, directory):
    """--stats - cuts nothing off a file that holds more."""
    log = directory / "log"
    log.write_text("before\n")
    with open(log, "a", encoding="utf-8") as file:
        status = subprocess.run(_words(binary, kernel, "--cmdline", "info", "--no-reboot", "--stats", "-"),
                                stdin=subprocess.DEVNULL, stdout=file, timeout=SECONDS, check=False).returncode
    text = log.read_text()
    log.unlink()
    places = [text.find(word) for word in ("before\n", '"workload"', '"vcpus"')]
    return None if status == 0 and 0 <= places[0] < places[1] < places[2] else f"{status}: {text[:300]}"


def ignored_signals_stay_ignored(binary, guest, _):
    with _started(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *_words(binary, guest, "--no-reboot")],
                  stdin=subprocess.PIPE) as process:
        if not _until(lambda: _runs(process)):
            return "the guest did not start"
        blocked = _mask(process, "SigBlk")
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate("x", timeout=SECONDS)
    if blocked >> (signal.SIGHUP - 1) & 1 or not blocked >> (signal.SIGTERM - 1) & 1:
        return f"blocked signals: {blocked:#x}"
    return None if process.returncode == 0 else f"exit status {process.returncode}: {errors}"


def closed_standard_descriptors(binary, kernel, _):
    for closed in ("<&-", ">&-", "<&- >&-"):
        found = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh",
                                *_words(binary, kernel, "--cmdline", "info", "--no-reboot")],
                               capture_output=True, text=True, timeout=SECONDS, check=False)
        if found.returncode:
            return f"{closed}: exit status {found.returncode}: {found.stderr}"
    return None


def report_to_a_pipe_that_nobody_reads(binary, kernel, directory):
    """It waits, and can be ended."""
    os.mkfifo(pipe := directory / "pipe")
    with _started(_words(binary, kernel, "--report", pipe), stdin=subprocess.DEVNULL) as process:
        waits = _until(lambda: _proc(process, "syscall").read_text().startswith("257 "))  # openat
        process.terminate()
        process.communicate(timeout=SECONDS)
    pipe.unlink()
    return None if waits and process.returncode == -signal.SIGTERM else f"{waits}, {process.returncode}"


def statistics_to_a_pipe_that_nobody_reads(binary, kernel, directory):
    os.mkfifo(pipe := directory / "pipe")
    found = subprocess.run(_words(binary, kernel, "--cmdline", "info", "--no-reboot", "--stats", pipe),
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
                           check=False)
    pipe.unlink()
    return None if found.returncode == 1 and f"--stats {pipe}" in found.stderr \
        else f"exit status {found.returncode}: {found.stderr}"


# (test, does it take the guest that waits in place of the bare guest?)
TESTS = [(kernel_gone_at_a_reboot, True), (statistics_behind_the_console, False),
         (ignored_signals_stay_ignored, True), (closed_standard_descriptors, False),
         (report_to_a_pipe_that_nobody_reads, False), (statistics_to_a_pipe_that_nobody_reads, False)]
