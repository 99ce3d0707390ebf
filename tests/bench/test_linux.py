# SPDX-License-Identifier: Apache-2.0
"""Linux guests: what their job sends is understood, and the command line survives the way inside."""
import json
import os
import tempfile
import unittest
from types import SimpleNamespace

import support  # noqa: F401 (sets the path)
from fastvmm_bench import cli, linux_guest, profiles
from fastvmm_bench.errors import RunFailed
from fastvmm_bench.vmm_fastvmm import Fastvmm
from fastvmm_bench.vmm_host import HostLoop
from fastvmm_bench.vmm_qemu import Qemu
from fastvmm_bench.workload import Workload

SIDE = {"total_ios": 4000, "iops": 2000.0, "bw_bytes": 8192000, "runtime": 2000,
        "clat_ns": {"mean": 500000.0, "percentile": {"50.000000": 480000, "99.000000": 900000}}}
IDLE_SIDE = {**SIDE, "total_ios": 0, "iops": 0.0, "bw_bytes": 0, "runtime": 0}
SENT = {"interrupts": 600, "queues": 1, "kernel": "6.12.1",
        "fio": {"jobs": [{"error": 0, "read": SIDE, "write": IDLE_SIDE, "job options": {
            "rw": "randread", "bs": "4096", "iodepth": "32", "numjobs": "1", "ramp_time": "1"}}]}}
WORKLOAD = Workload("l", kind="linux", words={"rw": "randread", "bs": 4096, "qd": 8, "jobs": 4},
                    cpus=4, queues=4, cache="none")


def report(sent, end="FASTVMM-RESULT-END\n"):
    return f"FASTVMM-INIT 1.5\r\nFASTVMM-RESULT-BEGIN\r\n{json.dumps(sent, indent=1)}\n{end}"


class Results(unittest.TestCase):
    def test_names_of_the_bare_guest(self):
        found = linux_guest.guest_document(report(SENT))
        self.assertEqual((found["status"], found["iops"], found["ios"]), ("ok", 2000, 4000))
        self.assertEqual(found["measured_ns"], 2000000000)
        self.assertEqual(found["latency_ns"], {"mean": 500000.0, "p50": 480000, "p99": 900000})
        self.assertEqual((found["params"]["qd"], found["params"]["bs"]), (32, 4096))
        # 2 s measured after 1 s of ramp: 6000 requests while the 600 interrupts were counted.
        self.assertEqual(found["interrupts"] / found["total"], 0.1)

    def test_failure_of_fio(self):
        sent = json.loads(json.dumps(SENT))
        sent["fio"]["jobs"][0]["error"] = 5
        self.assertEqual(linux_guest.guest_document(report(sent))["status"], "fail")

    def test_nothing_yet(self):
        self.assertIsNone(linux_guest.guest_document("FASTVMM-INIT 1\n"))
        self.assertIsNone(linux_guest.guest_document(report(SENT, end="")))

    def test_nonsense(self):
        with self.assertRaises(RunFailed):
            linux_guest.guest_document(report({"interrupts": 1}))

    def test_marks(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "report")
            channel = linux_guest.Report(path)
            self.assertFalse(channel.has_init())
            with open(path, "w", encoding="utf-8") as file:
                file.write("FASTVMM-INIT 1.5\n")
            self.assertEqual((channel.has_init(), channel.load_has_ended()), (True, False))
            with open(path, "a", encoding="utf-8") as file:
                file.write("BENCH-LOAD-END\n")
            self.assertTrue(channel.load_has_ended())

    def test_jobs_say_when_their_load_ends(self):
        for workload in (WORKLOAD, *profiles.workloads("iperf")):
            with open(linux_guest.job_of(workload), encoding="utf-8") as file:
                self.assertIn(f'echo {linux_guest.LOAD_END} >"$FASTVMM_REPORT"', file.read())


class CommandLines(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.context = SimpleNamespace(
            seconds=3.0, warmup=1.0, vcpu_cpus="", io_cpus="",
            linux=SimpleNamespace(kernel="/k", initrd=lambda workload: "/i"), disk_path=lambda i: "/dev/nullb0",
            disk_driver=lambda: "host_device", temporary_file=lambda name: os.path.join(directory, name))

    def test_every_vmm_boots_the_same(self):
        own = Fastvmm("fastvmm", "/f", "f").launch(WORKLOAD, self.context)
        lines = {own.argv[own.argv.index("--cmdline") + 1]}
        for machine in ("q35", "microvm"):
            launch = Qemu("/q", (10, 0, 2), False, machine=machine).launch(WORKLOAD, self.context)
            lines.add(launch.argv[launch.argv.index("-append") + 1])
            self.assertTrue(any(launch.report_path in word for word in launch.argv), machine)
            device = json.loads(launch.argv[launch.argv.index("-blockdev") + 3])
            self.assertEqual(device["driver"],
                             "virtio-blk-pci" if machine == "q35" else "virtio-blk-device")
        self.assertEqual(len(lines), 1)
        (line,) = lines
        for word in ("bench.qd=8", "bench.jobs=4", "bench.seconds=3", "bench.warmup=1"):
            self.assertIn(word, line.split())

    def test_host_has_as_much_in_flight(self):
        launch = HostLoop("host_loop").launch(WORKLOAD, self.context)
        self.assertIn("qd=32", launch.argv)

    def test_job_knows_every_word(self):
        for workload in (WORKLOAD, *profiles.workloads("iperf")):
            with open(linux_guest.job_of(workload), encoding="utf-8") as file:
                job = file.read()
            for word in linux_guest.command_line(workload, self.context).split():
                if word.startswith("bench."):
                    self.assertIn(f"{word.split('=')[0]}=*)", job)

    def test_nics_of_streams(self):
        (workload,) = [w for w in profiles.workloads("iperf") if w.name == "linux-tcp-rr"]
        own = Fastvmm("fastvmm", "/f", "f", net_options=("vhost=on",)).launch(workload, self.context).argv
        self.assertEqual(own[:2], ["unshare", "--net"])
        self.assertIn("tap=tap0,bridge=br0,queues=2,vhost=on", own)
        self.assertNotIn("--disk", own)
        other = Qemu("/q", (7, 2, 0), False).launch(workload, self.context).argv
        self.assertTrue(any("ifname=tap0" in word and "queues=2" in word for word in other))
        self.assertIn("ip tuntap add tap0 mode tap multi_queue", other[4])

    def test_way_inside(self):
        self.assertEqual(cli._without_out(["run", "--out", "x", "--profile", "linux", "--gate=g",
                                           "--pairs", "2", "--gate", "--out"]),
                         ["run", "--profile", "linux", "--pairs", "2"])


if __name__ == "__main__":
    unittest.main()
