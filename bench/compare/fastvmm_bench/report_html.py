# SPDX-License-Identifier: Apache-2.0
"""The report as one self-contained page: no script, nothing loaded, readable on a phone and in print."""
from html import escape

from . import figures, metrics, report_text, units
from .vmm import HOST_FAMILIES

_STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;font:16px/1.45 system-ui,sans-serif;color:#1a1a1a;
background:#fff;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.2rem;margin:1.8rem 0 .4rem;border-bottom:1px solid #bbb}
h3{font-size:1rem;margin:.2rem 0}p{margin:.4rem 0}
.wide{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .55rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap;
vertical-align:top}
th{background:#f2f2f2}th:first-child,td:first-child,.l{text-align:left}
.wrap td,.main td:first-child{white-space:normal}.main td:first-child{max-width:14rem}
small{color:#555}
.better{color:#075c3f;font-weight:600}.worse{color:#a32b00;font-weight:600}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1.2rem}
figure{margin:0;break-inside:avoid}figure svg{width:100%;height:auto;max-width:34rem;display:block}
figcaption{font-size:.86rem;color:#444;max-width:34rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.78rem;background:#f6f6f6;padding:.5rem}
.warn{border-left:4px solid #c1440e;padding:.2rem .7rem;background:#fdf1ec}
@media screen and (max-width:40rem){.main thead{display:none}.main,.main tbody{display:block}
.main tr{display:grid;grid-template-columns:1fr 1fr 1fr;padding:.3rem 0;border-bottom:1px solid #ddd}
.main td{border:0;padding:.1rem .2rem;text-align:left;white-space:normal}
.main td:first-child{grid-column:1/-1;max-width:none;font-weight:600}.main td:first-child small{font-weight:400}
.main td:empty,.main td:nth-child(8){display:none}.main td:nth-child(7){order:1}
.main td:nth-child(n+4):nth-child(-n+6){order:2}
.main td:nth-child(4)::before{content:"first: "}.main td:nth-child(5)::before{content:"other: "}
.main td:nth-child(6)::before{content:"p = "}}
@media print{body{max-width:none;font-size:10pt;padding:0}.wide{overflow:visible}
table{font-size:7pt}th,td{padding:.1rem .25rem}h2{break-after:avoid}tr{break-inside:avoid}
.figures{grid-template-columns:1fr 1fr}}
"""


def _table(header, rows, left=1, name=""):
    if not rows:
        return ""

    def cells(row, tag):
        return "".join(f'<{tag}{" class=l" if index < left else ""}>{cell}</{tag}>'
                       for index, cell in enumerate(row))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return (f'<div class="wide"><table{f" class={name}" if name else ""}><thead><tr>{cells(header, "th")}'
            f"</tr></thead><tbody>{body}</tbody></table></div>")


def _interval(name, summary):
    """A median, with its interval smaller below it."""
    if not summary:
        return "-"
    text = escape(metrics.show(name, summary["median"]))
    if summary["low"] is None:
        return text
    return (f'{text}<br><small>{escape(metrics.show(name, summary["low"]))} to '
            f'{escape(metrics.show(name, summary["high"]))}</small>')


def _advantage(name, ratio, family):
    if not ratio:
        return "-"
    # Nobody is quicker than the host without a VMM: that is a distance, not a defeat.
    kind = "" if family in HOST_FAMILIES else ratio["verdict"]
    low, high = metrics.advantage_interval(name, ratio["low"], ratio["high"])
    interval = f"<br><small>{low:.2f} to {high:.2f}</small>" if low is not None else ""
    return f'<span class="{kind}">{metrics.advantage(name, ratio["ratio"]):.2f}x</span>{interval}'


def _verdict(ratio, family):
    if not ratio:
        return "no ratio"
    if family in HOST_FAMILIES:
        return "the host's limit" if family == "host" else "fio on the host"
    return f'<span class="{ratio["verdict"]}">{escape(ratio["verdict"])}</span>'


def _pair_row(results, plan, name, pair):
    values = results["analysis"][plan["workload"]]["settings"]
    ratio = pair["ratios"].get(name)
    family = figures.family(results, pair["second"])
    return [escape(figures.peer_name(results, pair["second"])),
            _advantage(name, ratio, family), _interval(name, values[pair["first"]].get(name)),
            _interval(name, values[pair["second"]].get(name)),
            f"{ratio['p']:.3f}" if ratio else "-", _verdict(ratio, family), escape(plan["row"])]


def _main_rows(results):
    rows = []
    for plan in results["plan"]:
        analysis = results["analysis"][plan["workload"]]
        for name in (plan["metric"], *plan.get("also", ())):
            head = f'{escape(plan["workload"])}<br><small>{escape(metrics.get(name).title)}</small>'
            for pair in analysis["pairs"]:
                rows.append([head, *_pair_row(results, plan, name, pair)])
                head = ""
            if not analysis["pairs"]:
                (setting, values), *_ = analysis["settings"].items()
                rows.append([head, f"only {escape(setting)}", "", _interval(name, values.get(name)),
                             "", "", "", escape(plan["row"])])
    return rows


def _ledger_rows(results):
    rows = []
    for plan in results["plan"]:
        for setting, values in results["analysis"][plan["workload"]]["settings"].items():
            if "cpu_total_ns_per_io" in values:
                rows.append([escape(plan["workload"]), escape(setting)]
                            + [escape(metrics.show(name, values[name]["median"]))
                               if name in values else "-" for name in metrics.LEDGER])
    return rows


def _latency_rows(results):
    names = [f"latency_{part}_ns" for part in ("mean", "p50", "p99", "p99.9", "p99.99")]
    rows = []
    for plan in results["plan"]:
        for setting, values in results["analysis"][plan["workload"]]["settings"].items():
            if names[1] in values:
                rows.append([escape(plan["workload"]), escape(setting)]
                            + [escape(metrics.show(name, values[name]["median"]))
                               if name in values else "-" for name in names])
    return rows


def _difference_rows(results):
    rows = []
    for plan in results["plan"]:
        for pair in results["analysis"][plan["workload"]]["pairs"]:
            for what, one, two in pair["differences"]:
                row = [escape(str(cell)) for cell in (pair["first"], pair["second"], what, one, two)]
                if row not in rows:
                    rows.append(row)
    return rows


def _choice_rows(results):
    rows = []
    for record in results["preselection"]:
        for name, value in record["medians"].items():
            chosen = "chosen" if name == record["chosen"] else ""
            rows.append([escape(record["group"]), escape(name), metrics.show(record["metric"], value),
                         chosen])
        if not record["medians"] and record["chosen"]:
            rows.append([escape(record["group"]), escape(record["chosen"]), "-", "the only one"])
        rows += [[escape(record["group"]), escape(name), "-", escape(why)]
                 for name, why in {**record["refused"], **record["failed"]}.items()]
    return rows


def _command_items(results):
    seen, parts = set(), []
    for plan in results["plan"]:
        for setting in plan["settings"]:
            command = results["command_lines"].get(f"{plan['workload']}/{setting}")
            if command and setting not in seen:
                seen.add(setting)
                parts.append(f"<h3>{escape(setting)}, {escape(plan['workload'])}</h3>"
                             f"<pre>{escape(command)}</pre>")
    return "".join(parts)


def _environment_rows(environment):
    rows = []
    for name, value in environment.items():
        if isinstance(value, dict):
            value = "; ".join(f"{key}: {text}" for key, text in value.items())
        if name.endswith("_bytes"):
            value = units.octets(value)
        rows.append([escape(name.replace("_", " ")), escape(str(value))])
    return rows


def _figures(results):
    parts = [f"<figure><h3>{escape(figure.title)}</h3>{figure.svg}"
             f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
             for figure in figures.all_of(results)]
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def _warnings(results):
    lines = results["noise"].get("complaints", [])
    return f'<div class="warn">{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>' if lines else ""


def _section(title, *bodies):
    body = "".join(bodies)
    return f"<h2>{escape(title)}</h2>{body}" if body else ""


def render(results):
    environment = results["environment"]
    first = results["plan"][0]["settings"][0] if results["plan"] else "-"
    intro = (f"<h1>fastvmm-bench: {escape(first)} compared</h1>"
             f"<p>{escape(results['began'])}, profile {escape(results['profile'])}. "
             f"{escape(environment['processor'])}, {environment['cpus']} CPUs, Linux "
             f"{escape(environment['kernel'])}, {escape(environment['virtualisation'])}; disk images on "
             f"{escape(environment['file_system'])}.</p>"
             f"<p>Medians with 95 % intervals of {results['pairs']} interleaved rounds of "
             f"{results['seconds']} s. The advantage is turned so that above 1 is better for "
             f"{escape(first)}; p is from a permutation test of the paired runs.</p>")
    skipped = "".join(f"<p>{escape(line)}</p>" for line in results["skipped"])
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>fastvmm-bench {escape(results['began'][:10])}</title><style>{_STYLE}</style></head><body>"
        + intro + _warnings(results)
        + _section("Results", _table(
            ["workload", "against", "advantage", escape(first), "the other", "p", "verdict", "row"],
            _main_rows(results), left=2, name="main"))
        + _section("Plots", _figures(results))
        + _section("What an I/O costs", _table(
            ["workload", "setting", "vCPU threads", "I/O threads", "kernel workers", "other threads",
             "kicks", "interrupts", "context switches", "KVM exits", "system calls"],
            _ledger_rows(results), left=2),
            "<p>CPU time and counts per I/O (a request, a frame, a datagram, a round trip, or 64 KiB of TCP), "
            "medians. An I/O thread's time holds what the kernel does in its name.</p>")
        + _section("Latency", _table(["workload", "setting", "mean", "median", "99 %", "99.9 %",
                                      "99.99 %"], _latency_rows(results), left=2),
                   "<p>From publishing a request to seeing its completion in the guest.</p>")
        + _section("Settings tried first", _table(["workloads", "setting", "median", ""],
                                                  _choice_rows(results), left=2))
        + _section("Differences of configuration", _table(
            ["first", "second", "what", "in the first", "in the second"], _difference_rows(results),
            left=5, name="wrap"))
        + _section("Not run", skipped)
        + _section("Command lines", _command_items(results))
        + _section("The host", _table(["", ""], _environment_rows(environment), left=2, name="wrap"))
        + "</body></html>\n")
