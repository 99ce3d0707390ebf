# SPDX-License-Identifier: Apache-2.0
"""QEMU's settings and their command lines.

Every setting that could be somebody's best is tried in the pre-selection: with and without an iothread,
aio=io_uring, native (O_DIRECT only) and threads, polling as QEMU has it, off, and swept. From 9.0 on,
several workers mean several iothreads with the virtqueues mapped over them.

The q35 machine starts by qboot where QEMU has it: where KVM interprets firmware, SeaBIOS takes seconds to
hand over, and qboot a tenth of one. Nothing of it is left once the guest drives its queues.
"""
import json
import os
import re
import subprocess

from . import linux_guest, tap
from .errors import BenchError
from .vmm import Launch, Setting

DEFAULT_POLL_NS = 32768
QBOOT = "qboot.rom"


class Qemu(Setting):
    family = "qemu"
    thread_roles = (("vcpu", r"CPU \d+/"), ("kernel", r"iou-|kvm-|vhost-"), ("worker", r"IO io\d|worker"))

    def __init__(self, program, version, software_kvm, machine="q35", aio="io_uring", iothread=True,
                 poll_ns=None, vhost=False, qboot=False):
        self.program, self.version, self.vhost = program, version, vhost
        self.qboot = qboot and machine == "q35"
        self.machine, self.aio, self.iothread, self.poll_ns = machine, aio, iothread, poll_ns
        self.software_kvm = software_kvm
        number = ".".join(str(part) for part in version[:2])
        name = [f"qemu-{number}", machine, aio, "iothread" if iothread else "mainloop"]
        if poll_ns is not None:
            name.append(f"poll{poll_ns}")
        if vhost:
            name.append("vhost")
        super().__init__("-".join(name), f"QEMU {'.'.join(map(str, version))} {machine}", {
            "program": f"QEMU {'.'.join(map(str, version))}", "machine": machine, "aio": aio,
            "iothread": "yes" if iothread else "no",
            "poll-max-ns": DEFAULT_POLL_NS if poll_ns is None else poll_ns,
            "vhost-net": "yes" if vhost else "no",
            "firmware": "qboot" if self.qboot else "QEMU's default"})

    def refuses(self, workload):
        if workload.nics:
            return self._refuses_net(workload)
        if self.vhost:
            return "vhost-net is for network workloads"
        if self.aio == "native" and workload.cache != "none":
            return "aio=native is for O_DIRECT"
        if workload.workers > 1 and not self.iothread:
            return "the main loop is one thread"
        if workload.workers > 1 and self.version < (9, 0):
            return "a disk has one iothread before QEMU 9.0"
        if self.machine == "microvm" and workload.kind != "linux":
            return "microvm has no configuration ports for PCI, which the bare guest wants"
        return ""

    def _refuses_net(self, workload):
        if (self.machine, self.aio, self.iothread, self.poll_ns) != ("q35", "io_uring", True, None):
            return "differs from others in the disk only"
        return tap.refuses(workload)

    def _machine_arguments(self, workload):
        cpu = "host,-arch-capabilities" if self.software_kvm else "host"
        return ["-M", f"{self.machine},usb=off" if self.machine == "q35" else self.machine,
                "-accel", "kvm", "-cpu", cpu, "-smp", str(workload.cpus),
                "-m", f"{workload.memory >> 20}M", "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot", "-name", "bench,debug-threads=on",
                *(["-bios", QBOOT] if self.qboot else [])]

    def _guest_arguments(self, workload, context, report_path):
        if workload.kind != "linux":
            return ["-serial", "stdio", "-kernel", context.guest,
                    "-append", workload.guest_words(context.seconds, context.warmup)]
        arguments = ["-kernel", context.linux.kernel, "-initrd", context.linux.initrd(workload),
                     "-append", linux_guest.command_line(workload, context), "-serial", "null"]
        if self.machine == "microvm":  # it makes one serial port by itself
            return arguments + ["-chardev", f"file,id=report,path={report_path}",
                                "-device", "isa-serial,chardev=report,index=1"]
        return arguments + ["-serial", f"file:{report_path}"]

    def _iothreads(self, workload):
        if not self.iothread or workload.nics:  # virtio-net runs in the main loop
            return []
        return [f"io{i}" for i in range(workload.workers)]

    def _disk_arguments(self, workload, context, index):
        drive = {"driver": "raw", "node-name": f"drive{index}", "discard": "unmap",
                 "cache": {"direct": workload.cache == "none", "no-flush": False},
                 "file": {"driver": context.disk_driver(), "filename": context.disk_path(index),
                          "aio": self.aio, "discard": "unmap",
                          "cache": {"direct": workload.cache == "none", "no-flush": False}}}
        device = {"drive": f"drive{index}", "num-queues": workload.queues, "serial": f"disk{index}",
                  "write-cache": "on"}
        if self.machine == "microvm":
            device["driver"] = "virtio-blk-device"
        else:
            device.update({"driver": "virtio-blk-pci", "disable-legacy": "on"})
        threads = self._iothreads(workload)
        if len(threads) > 1:
            device["iothread-vq-mapping"] = [{"iothread": name} for name in threads]
        elif threads:
            device["iothread"] = threads[0]
        return ["-blockdev", json.dumps(drive), "-device", json.dumps(device)]

    def _nic_arguments(self, workload, index):
        netdev = f"tap,id=net{index},ifname={tap.names(workload)[index]},script=no,downscript=no," \
                 f"queues={workload.queues},vhost={'on' if self.vhost else 'off'}"
        device = {"driver": "virtio-net-pci", "netdev": f"net{index}", "disable-legacy": "on",
                  "mac": f"52:54:00:12:34:{index + 0x10:02x}", "rx_queue_size": 256,
                  "tx_queue_size": 256}
        if workload.queues > 1:
            device.update({"mq": True, "vectors": 2 * workload.queues + 2})
        return ["-netdev", netdev, "-device", json.dumps(device)]

    def launch(self, workload, context):
        report_path = context.temporary_file("report") if workload.kind == "linux" else ""
        argv = [self.program, *self._machine_arguments(workload),
                *self._guest_arguments(workload, context, report_path)]
        for name in self._iothreads(workload):
            argv += ["-object", f"iothread,id={name}"
                     + ("" if self.poll_ns is None else f",poll-max-ns={self.poll_ns}")]
        for index in range(workload.disks):
            argv += self._disk_arguments(workload, context, index)
        for index in range(workload.nics):
            argv += self._nic_arguments(workload, index)
        if workload.nics:
            argv = tap.in_namespace(workload, argv, make_taps=True)
        return Launch(argv, report_path=report_path)


