# SPDX-License-Identifier: Apache-2.0
"""Every difference of configuration between two runs of one workload, seen from the guest and from the
command lines: what was negotiated, ring sizes, clock, processors."""

_RING_BITS = {28: "indirect descriptors", 29: "event index", 30: "bit 30", 32: "virtio 1",
              33: "access platform", 34: "packed ring", 35: "in order", 36: "order platform",
              40: "ring reset"}
_BLOCK_BITS = {1: "SIZE_MAX", 2: "SEG_MAX", 4: "GEOMETRY", 5: "RO", 6: "BLK_SIZE", 9: "FLUSH",
               10: "TOPOLOGY", 11: "CONFIG_WCE", 12: "MQ", 13: "DISCARD", 14: "WRITE_ZEROES",
               16: "SECURE_ERASE"}

# What must agree for a comparison to make sense: the same work was asked for. The host's loop has one
# queue with as many requests in flight as all of a guest's queues together.
_SAME_WORK = ("rw", "mix", "bs", "bs-max", "verify", "segs", "layout", "mode", "rate", "time_ns",
              "warmup_ns", "ring", "test", "dir", "streams", "length")
_SAME_GUEST = ("qd", "queues", "jobs")


def _bits(value):
    number = int(value, 16)
    return {bit for bit in range(64) if number >> bit & 1}


def _bit_name(bit):
    return _RING_BITS.get(bit) or _BLOCK_BITS.get(bit) or f"bit {bit}"


def _features(name, first, second):
    one, two = _bits(first.get(name, "0x0")), _bits(second.get(name, "0x0"))
    result = []
    if one - two:
        result.append((f"{name} by the first only", ", ".join(map(_bit_name, sorted(one - two))), ""))
    if two - one:
        result.append((f"{name} by the second only", "", ", ".join(map(_bit_name, sorted(two - one)))))
    return result


def _in_flight(params):
    """None where there is no such number: a loop over frames has one batch at a time."""
    return params["qd"] * params.get("jobs", params.get("queues", 1)) if "qd" in params else None


def unlike_work(first, second):
    """[(what, first, second)] that forbids a comparison: the guests did not do the same."""
    one, two = first.get("params", {}), second.get("params", {})
    names = _SAME_WORK + (_SAME_GUEST if first.get("guest") == second.get("guest") else ())
    found = [(name, one[name], two[name]) for name in names
             if name in one and name in two and one[name] != two[name]]
    depths = _in_flight(one), _in_flight(two)
    if None not in depths and depths[0] != depths[1]:
        found.append(("requests in flight", *depths))
    for disk_one, disk_two in zip(first.get("disks", []), second.get("disks", [])):
        if disk_one.get("sectors") != disk_two.get("sectors"):
            found.append(("sectors of the disk", disk_one.get("sectors"), disk_two.get("sectors")))
    return found


def between(first, second, configuration_one=None, configuration_two=None):
    """[(what, first, second)] of two guests' documents and of the settings' options."""
    found = []
    one, two = configuration_one or {}, configuration_two or {}
    for name in sorted(one.keys() | two.keys()):
        if one.get(name) != two.get(name):
            found.append((name, one.get(name, "-"), two.get(name, "-")))
    for disk_one, disk_two in zip(first.get("disks", []), second.get("disks", [])):
        for name in ("block_size", "queues_offered"):
            if disk_one.get(name) != disk_two.get(name):
                found.append((name, disk_one.get(name), disk_two.get(name)))
        found += _features("features", disk_one, disk_two)
    sizes = [[queue.get("size") for queue in guest.get("queues", [])] for guest in (first, second)]
    if sizes[0] and sizes[1] and sizes[0] != sizes[1]:
        found.append(("queue sizes", sizes[0], sizes[1]))
    for name in ("tsc_source", "apic", "ram_bytes", "cpus"):
        values = [guest.get("machine", {}).get(name) for guest in (first, second)]
        if None not in values and values[0] != values[1]:
            found.append((name, *values))
    return found
