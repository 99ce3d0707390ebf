# SPDX-License-Identifier: Apache-2.0
"""The named sets of workloads."""
from .errors import BenchError
from .workload import Workload


def _blk(name, like="", metric="iops", **options):
    words = {"rw": "randread", "bs": 4096, "qd": 32}
    machine = {}
    for key, value in options.items():
        (machine if key in Workload.__dataclass_fields__ else words)[key] = value
    return Workload(name, words=words, like=like, metric=metric, **machine)


def _cached_depths(depths):
    return [_blk(f"randread-4k-qd{depth}", qd=depth, sweep="depth", sweep_x=depth,
                 like="cached-qd1" if depth == 1 else "cached-deep",
                 row={1: "1", 32: "2"}.get(depth, "")) for depth in depths]


def _queues(counts):
    """128 in flight over several queues of one worker, driven by one vCPU."""
    return [_blk(f"randread-4k-qd128-{count}q", queues=count, qd=128 // count, like="cached-deep",
                 sweep="queues", sweep_x=count, row="3") for count in counts]


def _other_patterns():
    return [
        _blk("randwrite-4k-qd1", rw="randwrite", qd=1, like="cached-qd1", row="4"),
        _blk("randwrite-4k-qd32", rw="randwrite", like="cached-deep", row="4"),
        _blk("read-128k-qd8", rw="read", bs=131072, qd=8, like="sequential", metric="bytes_per_s",
             row="4"),
        _blk("write-128k-qd8", rw="write", bs=131072, qd=8, like="sequential", metric="bytes_per_s",
             row="4"),
    ]


def _direct(depths):
    return [_blk(f"direct-randread-4k-qd{depth}", qd=depth, cache="none", like=f"direct-qd{depth}",
                 also=("cpu_io_ns_per_io",), row="5") for depth in depths]


def _workers(count):
    """As many I/O threads as queues: QEMU from 9.0 on maps its virtqueues over several iothreads."""
    return [_blk(f"direct-randread-4k-qd64-{count}w", queues=count, workers=count, qd=64 // count,
                 cache="none", also=("cpu_io_ns_per_io",))]


def _interrupts(depths, mode="callback"):
    """With mode=irq the guest looks once more before it waits: a VMM that has it kicked gains by that."""
    return [_blk(f"{mode}-randread-4k-qd{depth}", qd=depth, mode=mode, host_limit=False,
                 like=f"{mode}-qd{depth}", row="6" if mode == "callback" else "") for depth in depths]


def _rates(rates, mode="poll"):
    return [_blk(f"rate-{rate // 1000}k-{mode}", qd=32, rate=rate, mode=mode, host_limit=mode == "poll",
                 metric="cpu_io_ns_per_io", like=f"rate-{rate // 1000}k-{mode}",
                 sweep="load" if mode == "poll" else "", sweep_x=rate, row="7") for rate in rates]


def _still():
    """What a VM costs that does nothing."""
    return [
        Workload("start", kind="boot", metric="start_ns", host_limit=False, row="13"),
        Workload("idle", kind="idle", metric="idle_cpu", also=("memory_beyond_guest", "memory_private"),
                 host_limit=False, row="14, 15"),
    ]


def _growth():
    return [_blk(f"disks-{count}", disks=count, qd=32, host_limit=False, like="growth",
                 sweep="disks", sweep_x=count, row="16") for count in (1, 4)]


def _net(name, like="net", metric="frames_per_s", queues=1, nics=1, **words):
    """The host's loop writes and reads frames, but waits for none and sends none back."""
    return Workload(name, kind="net", words=words, like=like, metric=metric, queues=queues, nics=nics,
                    disks=0, host_limit="mode" not in words, row="10, 11")


def _frames():
    """Sent into a bridge that nobody else is on; from one NIC to the other of one guest; and back."""
    return [
        _net("send-64", frame=64),
        _net("send-1400", frame=1400),
        _net("send-64k-tso", metric="bytes_per_s", gso=65000, qd=64),
        _net("pass-64", nics=2, dir="pair", frame=64),
        _net("pass-1400", nics=2, dir="pair", frame=1400),
        _net("pass-64k-tso", nics=2, metric="bytes_per_s", dir="pair", gso=65000, qd=64),
        _net("pass-64-irq", nics=2, dir="pair", frame=64, mode="irq"),
        _net("echo-64-irq", nics=2, metric="latency_p50_ns", dir="echo", frame=64, qd=1, rate=2000,
             mode="irq"),
    ]


