# SPDX-License-Identifier: Apache-2.0
"""Compares two results documents of one machine: is B better than A? The runs were not interleaved, so
what drifted between them is in the ratio; the text says so."""
from . import compare, environment, metrics, stats
from .errors import BenchError
from .report_text import shown_interval, shown_ratio, table


def refusal(first, second):
    """Why the two must not be compared; empty where they may."""
    reasons = [f"{name}: {one!r} against {two!r}" for name, one, two in
               environment.unlike(first["environment"], second["environment"])]
    for name in ("seconds", "warmup"):
        if first.get(name) != second.get(name):
            reasons.append(f"{name}: {first.get(name)} against {second.get(name)}")
    for name in first["workloads"].keys() & second["workloads"].keys():
        if first["workloads"][name] != second["workloads"][name]:
            reasons.append(f"workload {name} is not the same in both")
    if not first["workloads"].keys() & second["workloads"].keys():
        reasons.append("no workload is in both")
    return reasons


def ratios(first, second):
    """[(workload, setting, metric, summary A, summary B, ratio B/A)]."""
    rows = []
    for plan in second["plan"]:
        name = plan["workload"]
        for setting in plan["settings"]:
            for metric in (plan["metric"], *plan.get("also", ()), "cpu_total_ns_per_io"):
                old, new = ([s["metrics"][metric] for s in results["samples"]
                             if s["workload"] == name and s["setting"] == setting
                             and s["kind"] == "main" and metric in s["metrics"]]
                            for results in (first, second))
                ratio = stats.unpaired_ratio(new, old)
                if ratio and metric not in [row[2] for row in rows if row[:2] == (name, setting)]:
                    ratio["verdict"] = compare.verdict(metric, ratio)
                    rows.append((name, setting, metric, stats.summary(old), stats.summary(new), ratio))
    return rows


def render(first, second, force=False):
    reasons = refusal(first, second)
    if reasons and not force:
        raise BenchError("these results are unlike (--force compares them all the same): "
                         + "; ".join(reasons))
    lines = [f"warning: unlike: {reason}" for reason in reasons]
    rows = [[name, setting, metric, shown_interval(metric, old), shown_interval(metric, new),
             shown_ratio(metric, ratio), f"{ratio['p']:.3f}", ratio["verdict"]]
            for name, setting, metric, old, new, ratio in ratios(first, second)]
    if not rows:
        raise BenchError("no setting ran the same workload in both")
    lines.append(table(["workload", "setting", "metric", "A", "B", "advantage of B", "p", "verdict"],
                       rows, left=3))
    lines.append("A and B were not interleaved: a change of the host between them is in these ratios. "
                 "A setting that did not change (QEMU, the host's loop) shows how much.")
    return "\n".join(lines) + "\n"
