#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the direction of dependency between the folders of src/, and a few rules of the house.

Usage: check.py SOURCE_DIRECTORY
"""
import pathlib
import re
import sys

# A folder may include its own headers and those of the folders named here (docs/architecture.md).
ALLOWED = {
    "util": set(),
    "memory": {"util"},
    "pci": {"util"},
    "virtio": {"util", "memory", "pci"},
    "io": {"util", "memory", "virtio"},
    "net": {"util", "memory", "virtio", "io"},
    "vcpu": {"util", "memory"},
    "machine": {"util", "memory", "pci", "virtio", "io", "net", "vcpu"},
    "control": {"util", "memory", "pci", "virtio", "io", "net", "vcpu", "machine"},
    "cli": {"util", "memory", "pci", "virtio", "io", "net", "vcpu", "machine", "control"},
}
# Libraries that one file or folder alone may know.
ONLY_IN = {
    "netlink/": ("net/netlink", "net/topology"),
    "liburing.h": "io/",
    "linux/kvm.h": ("vcpu/", "machine/board.c", "cli/probe"),
    "jansson.h": ("control/", "cli/"),
}
MAX_LINES = 600
MAX_FUNCTION = 80
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def check_include(name, folder, line_number, quoted, system):
    if quoted and "/" in quoted:
        target = quoted.split("/")[0]
        if target != folder and target not in ALLOWED[folder]:
            yield f"{name}:{line_number}: {folder} may not include {quoted}"
    included = quoted or system
    for library, owners in ONLY_IN.items():
        owners = owners if isinstance(owners, tuple) else (owners,)
        if included.startswith(library) and not any(str(name).startswith(o) for o in owners):
            yield f"{name}:{line_number}: {included} is for {', '.join(owners)} alone"


def check_functions(name, lines):
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            if number - start > MAX_FUNCTION:
                yield f"{name}:{start}: a function of {number - start} lines (at most {MAX_FUNCTION})"
            start = None


def check_file(source, path):
    name = path.relative_to(source)
    folder = name.parts[0]
    lines = path.read_text().splitlines()
    if folder not in ALLOWED:
        yield f"{name}: unknown folder {folder}; add it to ALLOWED with its edges"
        return
    if not lines or "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        yield f"{name}:1: no SPDX header"
    if len(lines) > MAX_LINES:
        yield f"{name}: {len(lines)} lines (at most {MAX_LINES})"
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if found:
            yield from check_include(name, folder, number, found.group(1) or "", found.group(2) or "")
    if path.suffix == ".c":
        yield from check_functions(name, lines)


def main():
    source = pathlib.Path(sys.argv[1])
    files = sorted(p for p in source.rglob("*.[ch]"))
    problems = [problem for path in files for problem in check_file(source, path)]
    print("\n".join(problems))
    print(f"{len(files)} files, {len(problems)} problems")
    sys.exit(1 if problems or not files else 0)


if __name__ == "__main__":
    main()
