# SPDX-License-Identifier: Apache-2.0
"""A workload: what the guest does, and what machine it gets. Every VMM gets the same."""
from dataclasses import asdict, dataclass, field

KINDS = ("blk", "idle", "boot", "net", "linux")
IDLE_SECONDS = 3


@dataclass(frozen=True)
class Workload:
    name: str
    kind: str = "blk"
    words: dict = field(default_factory=dict)  # of the bare guest: rw, bs, qd, mode, rate, ...
    metric: str = "iops"       # what decides; others are shown beside it
    also: tuple = ()           # metrics that stand in the tables with it
    cpus: int = 1
    queues: int = 1            # of each disk
    workers: int = 1           # I/O threads of the VMM
    disks: int = 1
    nics: int = 0              # with a network namespace for each run
    memory: int = 128 << 20
    cache: str = "writeback"   # "writeback": page cache, hot; "none": O_DIRECT
    host_limit: bool = True    # is there a plain loop on the host to compare with?
    like: str = ""             # the peer's setting is chosen once for all workloads of this name
    sweep: str = ""            # a curve that this is a point of
    sweep_x: float = 0         # where on it
    row: str = ""              # of the published table
    note: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind}")

    @property
    def depth(self):
        """Requests in flight: of the bare guest in each queue, in Linux of each of fio's jobs."""
        streams = int(self.words.get("jobs", 1)) if self.kind == "linux" else self.queues
        return int(self.words.get("qd", 32)) * streams * self.disks

    @property
    def group(self):
        return self.like or self.name

    @property
    def writes(self):
        return "write" in str(self.words.get("rw", "randread")) or self.words.get("rw") == "randrw"

    def measured_seconds(self, seconds):
        """An idle VM's cost is small: it takes a while to be seen."""
        return max(seconds, IDLE_SECONDS) if self.kind == "idle" else seconds

    def guest_words(self, seconds, warmup):
        """The bare guest's command line."""
        words = {"boot": ["info"]}.get(self.kind, [self.kind])
        if self.kind != "boot":
            words.append(f"time={milliseconds(self.measured_seconds(seconds))}")
        if self.kind in ("blk", "net"):
            words.append(f"warmup={milliseconds(warmup)}")
        if self.cpus > 1:
            words.append(f"cpus={self.cpus}")
        if self.kind == "blk":
            words.append(f"queues={self.queues}")
            if self.disks > 1:
                words.append("disk=all")
        if self.kind == "net":
            words.append(f"pairs={self.queues}")
        words += [f"{name}={value}" for name, value in self.words.items()]
        return " ".join(words)

    def describe(self):
        return asdict(self)


def milliseconds(seconds):
    return f"{round(seconds * 1000)}ms"
