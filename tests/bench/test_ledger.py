# SPDX-License-Identifier: Apache-2.0
"""The cost ledger: windows over counters, memory maps, roles of threads, the noise guard."""
import os
import threading
import time
import unittest
from types import SimpleNamespace

import support
from fastvmm_bench import compare, ledger, memory, metrics, noise, syscalls, threads, units
from fastvmm_bench.errors import BenchError
from fastvmm_bench.threads import Reading
from fastvmm_bench.vmm_custom import Custom
from fastvmm_bench.vmm_fastvmm import Fastvmm, own_counters
from fastvmm_bench.vmm_qemu import Qemu

SMAPS = """\
55d0c0000000-55d0c0100000 r-xp 00000000 fe:00 123                        /usr/bin/vmm
Size:               1024 kB
Rss:                 512 kB
Pss:                 256 kB
Private_Clean:       128 kB
Private_Dirty:         0 kB
VmFlags: rd ex mr mw me sd
7f0000000000-7f0008000000 rw-s 00000000 00:01 456                        /memfd:guest (deleted)
Size:             131072 kB
Rss:              100000 kB
Pss:              100000 kB
Private_Clean:         0 kB
Private_Dirty:    100000 kB
7f0010000000-7f0010100000 rw-p 00000000 00:00 0
Size:               1024 kB
Rss:                1024 kB
Pss:                1024 kB
Private_Clean:         0 kB
Private_Dirty:      1024 kB
"""


class Memory(unittest.TestCase):
    def test_beyond_guest(self):
        found = memory.beyond_guest(memory.parse_smaps(SMAPS), 128 << 20)
        self.assertEqual(found["resident"], 1536 * 1024)
        self.assertEqual(found["private"], (128 + 1024) * 1024)
        self.assertEqual(found["of_files"], 512 * 1024)
        self.assertEqual(found["anonymous"], 1024 * 1024)

    def test_unknown_where_no_mapping_is_the_guest(self):
        self.assertIsNone(memory.beyond_guest(memory.parse_smaps(SMAPS), 512 << 20))

    def test_own_process_parses(self):
        with open("/proc/self/smaps", encoding="utf-8") as file:
            areas = memory.parse_smaps(file.read())
        self.assertGreater(sum(fields["Rss"] for _, fields in areas), 1 << 20)


def reading(at, counters):
    values = {tid: (cpu, cpu, 0, 0, switches, 0) for tid, (cpu, switches) in counters.items()}
    return Reading(at, values, (int(at * 1e9), int(at * 1e7), 0))


