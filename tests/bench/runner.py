# SPDX-License-Identifier: Apache-2.0
"""Runs the tests here and tells, as Criterion does, how many of them there were; with unittest's options."""
import sys
import unittest


def main():
    program = unittest.main(module=None, exit=False, argv=[sys.argv[0], "discover", "-b", "-p", "test_*.py",
                                                           *sys.argv[1:]])
    result = program.result
    failing, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for test, reason in result.skipped:
        print(f"[SKIP] {test.id()}: {reason}")
    print(f"Tested: {result.testsRun} | Passing: {result.testsRun - failing - skipped} | Failing: {failing} "
          "| Crashing: 0")
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
