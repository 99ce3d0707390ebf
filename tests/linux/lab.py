# SPDX-License-Identifier: Apache-2.0
"""A network namespace with a bridge, in which guests and their peers on the host talk."""
import contextlib
import itertools
import os
import pathlib
import re
import subprocess
import sys
import threading

from guest import expect, needs_root

HERE = pathlib.Path(__file__).resolve().parent

# The host's addresses on the bridge. Guests take .2 and .3.
HOST4, HOST6 = "192.0.2.1", "2001:db8::1"
SINK, SOURCE = 7001, 7002
# TCP makes its frames as small as the emulation is slow, which makes it slower. Transfers have it make them 23 KB
# at least, where the device cuts them.
MIN_TSO_SEGMENTS = 16
END_SECONDS = 10  # of a process in the namespace, once it is told to end

# Shell functions for the jobs of guests.
GUEST_LIBRARY = rf"""
HOST4={HOST4} HOST6={HOST6} SINK={SINK} SOURCE={SOURCE}
say() {{ echo "$*" >>"$FASTVMM_RESULT"; }}
# up NUMBER [MTU]: addresses and the link of eth0; returns when the host answers.
up() {{
	ip link set eth0 mtu ${{2:-1500}} up
	ip addr add 192.0.2.$1/24 dev eth0
	ip addr add 2001:db8::$1/64 dev eth0
	answers $HOST4
}}
# arrived: waits until the host has all that was sent to its port $SINK, and has hung up.
arrived() {{
	for try in $(seq 3000); do
		grep -q '^ *[0-9]*: [^ ]* [^ ]*:{SINK:04X} 0[^6]' /proc/net/tcp || return 0
		sleep 0.1
	done
	return 1
}}
# answers ADDRESS: a ping comes back within a minute.
answers() {{
	for try in $(seq 60); do
		ping -c 1 -W 1 $1 >/dev/null 2>&1 && return 0
	done
	return 1
}}
"""


def own_memory(smaps):
    """KiB of anonymous memory in the text of /proc/PID/smaps without guest RAM, which is what huge pages
    are asked for."""
    mappings = re.findall(r"^Anonymous:\s*(\d+) kB$.*?^VmFlags:([^\n]*)$", smaps, re.M | re.S)
    return sum(int(size) for size, flags in mappings if "hg" not in flags.split())


class MemoryWatch(threading.Thread):
    """Samples the memory that the namespace's fastvmm has for itself, in KiB."""
    SECONDS = 2

    def __init__(self, namespace):
        super().__init__(daemon=True)
        self.namespace, self.samples, self.ended = namespace, [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def run(self):
        while not self.ended.wait(self.SECONDS):
            with contextlib.suppress(OSError):  # it may end at any time
                self.samples += self._samples()

    def _samples(self):
        pids = subprocess.run(["ip", "netns", "pids", self.namespace], check=True,
                              stdout=subprocess.PIPE, text=True).stdout.split()
        files = [pathlib.Path("/proc", pid) for pid in pids]
        found = [own_memory((file / "smaps").read_text()) for file in files
                 if (file / "comm").read_text() == "fastvmm\n"]
        return [size for size in found if size]  # one that has ended has no memory

    def growth(self):
        """How much more there was at most in the second half than in the first, KiB."""
        half = len(self.samples) // 2
        expect(half >= 3, f"fastvmm's memory was read {len(self.samples)} times only")
        return max(self.samples[half:]) - max(self.samples[:half])


class Lab:
    """The namespace; everything in it ends with it."""
    numbers = itertools.count()

    def __init__(self, host, bridge="br0"):
        self.host, self.bridge = host, bridge
        self.name = f"fastvmm-{os.getpid()}-{next(self.numbers)}"
        self.processes = contextlib.ExitStack()

    def __enter__(self):
        needs_root()
        self._ip("netns", "add", self.name)
        try:
            self.run("ip", "link", "set", "lo", "up")
            self.run("ip", "link", "add", self.bridge, "type", "bridge")
            self.run("ip", "addr", "add", f"{HOST4}/24", "dev", self.bridge)
            self.run("ip", "addr", "add", f"{HOST6}/64", "dev", self.bridge, "nodad")
            self.run("ip", "link", "set", self.bridge, "up")
        except BaseException:
            self._ip("netns", "del", self.name)
            raise
        return self

    def __exit__(self, *_):
        try:
            self.processes.close()
        finally:
            self._ip("netns", "del", self.name)

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True)

    @property
    def prefix(self):
        """What makes a command run in the namespace."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *words, **options):
        return subprocess.run([*self.prefix, *map(str, words)], check=True, **options)

    def output(self, *words):
        return self.run(*words, stdout=subprocess.PIPE, text=True).stdout

    def start(self, *words):
        """A process in the namespace, with its output on a pipe; ended with the lab."""
        process = subprocess.Popen([*self.prefix, *map(str, words)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.processes.callback(self._end, process)
        return process

    @staticmethod
    def _end(process):
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def iperf_server(self, port=5201):
        server = self.start("iperf3", "-s", "-p", port, "--forceflush")
        for line in server.stdout:
            if "Server listening" in line:
                # It tells of every second of every stream: a pipe that nobody reads would stop it.
                threading.Thread(target=server.stdout.read, daemon=True).start()
                return server
        raise AssertionError("iperf3 -s ended")

    def memory_of_fastvmm(self):
        """A MemoryWatch, to be entered while one guest runs."""
        return MemoryWatch(self.name)

    def peer(self, file):
        """tests/linux/net_peer.py, ready."""
        self.run("sh", "-c", f"echo {MIN_TSO_SEGMENTS} >/proc/sys/net/ipv4/tcp_min_tso_segs")
        process = self.start(sys.executable, HERE / "net_peer.py", SINK, SOURCE, file)
        expect(process.stdout.readline() == "ready\n", "net_peer.py did not start")
        return process

    def guest(self, job, *arguments, **options):
        """Host.boot() in the namespace, with the shell functions above."""
        return self.host.boot(GUEST_LIBRARY + job, *arguments, prefix=self.prefix, **options)
