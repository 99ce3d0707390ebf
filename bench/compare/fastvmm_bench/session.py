# SPDX-License-Identifier: Apache-2.0
"""A whole comparison: find the programs, choose the peer's settings, run, analyse."""
import os
import shutil
import time

from . import compare, environment, kvmstats, noise, preselect, results, syscalls
from .context import Context, default_disk_directory, first_that_exists, output_of
from .errors import BenchError, RunFailed
from .linux_guest import Guest
from .profiles import PROFILES, workloads
from .runner import Runner
from .vmm import HOST_FAMILIES
from .vmm_custom import Custom
from .vmm_fastvmm import Fastvmm
from .vmm_host import HostFio, HostLoop
from .vmm_qemu import settings as qemu_settings, vhost_settings

_TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
_LIBEXEC = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "libexec", "fastvmm"))


def _build(*path):
    return os.path.join(os.environ.get("FASTVMM_BUILD", os.path.join(_TOP, "build")), *path)


def find_guest(named):
    return first_that_exists("the bare guest (bareguest.elf)", [named] if named else [
        os.environ.get("BAREGUEST"), _build("bench", "guest", "bareguest.elf"),
        os.path.join(_LIBEXEC, "bareguest.elf")], "build it with meson, or name it with --guest")


def find_host_loop(named):
    return first_that_exists("host_loop", [named] if named else [
        _build("bench", "host_loop", "host_loop"), os.path.join(_LIBEXEC, "host_loop")],
        "build it with meson, or name it with --host-loop")


def find_fastvmm(named):
    return first_that_exists("fastvmm", [named] if named else [
        _build("fastvmm"), shutil.which("fastvmm")], "build it with meson, or name it with --fastvmm")


NET_OPTION = "net:"  # of --also: for the NICs


def _fastvmm(name, path, disk_options, net_options):
    version = output_of([path, "--version"]).splitlines()
    return Fastvmm(name, path, version[0] if version else "fastvmm", disk_options, net_options)


def own_settings(options):
    """The first is what is compared with all others."""
    if options.no_fastvmm:
        return []
    found = [_fastvmm("fastvmm", find_fastvmm(options.fastvmm), options.fastvmm_disk,
                      options.fastvmm_net)]
    for text in options.also:
        name, separator, rest = text.partition("=")
        if not separator:
            raise BenchError(f"--also {text}: expected NAME=PROGRAM[,OPTION...]")
        program, *words = rest.split(",")
        net = [word.removeprefix(NET_OPTION) for word in words if word.startswith(NET_OPTION)]
        disk = [word for word in words if word and not word.startswith(NET_OPTION)]
        found.append(_fastvmm(name, find_fastvmm(program), disk, net))
    return found


def peer_candidates(options, breadth, frames):
    """{peer: [settings]}: of each peer, the best setting is compared with."""
    software = environment.software_kvm()
    peers = {}
    programs = options.qemu or [shutil.which("qemu-system-x86_64")]
    for program in filter(None, [] if options.no_qemu else programs):
        found = qemu_settings(program, software, breadth)
        name = found[0].configuration["program"]
        if name in peers:
            name = f"{name} ({program})"
            for setting in found:
                setting.name += f"-{len(peers)}"
        peers[name] = found
        if frames and os.path.exists("/dev/vhost-net"):
            peers[f"{name} vhost-net"] = vhost_settings(program, software)
    for text in options.vmm:
        setting = Custom(text)
        peers[setting.name] = [setting]
    return peers


def _host_settings(options, profile):
    """The loop; and fio, where the profile has it."""
    if options.no_host:
        return []
    return [HostLoop(find_host_loop(options.host_loop)), *([HostFio()] if profile["fio"] else [])]


def chosen_workloads(options):
    from fnmatch import fnmatch
    found = [workload for workload in workloads(options.profile)
             if not options.only or any(fnmatch(workload.name, pattern) for pattern in options.only)]
    if not found:
        raise BenchError(f"--only {' '.join(options.only)}: the profile {options.profile} has none of "
                         f"these; see fastvmm-bench list {options.profile}")
    return found


def make_context(options):
    profile = PROFILES[options.profile]
    bare = any(workload.kind != "linux" for workload in profile["workloads"]())
    return Context(
        find_guest(options.guest) if bare else "",
        options.disk_dir or default_disk_directory(), options.disk_size,
        options.seconds or profile["seconds"],
        profile["warmup"] if options.warmup is None else options.warmup,
        *(options.pin.split(":", 1) if options.pin else ("", "")), device=options.disk_device or "")


