#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the results of one `meson test` run.

Usage: tally.py NAME TESTLOG.JSON

First line of output: "PASSED FAILED SKIPPED". Then a line for each test that did not pass, with the
reason that a skipped one printed and the lines that say why one failed. A test program that reports
its own cases (Criterion) counts case by case; a process that crashed or leaked after its case had
passed is one more failure, which Criterion itself only warns of. Exit status 1 where there is no
result at all.
"""
import json
import re
import sys

CRITERION = re.compile(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
SKIPPED_CASE = re.compile(r"(?:\[SKIP\] |^skipped  )(.*)", re.M)
DIED_LATE = re.compile(r"crashed during its setup or teardown")
REASON = re.compile(r"\[FAIL\]|CRASH|Unexpected signal|Timed out|^SUMMARY: |" + DIED_LATE.pattern)
REASONS_SHOWN = 20


def result_of(entry):
    """(passed, failed, skipped, lines) of one test program."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", entry.get("stdout", "") + entry.get("stderr", ""))
    name, result = entry["name"], entry["result"]
    skips = SKIPPED_CASE.findall(text)
    lines = [f"  skipped: {name}: {reason}" for reason in skips]
    cases = CRITERION.findall(text)
    if result == "SKIP":
        reason = text.strip().splitlines()[-1:] or ["no reason given"]
        return 0, 0, 1, [f"  skipped: {name}: {reason[0]}"]
    late = len(DIED_LATE.findall(text))
    if late or result not in ("OK", "EXPECTEDFAIL"):
        lines.append(f"  FAIL: {name}" if late else f"  {result}: {name}")
        reasons = [line for line in text.splitlines() if REASON.search(line)]
        lines += [f"    {line}" for line in reasons[:REASONS_SHOWN]]
        failing = late + sum(int(c[2]) + int(c[3]) for c in cases)
        return sum(int(c[1]) for c in cases), max(1, failing), len(skips), lines
    passed = sum(int(c[1]) for c in cases) if cases else 1
    return passed, 0, len(skips), lines


def main():
    totals, lines = [0, 0, 0], []
    with open(sys.argv[2], encoding="utf-8") as log:
        entries = [json.loads(line) for line in log]
    for entry in entries:
        *counts, more = result_of(entry)
        totals = [total + count for total, count in zip(totals, counts)]
        lines += more
    if not entries:
        sys.exit(1)
    print(*totals)
    print(f"  {sys.argv[1]}: {totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    print("\n".join(lines), end="\n" if lines else "")


if __name__ == "__main__":
    main()
