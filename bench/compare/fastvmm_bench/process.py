# SPDX-License-Identifier: Apache-2.0
"""Runs one VMM to its end and notes when what happened.

The guest prints one JSON line as the last thing it does, so its first byte marks the end of the measured
time. Everything here happens in one thread: waiting for output, and a reading of the threads' counters
every 200 ms.
"""
import ctypes
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from . import kvmstats, memory
from .errors import RunFailed
from .linux_guest import Report
from .threads import ThreadWatch

INTERVAL = 0.2
REPORT_INTERVAL = 0.01  # of looking for a Linux guest's init, which is timed


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _end_with_parent():
    """In the child: no VMM outlives us, even if we are killed; it would keep the disk and a processor."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Outcome:
    started: float           # time.monotonic() just before the program was started
    line_at: float           # first byte of the guest's JSON line
    ended: float
    guest: dict
    watch: ThreadWatch
    kvm: list = field(default_factory=list)  # [(time, {name: value})]
    memory: dict = None
    own: dict = None         # what the VMM wrote about itself
    init_at: float = None    # a Linux guest's init began


class _Output:
    """The lines of a pipe, and the time of the first byte of the guest's JSON line."""

    def __init__(self, fd, marks, translate):
        self.fd, self.buffer, self.translate = fd, b"", translate
        self.marks = marks  # does the JSON line come here, and mark the end?
        self.line_at, self.open = None, True

    def read(self):
        data = os.read(self.fd, 65536)
        self.open = bool(data)
        self.buffer += data
        if self.line_at is None and self.marks and (self.buffer.startswith(b"{") or b"\n{" in self.buffer):
            self.line_at = time.monotonic()
            return True
        return False

    def document(self):
        if self.translate:
            return self.translate(self.buffer.decode(errors="replace"))
        for line in self.buffer.replace(b"\r", b"").split(b"\n"):
            if line.startswith(b"{"):
                return json.loads(line)
        return None


class _Run:
    def __init__(self, launch, want_memory, guest_bytes, place, companion):
        self.launch, self.want_memory, self.guest_bytes = launch, want_memory, guest_bytes
        self.place, self.placed = place, {}
        self.companion = companion
        self.kvm, self.memory = [], None
        self.report, self.init_at = Report(launch.report_path) if launch.report_path else None, None

    def _place_threads(self):
        """Threads get their names after they were made, so a new name is placed again."""
        for tid, name in self.watch.name_of.items():
            if self.placed.get(tid) != name:
                self.placed[tid] = name
                self.place(int(tid), name)

    def _sample(self):
        self.watch.read()
        if self.place:
            self._place_threads()
        if self.companion and not self.companion.process and len(self.watch.name_of) > 1:
            self.companion.start(self.process.pid)
        values = kvmstats.read(self.process.pid)
        if values:
            self.kvm.append((time.monotonic(), values))
        if self.want_memory:
            try:
                self.memory = memory.of_process(self.process.pid, self.guest_bytes) or self.memory
            except OSError:
                pass

    def _watch_report(self, now):
        """A Linux guest's channel: when did its init begin, when did its load end?"""
        if self.init_at is None:
            if self.report.has_init():
                self.init_at = now
        elif self.output.line_at is None and self.report.load_has_ended():
            self.output.line_at = now
            self._last_sample()

    def _last_sample(self):
        """The guest is still printing, so the VMM is still there."""
        self.watch.read()
        self.kvm.append((time.monotonic(), kvmstats.read(self.process.pid)))

    def _pause(self, due, deadline):
        pause = min(due, deadline) - time.monotonic()
        if self.report:
            pause = min(pause, REPORT_INTERVAL if self.init_at is None else INTERVAL / 2)
        return max(0, pause)

    def _follow(self, deadline):
        selector = selectors.DefaultSelector()
        selector.register(self.output.fd, selectors.EVENT_READ)
        due = time.monotonic()
        while self.output.open:
            now = time.monotonic()
            if now >= deadline:
                raise RunFailed("did not end in time")
            if now >= due:
                if self.output.line_at is None:
                    self._sample()
                due = time.monotonic() + INTERVAL
            if self.report:
                self._watch_report(now)
            if selector.select(self._pause(due, deadline)) and self.output.read() and not self.report:
                self._last_sample()

    def _stop(self):
        if self.companion:
            self.companion.stop()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def run(self, timeout):
        with tempfile.TemporaryFile() as errors:
            started = time.monotonic()
            self.process = subprocess.Popen(
                self.launch.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True, bufsize=0, env={**os.environ, **self.launch.environment},
                preexec_fn=_end_with_parent)
            self.watch = ThreadWatch(self.process.pid)
            self.output = _Output(self.process.stdout.fileno(), marks=not self.report,
                                  translate=self.launch.translate)
            try:
                self._follow(started + timeout)
                self.process.wait(timeout=max(1, started + timeout - time.monotonic()))
            except RunFailed as error:
                raise RunFailed(f"{error} ({timeout:.0f} s){_tail(errors, self.output)}") from error
            except subprocess.TimeoutExpired as error:
                raise RunFailed(f"did not end after the guest did{_tail(errors, self.output)}") from error
            finally:
                self._stop()
                self.watch.close()
            return self._outcome(started, errors)

    def _outcome(self, started, errors):
        ended = time.monotonic()
        try:
            guest = (self.report or self.output).document()
        except ValueError as error:
            raise RunFailed(f"the guest's line is no JSON: {error}") from error
        except RunFailed as error:
            raise RunFailed(f"{error}{_tail(errors, self.output)}") from error
        if guest is None:
            raise RunFailed(f"left no result, exit status {self.process.returncode}"
                            f"{_tail(errors, self.output)}")
        if guest.get("status") != "ok":
            raise RunFailed(f"the guest failed: {guest.get('reason', 'no reason given')}")
        self.kvm = [(at, values) for at, values in self.kvm if values]
        return Outcome(started, self.output.line_at or ended, ended, guest, self.watch, self.kvm,
                       self.memory, _read_json(self.launch.stats_path), self.init_at)


def _tail(errors, output):
    errors.seek(0)
    text = errors.read().decode(errors="replace").strip() or output.buffer.decode(errors="replace").strip()
    return f": {text.splitlines()[-1][:300]}" if text else ""


def _read_json(path):
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def run(launch, timeout, want_memory=False, guest_bytes=0, place=None, companion=None):
    """Runs a Launch; an Outcome, or RunFailed. place(tid, name) is called for each thread; a companion is
    started beside the VMM and stopped after it."""
    try:
        return _Run(launch, want_memory, guest_bytes, place, companion).run(timeout)
    except OSError as error:
        raise RunFailed(f"{launch.argv[0]}: cannot be run: {error.strerror or error}") from error
