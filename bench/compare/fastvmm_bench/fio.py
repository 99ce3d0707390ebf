# SPDX-License-Identifier: Apache-2.0
"""What fio says of its one job group, in the bare guest's names. fio runs on the host, and in Linux guests."""
from .units import parse_size


def options_of(said):
    """The options of the first job, with the global ones."""
    return {**said.get("global options", {}), **said["jobs"][0]["job options"]}


def sides_of(said):
    """Reads and writes, those of them that there were."""
    job = said["jobs"][0]
    return [job[name] for name in ("read", "write") if job[name]["total_ios"]]


def latency(side):
    percentiles = side["clat_ns"].get("percentile", {})
    return {"mean": side["clat_ns"]["mean"],
            **{f"p{name}": percentiles[key] for name, key in
               (("50", "50.000000"), ("99", "99.000000"), ("99.9", "99.900000"), ("99.99", "99.990000"))
               if key in percentiles}}


def all_ios(sides, options):
    """Requests of the whole run with its ramp; fio counts from after it."""
    measured = max(side["runtime"] for side in sides) / 1000
    whole = measured + float(options.get("ramp_time", "0").rstrip("s"))
    return sum(side["total_ios"] for side in sides) * whole / measured


def document(said):
    """KeyError, IndexError or ValueError where @said is not what fio's --output-format=json writes."""
    job, options, sides = said["jobs"][0], options_of(said), sides_of(said)
    return {
        "guest": "fio", "status": "ok" if not job.get("error") else "fail",
        "reason": f"fio error {job.get('error')}", "workload": "blk",
        "measured_ns": max(side["runtime"] for side in sides) * 1000000,
        "ios": sum(side["total_ios"] for side in sides),
        "iops": sum(side["iops"] for side in sides),
        "bytes_per_s": sum(side["bw_bytes"] for side in sides),
        "latency_ns": latency(max(sides, key=lambda side: side["clat_ns"]["mean"])),
        "params": {"rw": options["rw"], "bs": parse_size(options["bs"]), "qd": int(options["iodepth"]),
                   "jobs": int(options.get("numjobs", "1"))},
    }
