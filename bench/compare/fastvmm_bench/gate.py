# SPDX-License-Identifier: Apache-2.0
"""Judges results by a file of minimal ratios, for CI.

The file is JSON: {"checks": [CHECK, ...]}. A check names a workload and a metric, and either
    "against": "qemu" | "host" | SETTING, "at_least": RATIO
        the advantage of the first setting (above 1 is better), or
    "at_most": VALUE or "at_least": VALUE without "against"
        the first setting's own value.
"judge" says which end of the 95 % interval decides: "lower" (default: the claim is proven), "median", or
"upper" (fails only where the opposite is proven: for one build against another).
"""
import json
from dataclasses import dataclass

from . import metrics
from .errors import BenchError
from .results import OUT_OF_TIME

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
_KNOWN = {"workload", "metric", "against", "at_least", "at_most", "judge", "about"}


@dataclass
class Finding:
    title: str
    status: str
    text: str


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise BenchError(f"--gate {path}: cannot be read: {error}") from error
    checks = document.get("checks") if isinstance(document, dict) else None
    if not isinstance(checks, list) or not checks:
        raise BenchError(f"--gate {path}: holds no checks")
    for check in checks:
        _validate(check, path)
    return checks


def _validate(check, path):
    if not isinstance(check, dict) or not {"workload", "metric"} <= check.keys():
        raise BenchError(f"--gate {path}: a check names a workload and a metric: {check}")
    unknown = check.keys() - _KNOWN
    if unknown:
        raise BenchError(f"--gate {path}: unknown names {', '.join(sorted(unknown))} in {check}")
    if check["metric"] not in metrics.METRICS:
        raise BenchError(f"--gate {path}: unknown metric {check['metric']}")
    bounds = [name for name in ("at_least", "at_most") if name in check]
    if len(bounds) != 1 or not isinstance(check[bounds[0]], (int, float)) \
            or ("against" in check and bounds != ["at_least"]):
        raise BenchError(f"--gate {path}: one of at_least and at_most, a number: {check}")
    if check.get("judge", "lower") not in ("lower", "median", "upper"):
        raise BenchError(f"--gate {path}: judge is lower, median or upper: {check}")


def _pair_with(analysis, against, families):
    for pair in analysis["pairs"]:
        if pair["second"] == against or families.get(pair["second"]) == against:
            return pair
    return None


def _judged(check, low, middle, high):
    wanted = {"lower": low, "median": middle, "upper": high}[check.get("judge", "lower")]
    return middle if wanted is None else wanted


def _relative(check, analysis, families):
    """(value, text) of a ratio, or (None, why)."""
    pair = _pair_with(analysis, check["against"], families)
    if pair is None:
        return None, f"was not compared with {check['against']}"
    ratio = pair["ratios"].get(check["metric"])
    if ratio is None:
        return None, f"no ratio of {check['metric']} to {pair['second']}"
    low, high = metrics.advantage_interval(check["metric"], ratio["low"], ratio["high"])
    middle = metrics.advantage(check["metric"], ratio["ratio"])
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None else ""
    return _judged(check, low, middle, high), f"{middle:.3f}x{interval} of {pair['second']}"


def _absolute(check, analysis):
    first = next(iter(analysis["settings"]), None)
    summary = analysis["settings"].get(first, {}).get(check["metric"])
    if summary is None:
        return None, f"no {check['metric']} was measured"
    low, high = summary["low"], summary["high"]
    if "at_most" in check:  # the pessimistic end is the upper one
        low, high = high, low
    value = _judged(check, low, summary["median"], high)
    return value, f"{metrics.show(check['metric'], summary['median'])} ({first})"


def _noisy(results, workload):
    return any(s.get("noisy") for s in results["samples"]
               if s["workload"] == workload and s["kind"] == "main")


def _not_run(workload, title, results):
    """Rounds that are made again take the time of the workloads behind them."""
    noisy = any(sample.get("noisy") for sample in results["samples"])
    if noisy and f"{workload}: {OUT_OF_TIME}" in results["skipped"]:
        return Finding(title, INCONCLUSIVE, f"{OUT_OF_TIME}, the host was not quiet")
    return Finding(title, FAILED, "this workload was not run")


def _judge(check, results, families):
    bound = ("at least", check["at_least"]) if "at_least" in check else ("at most", check["at_most"])
    against = f" against {check['against']}" if "against" in check else ""
    title = f"{check['workload']}: {check['metric']}{against} {bound[0]} {bound[1]}"
    analysis = results["analysis"].get(check["workload"])
    if analysis is None:
        return _not_run(check["workload"], title, results)
    value, text = (_relative(check, analysis, families) if "against" in check
                   else _absolute(check, analysis))
    if value is None:
        return Finding(title, FAILED, text)
    good = value >= bound[1] if bound[0] == "at least" else value <= bound[1]
    text = f"{text}; judged by {value:.4g} ({check.get('judge', 'lower')} end)"
    if good:
        return Finding(title, PASSED, text)
    if _noisy(results, check["workload"]):
        return Finding(title, INCONCLUSIVE, f"{text}; the host was not quiet")
    return Finding(title, FAILED, text)


def judge(results, checks):
    families = {setting["name"]: setting["family"] for setting in results["settings"]}
    return [_judge(check, results, families) for check in checks]


def exit_status(findings):
    """0 all passed, 1 something failed, 3 nothing failed but the host was too noisy to tell."""
    if any(finding.status == FAILED for finding in findings):
        return 1
    return 3 if any(finding.status == INCONCLUSIVE for finding in findings) else 0


def render(findings):
    lines = [f"{finding.status.upper():12s} {finding.title}: {finding.text}" for finding in findings]
    count = {status: sum(f.status == status for f in findings)
             for status in (PASSED, FAILED, INCONCLUSIVE)}
    lines.append(f"gate: {count[PASSED]} passed, {count[FAILED]} failed, "
                 f"{count[INCONCLUSIVE]} inconclusive")
    return "\n".join(lines)