def version_of(program):
    """(major, minor, micro) of a QEMU binary."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20,
                              check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"--qemu {program}: cannot be run: {error}") from error
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise BenchError(f"--qemu {program}: does not look like QEMU: {text.strip()[:80]}")
    return tuple(int(number) for number in found.groups())


def has_qboot(program):
    """Whether this QEMU finds qboot in one of its data directories."""
    try:
        found = subprocess.run([program, "-L", "help"], capture_output=True, text=True, timeout=20,
                               check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return False
    return any(os.path.exists(os.path.join(directory, QBOOT)) for directory in found)


def settings(program, software_kvm, breadth):
    """The settings to choose from. breadth: "one" (QEMU's usual best), "few", "all"."""
    version, qboot = version_of(program), has_qboot(program)

    def make(**options):
        return Qemu(program, version, software_kvm, qboot=qboot, **options)

    chosen = [make()]
    if breadth in ("few", "all"):
        chosen += [make(poll_ns=0), make(aio="native"), make(poll_ns=200000)]
    if breadth == "all":
        chosen += [make(aio="threads"), make(aio="native", poll_ns=0), make(iothread=False),
                   make(poll_ns=8000), make(poll_ns=1000000), make(machine="microvm")]
    return chosen


def vhost_settings(program, software_kvm):
    """QEMU with the kernel's own virtio-net device behind it; a peer of its own."""
    return [Qemu(program, version_of(program), software_kvm, vhost=True, qboot=has_qboot(program))]
