# SPDX-License-Identifier: Apache-2.0
"""The command line of fastvmm-bench."""
import argparse
import os
import signal
import sys
import time

from . import diff, gate, junit, nested, report_text, results
from .errors import BenchError
from .profiles import PROFILES, workloads
from .progress import Progress
from .session import Session
from .units import parse_size

_ABOUT = """\
Compares fastvmm with QEMU (and any other VMM) on this host: interleaved runs of the same guest on the same
disk, medians with 95 % intervals, a permutation test, and what each I/O cost. docs/benchmarking.md tells
how to read the report."""
_STATUS = """\
exit status: 0 done (and the gate passed), 1 the gate failed, 2 it could not be run, 3 the gate could not
be decided because the host was not quiet, 130 or 143 interrupted."""


def _size(text):
    try:
        return parse_size(text)
    except BenchError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(kind):
    def convert(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text}: expected more than 0")
        return value
    return convert


def _pin(text):
    if text.count(":") != 1 or not all(text.split(":")):
        raise argparse.ArgumentTypeError(f"{text}: expected VCPU-CPUS:IO-CPUS, e.g. 0:1")
    return text


def _add_run(commands):
    run = commands.add_parser("run", help="measure and compare", epilog=_STATUS,
                              description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    run.add_argument("--profile", choices=sorted(PROFILES), default="standard")
    run.add_argument("--quick", dest="profile", action="store_const", const="quick",
                     help="short for --profile quick")
    run.add_argument("--only", metavar="PATTERN", nargs="+", default=[], help="workloads, e.g. 'randread*'")
    run.add_argument("--pairs", type=_positive(int), help="interleaved rounds a workload")
    run.add_argument("--seconds", type=_positive(float), help="measured time of each run")
    run.add_argument("--warmup", type=float, help="seconds before it")
    run.add_argument("--out", metavar="DIR", help="default: fastvmm-bench-DATE")
    run.add_argument("--gate", metavar="FILE", help="judge by this file of minimal ratios")
    run.add_argument("--fastvmm", metavar="PROGRAM", help="default: the one built here, or installed")
    run.add_argument("--fastvmm-disk", metavar="OPTION", action="append", default=[],
                     help="further option of its disks, e.g. fixed-buffers=on; may be repeated")
    run.add_argument("--fastvmm-net", metavar="OPTION", action="append", default=[],
                     help="further option of its NICs, e.g. vhost=on; may be repeated")
    run.add_argument("--also", metavar="NAME=PROGRAM[,OPTION...]", action="append", default=[],
                     help="another build of fastvmm, or the same with other options of its disks, or "
                          "(net:vhost=on) of its NICs")
    run.add_argument("--qemu", metavar="PROGRAM", action="append", default=[],
                     help="may be repeated; default: the one that is installed")
    run.add_argument("--vmm", metavar="NAME=TEMPLATE", action="append", default=[],
                     help="another VMM by its command line, with {guest}, {cmdline}, {disk}, {queues}, "
                          "{cpus}, {memory_mib}, {workers}, {direct}")
    run.add_argument("--breadth", choices=["one", "few", "all"], help="how many QEMU settings are tried")
    run.add_argument("--guest", metavar="ELF", help="the bare guest")
    run.add_argument("--host-loop", metavar="PROGRAM")
    run.add_argument("--disk-dir", metavar="DIR", help="where the disk images lie")
    run.add_argument("--disk-size", type=_size, default=512 << 20, help="of each (default 512M)")
    run.add_argument("--disk-device", metavar="PATH",
                     help="a block device instead of image files; workloads that write destroy what is "
                          "on it")
    run.add_argument("--linux-guest", metavar="DIR", help="kernel and initrd (tools/mkguest) of the "
                     "profiles linux and iperf")
    run.add_argument("--pin", type=_pin, metavar="VCPU-CPUS:IO-CPUS",
                     help="pin threads, e.g. 0:1 (default: the scheduler decides)")
    run.add_argument("--no-fastvmm", action="store_true", help="peers among themselves")
    run.add_argument("--no-qemu", action="store_true")
    run.add_argument("--no-host", action="store_true", help="without the host's own limit")
    run.add_argument("--alone", action="store_true", help="allow a run of one VMM only")
    run.add_argument("--tolerate-noise", action="store_true", help="do not repeat disturbed rounds")
    run.add_argument("--syscalls", action="store_true",
                     help="count system calls, in further runs beside perf (standard, table5: always)")
    run.add_argument("--no-limit", action="store_true", help="ignore the profile's time limit")
    run.add_argument("--quiet", action="store_true", help="no progress")
    # Set by the disposable host's own run: no page is written there.
    run.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    run.set_defaults(function=_run)


def _parser():
    parser = argparse.ArgumentParser(prog="fastvmm-bench", description=_ABOUT, epilog=_STATUS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    report = commands.add_parser("report", help="print a results document, write its page")
    report.add_argument("results")
    report.add_argument("--html", metavar="FILE", help="write the page too")
    report.set_defaults(function=_report)
    judge = commands.add_parser("gate", help="judge a results document")
    judge.add_argument("results")
    judge.add_argument("gate")
    judge.add_argument("--junit", metavar="FILE")
    judge.set_defaults(function=_gate)
    compare = commands.add_parser("diff", help="compare two results documents of one machine")
    compare.add_argument("first", metavar="A.json")
    compare.add_argument("second", metavar="B.json")
    compare.add_argument("--force", action="store_true", help="even where they are unlike")
    compare.set_defaults(function=_diff)
    listing = commands.add_parser("list", help="what a profile runs")
    listing.add_argument("profile", nargs="?", choices=sorted(PROFILES))
    listing.set_defaults(function=_list)
    return parser


def _judge(document, gate_path, junit_path):
    findings = gate.judge(document, gate.load(gate_path))
    print(gate.render(findings))
    if junit_path:
        junit.save(findings, junit_path)
    return gate.exit_status(findings)


def _save(document, directory, page=True):
    os.makedirs(directory, exist_ok=True)
    results.save(document, os.path.join(directory, "results.json"))
    with open(os.path.join(directory, "report.txt"), "w", encoding="utf-8") as file:
        file.write(report_text.render(document))
    if page:
        _write_page(document, os.path.join(directory, "report.html"))


def _write_page(document, path):
    try:
        from . import report_html
    except ImportError as error:
        print(f"fastvmm-bench: no page was written: {error.name} is missing "
              "(apt-get install python3-matplotlib)", file=sys.stderr)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(report_html.render(document))


def _without_out(arguments):
    """The arguments of `run` again, but for where the results go: inside, that is another directory."""
    kept, skip = [], False
    for word in arguments:
        if not skip and word not in ("--out", "--gate") and not word.startswith(("--out=", "--gate=")):
            kept.append(word)
        skip = word in ("--out", "--gate") and not skip
    return kept


def _measure(options, directory):
    """The results document, measured here or inside the disposable host."""
    linux = any(workload.kind == "linux" for workload in workloads(options.profile))
    why = nested.reason() if linux and not options.inside else ""
    if not why:
        document = Session(options, Progress(quiet=options.quiet)).run()
        _save(document, directory, page=not options.inside)
        return document
    print(f"fastvmm-bench: Linux guests run in the disposable host: {why}", file=sys.stderr)
    nested.run(_without_out(options.arguments), directory)
    document = results.load(os.path.join(directory, "results.json"))
    _save(document, directory)
    return document


def _run(options):
    if options.gate:
        gate.load(options.gate)  # a mistake in it shows before the measurement
    directory = options.out or time.strftime("fastvmm-bench-%Y%m%d-%H%M%S")
    document = _measure(options, directory)
    if options.inside:
        return 0
    print(report_text.render(document))
    print(f"Written to {directory}: results.json, report.html, report.txt")
    status = 0
    if options.gate:
        status = _judge(document, options.gate, os.path.join(directory, "junit.xml"))
    if not document["failed"]:
        return status
    print(f"fastvmm-bench: no result of {', '.join(document['failed'])}; see \"Not run\" above", file=sys.stderr)
    return status or 2


def _report(options):
    document = results.load(options.results)
    print(report_text.render(document))
    if options.html:
        _write_page(document, options.html)
    return 0


def _gate(options):
    return _judge(results.load(options.results), options.gate, options.junit)


def _diff(options):
    print(diff.render(results.load(options.first), results.load(options.second), options.force))
    return 0


def _list(options):
    for name in [options.profile] if options.profile else sorted(PROFILES):
        profile = PROFILES[name]
        print(f"{name}: {profile['about']}; {profile['pairs']} rounds of {profile['seconds']} s")
        rows = [[w.name, w.row, w.metric, w.cache, w.guest_words(profile["seconds"], profile["warmup"])]
                for w in workloads(name)]
        print(report_text.table(["workload", "row", "metric", "cache", "guest's command line"], rows,
                                left=5) + "\n")
    return 0


def _end_on_signal(number, _):
    """As an exception, so that the VMM that runs is ended too."""
    raise SystemExit(128 + number)


def main(arguments=None):
    options = _parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_on_signal)
    try:
        return options.function(options)
    except BenchError as error:
        print(f"fastvmm-bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fastvmm-bench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
