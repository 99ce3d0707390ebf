# SPDX-License-Identifier: Apache-2.0
"""The gate: what it lets pass, what it stops, and what it cannot decide."""
import json
import os
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import support
from fastvmm_bench import gate, junit
from fastvmm_bench.errors import BenchError
from fastvmm_bench.workload import Workload

DEEP = Workload("deep", words={"rw": "randread", "bs": 4096, "qd": 32})
IDLE = Workload("idle", kind="idle", metric="idle_cpu", host_limit=False)


def document(factor=1.5, noisy=False):
    def values(workload, setting, number):
        if workload is IDLE:
            return None if setting == "host" else {"idle_cpu": 0.001 + number * 1e-5}
        drift = 100000 * (1 + 0.1 * number)
        jitter = 1 + 0.02 * ((number * 3) % 5 - 2)
        return {"iops": drift * (factor * jitter if setting == "fastvmm" else 1)}
    return support.document([DEEP, IDLE], values, noisy=noisy)


def check(**values):
    return {"workload": "deep", "metric": "iops", "against": "qemu", "at_least": 1.3, **values}


class Judgement(unittest.TestCase):
    def status(self, results, *checks):
        findings = gate.judge(results, list(checks))
        return [finding.status for finding in findings], gate.exit_status(findings)

    def test_passes(self):
        self.assertEqual(self.status(document(), check()), (["passed"], 0))

    def test_slower_build_fails(self):
        self.assertEqual(self.status(document(0.9), check()), (["failed"], 1))

    def test_lower_end_decides(self):
        # The median is 1.5, the interval reaches down to 1.5 * 0.96 = 1.44.
        self.assertEqual(self.status(document(), check(at_least=1.47))[1], 1)
        self.assertEqual(self.status(document(), check(at_least=1.47, judge="median"))[1], 0)
        self.assertEqual(self.status(document(), check(at_least=1.55, judge="upper"))[1], 0)
        self.assertEqual(self.status(document(), check(at_least=1.57, judge="upper"))[1], 1)

    def test_same_build_twice(self):
        self.assertEqual(self.status(document(1.0), check(at_least=0.95))[1], 0)

    def test_noise_makes_a_failure_inconclusive_but_not_a_pass(self):
        self.assertEqual(self.status(document(0.9, noisy=True), check()), (["inconclusive"], 3))
        self.assertEqual(self.status(document(1.5, noisy=True), check()), (["passed"], 0))

    def test_failure_outweighs_noise(self):
        results = document(0.9)
        for sample in results["samples"]:
            sample["noisy"] = sample["workload"] == "idle"
        statuses, status = self.status(results, check(), {"workload": "idle", "metric": "idle_cpu",
                                                          "at_most": 1e-9})
        self.assertEqual((statuses, status), (["failed", "inconclusive"], 1))

    def test_absolute_bounds(self):
        bound = {"workload": "idle", "metric": "idle_cpu"}
        self.assertEqual(self.status(document(), {**bound, "at_most": 0.0011})[1], 0)
        self.assertEqual(self.status(document(), {**bound, "at_most": 0.00105})[1], 1)  # upper end
        self.assertEqual(self.status(document(), {**bound, "at_least": 0.001})[1], 0)

    def test_what_was_not_run_fails(self):
        self.assertEqual(self.status(document(), check(workload="shallow"))[1], 1)
        self.assertEqual(self.status(document(), check(against="xen"))[1], 1)
        self.assertEqual(self.status(document(), check(metric="kicks_per_io"))[1], 1)

    def test_what_noise_left_no_time_for_is_inconclusive(self):
        results = document(noisy=True)
        results["skipped"].append("shallow: the profile's time was over")
        self.assertEqual(self.status(results, check(workload="shallow")), (["inconclusive"], 3))
        for sample in results["samples"]:
            sample["noisy"] = False
        self.assertEqual(self.status(results, check(workload="shallow"))[1], 1)

    def test_lower_is_better_is_turned(self):
        def values(_, setting, number):
            cost = 1000 + number
            return {"iops": 1.0, "cpu_io_ns_per_io": cost / 2 if setting == "fastvmm" else cost}
        results = support.document([DEEP], values)
        self.assertEqual(self.status(results, check(metric="cpu_io_ns_per_io", at_least=1.99))[1], 0)
        self.assertEqual(self.status(results, check(metric="cpu_io_ns_per_io", at_least=2.01))[1], 1)


class File(unittest.TestCase):
    def load(self, content):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "gate.json")
            with open(path, "w", encoding="utf-8") as file:
                file.write(content if isinstance(content, str) else json.dumps(content))
            return gate.load(path)

    def test_good(self):
        self.assertEqual(self.load({"checks": [check()]}), [check()])

    def test_bad(self):
        for content in ("no JSON", [], {"checks": []}, {"checks": [{"workload": "deep"}]},
                        {"checks": [check(at_leas=3)]}, {"checks": [check(metric="speed")]},
                        {"checks": [check(at_least="fast")]}, {"checks": [check(judge="mean")]},
                        {"checks": [check(at_most=2)]}):
            with self.assertRaises(BenchError, msg=content):
                self.load(content)

    def test_gates_of_this_repository(self):
        directory = os.path.join(support.HERE, "..", "..", "bench", "gates")
        names = [name for name in os.listdir(directory) if name.endswith(".json")]
        self.assertTrue(names)
        for name in names:
            gate.load(os.path.join(directory, name))


class JUnit(unittest.TestCase):
    def test_counts_and_texts(self):
        findings = [gate.Finding("one", gate.PASSED, "1 < 2"), gate.Finding("two", gate.FAILED, "a & b"),
                    gate.Finding("three", gate.INCONCLUSIVE, "noise")]
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "junit.xml")
            junit.save(findings, path)
            suite = ElementTree.parse(path).getroot()
        self.assertEqual({key: suite.get(key) for key in ("tests", "failures", "errors")},
                         {"tests": "3", "failures": "1", "errors": "1"})
        self.assertEqual([case.get("name") for case in suite], ["one", "two", "three"])
        self.assertEqual(suite[1].find("failure").get("message"), "a & b")
        self.assertIsNotNone(suite[2].find("error"))


if __name__ == "__main__":
    unittest.main()
