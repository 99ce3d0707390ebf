# SPDX-License-Identifier: Apache-2.0
"""The bare guest's result of a network workload, under the names that everything behind reads.

What arrived counts where frames are received, what was sent where they are not.
"""


def translated(guest):
    """The document with frames_per_s, bytes_per_s, measured_ns, ios, kicks, interrupts added."""
    if guest.get("workload") != "net":
        return guest
    side = "tx" if guest["params"]["dir"] == "tx" else "rx"
    round_trip = guest.get("round_trip_ns", {})
    latency = round_trip if round_trip.get("max") else guest["tx_latency_ns"]
    return {**guest, "frames_per_s": guest[f"{side}_pps"], "bytes_per_s": guest[f"{side}_bytes_per_s"],
            "requests_per_s": guest["rx_pps"] / 2 if guest["params"]["dir"] == "echo" else 0,
            "measured_ns": guest[f"{side}_measured_ns"], "latency_ns": latency,
            "ios": guest[f"{side}_pps"] * guest[f"{side}_measured_ns"] / 1e9, "kicks": guest["tx_kicks"] + guest["rx_kicks"],
            "interrupts": guest["tx_interrupts"] + guest["rx_interrupts"]}
