#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what tools/quickstart measured: fio's results and what each I/O cost the VMM.

Usage: quickstart_table.py REPORT COUNTERS.JSON
"""
import json
import sys


def fio_documents(path):
    """The array of fio documents between the markers of the report channel."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    if "FASTVMM-EXIT 0" not in lines:
        sys.exit(f"{path}: the guest's job did not end well; its output is above")
    begin = lines.index("FASTVMM-RESULT-BEGIN")
    end = lines.index("FASTVMM-RESULT-END")
    return json.loads("\n".join(lines[begin + 1:end]))


def microseconds(nanoseconds):
    value = nanoseconds / 1000
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def fio_row(document):
    job = document["jobs"][0]
    options = {**document.get("global options", {}), **job["job options"]}
    side = job["read"] if "read" in options["rw"] else job["write"]
    latency = side["clat_ns"]
    depth = int(options["iodepth"]) * int(options["numjobs"])
    return [options["rw"], options["bs"], str(depth), f"{side['iops']:.0f}",
            f"{side['bw_bytes'] / 2 ** 20:.1f}", microseconds(latency["mean"]),
            microseconds(latency["percentile"]["50.000000"]),
            microseconds(latency["percentile"]["99.000000"])]


def print_table(header, rows):
    widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
    for row in [header] + rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells))


def total(items, name):
    return sum(item.get(name, 0) for item in items)


def print_costs(counters):
    queues = [queue for disk in counters["disks"] for queue in disk["queues"]]
    requests = total(queues, "popped")
    exits = sum(sum(vcpu["exits"].values()) for vcpu in counters["vcpus"])
    kernel_exits = sum(vcpu["kernel"].get("exits", 0) for vcpu in counters["vcpus"])
    workers = counters["workers"]
    calls = total(workers, "enters") + total(workers, "signals") + total(workers, "other_syscalls")
    print(f"disk queues: {len(queues)}, requests per queue: "
          + ", ".join(str(queue["popped"]) for queue in queues))
    rows = [["requests", str(requests), ""]]
    for label, value in [
            ("kicks (in the kernel, by ioeventfd)", total(queues, "kicks")),
            ("kicks that reached user space", total(queues, "kicks_to_user_space")),
            ("interrupts (by irqfd)", total(queues, "interrupts")),
            ("system calls of the I/O workers", calls),
            ("vCPU exits to user space, boot included", exits),
            ("vCPU exits in all, boot included", kernel_exits)]:
        rows.append([label, str(value), f"{value / requests:.3f}" if requests else "-"])
    print_table(["cost of the whole run", "count", "per I/O"], rows)


def main():
    rows = [fio_row(document) for document in fio_documents(sys.argv[1])]
    print_table(["workload", "block", "depth", "IOPS", "MiB/s", "mean us", "p50 us", "p99 us"], rows)
    print()
    with open(sys.argv[2], encoding="utf-8") as file:
        print_costs(json.load(file))


if __name__ == "__main__":
    main()
