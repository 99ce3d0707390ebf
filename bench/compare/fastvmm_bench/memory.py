# SPDX-License-Identifier: Apache-2.0
"""Memory of a VMM beyond what the guest was given."""
import re

_HEADER = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


def parse_smaps(text):
    """[(name, {field: bytes})] of /proc/PID/smaps."""
    areas = []
    for line in text.splitlines():
        if _HEADER.match(line):
            parts = line.split(maxsplit=5)
            areas.append((parts[5] if len(parts) > 5 else "", {}))
            continue
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and areas:
            areas[-1][1][name] = int(words[0]) * 1024
    return areas


def is_guest_ram(name, fields, guest_bytes):
    """Guest RAM is a mapping of the guest's size (or nearly all of it, where a VMM splits off the first
    megabyte or rounds), of anonymous memory or a memfd."""
    if name and not name.startswith(("/memfd:", "[anon", "/dev/zero", "/dev/shm")):
        return False
    size = fields.get("Size", 0)
    return 0.9 * guest_bytes <= size <= guest_bytes + (4 << 20)


def beyond_guest(areas, guest_bytes):
    """What is resident outside guest RAM: all of it, what is private, and the shares by kind. None where
    no mapping looks like guest RAM, since then nothing can be said."""
    rest = [(name, fields) for name, fields in areas if not is_guest_ram(name, fields, guest_bytes)]
    if len(rest) == len(areas):
        return None
    total = sum(fields.get("Rss", 0) for _, fields in rest)
    private = sum(fields.get("Private_Clean", 0) + fields.get("Private_Dirty", 0)
                  for _, fields in rest)
    proportional = sum(fields.get("Pss", 0) for _, fields in rest)
    files = sum(fields.get("Rss", 0) for name, fields in rest if name.startswith("/"))
    return {"resident": total, "private": private, "proportional": proportional,
            "of_files": files, "anonymous": total - files}


def of_process(pid, guest_bytes):
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        return beyond_guest(parse_smaps(file.read()), guest_bytes)
