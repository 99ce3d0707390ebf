# SPDX-License-Identifier: Apache-2.0
"""What the scripts here share that boot one Linux guest under fastvmm and under QEMU in turn."""
import argparse
import os
import pathlib
import sys

BENCH = pathlib.Path(__file__).resolve().parent
TOP = BENCH.parent
sys.path.insert(0, str(BENCH / "compare"))
from fastvmm_bench.schedule import interleaved  # noqa: E402,F401 pylint: disable=wrong-import-position

MEBIBYTES = 512


def parser(rounds):
    """The options that all of them have; @rounds: how many by default."""
    found = argparse.ArgumentParser()
    found.add_argument("--rounds", type=int, default=rounds)
    found.add_argument("--kernel", type=pathlib.Path, default=TOP / "build/guest/default")
    found.add_argument("--fastvmm", type=pathlib.Path, default=TOP / "build/fastvmm")
    return found


def in_namespace(name):
    """Starts this program, called @name, again in a network namespace of its own."""
    if os.environ.get("BENCH_NAMESPACE"):
        return
    if os.geteuid() != 0:
        sys.exit(f"{name}: a network namespace of its own needs root")
    os.environ["BENCH_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def fastvmm(program, kernel, initrd, cmdline, report, cpus):
    """The command without devices; the guest's report goes to the file @report."""
    return [program, "--quiet", "--kernel", kernel, "--initrd", initrd, "--cmdline", cmdline,
            "--memory", f"{MEBIBYTES}M", "--cpus", cpus, "--no-reboot", "--report", report]


def qemu(machine, kernel, initrd, cmdline, report, cpus):
    """The same for QEMU's q35 or microvm."""
    command = ["qemu-system-x86_64", "-M", machine, "-accel", "kvm", "-cpu", "host",
               "-m", MEBIBYTES, "-smp", cpus, "-nodefaults", "-no-user-config", "-display", "none",
               "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", cmdline,
               "-serial", "null"]
    if machine == "microvm":  # it makes one serial port by itself; the second is added by hand
        return command + ["-chardev", f"file,id=report,path={report}",
                          "-device", "isa-serial,chardev=report,index=1"]
    return command + ["-serial", f"file:{report}"]
