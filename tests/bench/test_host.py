# SPDX-License-Identifier: Apache-2.0
"""The host's own limits: fio's command line, one real run of it, and one of the loop at a rate."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import unittest
from unittest import mock

import support  # noqa: F401 pylint: disable=unused-import
from fastvmm_bench import differences, ledger, process
from fastvmm_bench.errors import RunFailed
from fastvmm_bench.vmm_host import HostFio, HostLoop, _fio_document
from fastvmm_bench.workload import Workload


def context(path, seconds=0.5):
    return mock.Mock(seconds=seconds, warmup=0.2, disk_path=lambda index: path)


@contextlib.contextmanager
def image():
    """The path of a disk image of 1 MiB."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        path = os.path.join(directory, "disk")
        with open(path, "wb") as file:
            file.write(os.urandom(1 << 20))
        yield path


class Fio(unittest.TestCase):
    WORKLOAD = Workload("w", words={"rw": "randread", "bs": 4096, "qd": 8}, queues=2)

    def test_its_options_are_the_workload_s(self):
        argv = HostFio().launch(self.WORKLOAD, context("/d.img")).argv
        for word in ("--iodepth=16", "--bs=4096", "--rw=randread", "--direct=0", "--runtime=500ms",
                     "--ramp_time=200ms", "--filename=/d.img", "--iodepth_batch_submit=16"):
            self.assertIn(word, argv)
        argv = HostFio().launch(Workload("w", words={"qd": 1}, cache="none"), context("/d.img")).argv
        self.assertIn("--direct=1", argv)
        self.assertIn("--iodepth_batch_submit=1", argv)

    def test_what_it_has_no_counterpart_for(self):
        for workload in (Workload("w", kind="idle"), Workload("w", host_limit=False), Workload("w", disks=2),
                         Workload("w", words={"rate": 1000})):
            self.assertNotEqual(HostFio().refuses(workload), "")
        with mock.patch.object(shutil, "which", return_value=None):
            self.assertIn("not installed", HostFio().refuses(self.WORKLOAD))

    def test_a_result_that_is_none(self):
        for text in ("", "fio: cannot open", "{}", '{"jobs": [{"read": {"total_ios": 0}}]}'):
            with self.assertRaises(RunFailed):
                _fio_document(text)

    @unittest.skipUnless(shutil.which("fio"), "fio is not installed")
    def test_a_real_run_is_the_guest_s_work(self):
        with image() as path:
            outcome = process.run(HostFio().launch(self.WORKLOAD, context(path)), 30)
            guest = {"guest": "bareguest", "params": {"rw": "randread", "bs": 4096, "qd": 8, "queues": 2}}
            self.assertEqual(differences.unlike_work(guest, outcome.guest), [])
            measured, _ = ledger.evaluate(HostFio(), outcome)
        self.assertGreater(measured["iops"], 0)
        self.assertAlmostEqual(measured["bytes_per_s"] / measured["iops"], 4096, delta=41)
        self.assertGreater(measured["latency_p99_ns"], 0)


class LoopAtARate(unittest.TestCase):
    PROGRAM = os.environ.get("HOST_LOOP", "host_loop")
    WORKLOAD = Workload("w", words={"rw": "randread", "bs": 4096, "qd": 8, "rate": 2000})

    @unittest.skipUnless(shutil.which(PROGRAM), "host_loop is not built")
    def test_no_more_than_was_asked_for_and_the_pacer_s_time_is_not_the_loop_s(self):
        with image() as path:
            loop = HostLoop(self.PROGRAM)
            outcome = process.run(loop.launch(self.WORKLOAD, context(path)), 30)
        self.assertEqual(outcome.guest["params"]["rate"], 2000)
        self.assertGreater(outcome.guest["ios"], 0)
        # The first request is due at once; what was late may come all together.
        self.assertLessEqual(outcome.guest["total"], 0.7 * 2000 + 1)
        self.assertGreaterEqual(outcome.guest["enters"], outcome.guest["ios"] / 8)
        measured, _ = ledger.evaluate(loop, outcome)
        self.assertGreater(measured["cpu_vcpu_ns_per_io"], 0)
        self.assertGreater(measured["cpu_worker_ns_per_io"], 0)
        self.assertGreater(measured["cpu_vcpu_ns_per_io"], measured["cpu_worker_ns_per_io"], "it never sleeps")

    @unittest.skipUnless(shutil.which(PROGRAM), "host_loop is not built")
    def test_rates_are_for_files(self):
        ended = subprocess.run([self.PROGRAM, "tap:none", "rate=5"], capture_output=True, text=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertIn("rate=", ended.stderr)


if __name__ == "__main__":
    unittest.main()
