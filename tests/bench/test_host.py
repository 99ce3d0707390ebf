# SPDX-License-Identifier: Apache-2.0
"""fio on the host, as a limit beside the loop: its command line, and one real run of it."""
import os
import shutil
import tempfile
import unittest
from unittest import mock

import support  # noqa: F401 pylint: disable=unused-import
from fastvmm_bench import differences, ledger, process
from fastvmm_bench.errors import RunFailed
from fastvmm_bench.vmm_host import HostFio, _fio_document
from fastvmm_bench.workload import Workload


class Fio(unittest.TestCase):
    WORKLOAD = Workload("w", words={"rw": "randread", "bs": 4096, "qd": 8}, queues=2)

    def context(self, path, seconds=0.5):
        return mock.Mock(seconds=seconds, warmup=0.2, disk_path=lambda index: path)

    def test_its_options_are_the_workload_s(self):
        argv = HostFio().launch(self.WORKLOAD, self.context("/d.img")).argv
        for word in ("--iodepth=16", "--bs=4096", "--rw=randread", "--direct=0", "--runtime=500ms",
                     "--ramp_time=200ms", "--filename=/d.img", "--iodepth_batch_submit=16"):
            self.assertIn(word, argv)
        argv = HostFio().launch(Workload("w", words={"qd": 1}, cache="none"), self.context("/d.img")).argv
        self.assertIn("--direct=1", argv)
        self.assertIn("--iodepth_batch_submit=1", argv)

    def test_what_it_has_no_counterpart_for(self):
        for workload in (Workload("w", kind="idle"), Workload("w", host_limit=False), Workload("w", disks=2)):
            self.assertNotEqual(HostFio().refuses(workload), "")
        with mock.patch.object(shutil, "which", return_value=None):
            self.assertIn("not installed", HostFio().refuses(self.WORKLOAD))

    def test_a_result_that_is_none(self):
        for text in ("", "fio: cannot open", "{}", '{"jobs": [{"read": {"total_ios": 0}}]}'):
            with self.assertRaises(RunFailed):
                _fio_document(text)

    @unittest.skipUnless(shutil.which("fio"), "fio is not installed")
    def test_a_real_run_is_the_guest_s_work(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            path = os.path.join(directory, "disk")
            with open(path, "wb") as file:
                file.write(os.urandom(1 << 20))
            outcome = process.run(HostFio().launch(self.WORKLOAD, self.context(path)), 30)
            guest = {"guest": "bareguest", "params": {"rw": "randread", "bs": 4096, "qd": 8, "queues": 2}}
            self.assertEqual(differences.unlike_work(guest, outcome.guest), [])
            measured, _ = ledger.evaluate(HostFio(), outcome)
        self.assertGreater(measured["iops"], 0)
        self.assertAlmostEqual(measured["bytes_per_s"] / measured["iops"], 4096, delta=41)
        self.assertGreater(measured["latency_p99_ns"], 0)


if __name__ == "__main__":
    unittest.main()
