# SPDX-License-Identifier: Apache-2.0
"""Results documents: what was written stays readable, and unlike ones are not compared."""
import copy
import json
import os
import tempfile
import unittest

import support
from fastvmm_bench import compare, diff, differences, report_text, results
from fastvmm_bench.errors import BenchError
from fastvmm_bench.workload import Workload

SAVED = os.path.join(support.HERE, "data", "results-v1.json")
DEEP = Workload("deep", words={"rw": "randread", "bs": 4096, "qd": 32})


def document(scale=1.0):
    def values(_, setting, number):
        rate = 100000 * (1 + 0.01 * number)
        return {"iops": rate * (scale if setting == "fastvmm" else 1)}
    return support.document([DEEP], values)


class Document(unittest.TestCase):
    def test_round_trip(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "results.json")
            results.save(document(), path)
            self.assertEqual(results.load(path), json.loads(json.dumps(document())))
            self.assertEqual(os.listdir(directory), ["results.json"])

    def test_saved_document_of_version_1(self):
        """A document written by the first version that had this number."""
        found = results.load(SAVED)
        analysed = compare.analyse(copy.deepcopy(found))
        self.assertEqual(json.loads(json.dumps(analysed["analysis"])), found["analysis"])
        self.assertIn("fast", report_text.render(found))

    def test_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "results.json")
            good = document()
            for spoil in ({"version": 99}, {"tool": "other"}, {"samples": None}):
                bad = {**good, **spoil}
                bad = {key: value for key, value in bad.items() if value is not None}
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(bad, file)
                with self.assertRaises(BenchError, msg=spoil):
                    results.load(path)
            with open(path, "w", encoding="utf-8") as file:
                file.write("[1, 2")
            with self.assertRaises(BenchError):
                results.load(path)

    def test_every_sample_is_kept(self):
        self.assertEqual(len(document()["samples"]), 3 * 7)


class Analysis(unittest.TestCase):
    def test_verdicts(self):
        for scale, verdict in ((1.5, "better"), (0.7, "worse"), (1.0, "no difference shown")):
            pairs = document(scale)["analysis"]["deep"]["pairs"]
            found = {pair["second"]: pair["ratios"]["iops"]["verdict"] for pair in pairs}
            self.assertEqual(found["qemu-7.2-q35-io_uring-iothread"], verdict)

    def test_unlike_work_is_refused(self):
        found = document()
        for sample in found["samples"]:
            if sample["setting"] == "host":
                sample["guest"] = support.guest(qd=16)
        with self.assertRaisesRegex(BenchError, "qd 32 against 16"):
            compare.analyse(found)

    def test_queues_of_a_guest_are_one_queue_of_the_host(self):
        guest = {"guest": "bareguest", "params": {"qd": 32, "queues": 4}}
        host = {"guest": "host_loop", "params": {"qd": 128, "queues": 1}}
        self.assertEqual(differences.unlike_work(guest, host), [])
        host["params"]["qd"] = 64
        self.assertEqual(differences.unlike_work(guest, host), [("requests in flight", 128, 64)])
        other = {"guest": "bareguest", "params": {"qd": 128, "queues": 1}}
        self.assertEqual(len(differences.unlike_work(guest, other)), 2)
        linux = {"guest": "fio", "params": {"qd": 8, "jobs": 4, "queues": 4}}
        self.assertEqual(differences.unlike_work(linux, {"guest": "host_loop", "params": {"qd": 32}}), [])

    def test_differences_are_listed(self):
        found = document()
        for sample in found["samples"]:
            if sample["setting"] == "host":
                sample["guest"] = support.guest(queue_size=128, features="0x130007a44")
        pair = compare.analyse(found)["analysis"]["deep"]["pairs"][1]
        listed = {what: (one, two) for what, one, two in pair["differences"]}
        self.assertEqual(listed["queue sizes"], ([256], [128]))
        self.assertEqual(listed["features by the first only"], ("TOPOLOGY", ""))
        self.assertIn("program", listed)


class Diff(unittest.TestCase):
    def test_slower_build_shows(self):
        rows = {(row[1], row[2]): row[5] for row in diff.ratios(document(1.5), document(1.2))}
        self.assertEqual(rows["fastvmm", "iops"]["verdict"], "worse")
        self.assertAlmostEqual(rows["fastvmm", "iops"]["ratio"], 0.8)
        self.assertEqual(rows["host", "iops"]["verdict"], "no difference shown")

    def test_text(self):
        self.assertIn("0.80x", diff.render(document(1.5), document(1.2)))

    def test_unlike_hosts_are_refused(self):
        other = document()
        other["environment"]["machine"] = "f" * 16
        with self.assertRaisesRegex(BenchError, "machine"):
            diff.render(document(), other)
        self.assertIn("warning: unlike: machine", diff.render(document(), other, force=True))

    def test_unlike_workloads_are_refused(self):
        other = document()
        other["workloads"]["deep"]["memory"] *= 2
        with self.assertRaisesRegex(BenchError, "workload deep"):
            diff.render(document(), other)


class Text(unittest.TestCase):
    def test_tells_the_ratio_and_the_choice(self):
        found = document(1.5)
        found["preselection"] = [{"group": "deep", "chosen": "qemu-a", "metric": "iops", "rounds": 1,
                                  "medians": {"qemu-a": 90000, "qemu-b": 80000},
                                  "refused": {"qemu-c": "aio=native is for O_DIRECT"}, "failed": {}}]
        text = report_text.render(found)
        for words in ("1.50x [1.50, 1.50]", "qemu-a 90.0k", "aio=native is for O_DIRECT", "better",
                      "fastvmm --for <deep>"):
            self.assertIn(words, text)


if __name__ == "__main__":
    unittest.main()
