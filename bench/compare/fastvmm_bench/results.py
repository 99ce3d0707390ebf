# SPDX-License-Identifier: Apache-2.0
"""The results document: every sample, the plan, the environment. Readers of version 1 ignore names that
they do not know; a change that they could not read makes a new version."""
import json
import os

from . import VERSION
from .errors import BenchError

OUT_OF_TIME = "the profile's time was over"  # why a workload of `skipped` was not run
_NEEDED = ("plan", "settings", "samples", "environment", "workloads")


def save(results, path):
    temporary = f"{path}.part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    os.replace(temporary, path)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot be read: {error}") from error
    if not isinstance(results, dict) or results.get("tool") != "fastvmm-bench":
        raise BenchError(f"{path}: not a results document of fastvmm-bench")
    if results.get("version") != VERSION:
        raise BenchError(f"{path}: version {results.get('version')}, this program reads {VERSION}")
    missing = [name for name in _NEEDED if name not in results]
    if missing:
        raise BenchError(f"{path}: incomplete, it lacks {', '.join(missing)}")
    return results


def new(profile, context, settings, workloads, environment, began):
    return {
        "tool": "fastvmm-bench", "version": VERSION, "profile": profile, "began": began,
        "seconds": context.seconds, "warmup": context.warmup,
        "environment": environment,
        "settings": [setting.describe() for setting in settings],
        "workloads": {workload.name: workload.describe() for workload in workloads},
        "plan": [], "preselection": [], "samples": [], "skipped": [], "failed": [], "command_lines": {},
        "noise": {},
    }
