# SPDX-License-Identifier: Apache-2.0
"""What bench/jobs/iperf.sh sends of one stream test between a Linux guest and its host, in the bare guest's
names: TCP and UDP by iperf3, round trips by fio.

What counts of UDP is what went through the guest's NIC, by its own count: not what a queue in front of it
dropped, nor what a socket behind it had no room for.
The cost of a stream is given for 64 KiB of TCP, a datagram, a round trip.
"""
from . import fio

TCP_UNIT = 65536


def _parts(said):
    """iperf3's intervals with all streams together: (those of the warm-up, the measured ones)."""
    parts = [interval["sum"] for interval in said["intervals"]]
    return [part for part in parts if part["omitted"]], [part for part in parts if not part["omitted"]]


def _tcp(said, _):
    """What arrived; where the guest sends, the host tells it afterwards."""
    warmup, measured = _parts(said)
    arrived = said["end"]["sum_received"]
    rate = arrived["bytes"] / arrived["seconds"]
    return {"bytes_per_s": rate, "units_per_s": rate / TCP_UNIT, "measured_ns": _nanoseconds(measured),
            "total": sum(part["bytes"] for part in warmup + measured) / TCP_UNIT}


def _udp(said, at_nic):
    """iperf3 tells when datagrams went, the NIC how many of the whole run did."""
    def datagrams(parts):
        return sum(part["packets"] - part.get("lost_packets", 0) for part in parts)

    warmup, measured = _parts(said)
    rate = datagrams(measured) / sum(part["seconds"] for part in measured)
    rate *= at_nic / datagrams(warmup + measured)
    return {"frames_per_s": rate, "units_per_s": rate, "measured_ns": _nanoseconds(measured),
            "total": at_nic}


def _round_trips(said, _):
    """fio counts a byte there and a byte back as one write."""
    side = said["jobs"][0]["write"]
    return {"requests_per_s": side["iops"], "units_per_s": side["iops"], "latency_ns": fio.latency(side),
            "measured_ns": side["runtime"] * 1000000, "total": fio.all_ios([side], fio.options_of(said))}


def _nanoseconds(parts):
    return round(1e9 * sum(part["seconds"] for part in parts))


def document(sent):
    """KeyError, IndexError, ValueError or ZeroDivisionError where @sent is not what the job sends."""
    test, said = sent["test"], sent["said"]
    at_nic = sent["frames"]["sent" if sent["dir"] == "out" else "received"]
    found = {"tcp": _tcp, "udp": _udp, "rr": _round_trips}[test](said, at_nic)
    return {"guest": "streams", "status": "ok", "workload": "streams", **found, "frames": sent["frames"],
            "params": {name: sent[name] for name in ("test", "dir", "streams", "length", "queues")}}
