# SPDX-License-Identifier: Apache-2.0
"""Runs a profile of Linux guests inside the disposable host (tools/nested-host), where this machine's own
KVM cannot run them. The same command runs there, on a null block device; the document comes back and the
page is written here."""
import contextlib
import os
import subprocess

from .errors import BenchError

_TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
SCRIPT = os.path.join(_TOP, "tools", "nested-host")
DEVICE = "/dev/nullb0"
_NULL_BLK = "queue_mode=2 gb=4 submit_queues=4 irqmode=0"
_HOURS = 6


def reason():
    """Why this machine needs the disposable host; empty where it does not."""
    if not os.path.exists(SCRIPT):
        return ""
    found = subprocess.run([SCRIPT, "--needed"], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def run(arguments, directory):
    """Runs fastvmm-bench with the arguments of `run` inside; its results lie in the directory."""
    program = os.path.join(_TOP, "bench", "compare", "fastvmm-bench")
    command = [SCRIPT, f"--null-blk={_NULL_BLK}", "--out", directory, "--timeout", str(_HOURS * 3600), "--",
               "sh", "-c", 'program=$1; shift; exec "$program" "$@" --out "$NESTED_OUT"', "sh",
               program, *arguments, "--inside"]
    if not any(word.startswith("--disk-device") for word in arguments):
        command += ["--disk-device", DEVICE]
    path = os.path.join(directory, "results.json")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of an earlier run
    status = _run_to_end(command)
    if status or not os.path.exists(path):
        raise BenchError(f"the disposable host gave no results (exit status {status}); its output is above")


def _run_to_end(command):
    """The exit status. However this ends, the script gets to clean up."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
