#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every header of a source tree alone, twice included, and says which cannot stand so.

Usage: check.py SOURCE_DIRECTORY COMPILER [FLAG...]
"""
import pathlib
import subprocess
import sys


def main():
    source = pathlib.Path(sys.argv[1])
    compiler = sys.argv[2:]
    headers = sorted(source.rglob("*.h"))
    failures = 0
    for header in headers:
        name = header.relative_to(source)
        text = f'#include "{name}"\n#include "{name}"\nextern int nothing;\n'
        run = subprocess.run(compiler + ["-x", "c", "-fsyntax-only", "-"],
                             input=text, text=True, capture_output=True, check=False)
        print(f"{'ok  ' if run.returncode == 0 else 'FAIL'} {name}")
        if run.returncode:
            print(run.stderr)
            failures += 1
    print(f"{len(headers) - failures} passed, {failures} failed")
    sys.exit(1 if failures or not headers else 0)


if __name__ == "__main__":
    main()
