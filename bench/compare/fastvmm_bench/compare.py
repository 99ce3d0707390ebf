# SPDX-License-Identifier: Apache-2.0
"""From samples to statements: per workload, each setting's summary, and the ratio of every pair that is
compared, with its interval and p."""
from . import differences, metrics, stats
from .errors import BenchError

SIGNIFICANCE = 0.05
LEDGER_ONLY = {"syscalls_per_io"}


def _by_round(samples, workload, setting, name):
    """{round: value}. Runs made for the ledger count where no other has the metric."""
    for kind in ("main", "ledger"):
        picked = {s["round"]: s["metrics"][name] for s in samples
                  if s["workload"] == workload and s["setting"] == setting and s["kind"] == kind
                  and name in s["metrics"]}
        if picked and (kind == "main" or name in LEDGER_ONLY):
            return picked
    return {}


def _values(samples, workload, setting, name):
    return list(_by_round(samples, workload, setting, name).values())


def _pairs(samples, workload, settings, name):
    """Two lists of values, of the rounds in which both settings have the metric."""
    one, two = (_by_round(samples, workload, setting, name) for setting in settings)
    rounds = sorted(one.keys() & two.keys())
    return [one[number] for number in rounds], [two[number] for number in rounds]


def summaries(samples, workload, setting):
    found = {}
    for name in metrics.METRICS:
        values = _values(samples, workload, setting, name)
        if values:
            found[name] = stats.summary(values)
    return found


def verdict(name, ratio):
    """In words, for the first of the two."""
    if ratio is None:
        return "no ratio"
    good = metrics.advantage(name, ratio["ratio"])
    low, high = metrics.advantage_interval(name, ratio["low"], ratio["high"])
    if low is None or ratio["p"] >= SIGNIFICANCE or low <= 1 <= high:
        return "no difference shown"
    return "better" if good > 1 else "worse"


def _guest(samples, workload, setting):
    return next((s["guest"] for s in samples if s["workload"] == workload and s["setting"] == setting
                 and s["kind"] == "main"), {})


def demand_same_work(workload, names, guests):
    """BenchError where two settings' documents show that they were not asked for the same."""
    unlike = differences.unlike_work(*guests)
    if unlike:
        raise BenchError(f"{workload}: {names[0]} and {names[1]} did not do the same work: " + ", ".join(
            f"{what} {one} against {two}" for what, one, two in unlike))


def pair(samples, workload, first, second, configurations):
    """Compares two settings on one workload, in every metric that both have."""
    guests = [_guest(samples, workload, name) for name in (first, second)]
    demand_same_work(workload, (first, second), guests)
    ratios = {}
    for name in metrics.METRICS:
        ratio = stats.paired_ratio(*_pairs(samples, workload, (first, second), name))
        if ratio:
            ratio["verdict"] = verdict(name, ratio)
            ratios[name] = ratio
    return {"first": first, "second": second, "ratios": ratios,
            "differences": differences.between(*guests, configurations.get(first),
                                               configurations.get(second))}


def analyse(results):
    """Adds what is derived to a results document: per workload `settings` and `pairs`. The first setting
    of a workload's plan is compared with each other one."""
    configurations = {s["name"]: s["configuration"] for s in results["settings"]}
    analysis = {}
    for plan in results["plan"]:
        name, order = plan["workload"], plan["settings"]
        present = [s for s in order if _values(results["samples"], name, s, plan["metric"])]
        analysis[name] = {
            "metric": plan["metric"],
            "settings": {s: summaries(results["samples"], name, s) for s in present},
            "pairs": [pair(results["samples"], name, present[0], other, configurations)
                      for other in present[1:]],
        }
    results["analysis"] = analysis
    return results