class Windows(unittest.TestCase):
    def watch(self):
        readings = [reading(0, {"1": (0, 0)}), reading(1, {"1": (1000, 10), "2": (0, 0)}),
                    reading(2, {"1": (2000, 20), "2": (400, 4)}), reading(3, {"1": (3000, 30)})]
        return SimpleNamespace(readings=readings, name_of={"1": "vcpu0", "2": "io0"})

    def test_interpolates(self):
        growth = threads.thread_growth(self.watch(), 0.5, 1.5)
        self.assertEqual(growth["1"]["cpu_ns"], 1000)
        self.assertEqual(growth["1"]["voluntary"], 10)
        self.assertEqual(growth["2"]["cpu_ns"], 200)

    def test_a_thread_that_ended_keeps_its_time(self):
        self.assertEqual(threads.thread_growth(self.watch(), 1, 3)["2"]["cpu_ns"], 400)

    def test_roles(self):
        setting = Fastvmm("fastvmm", "/bin/true", "fastvmm 0")
        roles = ledger.by_role(setting, self.watch(), 0, 2)
        self.assertEqual(roles["vcpu"]["cpu_ns"], 2000)
        self.assertEqual(roles["worker"]["cpu_ns"], 400)
        self.assertEqual(roles["other"]["cpu_ns"], 0)

    def outcome(self, guest, line_at=3.0, **more):
        return SimpleNamespace(guest=guest, watch=self.watch(), line_at=line_at, started=0.0, kvm=[],
                               memory=None, own=None, init_at=None, **more)

    def test_costs_per_io(self):
        guest = {"measured_ns": 2000000000, "ios": 100, "iops": 50, "total": 120, "kicks": 60,
                 "interrupts": 12, "latency_ns": {"p50": 5}}
        found, _ = ledger.evaluate(Fastvmm("fastvmm", "/bin/true", "x"), self.outcome(guest))
        self.assertEqual(found["cpu_vcpu_ns_per_io"], 20)
        self.assertEqual(found["cpu_io_ns_per_io"], 4)
        # The bare guest counts while it measures, and warm-up (the other 20) is none of that.
        self.assertEqual(found["kicks_per_io"], 0.6)
        self.assertAlmostEqual(found["notifications_per_io"], 0.72)
        self.assertEqual(found["latency_p50_ns"], 5)

    def test_a_linux_guest_counts_all_of_its_run(self):
        guest = {"guest": "fio", "kernel": "6.1", "measured_ns": 2000000000, "ios": 100, "iops": 50, "total": 120,
                 "interrupts": 12}
        found, _ = ledger.evaluate(Fastvmm("fastvmm", "/bin/true", "x"), self.outcome(guest))
        self.assertEqual(found["interrupts_per_io"], 0.1)

    def test_the_guests_own_counts_come_first(self):
        guest = {"measured_ns": 2000000000, "ios": 100, "iops": 50, "total": 120, "kicks": 60}
        outcome = self.outcome(guest)
        outcome.own = {"workers": [{"enters": 240}], "disks": [{"queues": [{"popped": 120, "kicks": 96}]}]}
        found, _ = ledger.evaluate(Fastvmm("fastvmm", "/bin/true", "x"), outcome)
        self.assertEqual((found["kicks_per_io"], found["syscalls_per_io"]), (0.6, 2))

    def test_start(self):
        guest = {"workload": "info", "machine": {"setup_ns": 400000000}}
        found, _ = ledger.evaluate(Fastvmm("fastvmm", "/bin/true", "x"), self.outcome(guest, 0.5))
        self.assertAlmostEqual(found["start_ns"], 100e6)

    def test_idle_lies_between_two_readings(self):
        # It idles from 0.5 to 3; what ran before 1 was not idle.
        guest = {"idle_ns": 2500000000, "workload": "idle"}
        outcome = self.outcome(guest)
        outcome.watch.readings[-1] = reading(2.9, {"1": (2500, 30), "2": (400, 4)})
        self.assertEqual(ledger.window(outcome), (1, 2.9))
        found, _ = ledger.evaluate(Fastvmm("fastvmm", "/bin/true", "x"), outcome)
        self.assertAlmostEqual(found["idle_cpu"], (1500 + 400) / 1.9e9)

    def test_a_live_process(self):
        """A thread that works is seen to use CPU time, and its name is read."""
        stop = threading.Event()

        def spin():
            while not stop.is_set():
                pass
        thread = threading.Thread(target=spin)
        watch = threads.ThreadWatch(os.getpid())
        thread.start()
        watch.read()
        used = time.thread_time
        before = used()
        while used() - before < 0.02:  # CPU time of this thread; the other one gets some meanwhile
            pass
        watch.read()
        stop.set()
        thread.join()
        watch.close()
        first, last = watch.readings[0], watch.readings[-1]
        growth = threads.thread_growth(watch, first.at, last.at)
        self.assertGreater(sum(values["cpu_ns"] for values in growth.values()), 0)
        self.assertGreaterEqual(len(growth), 2)
        with open("/proc/self/comm", encoding="utf-8") as file:
            self.assertEqual(watch.name_of[str(os.getpid())], file.read().strip())


class Roles(unittest.TestCase):
    def test_names_of_threads(self):
        cases = [(Fastvmm("f", "f", "f"), {"vcpu3": "vcpu", "io0": "worker", "disk0-1": "worker",
                                           "fastvmm": "other", "iou-wrk-17": "kernel"}),
                 (Qemu("q", (7, 2, 0), False), {"CPU 0/KVM": "vcpu", "IO io0": "worker",
                                                "worker": "worker", "qemu-system-x86": "other",
                                                "IO mon_iothread": "other",
                                                "kvm-nx-lpage-re": "kernel"}),
                 (Custom("x=x {guest} {cmdline}"), {"vcpu0": "vcpu", "fc_vcpu 0": "vcpu",
                                                    "disk0_q0": "worker", "main": "other"})]
        for setting, names in cases:
            for name, role in names.items():
                self.assertEqual(setting.role(name), role, f"{setting.name}: {name}")

    def test_own_counters(self):
        found, own = own_counters({
            "workers": [{"enters": 10, "signals": 2, "other_syscalls": 1, "spins": 9}],
            "disks": [{"queues": [{"kicks_to_user_space": 3, "popped": 20, "kicks": 5, "interrupts": 1},
                                  {"popped": 6, "kicks": 1}]}]})
        self.assertEqual(found["syscalls_per_io"], 0.5)
        self.assertEqual(found["kicks_per_io"], 6 / 26)
        self.assertAlmostEqual(found["notifications_per_io"], 7 / 26)
        self.assertEqual((own["kicks_to_user_space"], own["spins"]), (3, 9))
        self.assertEqual(own_counters({"workers": [], "disks": []})[0], {})


