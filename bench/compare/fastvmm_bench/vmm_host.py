# SPDX-License-Identifier: Apache-2.0
"""The host's own limit: the same requests without a VMM, by bench/host_loop, and by fio, which many know."""
import json
import shutil

from . import fio, tap
from .errors import RunFailed
from .vmm import Launch, Setting
from .workload import milliseconds


class HostLoop(Setting):
    family = "host"
    # The pacer stands for the guest where requests come at a rate.
    thread_roles = (("kernel", r"iou-"), ("vcpu", r"pacer"), ("worker", r""))

    def __init__(self, program):
        super().__init__("host", "host: bare io_uring loop, fixed files and buffers",
                         {"program": "host_loop"})
        self.program = program

    def refuses(self, workload):
        if workload.kind not in ("blk", "linux", "net") or not workload.host_limit:
            return "no counterpart on the host"
        if workload.kind == "net":
            return "one queue pair only" if workload.queues != 1 else tap.refuses(workload)
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
        if "rate" in workload.words:
            words["rate"] = workload.words["rate"]
        return Launch([self.program, context.disk_path(0), *_spelt(words)])


class HostFio(Setting):
    """fio with registered files and buffers, in batches of 16 as far as the depth allows. It is a program
    of many purposes, and spends more on a request than the loop."""

    family = "fio"
    thread_roles = (("kernel", r"iou-"), ("worker", r""))

    def __init__(self):
        super().__init__("host-fio", "host: fio, registered files and buffers", {"program": "fio"})

    def refuses(self, workload):
        if workload.kind != "blk" or not workload.host_limit or "rate" in workload.words:
            return "no counterpart on the host"
        if not shutil.which("fio"):
            return "fio is not installed (tools/setup)"
        return "one disk only" if workload.disks != 1 else ""

    def launch(self, workload, context):
        batch = min(16, workload.depth)
        words = {"name": "host", "filename": context.disk_path(0), "ioengine": "io_uring",
                 "rw": workload.words.get("rw", "randread"), "bs": workload.words.get("bs", 4096),
                 "iodepth": workload.depth, "iodepth_batch_submit": batch,
                 "iodepth_batch_complete_max": batch, "direct": int(workload.cache == "none"),
                 "runtime": milliseconds(context.seconds), "ramp_time": milliseconds(context.warmup),
                 "output-format": "json"}
        # The engine's own options come after its name.
        return Launch(["fio", *(f"--{name}={value}" for name, value in words.items()), "--thread",
                       "--time_based", "--norandommap", "--invalidate=0", "--fixedbufs", "--registerfiles"],
                      translate=_fio_document)


def _fio_document(text):
    """fio may print notes before its result."""
    try:
        return fio.document(json.loads(text[text.index("{"):]))
    except (ValueError, KeyError, IndexError) as error:
        raise RunFailed(f"fio's result is not what was expected: {error!r}") from error


def _spelt(words):
    return [f"{name}={value}" for name, value in words.items()]


def _seconds(value):
    return milliseconds(value).removesuffix("ms") + "e-3"
