# SPDX-License-Identifier: Apache-2.0
"""Any other VMM, by a template of its command line: --vmm NAME=TEMPLATE.

The template is split as a shell would; {guest}, {cmdline}, {disk}, {queues}, {cpus}, {memory_mib},
{workers} and {direct} (true or false) are then replaced. The VMM has to boot a PVH ELF, offer its disk on
PCI and put the guest's first serial port on standard output.
"""
import shlex

from .errors import BenchError
from .vmm import Launch, Setting

FIELDS = ("guest", "cmdline", "disk", "queues", "cpus", "memory_mib", "workers", "direct")


class Custom(Setting):
    family = "other"
    thread_roles = (("vcpu", r"(?i)(vcpu|CPU|fc_vcpu|kvm-vcpu)"), ("kernel", r"iou-|kvm-|vhost-"),
                    ("worker", r"(?i)\S*(io|disk|blk|worker|queue|virtio)"))

    def __init__(self, text):
        name, separator, template = text.partition("=")
        if not separator or not name or not template.strip():
            raise BenchError(f"--vmm {text}: expected NAME=COMMAND with {{guest}} and {{cmdline}}")
        self.template = shlex.split(template)
        try:
            self._fill({field: "" for field in FIELDS})
        except (KeyError, ValueError, IndexError) as error:
            raise BenchError(f"--vmm {name}: unknown field {error}; known: {', '.join(FIELDS)}") from error
        super().__init__(name, name, {"program": template})

    def _fill(self, values):
        return [word.format(**values) for word in self.template]

    def refuses(self, workload):
        if workload.kind not in ("blk", "idle", "boot"):
            return f"workloads of kind {workload.kind} are not for the bare guest's runner"
        return "templates have one disk" if workload.disks != 1 else ""

    def launch(self, workload, context):
        return Launch(self._fill({
            "guest": context.guest, "cmdline": workload.guest_words(context.seconds, context.warmup),
            "disk": context.disk_path(0), "queues": workload.queues, "cpus": workload.cpus,
            "memory_mib": workload.memory >> 20, "workers": workload.workers,
            "direct": "true" if workload.cache == "none" else "false"}))
