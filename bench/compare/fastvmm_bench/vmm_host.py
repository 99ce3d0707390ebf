# SPDX-License-Identifier: Apache-2.0
"""The host's own limit: the same requests without a VMM, by bench/host_loop."""
from . import tap
from .vmm import Launch, Setting
from .workload import milliseconds


class HostLoop(Setting):
    family = "host"
    thread_roles = (("kernel", r"iou-"), ("worker", r""))

    def __init__(self, program):
        super().__init__("host", "host: bare io_uring loop, fixed files and buffers",
                         {"program": "host_loop"})
        self.program = program

    def refuses(self, workload):
        if workload.kind not in ("blk", "linux", "net") or not workload.host_limit:
            return "no counterpart on the host"
        if workload.kind == "net":
            return "one queue pair only" if workload.queues != 1 else tap.refuses()
        return "one disk only" if workload.disks != 1 else ""

    def _frames(self, workload, context):
        """Written to the first tap; with a second one, read there."""
        words = {"frame": workload.words.get("frame", 1514), "gso": workload.words.get("gso", 0),
                 "time": _seconds(context.seconds), "warmup": _seconds(context.warmup)}
        first, *rest = tap.names(workload)
        argv = [self.program, f"tap:{first}", *(f"to={name}" for name in rest), *_spelt(words)]
        return Launch(tap.in_namespace(workload, argv, make_taps=True))

    def launch(self, workload, context):
        if workload.kind == "net":
            return self._frames(workload, context)
        words = {"rw": workload.words.get("rw", "randread"), "bs": workload.words.get("bs", 4096),
                 "qd": workload.depth, "time": _seconds(context.seconds),
                 "warmup": _seconds(context.warmup),
                 "direct": int(workload.cache == "none")}
        return Launch([self.program, context.disk_path(0), *_spelt(words)])


def _spelt(words):
    return [f"{name}={value}" for name, value in words.items()]


def _seconds(value):
    return milliseconds(value).removesuffix("ms") + "e-3"
