# SPDX-License-Identifier: Apache-2.0
"""Streams between a Linux guest and its host: what iperf3 and fio say, and the program at the other end."""
import os
import signal
import subprocess
import time
import unittest

import support  # noqa: F401 (finds the package)
from fastvmm_bench import ledger, profiles, streams, tap, threads
from fastvmm_bench.vmm_fastvmm import Fastvmm

SENT = {"dir": "out", "streams": 1, "length": 1400, "queues": 2, "kernel": "6.1", "interrupts": 12,
        "frames": {"sent": 3, "received": 4}}


def part(seconds, size, omitted=False, **more):
    return {"sum": {"seconds": seconds, "bytes": size, "omitted": omitted, **more}}


def tcp():
    """As iperf3 3.12 says it: a second of warm-up, two measured; the sender is ahead of the receiver."""
    return {"intervals": [part(1.0, 65536 * 100, True), part(1.0, 65536 * 200), part(1.0, 65536 * 300)],
            "end": {"sum_received": {"bytes": 65536 * 480, "seconds": 2.0},
                    "sum_sent": {"bytes": 65536 * 500, "seconds": 2.0}}}


def udp(**lost):
    return {"intervals": [part(1.0, 0, True, packets=1000, **lost), part(1.0, 0, packets=3000, **lost),
                          part(0.5, 0, packets=1500, **lost)], "end": {}}


class Result(unittest.TestCase):
    def test_tcp_counts_what_arrived(self):
        found = streams.document({**SENT, "test": "tcp", "said": tcp()})
        self.assertEqual(found["bytes_per_s"], 65536 * 240)
        self.assertEqual((found["units_per_s"], found["total"]), (240, 600))
        self.assertEqual(found["measured_ns"], 2_000_000_000)

    def test_udp_out(self):
        """By the NIC: a queue in front of it dropped a tenth."""
        found = streams.document({**SENT, "test": "udp", "said": udp(),
                                  "frames": {"sent": 4950, "received": 4}})
        self.assertAlmostEqual(found["frames_per_s"], 2700)
        self.assertEqual(found["total"], 4950)

    def test_udp_in(self):
        """By the NIC: the socket behind it had no room for half."""
        found = streams.document({**SENT, "test": "udp", "dir": "in", "said": udp(lost_packets=500),
                                  "frames": {"sent": 4, "received": 8000}})
        self.assertAlmostEqual(found["frames_per_s"], 2 * (2500 + 1000) / 1.5)
        self.assertEqual(found["total"], 8000)

    def test_round_trips(self):
        side = {"iops": 500.0, "runtime": 2000, "total_ios": 1000,
                "clat_ns": {"mean": 2e6, "percentile": {"50.000000": 1900000}}}
        said = {"jobs": [{"write": side, "read": side, "job options": {"ramp_time": "1"}}]}
        found = streams.document({**SENT, "test": "rr", "said": said})
        self.assertEqual((found["requests_per_s"], found["units_per_s"], found["total"]), (500, 500, 1500))
        self.assertEqual(found["latency_ns"], {"mean": 2e6, "p50": 1900000})

    def test_nonsense(self):
        for said in ({}, {"intervals": [], "end": {}}, {**tcp(), "end": {}}):
            with self.assertRaises((KeyError, ZeroDivisionError)):
                streams.document({**SENT, "test": "udp" if "end" in said and not said["intervals"] else "tcp",
                                  "said": said})


def workload(test):
    return next(w for w in profiles.workloads("iperf") if w.words["test"] == test)


def client(test):
    """What a guest would do, by a program of the host in the namespace."""
    if test == "rr":
        return ["fio", "--name=rr", "--ioengine=net", "--protocol=tcp", "--hostname=192.0.2.1", "--port=8765",
                "--rw=write", "--pingpong=1", "--bs=1", "--size=10k", "--output-format=json"]
    return ["iperf3", "-c", "192.0.2.1", "-n", "1M", "--json"]


def of_session(leader):
    """The processes of a session that are still there."""
    found = subprocess.run(["ps", "-o", "pid=", "-s", str(leader)], capture_output=True, text=True,
                           check=False).stdout.split()
    return [int(pid) for pid in found]


@unittest.skipIf(any(tap.refuses(workload(test)) for test in ("tcp", "rr")), "needs root, iperf3 and fio")
class OtherEnd(unittest.TestCase):
    def test_it_listens_before_the_vmm_starts(self):
        for test in ("tcp", "udp", "rr"):
            argv = tap.in_namespace(workload(test), client(test), make_taps=False)
            found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
            self.assertIn('"jobs"' if test == "rr" else '"sum_received"', found.stdout)

    def test_it_goes_with_the_vmm(self):
        """However that ends; and it does not keep the VMM's output open."""
        for way in (signal.SIGTERM, signal.SIGKILL):
            vmm = subprocess.Popen(tap.in_namespace(workload("tcp"), ["sh", "-c", "echo up; exec sleep 60"],
                                                    make_taps=False),
                                   stdout=subprocess.PIPE, text=True, start_new_session=True)
            self.assertEqual(vmm.stdout.readline(), "up\n")
            self.assertEqual(len(of_session(vmm.pid)), 2)
            vmm.send_signal(way)
            self.assertEqual(vmm.stdout.read(), "")
            vmm.wait()
            vmm.stdout.close()
            deadline = time.monotonic() + 10
            while of_session(vmm.pid) and time.monotonic() < deadline:
                os.sched_yield()
            self.assertEqual(of_session(vmm.pid), [])

    def test_its_time_is_nobody_elses(self):
        """Not the VMM's cost, and no noise."""
        argv = tap.in_namespace(workload("tcp"), ["sh", "-c", "echo up; exec sleep 60"], make_taps=False)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as vmm:
            self.assertEqual(vmm.stdout.readline(), "up\n")
            watch = threads.ThreadWatch(vmm.pid)
            watch.read()
            # The client is no child of it: what is counted is the server's time.
            subprocess.run(["nsenter", f"--net=/proc/{vmm.pid}/ns/net", *client("tcp")[:-3], "-n", "500M"],
                           stdout=subprocess.DEVNULL, check=True, timeout=120)
            watch.read()
            vmm.kill()
        first, last = (reading.at for reading in watch.readings)
        watch.close()
        self.assertGreater(threads.growth(watch.readings, first, last, lambda r: r.children_ns), 0)
        roles = ledger.by_role(Fastvmm("f", "f", "f"), watch, first, last)
        self.assertLess(sum(role["cpu_ns"] for role in roles.values()), 10_000_000, "the VMM only slept")

    def test_one_that_does_not_run(self):
        argv = tap.in_namespace(workload("tcp"), ["echo", "started"], make_taps=False)
        argv[4] = argv[4].replace("iperf3 -s", "/nonexistent")
        found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((found.returncode, found.stdout), (1, ""))
        self.assertIn("iperf3 does not run", found.stderr)


if __name__ == "__main__":
    unittest.main()
