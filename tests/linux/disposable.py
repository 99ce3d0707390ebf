# SPDX-License-Identifier: Apache-2.0
"""Runs the tests in disposable hosts (tools/nested-host), several side by side.

Each host has one emulated processor (docs/decisions/disposable-host.md says why) and takes the next
test that no other host has taken: a test is taken by whoever makes the directory "taken/NUMBER", and
its verdict is a line of the file "verdicts". Both lie in a directory that the hosts share. A test
whose host dies is taken again, by a new host.
"""
import pathlib
import subprocess
import threading

from guest import HANG_SECONDS, SOAK_SECONDS, TOP, host_mebibytes

RUNNER = TOP / "tests/linux/run"
# Of a host whose own tests' limits have not ended it: on the average a test takes less.
SECONDS_PER_TEST = 240
# A guest of 6 GiB and what the host needs, as far as this machine can give it.
HOST_MEBIBYTES = min(8192, host_mebibytes() * 3 // 4)
# The host has two NVMe disks: ext4 on the first, for images, and one for tests to write over, whose
# name without "nvme" is FASTVMM_NVME. Their serial numbers tell them apart.
PREPARE = r"""
name_of() { basename "$(dirname "$(grep -l "^$1 *$" /sys/class/nvme/nvme*/serial)")"; }
first=/dev/$(name_of fastvmm0)n1
mkfs.ext4 -q -E nodiscard "$first" && mkdir -p /run/disk && mount -o discard "$first" /run/disk || exit
FASTVMM_NVME=$(name_of fastvmm1 | sed s/nvme//)n1 FASTVMM_SCRATCH=/run/disk exec "$@"
"""


class Ledger:
    """Which tests are taken and by whom, and their verdicts, in a directory shared with the hosts."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        (self.directory / "taken").mkdir(exist_ok=True)

    def take(self, number, taker):
        """True for the one who gets test @number."""
        try:
            (self.directory / "taken" / str(number)).mkdir()
        except FileExistsError:
            return False
        (self.directory / "taken" / str(number) / "by").write_text(taker)
        return True

    def give_back(self, number):
        (self.directory / "taken" / str(number) / "by").unlink(missing_ok=True)
        (self.directory / "taken" / str(number)).rmdir()

    def taken_by(self, taker):
        """The numbers of the tests that @taker has taken."""
        return [int(by.parent.name) for by in (self.directory / "taken").glob("*/by")
                if by.read_text() == taker]

    def record(self, number, verdict):
        (self.directory / f"verdict-{number}").write_text(verdict)

    def verdict(self, number):
        path = self.directory / f"verdict-{number}"
        return path.read_text() if path.exists() else None


class Pool:
    """Disposable hosts at work on one list of tests."""

    def __init__(self, names, ledger, tries):
        self.names, self.ledger, self.tries = names, ledger, tries
        self.deaths = {}
        self.lock = threading.Lock()
        self.processes, self.stopping = [], False

    def run(self, hosts):
        """The verdicts of all tests, in their order."""
        workers = [threading.Thread(target=self._work, args=(f"host-{n}",), daemon=True) for n in range(hosts)]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join()
        finally:
            self._stop()
        return [self._verdict(number) for number in range(len(self.names))]

    def _stop(self):
        """Ends the hosts that are still there: this runner is being ended."""
        self.stopping = True
        for process in self.processes:
            if process.poll() is None:
                process.terminate()

    def _verdict(self, number):
        verdict = self.ledger.verdict(number)
        if verdict is None:
            print(f"failed   {self.names[number]}: no disposable host got as far", flush=True)
        return verdict or "failed"

    def _work(self, taker):
        """Host after host until nothing is left to take."""
        while True:
            status = self._run_host(taker)
            with self.lock:
                victims = [number for number in self.ledger.taken_by(taker)
                           if self.ledger.verdict(number) is None]
                for number in victims:
                    self._died(number, status)
            if not victims or self.stopping:
                return

    def _died(self, number, status):
        """With the lock: what is given back is not looked at meanwhile."""
        name = self.names[number]
        deaths = self.deaths[number] = self.deaths.get(number, 0) + 1
        print(f"         {name}: the disposable host ended with {status} meanwhile", flush=True)
        if deaths < self.tries:
            self.ledger.give_back(number)
            return
        print(f"failed   {name}: {deaths} disposable hosts died of it", flush=True)
        self.ledger.record(number, "failed")

    def _run_host(self, taker):
        # The host does not outlive its runner, however that ends.
        command = ["setpriv", "--pdeathsig", "TERM", TOP / "tools/nested-host", "--quiet",
                   "--memory", f"{HOST_MEBIBYTES}M", "--nvme", "4G", "--nvme", "256M", "--null-blk",
                   "--out", self.ledger.directory,
                   "--timeout", HANG_SECONDS + SECONDS_PER_TEST * len(self.names) + 2 * SOAK_SECONDS,
                   "--env", "FASTVMM_NATIVE=1", "--env", "FASTVMM_EMULATED=1",
                   "--", "sh", "-c", PREPARE, "run", RUNNER, "--inside", taker]
        for name in self.names:
            command += ["--only", name]
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process.wait()
