# SPDX-License-Identifier: Apache-2.0
"""System calls per thread, counted by `perf stat` in a run of its own: the counting costs a little, so
the run is marked and its rate is used for nothing else."""
import shutil
import signal
import subprocess
import tempfile
import time

EVENT = "raw_syscalls:sys_enter"
INTERVAL_MS = 200


def available():
    """Can perf count here?"""
    if not shutil.which("perf"):
        return False
    found = subprocess.run(["perf", "stat", "-x,", "-e", EVENT, "true"], capture_output=True, text=True,
                           check=False)
    return any(line.endswith(",,") and EVENT in line and line.split(",")[0].isdigit()
               for line in found.stderr.splitlines())


def parse(text):
    """[(seconds since perf began, tid, calls)] of perf's output by interval and thread."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split(",")
        if len(fields) < 5 or EVENT not in fields:
            continue
        # The thread's name may hold commas: count from the event's place.
        place = fields.index(EVENT)
        thread, count = ",".join(fields[1:place - 2]), fields[place - 2]
        if count.isdigit():
            found.append((float(fields[0]), thread.rpartition("-")[2], int(count)))
    return found


class Companion:
    """perf beside a VMM: started when the VMM's threads are there, stopped when the guest has ended."""

    def __init__(self):
        self.process = self.began = self.output = None

    def start(self, pid):
        self.output = tempfile.TemporaryFile("w+")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["perf", "stat", "-x,", "--per-thread", "-I", str(INTERVAL_MS), "-e", EVENT, "-p", str(pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.output)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def counts(self):
        """[(time.monotonic() at the interval's end, tid, calls)]."""
        if not self.output:
            return []
        self.output.seek(0)
        found = [(self.began + at, tid, calls) for at, tid, calls in parse(self.output.read())]
        self.output.close()
        return found


def per_io(setting, watch, counts, begin, end, iops):
    """{role: calls per I/O} from the intervals that lie within the window with room to spare, since
    perf's clock starts a little after this one; None where there are none."""
    seconds = INTERVAL_MS / 1000
    inside = [(at, tid, calls) for at, tid, calls in counts if begin + seconds <= at <= end]
    intervals = len({at for at, _, _ in inside})
    if not intervals or not iops:
        return None
    roles = {}
    for _, tid, calls in inside:
        role = setting.role(watch.name_of.get(tid, ""))
        roles[role] = roles.get(role, 0) + calls
    return {role: calls / (iops * seconds * intervals) for role, calls in roles.items()}
