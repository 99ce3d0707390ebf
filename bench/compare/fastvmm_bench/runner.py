# SPDX-License-Identifier: Apache-2.0
"""Runs settings on workloads and keeps the samples.

A round of the interleaved runs counts as a whole or not at all: where the noise guard complains about one
of its runs, all of them are made again, up to as many times as there are rounds; so nobody's bad luck is
thrown away alone. Rounds that stayed noisy are kept, marked, and make the report say so.
"""
import os
import time

from . import compare, ledger, noise, process, schedule, syscalls
from .errors import RunFailed
from .units import parse_cpus

# A guest's start under the slowest VMM: on an interpreted ring 0, or as Linux in an emulated host.
START_SECONDS = {"linux": 300}
START_SECONDS_DEFAULT = 60


class Runner:
    def __init__(self, context, progress, tolerate_noise=False, limit=None):
        self.context, self.progress = context, progress
        self.tolerate_noise = tolerate_noise
        self.began, self.limit = time.monotonic(), limit  # seconds for everything, or None
        self.samples = []
        self.command_lines = {}

    def out_of_time(self, fraction=1.0):
        return self.limit is not None and time.monotonic() - self.began > fraction * self.limit

    def _launch(self, workload, setting, companion=None):
        """(outcome, what was noted before); RunFailed where there is no result."""
        self.context.settle_disks(workload)
        launch = setting.launch(workload, self.context)
        self.command_lines.setdefault(f"{workload.name}/{setting.name}", launch.command_line())
        before = noise.before_run()
        seconds = workload.measured_seconds(self.context.seconds) + self.context.warmup
        outcome = process.run(launch, seconds + START_SECONDS.get(workload.kind, START_SECONDS_DEFAULT),
                              want_memory=workload.kind == "idle", guest_bytes=workload.memory,
                              place=self._placement(setting),
                              companion=companion)
        return outcome, before

    def run_once(self, workload, setting):
        """One run as a sample; RunFailed where there is no result."""
        outcome, before = self._launch(workload, setting)
        measured, costs = ledger.evaluate(setting, outcome)
        return {"workload": workload.name, "setting": setting.name, "metrics": measured,
                "ledger": costs, "noise": noise.after_run(before, setting, outcome),
                "guest": outcome.guest}

    def count_system_calls(self, workload, setting):
        """A run beside which perf counts; a sample of kind "ledger", whose rate counts for nothing."""
        companion = syscalls.Companion()
        try:
            outcome, before = self._launch(workload, setting, companion)
        except RunFailed as error:
            self.progress.say(f"  {setting.name}: its system calls were not counted: {error}")
            return
        begin, end = ledger.window(outcome)
        iops = outcome.guest.get("iops", 0)
        roles = syscalls.per_io(setting, outcome.watch, companion.counts(), begin, end, iops)
        measured = {} if roles is None else {"syscalls_per_io": sum(
            calls for role, calls in roles.items() if role != "vcpu")}
        self.samples.append({
            "workload": workload.name, "setting": setting.name, "kind": "ledger", "round": 0, "order": 0,
            "metrics": measured, "ledger": {"system_calls_per_io": roles}, "guest": outcome.guest,
            "noise": noise.after_run(before, setting, outcome)})
        self.progress.run_done(workload, setting, iops if workload.metric == "iops" else None,
                               "system calls counted")

    def _placement(self, setting):
        """Pins the threads of VMMs that have no option for it; fastvmm has."""
        if not self.context.vcpu_cpus or setting.family == "fastvmm":
            return None
        vcpus, others = (parse_cpus(text) for text in (self.context.vcpu_cpus, self.context.io_cpus))

        def place(tid, name):
            try:
                os.sched_setaffinity(tid, vcpus if setting.role(name) == "vcpu" else others)
            except OSError:
                pass  # it has ended, or is a kernel thread that may not be moved
        return place

    def _round(self, workload, settings, number, kind):
        samples = []
        for setting in settings:
            sample = self.run_once(workload, setting)
            sample.update(round=number, kind=kind, order=len(samples))
            samples.append(sample)
            remark = "; ".join(noise.complaints(sample["noise"]))
            self.progress.run_done(workload, setting, sample["metrics"].get(workload.metric),
                                   f"({remark})" if remark else "")
        for other in samples[1:]:  # now, and not when an hour of runs turns out to be worth nothing
            compare.demand_same_work(workload.name, (samples[0]["setting"], other["setting"]),
                                     (samples[0]["guest"], other["guest"]))
        return samples

    def compare(self, workload, settings, rounds):
        """The interleaved runs. Returns how many rounds stayed noisy."""
        spare, noisy = rounds, 0
        for number in range(rounds):
            ordered = [setting for at, setting in schedule.interleaved(settings, rounds) if at == number]
            while True:
                samples = self._round(workload, ordered, number, "main")
                bad = any(noise.complaints(sample["noise"]) for sample in samples)
                if not bad or self.tolerate_noise or spare == 0 or self.out_of_time(0.6):
                    break
                spare -= 1
                self.progress.total += len(settings)
                self.progress.say("  the host was not quiet: this round is made again")
            noisy += bad
            for sample in samples:
                sample["noisy"] = bool(noise.complaints(sample["noise"]))
            self.samples += samples
        return noisy

    def try_out(self, workload, settings, rounds):
        """The pre-selection's runs: {setting name: [samples]}, and {name: why} of those that fail."""
        results = {setting.name: [] for setting in settings}
        failures = {}
        for number, setting in schedule.interleaved(settings, rounds):
            if setting.name in failures:
                self.progress.total -= 1
                continue
            try:
                (sample,) = self._round(workload, [setting], number, "preselection")
            except RunFailed as error:
                failures[setting.name] = str(error)
                self.progress.total -= 1
                self.progress.say(f"  {setting.name} cannot run {workload.name}: {error}")
                continue
            results[setting.name].append(sample)
            self.samples.append(sample)
        return results, failures
