# SPDX-License-Identifier: Apache-2.0
"""The report for a terminal."""
from . import metrics, stats, units


def table(header, rows, left=1):
    """Columns as wide as their widest cell; the first `left` of them flush left."""
    if not rows:
        return ""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths]] + rows:
        cells = [cell.ljust(w) if i < left else cell.rjust(w)
                 for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def shown_interval(name, summary):
    if not summary:
        return "-"
    text = metrics.show(name, summary["median"])
    if summary["low"] is None:
        return text
    return f"{text} [{metrics.show(name, summary['low'])}, {metrics.show(name, summary['high'])}]"


def shown_ratio(name, ratio):
    """Turned so that above 1 is better for the first."""
    if not ratio:
        return "-"
    good = metrics.advantage(name, ratio["ratio"])
    low, high = metrics.advantage_interval(name, ratio["low"], ratio["high"])
    if low is None:
        return f"{good:.2f}x"
    return f"{good:.2f}x [{low:.2f}, {high:.2f}]"


def rows_of(results):
    """[(workload, metric)] that stand in the tables."""
    return [(plan["workload"], name) for plan in results["plan"]
            for name in (plan["metric"], *plan.get("also", ()))]


def _main_table(results):
    rows = []
    for workload, name in rows_of(results):
        analysis = results["analysis"][workload]
        for number, pair in enumerate(analysis["pairs"]):
            ratio = pair["ratios"].get(name)
            first = analysis["settings"][pair["first"]].get(name)
            second = analysis["settings"][pair["second"]].get(name)
            rows.append([workload if number == 0 else "", name if number == 0 else "",
                         shown_interval(name, first) if number == 0 else "",
                         pair["second"], shown_interval(name, second), shown_ratio(name, ratio),
                         f"{ratio['p']:.3f}" if ratio else "-",
                         ratio["verdict"] if ratio else "-"])
        if not analysis["pairs"]:
            for setting, values in analysis["settings"].items():
                rows.append([workload, name, shown_interval(name, values.get(name)), setting,
                             "", "", "", "nothing to compare with"])
    return table(["workload", "metric", "first", "against", "its value", "advantage", "p", "verdict"],
                 rows, left=2)


def _ledger_table(results):
    rows = []
    for plan in results["plan"]:
        settings = results["analysis"][plan["workload"]]["settings"]
        for number, (setting, values) in enumerate(settings.items()):
            if "cpu_total_ns_per_io" not in values:
                continue
            rows.append([plan["workload"] if number == 0 else "", setting,
                         *(metrics.show(name, values[name]["median"]) if name in values else "-"
                           for name in metrics.LEDGER)])
    header = ["per I/O", "setting", "vCPU", "I/O threads", "kernel", "other", "kicks", "interrupts",
              "switches", "exits", "syscalls"]
    return table(header, rows, left=2)


def _choices(results):
    lines = []
    for record in results["preselection"]:
        line = f"  {record['group']}: {record['chosen'] or 'none'}"
        if record["medians"]:
            line += "  (" + ", ".join(f"{name} {metrics.show(record['metric'], value)}"
                                      for name, value in record["medians"].items()) + ")"
        lines.append(line)
        lines += [f"    {name}: {why}" for name, why in
                  {**record["refused"], **record["failed"]}.items()]
    return "\n".join(lines)


def _differences(results):
    seen, lines = set(), []
    for plan in results["plan"]:
        for pair in results["analysis"][plan["workload"]]["pairs"]:
            for what, one, two in pair["differences"]:
                line = f"  {pair['first']} / {pair['second']}: {what}: {one or '-'} / {two or '-'}"
                if line not in seen:
                    seen.add(line)
                    lines.append(line)
    return "\n".join(lines)


def _noise(results):
    steal = [s["noise"]["steal"] for s in results["samples"] if s["noise"].get("steal") is not None]
    foreign = [s["noise"]["foreign"] for s in results["samples"]
               if s["noise"].get("foreign") is not None]
    lines = []
    if steal:
        lines.append(f"  steal: median {units.percent(stats.median(steal))}, most "
                     f"{units.percent(max(steal))}; other processes: median "
                     f"{units.percent(stats.median(foreign))} of a CPU, most {units.percent(max(foreign))}")
    lines += [f"  {line}" for line in results["noise"].get("complaints", [])]
    return "\n".join(lines)


def _equivalent_commands(results):
    """One for each peer setting: the first workload that it ran in the comparison."""
    lines, seen = [], set()
    for plan in results["plan"]:
        for setting in plan["settings"]:
            command = results["command_lines"].get(f"{plan['workload']}/{setting}")
            if command and setting not in seen:
                seen.add(setting)
                lines.append(f"  {setting} ({plan['workload']}):\n    {command}")
    return "\n".join(lines)


def render(results):
    environment = results["environment"]
    parts = [
        f"{environment['processor']}, {environment['cpus']} CPUs, Linux {environment['kernel']}, "
        f"{environment['virtualisation']}; disk images on {environment['file_system']}",
        f"Medians with 95 % intervals of {results['pairs']} interleaved rounds of {results['seconds']} s; "
        "the advantage is turned so that above 1 is better for the first.",
        _main_table(results)]
    for title, text in (("Cost ledger (medians)", _ledger_table(results)),
                        ("Peer settings tried before, the best of which is compared with",
                         _choices(results)),
                        ("Differences of configuration", _differences(results)),
                        ("Not run", "\n".join(f"  {line}" for line in results["skipped"])),
                        ("The host while measuring", _noise(results)),
                        ("Equivalent command lines", _equivalent_commands(results))):
        if text:
            parts.append(f"{title}\n{text}")
    return "\n\n".join(parts) + "\n"
