# SPDX-License-Identifier: Apache-2.0
"""What the runner needs of a VMM: a Setting makes a Launch for a workload."""
import re
import shlex
from dataclasses import dataclass, field

HOST_FAMILIES = ("host", "fio")  # no VMMs: what the host does by itself


@dataclass
class Launch:
    argv: list
    stats_path: str = ""       # a JSON document of the VMM's own counters, written at its exit
    environment: dict = field(default_factory=dict)
    report_path: str = ""      # what a Linux guest sends to its second serial port
    translate: object = None   # makes the guest's document of standard output; None: it is a line of it

    def command_line(self):
        return shlex.join(self.argv)


class Setting:
    """One VMM with one set of options. `name` is unique in a run; `family` says who made it."""

    family = ""
    # Threads by role, first match wins; what matches none is "other".
    thread_roles = ()

    def __init__(self, name, label, configuration):
        self.name = name
        self.label = label
        self.configuration = configuration  # option -> value, for the list of differences

    def refuses(self, workload):
        """Why this setting cannot run the workload, or an empty string."""
        raise NotImplementedError

    def launch(self, workload, context):
        raise NotImplementedError

    def role(self, thread_name):
        for role, pattern in self.thread_roles:
            if re.match(pattern, thread_name):
                return role
        return "other"

    def describe(self):
        return {"name": self.name, "label": self.label, "family": self.family,
                "configuration": self.configuration}
