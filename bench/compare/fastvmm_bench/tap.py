# SPDX-License-Identifier: Apache-2.0
"""Where network workloads run: a network namespace of its own for each run, with a bridge in it.

The VMM is started by a shell in the new namespace that makes way for it (exec), so its process is the one
that was started. A Linux guest talks to a program on the host: the shell's child, so the VMM's, which the
kernel ends with it. The namespace and all that is in it go away with them.
"""
import os
import shutil

BRIDGE = "br0"
ADDRESS = "192.0.2.1/24"
# The program at the other end, and where it listens (bench/jobs/iperf.sh). With --thread, fio is one process.
_IPERF3 = ["iperf3", "-s"], 5201
_FIO = ["fio", "--thread", "--name=rr", "--ioengine=net", "--protocol=tcp", "--listen", "--port=8765",
        "--rw=read", "--pingpong=1", "--bs=1", "--size=1g"], 8765


def names(workload):
    """The taps of a workload's NICs."""
    return [f"tap{index}" for index in range(workload.nics)]


def _bridge():
    return [f"ip link add {BRIDGE} type bridge", f"ip link set {BRIDGE} up"]


def _taps(workload):
    queues = "multi_queue" if workload.queues > 1 else ""
    for name in names(workload):
        yield f"ip tuntap add {name} mode tap {queues}"
        yield f"ip link set {name} master {BRIDGE} up"


def _peer(workload):
    """The program that a Linux guest talks to, or None."""
    if workload.kind != "linux":
        return None
    return _FIO if workload.words.get("test") == "rr" else _IPERF3


def _start_peer(argv, port):
    """It listens before the VMM starts."""
    return [f"ip addr add {ADDRESS} dev {BRIDGE}", "ip link set lo up",
            f"setpriv --pdeathsig KILL {' '.join(argv)} </dev/null >/dev/null 2>&1 & peer=$!",
            f"until grep -q ':{port:04X} .* 0A ' /proc/net/tcp /proc/net/tcp6",
            f"do kill -0 $peer 2>/dev/null || {{ echo '{argv[0]} does not run' >&2; exit 1; }}; sleep 0.01",
            "done"]


def in_namespace(workload, argv, make_taps):
    """argv in a namespace with the bridge. make_taps: for a VMM that wants to find its taps."""
    peer = _peer(workload)
    lines = ["set -e", *_bridge(), *(_taps(workload) if make_taps else ()),
             *(_start_peer(*peer) if peer else ()), 'exec "$@"']
    return ["unshare", "--net", "sh", "-c", "\n".join(lines), "sh", *argv]


def refuses(workload):
    """Why this workload's network cannot be made here, or an empty string."""
    if not workload.nics:
        return ""
    if os.geteuid() != 0:
        return "a network namespace of its own needs root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    peer = _peer(workload)
    missing = [program for program in ((peer[0][0], "setpriv") if peer else ()) if not shutil.which(program)]
    return f"{missing[0]} is missing (tools/setup)" if missing else ""