class Session:
    def __init__(self, options, progress):
        profile = PROFILES[options.profile]
        self.options, self.progress = options, progress
        self.rounds = options.pairs or profile["pairs"]
        self.preselection_rounds = profile["preselection_rounds"]
        self.workloads = chosen_workloads(options)
        self.own = own_settings(options)
        self.peers = peer_candidates(options, options.breadth or profile["breadth"],
                                     any(workload.nics for workload in self.workloads))
        self.host = _host_settings(options, profile)
        if len(self.own) + len(self.peers) + len(self.host) < 2 and not options.alone:
            raise BenchError("nothing to compare: QEMU is not installed (tools/setup), or name one "
                             "with --qemu or --vmm; --alone measures without comparing")
        self.context = make_context(options)
        self.runner = Runner(self.context, progress, options.tolerate_noise,
                             None if options.no_limit else profile["limit"])

    def _all_settings(self):
        return self.own + [s for group in self.peers.values() for s in group] + self.host

    def _choose_peers(self, document):
        """{(group, peer): setting}; made once for all workloads of a group."""
        chosen = {}
        for workload in self.workloads:
            for peer, candidates in self.peers.items():
                key = (workload.group, peer)
                if key in chosen:
                    continue
                setting, record = preselect.choose(self.runner, workload, candidates,
                                                   self.preselection_rounds)
                chosen[key] = setting
                document["preselection"].append({**record, "group": workload.group, "peer": peer})
        return chosen

    def _plan_runs_of_choice(self):
        seen, runs = set(), 0
        for workload in self.workloads:
            if workload.group not in seen:
                seen.add(workload.group)
                for group in self.peers.values():
                    usable = sum(not setting.refuses(workload) for setting in group)
                    runs += usable * self.preselection_rounds if usable > 1 else 0
        return runs

    def _settings_for(self, workload, chosen, document):
        found = []
        for setting in (self.own + [chosen[workload.group, peer] for peer in self.peers] + self.host):
            if setting is None:
                document["skipped"].append(f"{workload.name}: no setting of a peer could run it")
                continue
            why = setting.refuses(workload)
            if why and setting.family not in HOST_FAMILIES:
                document["skipped"].append(f"{workload.name}: {setting.name}: {why}")
            if not why:
                found.append(setting)
        return found

    def _run_all(self, document, chosen):
        planned = [(w, self._settings_for(w, chosen, document)) for w in self.workloads]
        counted = self._counted(planned)
        self.progress.plan(sum(len(settings) for _, settings in planned) * self.rounds + len(counted))
        noisy = 0
        for workload, settings in planned:
            if self.runner.out_of_time():
                document["skipped"].append(f"{workload.name}: {results.OUT_OF_TIME}")
                continue
            try:
                noisy += self.runner.compare(workload, settings, self.rounds)
            except RunFailed as error:  # the other workloads' results are worth keeping
                self.progress.say(f"{workload.name}: {error}")
                document["skipped"].append(f"{workload.name}: {error}")
                document["failed"].append(workload.name)
                continue
            document["plan"].append({
                "workload": workload.name, "settings": [s.name for s in settings],
                "metric": workload.metric, "also": list(workload.also), "row": workload.row})
        for workload, setting in counted:
            if not self.runner.out_of_time():
                self.runner.count_system_calls(workload, setting)
        return noisy

    def _counted(self, planned):
        """The runs in which perf counts system calls."""
        if not (self.options.syscalls or PROFILES[self.options.profile]["syscalls"]):
            return []
        if not syscalls.available():
            self.progress.say("system calls are not counted: perf cannot (linux-perf, tracefs, root)")
            return []
        return [(workload, setting) for workload, settings in planned if workload.kind == "blk"
                for setting in settings if setting.family not in HOST_FAMILIES]

    def _note_noise(self, document, noisy):
        complaints = []
        total = self.rounds * len(document["plan"])
        if noisy:
            complaints.append(f"{noisy} of {total} rounds were disturbed and stayed so; their samples "
                              "are marked")
        speed = noise.speed_complaint([s["noise"]["calibration_ns"] for s in self.runner.samples])
        if speed:
            complaints.append(speed)
        if not kvmstats.available():
            complaints.append("KVM exits are not counted: debugfs is not mounted or not readable")
        document["noise"] = {"disturbed_rounds": noisy, "rounds": total, "complaints": complaints}

    def run(self):
        try:
            if any(workload.kind == "linux" for workload in self.workloads):
                self.context.linux = Guest(self.options.linux_guest, self.context.scratch)
            self.context.prepare_disks(max(workload.disks for workload in self.workloads))
            document = results.new(
                self.options.profile, self.context, self._all_settings(), self.workloads,
                environment.fingerprint(self.context), time.strftime("%Y-%m-%dT%H:%M:%S%z"))
            document["pairs"] = self.rounds
            self.progress.plan(self._plan_runs_of_choice())
            noisy = self._run_all(document, self._choose_peers(document))
            self._note_noise(document, noisy)
            document["samples"] = self.runner.samples
            document["command_lines"] = self.runner.command_lines
            return compare.analyse(document)
        finally:
            self.context.close()
