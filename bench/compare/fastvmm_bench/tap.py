# SPDX-License-Identifier: Apache-2.0
"""Where network workloads run: a network namespace of its own for each run, with a bridge in it.

The VMM is started by a shell in the new namespace that makes way for it (exec), so its process is the one
that was started. The namespace and all that is in it go away with the VMM.
"""
import os

BRIDGE = "br0"


def names(workload):
    """The taps of a workload's NICs."""
    return [f"tap{index}" for index in range(workload.nics)]


def _bridge(workload):
    return [f"ip link add {BRIDGE} type bridge", f"ip link set {BRIDGE} up"]


def _taps(workload):
    queues = "multi_queue" if workload.queues > 1 else ""
    for name in names(workload):
        yield f"ip tuntap add {name} mode tap {queues}"
        yield f"ip link set {name} master {BRIDGE} up"


def in_namespace(workload, argv, make_taps):
    """argv in a namespace with the bridge. make_taps: for a VMM that wants to find its taps."""
    lines = ["set -e", *_bridge(workload), *(_taps(workload) if make_taps else ()), 'exec "$@"']
    return ["unshare", "--net", "sh", "-c", "; ".join(lines), "sh", *argv]


def refuses():
    """Why there can be no network workloads here, or an empty string."""
    if os.geteuid() != 0:
        return "a network namespace of its own needs root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    return ""