def _linux():
    """fio in Linux guests; where they can only run in the disposable host, counts say more than rates."""
    return [Workload(f"linux-randread-4k-qd{depth}-{queues}q", kind="linux", memory=512 << 20,
                     words={"rw": "randread", "bs": 4096, "qd": depth // queues if depth > 1 else 1,
                            "jobs": queues},
                     cpus=queues, queues=queues, workers=1, cache="none", like="linux",
                     also=("notifications_per_io", "interrupts_per_io", "init_ns"),
                     row="8, 9, 13")
            for queues in (1, 4) for depth in (1, 32) if not (queues > 1 and depth == 1)]


def _stream(name, metric, **words):
    return Workload(f"linux-{name}", kind="linux", memory=512 << 20, words=words, metric=metric, cpus=2,
                    queues=2, disks=0, nics=1, host_limit=False, like="linux-net",
                    also=("cpu_io_ns_per_io",), row="12")


def _streams():
    """iperf3 between a Linux guest and its host; and one byte there, one back."""
    tcp = [_stream(f"tcp-{way}" + (f"-{streams}" if streams > 1 else ""), "bytes_per_s", test="tcp",
                   dir=way, streams=streams) for streams in (1, 4) for way in ("out", "in")]
    udp = [_stream(f"udp-{length}-{way}", "frames_per_s", test="udp", dir=way, length=length)
           for length in (64, 1400) for way in ("out", "in")]
    return tcp + udp + [_stream("tcp-rr", "requests_per_s", test="rr")]


PROFILES = {
    "iperf": {
        "about": "iperf3 in Linux guests, row 12; directly, or in the disposable host",
        "pairs": 7, "seconds": 3.0, "warmup": 1.0, "breadth": "one", "preselection_rounds": 1,
        "limit": None, "syscalls": False, "fio": False, "workloads": _streams,
    },
    "net": {
        "about": "frames of the bare guest over taps on a bridge, each run in a network namespace",
        "pairs": 7, "seconds": 2.0, "warmup": 0.5, "breadth": "one", "preselection_rounds": 1,
        "limit": None, "syscalls": False, "fio": False, "workloads": _frames,
    },
    "linux": {
        "about": "fio in Linux guests (tools/mkguest), rows 8 and 9; directly, or in the disposable host",
        "pairs": 7, "seconds": 3.0, "warmup": 1.0, "breadth": "few", "preselection_rounds": 1,
        "limit": None, "syscalls": False, "fio": False, "workloads": _linux,
    },
    "quick": {
        "about": "what CI runs: ends within 15 minutes on 2 cores",
        "pairs": 12, "seconds": 1.0, "warmup": 0.3, "breadth": "few", "preselection_rounds": 1,
        "limit": 14 * 60, "syscalls": False, "fio": False,
        "workloads": lambda: (_cached_depths((1, 32)) + [_blk("randwrite-4k-qd32", rw="randwrite",
                                                              like="cached-deep", row="4")]
                              + _interrupts((1,)) + _rates((20000,)) + _still()),
    },
    "standard": {
        "about": "the full report: depths, queues, patterns, O_DIRECT, interrupts, fixed rates",
        "pairs": 9, "seconds": 3.0, "warmup": 0.5, "breadth": "all", "preselection_rounds": 2,
        "limit": None, "syscalls": True, "fio": True,
        "workloads": lambda: (_cached_depths((1, 2, 4, 8, 16, 32, 64, 128)) + _queues((1, 2, 4))
                              + _other_patterns() + _direct((1, 32, 128)) + _workers(2)
                              + _interrupts((1, 32)) + _interrupts((1, 32), "irq")
                              + _rates((10000, 20000, 50000, 100000, 200000))
                              + _rates((20000,), "irq") + _still() + _growth()),
    },
    "table5": {
        "about": "rows 1 to 7 and 13 to 15 of the published table, with the bare guest",
        "pairs": 7, "seconds": 2.0, "warmup": 0.5, "breadth": "all", "preselection_rounds": 2,
        "limit": None, "syscalls": True, "fio": True,
        "workloads": lambda: (_cached_depths((1, 32)) + _queues((2, 4)) + _other_patterns()
                              + _direct((1, 32, 128)) + _interrupts((1, 32)) + _rates((20000, 100000))
                              + _still()),
    },
}


def workloads(name):
    if name not in PROFILES:
        raise BenchError(f"--profile {name}: unknown; there are {', '.join(PROFILES)}")
    return PROFILES[name]["workloads"]()
