# SPDX-License-Identifier: Apache-2.0
"""Which of a peer's settings is compared with: the one that did best in a short round of its own.

The choice is made on other runs than the comparison, so the luck that won the choice does not carry over.
"""
from . import metrics, stats


def best(workload, results):
    """(name, {name: median}) of the setting with the best median of the workload's metric."""
    medians = {}
    for name, samples in results.items():
        values = [sample["metrics"][workload.metric] for sample in samples
                  if workload.metric in sample["metrics"]]
        if values:
            medians[name] = stats.median(values)
    if not medians:
        return None, medians
    higher = metrics.get(workload.metric).better == "higher"
    return (max if higher else min)(medians, key=medians.get), medians


def choose(runner, workload, candidates, rounds):
    """(setting or None, record of the choice)."""
    refused = {setting.name: setting.refuses(workload) for setting in candidates
               if setting.refuses(workload)}
    usable = [setting for setting in candidates if setting.name not in refused]
    record = {"workload": workload.name, "metric": workload.metric, "refused": refused,
              "medians": {}, "failed": {}, "chosen": None, "rounds": rounds}
    if not usable:
        return None, record
    if len(usable) == 1:
        record["chosen"] = usable[0].name
        return usable[0], record
    results, record["failed"] = runner.try_out(workload, usable, rounds)
    record["chosen"], record["medians"] = best(workload, results)
    return next((s for s in usable if s.name == record["chosen"]), None), record
