# SPDX-License-Identifier: Apache-2.0
"""Progress on standard error: one line a run, with the time that is left."""
import sys
import time

from . import metrics, units


class Progress:
    def __init__(self, stream=None, quiet=False):
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.total = self.done = 0
        self.begin = time.monotonic()

    def plan(self, runs):
        self.total = self.done + runs
        self.begin, self.done_at_begin = time.monotonic(), self.done

    def say(self, text):
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def run_done(self, workload, setting, value, remark=""):
        self.done += 1
        spent = time.monotonic() - self.begin
        rate = spent / max(1, self.done - self.done_at_begin)
        left = units.seconds(rate * max(0, self.total - self.done))
        shown = metrics.show(workload.metric, value) if value is not None else "-"
        self.say(f"[{self.done:3d}/{self.total}] {workload.name:28s} {setting.name:34s} {shown:>10s}"
                 f"  {left} left{'  ' + remark if remark else ''}")
