# SPDX-License-Identifier: Apache-2.0
"""fastvmm's command line for a workload."""
from . import linux_guest, tap
from .vmm import Launch, Setting


class Fastvmm(Setting):
    family = "fastvmm"
    thread_roles = (("vcpu", r"vcpu\d+$"), ("kernel", r"iou-|kvm-|vhost-"),
                    ("worker", r"(io|disk|worker|wrk)\S*\d+$"))

    def __init__(self, name, program, version, disk_options=(), net_options=()):
        configuration = {"program": version}
        if disk_options:
            configuration["disk options"] = ",".join(disk_options)
        if net_options:
            configuration["NIC options"] = ",".join(net_options)
        options = ",".join([*disk_options, *net_options])
        super().__init__(name, f"{version}" + (f" ({options})" if options else ""), configuration)
        self.program = program
        self.disk_options, self.net_options = disk_options, net_options

    def refuses(self, workload):
        return tap.refuses(workload)

    def _guest_arguments(self, workload, context, report_path):
        if workload.kind != "linux":
            return ["--kernel", context.guest,
                    "--cmdline", workload.guest_words(context.seconds, context.warmup)]
        return ["--kernel", context.linux.kernel, "--initrd", context.linux.initrd(workload),
                "--cmdline", linux_guest.command_line(workload, context), "--report", report_path]

    def launch(self, workload, context):
        report_path = context.temporary_file("report") if workload.kind == "linux" else ""
        argv = [self.program, *self._guest_arguments(workload, context, report_path),
                "--cpus", str(workload.cpus), "--memory", f"{workload.memory >> 20}M",
                "--workers", str(workload.workers), "--no-reboot"]
        for name in tap.names(workload):
            nic = [f"tap={name}", f"bridge={tap.BRIDGE}", f"queues={workload.queues}", *self.net_options]
            argv += ["--net", ",".join(nic)]
        for index in range(workload.disks):
            disk = [context.disk_path(index), f"queues={workload.queues}", f"cache={workload.cache}",
                    *self.disk_options]
            argv += ["--disk", ",".join(disk)]
        if context.vcpu_cpus:
            argv += ["--vcpu-cpus", context.vcpu_cpus, "--io-cpus", context.io_cpus]
        stats_path = context.temporary_file("stats.json")
        argv += ["--stats", stats_path]
        if workload.nics:
            argv = tap.in_namespace(workload, argv, make_taps=False)
        return Launch(argv, stats_path=stats_path, report_path=report_path)


def _total(items, *names):
    return sum(item.get(name, 0) for item in items for name in names)


def _system_calls(workers):
    return _total(workers, "enters", "signals", "other_syscalls")


def _net_counters(workers, halves, units):
    """Per frame, sent and received ones together (buffers that were never filled do not count); or per
    unit of what the guest counts itself."""
    names = ("frames", "kicks", "interrupts", "kicks_to_user_space", "publishes", "reads", "writes",
             "starved", "full")
    own = {name: _total(halves, name) for name in names}
    if not own["frames"]:
        return {}, own
    if units:
        return {"syscalls_per_io": _system_calls(workers) / units, "kicks_per_io": own["kicks"] / units}, own
    return {"syscalls_per_io": _system_calls(workers) / own["frames"]}, own


def own_counters(document, units=0):
    """Metrics from the document that --stats wrote, and what else is kept of it. The workers do nothing
    before the first request, so their counters over the whole run, divided by all requests, are exact.
    units: what the guest itself counted of its streams, where it did; a few frames of its start are in it too."""
    workers = document.get("workers", [])
    queues = [queue for disk in document.get("disks", []) for queue in disk.get("queues", [])]
    halves = [half for nic in document.get("nics", []) for pair in nic["pairs"] for half in pair.values()]
    if halves:
        return _net_counters(workers, halves, units)
    own = {name: _total(queues, name) for name in ("popped", "kicks", "interrupts",
                                                  "kicks_to_user_space", "publishes")}
    own.update({name: _total(workers, name) for name in ("loops", "sleeps", "spins", "enters")})
    requests = own["popped"]
    if not requests:
        return {}, own
    metrics = {"syscalls_per_io": _system_calls(workers) / requests,
               "kicks_per_io": own["kicks"] / requests,
               "interrupts_per_io": own["interrupts"] / requests}
    metrics["notifications_per_io"] = metrics["kicks_per_io"] + metrics["interrupts_per_io"]
    return metrics, own
