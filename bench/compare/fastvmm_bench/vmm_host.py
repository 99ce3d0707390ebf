# SPDX-License-Identifier: Apache-2.0
"""The host's own limit: the same requests without a VMM, by bench/host_loop."""
from .vmm import Launch, Setting
from .workload import milliseconds


class HostLoop(Setting):
    family = "host"
    thread_roles = (("kernel", r"iou-"), ("worker", r""))

    def __init__(self, program):
        super().__init__("host", "host: bare io_uring loop, fixed file and buffers",
                         {"program": "host_loop"})
        self.program = program

    def refuses(self, workload):
        if workload.kind not in ("blk", "linux") or not workload.host_limit:
            return "no counterpart on the host"
        if workload.disks != 1:
            return "one disk only"
        return ""

    def launch(self, workload, context):
        words = {"rw": workload.words.get("rw", "randread"), "bs": workload.words.get("bs", 4096),
                 "qd": workload.depth * int(workload.words.get("jobs", 1)), "time": _seconds(context.seconds),
                 "warmup": _seconds(context.warmup),
                 "direct": int(workload.cache == "none")}
        return Launch([self.program, context.disk_path(0),
                       *(f"{name}={value}" for name, value in words.items())])


def _seconds(value):
    return milliseconds(value).removesuffix("ms") + "e-3"
