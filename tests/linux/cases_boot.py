# SPDX-License-Identifier: Apache-2.0
"""Kernels, processors, memory, and the ways in which a guest ends."""
import functools
import time

from guest import Failure, Skip, expect, host_mebibytes, run_bounded

# What every guest says about itself. Warnings of the kernel about its machine are failures, but for
# one: the disposable host's emulated processor reports a size of its extended state that puzzles
# every kernel, under QEMU as well.
ABOUT = r"""
{
echo kernel $(uname -r)
echo cpus $(nproc)
echo memory $(awk '/MemTotal/ {print $2}' /proc/meminfo)
echo clocksource $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
echo time $(date +%s)
echo packages $(awk '/^physical id/ {print $4}' /proc/cpuinfo | sort -u | wc -l)
echo cores $(awk '/^cpu cores/ {print $4; exit}' /proc/cpuinfo)
echo queues $(ls /sys/block/vda/mq 2>/dev/null | wc -l)
echo complaints $(dmesg | grep -E 'Firmware Bug|ACPI Error|ACPI Warning|ACPI BIOS|BUG:|WARNING:' |
	grep -v 'fpu/xstate.c' | head -3)
} >"$FASTVMM_RESULT"
"""

# MiB that a kernel keeps for itself and never counts as MemTotal.
KERNEL_SHARE = 160


def boots(host, kernel, cpus, megabytes, image="vmlinuz", cmdline="quiet", minimal=False):
    if megabytes > host_mebibytes():
        raise Skip(f"this host has less than {megabytes} MiB")
    disk = host.image("disk.img", 64)
    arguments = ["--cpus", cpus, "--memory", f"{megabytes}M", "--queues", cpus, "--disk", disk]
    outcome = host.boot(ABOUT, *arguments, kernel=kernel, image=image, cmdline=cmdline,
                        minimal=minimal)
    words = outcome.words()
    expect(outcome.status == 0, f"fastvmm ended with {outcome.status}:\n{outcome.output[-2000:]}")
    expect(int(words["cpus"]) == cpus, f"{words['cpus']} CPUs instead of {cpus}")
    expect(int(words["queues"]) == cpus, f"{words['queues']} disk queues instead of {cpus}")
    seen = int(words["memory"]) // 1024
    share = KERNEL_SHARE + megabytes // 32
    expect(megabytes - share <= seen <= megabytes, f"{seen} MiB of memory instead of {megabytes}")
    expect(words["clocksource"] == "kvm-clock", f"the clock source is {words['clocksource']}")
    expect(abs(int(words["time"]) - time.time()) < 120, "the guest's clock is wrong")
    expect(not words["complaints"], f"the kernel complains: {words['complaints']}")
    if "acpi=off" not in cmdline:
        expect(words["packages"] == "1" and int(words["cores"]) == cpus,
               f"{words['packages']} packages of {words['cores']} cores instead of one of {cpus}")
    kernel_version = {"cloud-6.1": "6.1.", "cloud-6.12": "6.12.", "generic-6.1": "6.1."}[kernel]
    expect(words["kernel"].startswith(kernel_version), f"kernel {words['kernel']}")


def reboots(host):
    """The first life leaves a mark on the disk and reboots; the second one finds it and ends."""
    disk = host.image("disk.img", 1)
    job = r"""
if [ "$(head -c 4 /dev/vda)" = mark ]; then
	echo second >"$FASTVMM_RESULT"
	exit 0
fi
printf mark | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null
sync
reboot -f
"""
    outcome = host.boot(job, "--disk", disk, reboot=True)
    expect(outcome.status == 0, f"fastvmm ended with {outcome.status}")
    expect(outcome.report.count("FASTVMM-INIT") == 2, "the guest did not come up twice")
    expect(outcome.result == "second", "the second life did not see the mark")
    expect("rebooting" in outcome.output, "fastvmm did not say that it reboots")


def no_reboot(host):
    disk = host.image("disk.img", 1)
    initrd = host.job_initrd("cloud-6.1", "reboot -f\n")
    command = host.command("cloud-6.1", initrd, ["--no-reboot", "--disk", disk], "quiet")
    run = run_bounded(command)
    expect(run.returncode == 0, f"fastvmm ended with {run.returncode}:\n{run.stdout[-2000:]}")
    expect("--no-reboot" in run.stdout, "fastvmm did not say why it ended")


def resets_by(host, way):
    """reboot=k, a, p, t: keyboard controller, ACPI, port 0xcf9, triple fault."""
    initrd = host.job_initrd("cloud-6.1", "reboot -f\n", minimal=True)
    command = host.command("cloud-6.1", initrd, ["--no-reboot"], f"quiet reboot={way}")
    run = run_bounded(command)
    wanted = 5 if way == "t" else 0
    expect(run.returncode == wanted,
           f"reboot={way} ended with {run.returncode} instead of {wanted}:\n{run.stdout[-2000:]}")


def panics(host):
    """The pvpanic driver tells; fastvmm says so and ends with status 4."""
    initrd = host.job_initrd("cloud-6.1", "echo c >/proc/sysrq-trigger\nsleep 60\n", minimal=True)
    command = host.command("cloud-6.1", initrd, ["--no-reboot"], "quiet")
    run = run_bounded(command)
    expect(run.returncode == 4, f"fastvmm ended with {run.returncode}:\n{run.stdout[-3000:]}")
    expect("panicked" in run.stdout, "fastvmm did not say why it ended")


def job_fails(host):
    """A failing job is seen outside: the exit status on the report channel is the job's own."""
    try:
        host.boot("exit 7\n", minimal=True)
    except Failure as failure:
        expect("ended with 7" in str(failure), str(failure)[:300])
        return
    raise Failure("a job that exits with 7 passed for good")


def tests(quick):
    table = [
        ("boot/cloud-6.1, 4 CPUs, 512 MiB", "cloud-6.1", 4, 512, {}),
        ("boot/cloud-6.12, 2 CPUs, 4 GiB", "cloud-6.12", 2, 4096, {}),
        ("boot/generic-6.1, 1 CPU, 6 GiB", "generic-6.1", 1, 6144, {}),
        ("boot/cloud-6.1, 8 CPUs, 256 MiB", "cloud-6.1", 8, 256, {}),
        ("boot/cloud-6.1 as ELF vmlinux, 1 CPU, 512 MiB", "cloud-6.1", 1, 512,
         {"image": "vmlinux"}),
        ("boot/generic-6.1 without ACPI, 2 CPUs, 512 MiB", "generic-6.1", 2, 512,
         {"cmdline": "quiet acpi=off fastvmm.end=reboot"}),
        ("boot/cloud-6.1, 1 CPU, 128 MiB, small initrd", "cloud-6.1", 1, 128, {"minimal": True}),
    ]
    if quick:
        table = table[:2]

    def bind(kernel, cpus, megabytes, options):
        return lambda host: boots(host, kernel, cpus, megabytes, **options)

    result = [(name, bind(kernel, cpus, megabytes, options))
              for name, kernel, cpus, megabytes, options in table]
    result += [("end/reboot", reboots), ("end/no-reboot", no_reboot)]
    if not quick:
        result += [(f"end/reboot={way}", functools.partial(resets_by, way=way)) for way in "kpt"]
        result += [("end/kernel panic", panics), ("end/failing job", job_fails)]
    return result
