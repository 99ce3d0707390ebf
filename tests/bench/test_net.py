# SPDX-License-Identifier: Apache-2.0
"""Network workloads: the guest's result under common names, where the VMMs run, what they cost."""
import os
import unittest
from unittest import mock

import support  # noqa: F401 (finds the package)
from fastvmm_bench import process, profiles, tap
from fastvmm_bench.net_guest import translated
from fastvmm_bench.vmm_fastvmm import own_counters
from fastvmm_bench.vmm_host import HostLoop
from fastvmm_bench.vmm_qemu import Qemu
from fastvmm_bench.workload import Workload

GUEST = {
    "workload": "net", "params": {"dir": "tx"}, "tx_pps": 1000, "rx_pps": 400,
    "tx_bytes_per_s": 64000, "rx_bytes_per_s": 25600, "tx_measured_ns": 2_000_000_000,
    "rx_measured_ns": 1_000_000_000,
    "tx_total": 70, "rx_total": 30, "tx_latency_ns": {"p50": 5, "max": 9},
    "round_trip_ns": {"p50": 0, "max": 0}, "tx_kicks": 3, "rx_kicks": 4, "tx_interrupts": 1,
    "rx_interrupts": 2,
}


NIC = Workload("w", kind="net", nics=1)


def guest(direction, **changes):
    return translated({**GUEST, "params": {"dir": direction}, **changes})


class Result(unittest.TestCase):
    def test_a_sender_counts_what_it_sent(self):
        found = guest("tx")
        self.assertEqual((found["frames_per_s"], found["bytes_per_s"], found["measured_ns"],
                          found["ios"]), (1000, 64000, 2_000_000_000, 2000))

    def test_otherwise_what_arrived_counts(self):
        found = guest("pair")
        self.assertEqual((found["frames_per_s"], found["bytes_per_s"], found["measured_ns"],
                          found["ios"]), (400, 25600, 1_000_000_000, 400))

    def test_a_round_trip_is_two_arrivals(self):
        found = guest("echo", round_trip_ns={"p50": 77, "max": 99})
        self.assertEqual(found["requests_per_s"], 200)
        self.assertEqual(found["latency_ns"]["p50"], 77)

    def test_notifications_of_both_directions_are_added(self):
        found = guest("tx")
        self.assertEqual((found["kicks"], found["interrupts"]), (7, 3))

    def test_other_workloads_stay_as_they_are(self):
        document = {"workload": "blk", "iops": 1}
        self.assertIs(translated(document), document)


class Place(unittest.TestCase):
    workload = Workload("w", kind="net", queues=2, nics=2)

    def test_the_vmm_replaces_the_shell(self):
        argv = tap.in_namespace(self.workload, ["vmm", "--option"], make_taps=False)
        self.assertEqual(argv[:2], ["unshare", "--net"])
        self.assertEqual(argv[-2:], ["vmm", "--option"])
        self.assertTrue(argv[4].endswith('exec "$@"'))
        self.assertNotIn("tuntap", argv[4])

    def test_taps_with_several_queues(self):
        script = tap.in_namespace(self.workload, ["vmm"], make_taps=True)[4]
        for name in ("tap0", "tap1"):
            self.assertIn(f"ip tuntap add {name} mode tap multi_queue", script)

    def test_refused_without_rights(self):
        with mock.patch("os.geteuid", return_value=1000):
            self.assertIn("root", tap.refuses(self.workload))
            self.assertEqual(tap.refuses(Workload("w")), "")


class Peers(unittest.TestCase):
    def test_one_setting_of_qemu_is_enough(self):
        workload = Workload("w", kind="net", nics=1)
        usual = Qemu("qemu", (7, 2, 0), False)
        with mock.patch.object(tap, "refuses", return_value=""):
            self.assertEqual(usual.refuses(workload), "")
            self.assertNotEqual(Qemu("qemu", (7, 2, 0), False, aio="native").refuses(workload), "")

    def test_vhost_is_for_frames_only(self):
        vhost = Qemu("qemu", (7, 2, 0), False, vhost=True)
        self.assertNotEqual(vhost.refuses(Workload("w")), "")
        self.assertIn("vhost=on", " ".join(vhost._nic_arguments(Workload("w", kind="net", nics=1), 0)))


class Host(unittest.TestCase):
    loop = HostLoop(os.environ.get("HOST_LOOP", "host_loop"))

    def test_only_what_it_can_do(self):
        with mock.patch.object(tap, "refuses", return_value=""):
            able = [w.name for w in profiles.workloads("net") if not self.loop.refuses(w)]
        self.assertEqual(able, ["send-64", "send-1400", "send-64k-tso", "pass-64", "pass-1400",
                                "pass-64k-tso"])

    @unittest.skipIf("HOST_LOOP" not in os.environ, "HOST_LOOP does not name the program")
    @unittest.skipIf(tap.refuses(NIC), tap.refuses(NIC))
    def test_frames_arrive(self):
        context = mock.Mock(seconds=0.2, warmup=0.1)
        for workload in profiles.workloads("net"):
            if not self.loop.refuses(workload):
                found = process.run(self.loop.launch(workload, context), 30).guest
                self.assertGreater(found["frames_per_s"], 0, workload.name)
                self.assertEqual(found["params"]["dir"], workload.words.get("dir", "tx"))
                self.assertEqual(found["bytes"], found["ios"] * (found["params"]["gso"] or
                                                                 found["params"]["frame"]))


class Cost(unittest.TestCase):
    def test_system_calls_per_frame(self):
        half = {"frames": 50, "kicks": 5, "interrupts": 2}
        metrics, own = own_counters({"workers": [{"enters": 20, "signals": 3, "other_syscalls": 77}],
                                     "nics": [{"pairs": [{"receive": half, "transmit": half}]}]})
        self.assertEqual(metrics, {"syscalls_per_io": 1.0})
        self.assertEqual((own["frames"], own["kicks"]), (100, 10))

    def test_costs_of_a_stream_are_per_unit_of_it(self):
        half = {"frames": 50, "kicks": 5}
        metrics, _ = own_counters({"workers": [{"enters": 20}],
                                   "nics": [{"pairs": [{"receive": half, "transmit": half}]}]}, units=40)
        self.assertEqual(metrics, {"syscalls_per_io": 0.5, "kicks_per_io": 0.25})

    def test_the_profile_fits_the_vmms(self):
        for workload in profiles.workloads("net"):
            self.assertEqual(workload.disks, 0)
            self.assertIn(workload.nics, (1, 2))
            self.assertTrue(workload.guest_words(1, 0.5).startswith("net time=1000ms"))


if __name__ == "__main__":
    unittest.main()
