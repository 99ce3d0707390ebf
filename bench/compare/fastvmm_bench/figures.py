# SPDX-License-Identifier: Apache-2.0
"""Which plots a results document gives: those for which it has the data."""
from dataclasses import dataclass

from . import metrics, plots, units
from .report_text import rows_of

_ROLES = ("vcpu", "worker", "kernel", "other")
_ROLE_TITLES = ["vCPU threads", "I/O threads", "kernel workers", "other threads"]


@dataclass
class Figure:
    title: str
    caption: str
    svg: str


def family(results, setting):
    return next((s["family"] for s in results["settings"] if s["name"] == setting), "")


def peer_name(results, setting):
    """QEMU with its data path, or with the kernel's; other settings by their names."""
    if family(results, setting) != "qemu":
        return setting
    found = next(s["configuration"] for s in results["settings"] if s["name"] == setting)
    return found["program"] + (" vhost-net" if found.get("vhost-net") == "yes" else "")


def series_name(results, setting):
    """What a curve is called. A peer's chosen setting may change along a curve; the curve is the peer's."""
    name = peer_name(results, setting)
    return f"{name}, best setting" if family(results, setting) == "qemu" else name


def _sweep(results, sweep):
    """[(workload name, x)] in the order of x."""
    points = [(plan["workload"], results["workloads"][plan["workload"]]["sweep_x"])
              for plan in results["plan"] if results["workloads"][plan["workload"]]["sweep"] == sweep]
    return sorted(points, key=lambda point: point[1])


def _series(results, points, point_of):
    """[(label, points)], in the order of the first workload's settings."""
    series = {}
    for workload, x in points:
        for setting, values in results["analysis"][workload]["settings"].items():
            point = point_of(x, values)
            if point:
                series.setdefault(series_name(results, setting), []).append(point)
    return list(series.items())


def _metric_point(name):
    def point(x, values):
        if name not in values:
            return None
        summary = values[name]
        return (x, summary["median"], summary["low"], summary["high"])
    return point


def _rates(results, number):
    found = []
    for sweep, title, x_title in (
            ("depth", "I/O per second against queue depth", "requests in flight"),
            ("queues", "I/O per second against queues, 128 in flight", "virtqueues of one I/O thread"),
            ("disks", "I/O per second against disks", "disks of one I/O thread, 32 in flight each")):
        points = _sweep(results, sweep)
        if len(points) < 2:
            continue
        series = _series(results, points, _metric_point("iops"))
        found.append(Figure(title, "4 KiB random reads from the page cache; bars are 95 % intervals.",
                            plots.curves(number + len(found), title, x_title, "I/O per second (1/s)",
                                         series, x_log=True, x_show=lambda v: f"{v:g}",
                                         y_show=units.rate)))
    return found


def _latencies(results, number):
    found = []
    for sweep, how in (("depth", "each point is a queue depth"), ("load", "each point is a fixed rate")):
        points = _sweep(results, sweep)
        if len(points) < 2:
            continue
        for name, label in (("latency_p50_ns", "Median latency"),
                            ("latency_p99_ns", "99th percentile latency")):
            def point(_, values, metric=name):
                if metric not in values or "iops" not in values:
                    return None
                summary = values[metric]
                return (values["iops"]["median"], summary["median"], summary["low"], summary["high"])
            title = f"{label} against load ({how.split()[-2]} {how.split()[-1]})"
            series = _series(results, points, point)
            found.append(Figure(title, f"{how[0].upper()}{how[1:]}; lower and further right is better.",
                                plots.curves(number + len(found), title, "I/O per second (1/s)",
                                             "latency (logarithmic)", series, y_log=True,
                                             x_show=units.rate, y_show=units.nanoseconds)))
    return found


def _cost_at_rates(results, number):
    points = _sweep(results, "load")
    if len(points) < 2:
        return []
    title = "CPU time per I/O outside vCPU threads, at fixed rates"
    return [Figure(title, "I/O threads and kernel workers, and whatever else is no vCPU.", plots.curves(
        number, title, "I/O per second asked for (1/s)", "CPU time per I/O",
        _series(results, points, _metric_point("cpu_io_ns_per_io")), x_log=True, x_show=units.rate,
        y_show=units.nanoseconds))]


def _costs(results, number):
    rows = []
    for plan in results["plan"]:
        for setting, values in results["analysis"][plan["workload"]]["settings"].items():
            if "cpu_total_ns_per_io" in values:
                label = f"{plan['workload']}\n{peer_name(results, setting)}"
                rows.append((label, [values[f"cpu_{role}_ns_per_io"]["median"] for role in _ROLES]))
    found = []
    for begin in range(0, len(rows), 12):  # a figure stays readable on one screen
        title = "CPU time per I/O" + (f" ({begin // 12 + 1})" if len(rows) > 12 else "")
        found.append(Figure(title, "Medians. A guest that polls keeps its vCPU busy all the time.",
                            plots.stacked(number + len(found), title, "CPU time per I/O",
                                          rows[begin:begin + 12], _ROLE_TITLES, units.nanoseconds)))
    return found


def _ratios(results, number):
    groups = {}
    for workload, name in rows_of(results):
        for pair in results["analysis"][workload]["pairs"]:
            ratio = pair["ratios"].get(name)
            if not ratio:
                continue
            low, high = metrics.advantage_interval(name, ratio["low"], ratio["high"])
            label = workload if name == results["analysis"][workload]["metric"] \
                else f"{workload}\n{metrics.get(name).title}"
            groups.setdefault((pair["first"], series_name(results, pair["second"])), []).append(
                (label, metrics.advantage(name, ratio["ratio"]), low, high))
    found = []
    for index, ((first, second), rows) in enumerate(groups.items()):
        title = f"{first} against {second}"
        found.append(Figure(title, "Ratio of paired runs, median and 95 % interval; right of the line is "
                            f"better for {first}.",
                            plots.ratios(number + len(found), title, f"advantage of {first} (ratio)",
                                         [(*row, index) for row in rows])))
    return found


def all_of(results):
    found = []
    for maker in (_ratios, _rates, _latencies, _cost_at_rates, _costs):
        found += maker(results, len(found))
    return found
