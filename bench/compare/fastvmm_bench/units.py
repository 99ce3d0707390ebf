# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them, and sizes as they write them."""
from .errors import BenchError

_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text):
    """Bytes of "4k", "512M", "1G"."""
    body = text.strip().lower().removesuffix("ib").removesuffix("b")
    number, suffix = (body[:-1], body[-1]) if body and body[-1] in "kmgt" else (body, "")
    if not number.isdigit():
        raise BenchError(f"{text}: expected a size such as 512M")
    return int(number) * _SUFFIXES[suffix]


def parse_cpus(text):
    """The set of "0,2-5"."""
    cpus = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise BenchError(f"{text}: expected a CPU list such as 0,2-5")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def significant(value, digits=3):
    """Three digits, without an exponent."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    for limit, decimals in ((100, 0), (10, 1), (1, 2), (0.1, 3), (0.01, 4)):
        if magnitude >= limit:
            return f"{value:.{max(0, decimals + digits - 3)}f}"
    return f"{value:.{digits - 1}g}"


def _scaled(value, steps):
    for factor, suffix in steps:
        if abs(value) >= factor:
            return significant(value / factor) + suffix
    return significant(value) + steps[-1][1] if steps[-1][0] == 1 else significant(value)


def rate(value):
    return _scaled(value, ((1e6, "M"), (1e3, "k"), (1, "")))


def nanoseconds(value):
    return _scaled(value, ((1e9, " s"), (1e6, " ms"), (1e3, " us"), (1, " ns")))


def octets(value):
    return _scaled(value, ((1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")))


def octets_per_second(value):
    return octets(value) + "/s"


def percent(value):
    return significant(100 * value) + " %"


def seconds(value):
    value = int(round(value))
    if value < 60:
        return f"{value} s"
    if value < 3600:
        return f"{value // 60} min {value % 60:02d} s"
    return f"{value // 3600} h {value % 3600 // 60:02d} min"
