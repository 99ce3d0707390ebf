# SPDX-License-Identifier: Apache-2.0
"""The console as a person uses it: a pseudo-terminal in front of fastvmm."""
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

from guest import GUESTS, HANG_SECONDS, expect


class Terminal:
    """fastvmm on a pseudo-terminal of its own."""

    def __init__(self, command):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.text = ""
        self.process = subprocess.Popen([str(word) for word in command], stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True)

    def wait_for(self, pattern, seconds=HANG_SECONDS):
        """Reads until @pattern (a regular expression) shows up; what came before is dropped."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end():]
                return found
            left = deadline - time.monotonic()
            expect(left > 0, f"no \"{pattern}\" on the console within {seconds} s:\n"
                   + self.text[-3000:])
            ended = self.process.poll() is not None
            if select.select([self.master], [], [], min(left, 1))[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            else:
                expect(not ended, f"fastvmm ended before \"{pattern}\":\n{self.text[-3000:]}")

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=HANG_SECONDS):
        """Waits for the process; its status and whether the terminal is as it was."""
        status = self.process.wait(seconds)
        return status, termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def with_shell(host, body, initrd=GUESTS / "cloud-6.1/initrd", cmdline="quiet"):
    disk = host.image("disk.img", 16)
    terminal = Terminal(host.command("cloud-6.1", initrd, ["--queues", "4", "--disk", disk], cmdline))
    try:
        terminal.wait_for(r"[#$] ")
        body(terminal)
    finally:
        terminal.close()


def shell(host):
    """A login shell that sees four queues; line editing and Ctrl-c work; Ctrl-a x leaves."""
    def body(terminal):
        terminal.type("ls /sys/block/vda/mq | wc -l | sed 's/^/queues: /'\r")
        terminal.wait_for(r"queues: 4")
        terminal.type("echo wrong\x7f\x7f\x7f\x7f\x7fright-$((6 * 7))\r")
        terminal.wait_for(r"\nright-42")
        # What is in the foreground by now says so itself: an earlier Ctrl-c would be the shell's.
        terminal.type("sh -c 'echo be''gun; exec sleep 1000'\r")
        terminal.wait_for(r"\nbegun")
        terminal.type("\x03echo after-$((1 + 1))\r")
        terminal.wait_for(r"\nafter-2")
        terminal.type("\x01h")
        terminal.wait_for(r"Ctrl-a x")
        terminal.type("\x01x")
        status, restored = terminal.end()
        expect(status == 0, f"Ctrl-a x: fastvmm ended with {status}")
        expect(restored, "Ctrl-a x: the terminal was not restored")
    with_shell(host, body)


def go_shell(host):
    """The shell of u-root, whose own line editor draws the line: moving, inserting, completing."""
    def body(terminal):
        terminal.type("elvish\r")
        terminal.wait_for(r"~\S*# ")
        terminal.type("echo rght-(+ 40 2)")
        for _ in range(12):  # one by one: the end of a key may come no more than 10 ms after its beginning
            terminal.type("\x1b[D")
            terminal.wait_for(r"\x1b\[")
        terminal.type("i\r")
        terminal.wait_for(r"right-42")
        terminal.type("cat wrong\x7f\x7f\x7f\x7f\x7f/proc/cmdl\t\r\r")
        terminal.wait_for(r"console=ttyS0")
    initrd = host.job_initrd("cloud-6.1", "exit 0", add=("/usr/bin/elvish",))
    with_shell(host, body, initrd, "quiet fastvmm.end=shell")


def ended_by_signal(host):
    def body(terminal):
        terminal.process.send_signal(signal.SIGTERM)
        status, restored = terminal.end()
        expect(status == 128 + signal.SIGTERM, f"SIGTERM: fastvmm ended with {status}")
        expect(restored, "SIGTERM: the terminal was not restored")
    with_shell(host, body)


def tests(quick):
    result = [("console/shell", shell)]
    if not quick:
        result += [("console/Go shell", go_shell), ("console/SIGTERM", ended_by_signal)]
    return result