PERF = """\
     0.200000000,CPU 0/KVM-71,12,,raw_syscalls:sys_enter,1,100.00,,
     0.200000000,IO io0-72,400,,raw_syscalls:sys_enter,1,100.00,,
     0.200000000,a, b-73,<not counted>,,raw_syscalls:sys_enter,0,100.00,,
     0.400000000,IO io0-72,200,,raw_syscalls:sys_enter,1,100.00,,
     0.600000000,IO io0-72,999,,raw_syscalls:sys_enter,1,100.00,,
"""


class SystemCalls(unittest.TestCase):
    def test_parses(self):
        self.assertEqual(syscalls.parse(PERF), [(0.2, "71", 12), (0.2, "72", 400), (0.4, "72", 200),
                                                (0.6, "72", 999)])
        self.assertEqual(syscalls.parse("1.0,a, b-9,5,,raw_syscalls:sys_enter,1,100.00,,"),
                         [(1.0, "9", 5)])
        self.assertEqual(syscalls.parse("perf: no permission"), [])

    def test_per_io(self):
        watch = SimpleNamespace(name_of={"71": "CPU 0/KVM", "72": "IO io0"})
        counts = [(10 + at, tid, calls) for at, tid, calls in syscalls.parse(PERF)]
        # Two intervals of 0.2 s lie inside; 1000 I/Os a second are 400 in them.
        found = syscalls.per_io(Qemu("q", (7, 2, 0), False), watch, counts, 10, 10.5, 1000)
        self.assertAlmostEqual(found["worker"], 600 / 400)
        self.assertAlmostEqual(found["vcpu"], 12 / 400)
        self.assertIsNone(syscalls.per_io(Qemu("q", (7, 2, 0), False), watch, counts, 20, 21, 1000))

    def test_ledger_runs_fill_in_but_do_not_rank(self):
        samples = [support.sample("w", "q", 0, {"iops": 5}),
                   {**support.sample("w", "q", 0, {"iops": 99, "syscalls_per_io": 2}), "kind": "ledger"}]
        found = compare.summaries(samples, "w", "q")
        self.assertEqual(found["iops"]["median"], 5)
        self.assertEqual(found["syscalls_per_io"]["median"], 2)


class Noise(unittest.TestCase):
    def test_complaints(self):
        self.assertEqual(noise.complaints({"steal": 0.001, "foreign": 0.02}), [])
        self.assertEqual(len(noise.complaints({"steal": 0.2, "foreign": 0.5})), 2)
        self.assertEqual(noise.complaints({"steal": None, "foreign": None}), [])

    def test_speed(self):
        self.assertEqual(noise.speed_complaint([100, 101, 102, 103]), "")
        self.assertIn("varied", noise.speed_complaint([100, 101, 102, 150]))


class Units(unittest.TestCase):
    def test_shown(self):
        for shown, text in ((units.rate(276400), "276k"), (units.rate(4438), "4.44k"),
                            (units.rate(1250000), "1.25M"), (units.rate(12), "12.0"),
                            (units.nanoseconds(1500), "1.50 us"), (units.octets(5 << 20), "5.00 MiB"),
                            (units.percent(0.000123), "0.0123 %"), (units.significant(0), "0"),
                            (units.seconds(125), "2 min 05 s")):
            self.assertEqual(shown, text)

    def test_sizes(self):
        self.assertEqual(units.parse_size("512M"), 512 << 20)
        self.assertEqual(units.parse_size("4KiB"), 4096)
        for text in ("", "M", "-1", "1.5G", "4X"):
            with self.assertRaises(BenchError, msg=text):
                units.parse_size(text)

    def test_cpus(self):
        self.assertEqual(units.parse_cpus("0,2-4"), {0, 2, 3, 4})
        with self.assertRaises(BenchError):
            units.parse_cpus("0,,1")

    def test_advantage_is_turned(self):
        self.assertEqual(metrics.advantage("iops", 2), 2)
        self.assertEqual(metrics.advantage("idle_cpu", 0.5), 2)
        self.assertEqual(metrics.advantage_interval("idle_cpu", 0.25, 0.5), (2, 4))


if __name__ == "__main__":
    unittest.main()
