#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""iperf3 between a Linux guest and its host: fastvmm and QEMU, with vhost off and on, interleaved.

Usage: iperf.py [--rounds N] [--seconds N] [--queues N] [--cpus N] [--kernel DIR] [--fastvmm PATH]
                [--before PATH] [--no-vhost]

The guest (tools/mkguest) runs bench/jobs/iperf.sh: TCP both ways with one stream and with four, UDP flat
out both ways with 64 and 1400 bytes, TCP round trips. Everything happens in a network namespace of its
own (root), with a bridge; every VMM gets a multi-queue tap on it. The order changes every round.
Prints the median of each, and the medians of fastvmm's ratios, round by round, with their 95 % intervals:
to QEMU like to like, of its own data path to QEMU's vhost, and to another build of fastvmm, --before. Where
this machine cannot run Linux guests: tools/nested-host bench/iperf.py.
"""
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import guests
from fastvmm_bench import report_text, stats

BRIDGE, TAP, ADDRESS, RR_PORT = "br0", "tap0", "192.0.2.1/24", "8765"
NAMES = ["tcp-out", "tcp-in", "tcp-out-4", "tcp-in-4", "udp-64-out", "udp-64-in", "udp-1400-out",
         "udp-1400-in", "tcp-rr", "interrupts"]
# Who is compared with whom.
PAIRS = [("fastvmm", "before"), ("fastvmm", "QEMU"), ("fastvmm", "QEMU vhost"),
         ("fastvmm vhost", "QEMU vhost")]
SECONDS_TO_BOOT = 150
WARMUP = 2  # of each measurement, in the job


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def make_network():
    ip("link", "set", "lo", "up")
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", ADDRESS, "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")


def commands(options, initrd, report):
    cmdline = f"console=ttyS0 quiet panic=-1 iperf.seconds={options.seconds}"
    machine = (options.kernel / "vmlinuz", initrd, cmdline, report, options.cpus)

    def fastvmm(vhost, program=options.fastvmm):
        return [*guests.fastvmm(program, *machine), "--queues", options.queues,
                "--net", f"tap={TAP},bridge={BRIDGE},vhost={vhost}"]

    def qemu(vhost):
        return [*guests.qemu("q35", *machine),
                "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no,queues={options.queues},"
                f"vhost={vhost}",
                "-device", "virtio-net-pci,netdev=net,disable-legacy=on"
                + (f",mq=on,vectors={2 * options.queues + 2}" if options.queues > 1 else "")]

    found = {"fastvmm": fastvmm("off"), "QEMU": qemu("off")}
    if options.before:
        found["before"] = fastvmm("off", options.before)
    if options.no_vhost:
        return found
    if not os.path.exists("/dev/vhost-net"):
        subprocess.run(["modprobe", "vhost_net"], check=False, stderr=subprocess.DEVNULL)
    if os.path.exists("/dev/vhost-net"):
        found["fastvmm vhost"] = fastvmm("on")
        found["QEMU vhost"] = qemu("on")
    return found


def start_peers():
    """iperf3's server, and fio's for round trips, which ends with its client. With --thread, fio is one
    process: a child of it would outlive it, and take the next guest's connection."""
    return [subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
            for words in (["iperf3", "-s"],
                          ["fio", "--thread", "--name=rr", "--ioengine=net", "--protocol=tcp", "--listen",
                           f"--port={RR_PORT}", "--rw=read", "--pingpong=1", "--bs=1", "--size=1g"])]


def run(command, report, with_tap, queues, timeout):
    """{name: value} of one guest; None where it did not come through."""
    report.unlink(missing_ok=True)
    console = report.with_name("console")
    if with_tap:
        ip("tuntap", "add", TAP, "mode", "tap", *(["multi_queue"] if queues > 1 else []))
        ip("link", "set", TAP, "master", BRIDGE, "up")
    peers = start_peers()
    try:
        with open(console, "wb") as output:
            subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                           stderr=output, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        pass  # the report says how far it came
    finally:
        for peer in peers:
            peer.kill()
            peer.wait()
        if with_tap:
            ip("link", "del", TAP)
    lines = report.read_text(errors="replace").splitlines() if report.exists() else []
    if "FASTVMM-EXIT 0" not in lines:
        said = console.read_text(errors="replace").splitlines()
        print(f"it did not come through; its report ends with: {lines[-3:]}, its console with: {said[-3:]}",
              file=sys.stderr)
        return None
    words = [line.split() for line in lines]
    return {line[0]: float(line[1]) for line in words if len(line) == 2 and line[0] in NAMES}


def show(samples, rounds):
    pairs = [pair for pair in PAIRS if pair[1] in samples]
    print(f"{os.uname().release}, {rounds} rounds; TCP in kbit/s, UDP in datagrams/s, round trips/s")
    print(f"{'':14}" + "".join(f"{name:>14}" for name in samples)
          + "".join(f"{f'{one} / {other}':>28}" for one, other in pairs))
    for name in NAMES:
        values = {vmm: [run[name] for run in runs if run and name in run] for vmm, runs in samples.items()}
        line = "".join(f"{statistics.median(found):14.0f}" if found else f"{'-':>14}"
                       for found in values.values())
        for one, other in pairs:
            both = [(a[name], b[name]) for a, b in zip(samples[one], samples[other])
                    if a and b and a.get(name) and b.get(name)]
            ratio = stats.paired_ratio([a for a, _ in both], [b for _, b in both]) if both else None
            line += f"{report_text.shown_ratio('frames_per_s', ratio):>28}"  # a rate: above 1 is better
        print(f"{name:14}{line}")
    for vmm, runs in samples.items():
        if None in runs:
            print(f"{vmm}: {runs.count(None)} of {len(runs)} runs did not come through")


def main():
    parser = guests.parser(rounds=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--queues", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--before", type=pathlib.Path, help="another build of fastvmm")
    parser.add_argument("--no-vhost", action="store_true")
    options = parser.parse_args()
    for program in ("iperf3", "fio", "unshare", "ip"):
        if not shutil.which(program):
            sys.exit(f"iperf.py: {program} is missing; tools/setup installs it")
    guests.in_namespace("iperf.py")
    make_network()
    with tempfile.TemporaryDirectory() as directory:
        report, initrd = pathlib.Path(directory, "report"), pathlib.Path(directory, "initrd")
        subprocess.run([guests.TOP / "tools/mkguest", "--quiet", "--job",
                        guests.BENCH / "jobs/iperf.sh",
                        "--base", options.kernel / "initrd", "--output", initrd], check=True)
        vmms = commands(options, initrd, report)
        samples = {name: [] for name in vmms}
        begin = time.monotonic()
        for number, name in guests.interleaved(list(vmms), options.rounds):
            samples[name].append(run(vmms[name], report, "QEMU" in name, options.queues,
                                     SECONDS_TO_BOOT + 12 * (options.seconds + WARMUP)))
            print(f"round {number + 1} of {options.rounds}: {name} "
                  f"({time.monotonic() - begin:.0f} s)", file=sys.stderr, flush=True)
    show(samples, options.rounds)


if __name__ == "__main__":
    main()
