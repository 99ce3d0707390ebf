# SPDX-License-Identifier: Apache-2.0
"""Whole runs of fastvmm-bench with a program in place of VMMs whose rates are known."""
import contextlib
import io
import json
import os
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from unittest import mock

import support
from fastvmm_bench import cli, context, noise, preselect, profiles, schedule
from fastvmm_bench.vmm_qemu import Qemu, has_qboot, settings as qemu_settings
from fastvmm_bench.workload import Workload

FAKE = os.path.join(support.HERE, "fake_vmm.py")
SMALL = {"about": "for tests", "pairs": 7, "seconds": 0.01, "warmup": 0.0, "breadth": "one",
         "preselection_rounds": 1, "limit": None, "syscalls": False, "fio": False,
         "workloads": lambda: [Workload("deep", words={"rw": "randread", "bs": 4096, "qd": 32})]}


class Whole(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory())
        # Where the tests' files lie does not matter here, nor how busy the machine is.
        self.enterContext(mock.patch.object(context, "file_system_of", return_value="ext4"))
        self.enterContext(mock.patch.object(noise, "complaints", return_value=[]))
        self.enterContext(mock.patch.dict(profiles.PROFILES, {"small": SMALL}))

    def path(self, name):
        return os.path.join(self.directory, name)

    def vmm(self, name, rate):
        return f"{name}={FAKE} {rate} {self.path(name)} {{cmdline}}"

    def bench(self, *arguments):
        """(exit status, standard output, standard error)."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(list(arguments))
        return status, out.getvalue(), err.getvalue()

    def run_bench(self, *vmms, more=()):
        arguments = ["run", "--profile", "small", "--no-fastvmm", "--no-qemu", "--no-host",
                     "--guest", FAKE, "--disk-dir", self.path("disks"), "--disk-size", "1M",
                     "--out", self.path("out"), *more]
        for vmm in vmms:
            arguments += ["--vmm", vmm]
        return self.bench(*arguments)

    def gate(self, at_least, judge="lower"):
        with open(self.path("gate.json"), "w", encoding="utf-8") as file:
            json.dump({"checks": [{"workload": "deep", "metric": "iops", "against": "second",
                                   "at_least": at_least, "judge": judge}]}, file)
        return ["--gate", self.path("gate.json")]

    def test_quicker_one_wins(self):
        status, out, err = self.run_bench(self.vmm("first", 200000), self.vmm("second", 100000),
                                          more=self.gate(1.9))
        self.assertEqual(status, 0, err)
        self.assertIn("2.00x", out)
        self.assertIn("better", out)
        self.assertIn("[ 14/14]", err)
        self.assertEqual(sorted(os.listdir(self.path("out"))),
                         ["junit.xml", "report.html", "report.txt", "results.json"])

    def test_unlike_work_ends_the_first_round(self):
        status, _, err = self.run_bench(self.vmm("first", 100000), self.vmm("second", 100000) + " qd=16")
        self.assertEqual(status, 2)
        self.assertIn("did not do the same work", err)
        with open(self.path("second"), encoding="ascii") as file:
            self.assertEqual(file.read(), "0")  # one run

    def test_a_workload_that_fails_leaves_the_others(self):
        two = {**SMALL, "workloads": lambda: [Workload(name, words={"rw": "randread", "bs": 4096, "qd": depth})
                                              for name, depth in (("deep", 32), ("deeper", 64))]}
        first = self.vmm("first", 100000)
        with mock.patch.dict(profiles.PROFILES, {"small": two}):
            status, out, err = self.run_bench(first, self.vmm("second", 50000) + " fail-at=64")
        self.assertEqual(status, 2)
        self.assertIn("2.00x", out)
        self.assertIn("no result of deeper", err)
        with open(self.path("out/results.json"), encoding="utf-8") as file:
            document = json.load(file)
        self.assertEqual([plan["workload"] for plan in document["plan"]], ["deep"])

    def test_gate_fails_when_a_slower_one_is_put_in(self):
        status, out, _ = self.run_bench(self.vmm("first", 80000), self.vmm("second", 100000),
                                        more=self.gate(0.95))
        self.assertEqual(status, 1)
        self.assertIn("FAILED", out)
        suite = ElementTree.parse(self.path("out/junit.xml")).getroot()
        self.assertEqual(suite.get("failures"), "1")

    def test_gate_passes_with_the_same_twice(self):
        status, out, _ = self.run_bench(self.vmm("first", 100000), self.vmm("second", 100000),
                                        more=self.gate(0.95))
        self.assertEqual(status, 0, out)
        self.assertIn("no difference shown", out)

    def test_gate_and_report_of_saved_results(self):
        self.run_bench(self.vmm("first", 200000), self.vmm("second", 100000))
        saved = self.path("out/results.json")
        self.assertEqual(self.bench("gate", saved, self.gate(1.9)[1])[0], 0)
        self.assertEqual(self.bench("gate", saved, self.gate(2.5)[1])[0], 1)
        status, out, _ = self.bench("report", saved, "--html", self.path("page.html"))
        self.assertEqual(status, 0)
        self.assertIn("2.00x", out)
        self.assertTrue(os.path.exists(self.path("page.html")))
        status, out, _ = self.bench("diff", saved, saved)
        self.assertEqual(status, 0)
        self.assertIn("1.00x", out)

    def test_order_is_turned_round(self):
        self.run_bench(self.vmm("first", 200000), self.vmm("second", 100000))
        with open(self.path("out/results.json"), encoding="utf-8") as file:
            samples = json.load(file)["samples"]
        self.assertEqual("".join(sample["setting"][0] for sample in samples), "fssffssffssffs")

    def test_noise_repeats_whole_rounds_and_is_told(self):
        with mock.patch.object(noise, "complaints", return_value=["steal 50 %"]):
            status, out, err = self.run_bench(self.vmm("first", 50000), self.vmm("second", 100000),
                                              more=self.gate(0.95))
        self.assertEqual(status, 3)
        self.assertIn("7 of 7 rounds were disturbed", out)
        self.assertEqual(err.count("this round is made again"), 7)
        with open(self.path("out/results.json"), encoding="utf-8") as file:
            samples = json.load(file)["samples"]
        self.assertEqual(len(samples), 14)
        self.assertTrue(all(sample["noisy"] for sample in samples))

    def test_failures_are_told(self):
        for rate, words in ((0, "the guest failed: told so"), (-1, "no such luck")):
            status, _, err = self.run_bench(self.vmm("first", rate), self.vmm("second", 1000))
            self.assertEqual(status, 2)
            self.assertIn(words, err)
        status, _, err = self.run_bench("first=/nonexistent/vmm {guest}", self.vmm("second", 1000))
        self.assertEqual(status, 2)
        self.assertIn("/nonexistent/vmm: cannot be run: No such file or directory", err)

    def test_usage_errors(self):
        for arguments, words in ((["--vmm", "x"], "expected NAME=COMMAND"),
                                 (["--vmm", "x=y {nothing}"], "unknown field 'nothing'"),
                                 (["--only", "nothing*"], "has none of these"),
                                 (["--gate", "/nonexistent"], "cannot be read")):
            status, _, err = self.run_bench(*(), more=arguments)
            self.assertEqual(status, 2, arguments)
            self.assertIn(words, err)

    def test_file_systems_that_mislead_are_refused(self):
        with mock.patch.object(context, "file_system_of", return_value="tmpfs"):
            status, _, err = self.run_bench(self.vmm("first", 1), self.vmm("second", 1))
        self.assertEqual(status, 2)
        self.assertIn("tmpfs", err)

    def test_lists(self):
        status, out, _ = self.bench("list", "quick")
        self.assertEqual(status, 0)
        self.assertIn("rw=randread bs=4096 qd=32", out)


class Plans(unittest.TestCase):
    def test_interleaving(self):
        self.assertEqual("".join(s for _, s in schedule.interleaved("AB", 4)), "ABBAABBA")
        self.assertEqual("".join(s for _, s in schedule.interleaved("ABC", 2)), "ABCCBA")
        for place in range(3):  # everybody comes as often in each place
            places = [schedule.interleaved("ABC", 6)[3 * number + place][1] for number in range(6)]
            self.assertEqual(sorted(places), list("AABBCC"))

    def test_best_setting(self):
        def samples(metric, *values):
            return [{"metrics": {metric: value}} for value in values]
        rate = Workload("w", metric="iops")
        self.assertEqual(preselect.best(rate, {"a": samples("iops", 5, 6, 7), "b": samples("iops", 9, 1, 1)}),
                         ("a", {"a": 6, "b": 1}))
        cost = Workload("w", metric="cpu_io_ns_per_io")
        self.assertEqual(preselect.best(cost, {"a": samples("cpu_io_ns_per_io", 5),
                                               "b": samples("cpu_io_ns_per_io", 3)})[0], "b")
        self.assertEqual(preselect.best(cost, {"a": []}), (None, {}))

    def test_profiles_are_sound(self):
        for name, profile in profiles.PROFILES.items():
            workloads = profile["workloads"]()
            names = [workload.name for workload in workloads]
            self.assertEqual(len(names), len(set(names)), name)
            self.assertGreaterEqual(profile["pairs"], 7, name)
            for sweep in {w.sweep for w in workloads} - {""}:
                places = [w.sweep_x for w in workloads if w.sweep == sweep]
                self.assertEqual(len(places), len(set(places)), f"{name}: {sweep}")

    def test_table_covers_its_rows(self):
        rows = {row for workload in profiles.workloads("table5") for row in workload.row.split(", ")}
        self.assertEqual(rows, {"1", "2", "3", "4", "5", "6", "7", "13", "14", "15"})


class QemuLines(unittest.TestCase):
    CONTEXT = mock.Mock(guest="/g.elf", seconds=1.0, warmup=0.5, disk_path=lambda i: f"/d,{i}.img",
                        disk_driver=lambda: "file")

    def line(self, setting, **machine):
        return setting.launch(Workload("w", words={"rw": "randread", "bs": 4096, "qd": 8}, **machine),
                              self.CONTEXT).argv

    def device(self, argv):
        return json.loads(argv[argv.index("-device") + 1])

    def test_one_iothread(self):
        argv = self.line(Qemu("qemu", (7, 2, 0), True, poll_ns=0), queues=2, cpus=2, cache="none")
        self.assertIn("host,-arch-capabilities", argv)
        self.assertIn("iothread,id=io0,poll-max-ns=0", argv)
        self.assertEqual(self.device(argv)["iothread"], "io0")
        self.assertEqual(self.device(argv)["num-queues"], 2)
        drive = json.loads(argv[argv.index("-blockdev") + 1])
        self.assertTrue(drive["file"]["cache"]["direct"])
        self.assertEqual(drive["file"]["filename"], "/d,0.img")

    def test_several_iothreads_from_9_0_on(self):
        workload = Workload("w", workers=2, queues=2)
        self.assertIn("before QEMU 9.0", Qemu("qemu", (8, 2, 0), False).refuses(workload))
        new = Qemu("qemu", (10, 0, 2), False)
        self.assertEqual(new.refuses(workload), "")
        self.assertEqual(self.device(self.line(new, workers=2, queues=2))["iothread-vq-mapping"],
                         [{"iothread": "io0"}, {"iothread": "io1"}])

    def test_q35_starts_by_qboot_where_qemu_has_it(self):
        argv = self.line(Qemu("qemu", (7, 2, 0), False, qboot=True))
        self.assertEqual(argv[argv.index("-bios") + 1], "qboot.rom")
        self.assertNotIn("-bios", self.line(Qemu("qemu", (7, 2, 0), False)))
        self.assertNotIn("-bios", self.line(Qemu("qemu", (7, 2, 0), False, machine="microvm",
                                                 qboot=True)))

    def test_qboot_is_looked_for_in_qemus_own_directories(self):
        with tempfile.TemporaryDirectory() as directory:
            program = os.path.join(directory, "qemu")
            with open(program, "w", encoding="utf-8") as script:
                script.write(f"#!/bin/sh\n[ \"$*\" = '-L help' ] && echo /nowhere && echo {directory}\n")
            os.chmod(program, 0o755)
            self.assertFalse(has_qboot(program))
            with open(os.path.join(directory, "qboot.rom"), "wb"):
                pass
            self.assertTrue(has_qboot(program))
        self.assertFalse(has_qboot(program))

    def test_native_is_for_direct_only(self):
        native = Qemu("qemu", (7, 2, 0), False, aio="native")
        self.assertTrue(native.refuses(Workload("w")))
        self.assertEqual(native.refuses(Workload("w", cache="none")), "")

    def test_names_are_unique(self):
        with mock.patch("fastvmm_bench.vmm_qemu.version_of", return_value=(7, 2, 0)):
            names = [setting.name for setting in qemu_settings("qemu", False, "all")]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
