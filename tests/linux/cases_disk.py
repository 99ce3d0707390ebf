# SPDX-License-Identifier: Apache-2.0
"""virtio-blk under a real driver: data, flushes, discards, several disks, sizes, misfortunes."""
import contextlib
import functools
import hashlib
import os
import pathlib
import signal
import subprocess

from guest import BUILD, FASTVMM, GUESTS, HANG_SECONDS, Skip, expect, needs_root, run_bounded, started

INTERRUPTS = r"awk '/virtio0-req/ {n = 0; for (i = 2; i < NF; i++) if ($i ~ /^[0-9]+$/) n += $i; print n}' /proc/interrupts"


def total(stats, name):
    return sum(queue[name] for disk in stats["disks"] for queue in disk["queues"])


def four_queues(host):
    """Each CPU's requests take its own queue, and each queue's interrupts arrive."""
    disk = host.image("disk.img", 64)
    outcome = host.boot(r"""
echo queues $(ls /sys/block/vda/mq | wc -l) >>"$FASTVMM_RESULT"
for cpu in 0 1 2 3; do
	taskset -c $cpu dd if=/dev/vda of=/dev/null bs=4k count=64 iflag=direct 2>/dev/null
done
echo interrupts $(""" + INTERRUPTS + r""") >>"$FASTVMM_RESULT"
""", "--queues", "4", "--disk", disk)
    words = outcome.words()
    expect(words["queues"] == "4", f"{words['queues']} queues")
    counts = [int(n) for n in words["interrupts"].split()]
    expect(len(counts) == 4 and min(counts) > 0, f"interrupts of the queues: {counts}")
    for number, queue in enumerate(outcome.stats["disks"][0]["queues"]):
        expect(queue["popped"] >= 64, f"queue {number} carried {queue['popped']} requests")
        expect(queue["popped"] == queue["pushed"], f"queue {number} lost a request")
        expect(queue["kicks_to_user_space"] == 0, f"kicks of queue {number} left the kernel")


def fio_verify(host, options=""):
    """Mixed sizes, checksums in every block, read back by fio."""
    disk = host.image("disk.img", 128)
    argument = f"{disk},{options}" if options else disk
    outcome = host.boot(r"""
fio --name=verify --filename=/dev/vda --rw=randrw --bssplit=512/20:4k/40:64k/20:256k/20 \
	--blockalign=512 --size=24M --numjobs=4 --offset_increment=32M --iodepth=16 \
	--ioengine=io_uring --direct=1 --verify=crc32c --do_verify=1 --verify_fatal=1 \
	--randrepeat=0 --output-format=terse >/tmp/out || { cat /tmp/out; exit 1; }
echo fio done >"$FASTVMM_RESULT"
""", "--queues", "4", "--disk", argument)
    expect(outcome.result == "fio done", "fio did not finish")
    expect(total(outcome.stats, "errors") == 0, "requests failed")
    expect(total(outcome.stats, "write_bytes") >= 4 * 6 << 20, "fio wrote less than it should")


def file_system(host):
    """ext4 made, filled and unmounted in the guest; clean and with the same data outside."""
    disk = host.image("disk.img", 256)
    outcome = host.boot(r"""
mkfs.ext4 -q /dev/vda
mkdir /mnt
mount /dev/vda /mnt
head -c 20000000 /dev/urandom >/mnt/data
mkdir /mnt/many
for i in $(seq 500); do echo $i >/mnt/many/$i; done
rm -r /mnt/many/1*
sync
sha256sum </mnt/data | cut -d' ' -f1 >"$FASTVMM_RESULT"
umount /mnt
""", "--queues", "4", "--disk", disk)
    check = run_bounded(["e2fsck", "-fn", disk])
    expect(check.returncode == 0, f"e2fsck: {check.stdout}")
    data = subprocess.run(["debugfs", "-R", "cat /data", disk], capture_output=True, check=True)
    expect(hashlib.sha256(data.stdout).hexdigest() == outcome.result, "the file differs outside")
    expect(total(outcome.stats, "flushes") > 0, "sync sent no flush")


def discards(host):
    """Discarded blocks come back to the host; zeroed ones read back as zeros."""
    disk = host.image("disk.img", 64, fill=True)
    before = os.stat(disk).st_blocks
    outcome = host.boot(r"""
/usr/sbin/blkdiscard -o 16777216 -l 16777216 /dev/vda
/usr/sbin/blkdiscard -z -o 33554432 -l 8388608 /dev/vda
zeros=$(dd if=/dev/vda bs=1M skip=32 count=8 iflag=direct 2>/dev/null | tr -d '\0' | wc -c)
echo not-zero $zeros >"$FASTVMM_RESULT"
""", "--disk", disk, add=["/usr/sbin/blkdiscard"])
    expect(outcome.words()["not-zero"] == "0", "zeroed blocks read back as something else")
    freed = (before - os.stat(disk).st_blocks) * 512
    # Less what the file system needs to describe the hole.
    expect(freed >= (16 << 20) - (64 << 10), f"16 MiB were discarded, {freed} bytes came back")
    with open(disk, "rb") as file:
        content = file.read()
    expect(not any(content[32 << 20:40 << 20]), "the zeroed range is not zero outside")
    expect(any(content[:16 << 20]) and any(content[40 << 20:]), "neighbours were harmed")
    expect(total(outcome.stats, "discards") > 0, "no discard arrived")
    expect(total(outcome.stats, "write_zeroes") > 0, "no write zeroes arrived")


def two_disks(host):
    """Two disks at work at once, told apart by their ids; the read-only one refuses writes."""
    first = host.image("first.img", 32, fill=True)
    second = host.image("second.img", 32)
    content = hashlib.sha256(first.read_bytes()).hexdigest()
    outcome = host.boot(r"""
first=$(grep -l '^FIRST$' /sys/block/vd*/serial | cut -d/ -f4)
second=$(grep -l '^SECOND$' /sys/block/vd*/serial | cut -d/ -f4)
echo readonly $(cat /sys/block/$first/ro) $(cat /sys/block/$second/ro) >>"$FASTVMM_RESULT"
if dd if=/dev/zero of=/dev/$first bs=4k count=1 oflag=direct 2>/dev/null; then
	echo refused no >>"$FASTVMM_RESULT"
else
	echo refused yes >>"$FASTVMM_RESULT"
fi
dd if=/dev/$first of=/dev/$second bs=1M iflag=direct oflag=direct 2>/dev/null
sync
""", "--queues", "2", "--disk", f"{first},readonly,serial=FIRST",
                        "--disk", f"{second},serial=SECOND")
    words = outcome.words()
    expect(words["readonly"] == "1 0", f"read-only flags: {words['readonly']}")
    expect(words["refused"] == "yes", "a read-only disk took a write")
    expect(hashlib.sha256(second.read_bytes()).hexdigest() == content, "the copy differs")
    expect(hashlib.sha256(first.read_bytes()).hexdigest() == content, "the original changed")


def block_device(host):
    """A block device as a disk: null_blk, four queues."""
    if not pathlib.Path("/dev/nullb0").exists():
        raise Skip("no /dev/nullb0 (null_blk) here")
    outcome = host.boot(r"""
fio --name=null --filename=/dev/vda --rw=randread --bs=4k --numjobs=4 --iodepth=8 --direct=1 \
	--ioengine=io_uring --number_ios=250 --output-format=terse >/tmp/out ||
	{ cat /tmp/out; exit 1; }
echo done >"$FASTVMM_RESULT"
""", "--queues", "4", "--disk", "/dev/nullb0")
    # The guest's kernel makes one of neighbours now and then.
    reads = total(outcome.stats, "reads")
    expect(reads > 900, f"{reads} of 1000 reads arrived")
    expect(total(outcome.stats, "errors") == 0, "requests failed")


@contextlib.contextmanager
def spare_nvme():
    """The block device of an NVMe namespace that tests may write over; zeroed before and after."""
    name = os.environ.get("FASTVMM_NVME")
    if not name:
        raise Skip("no NVMe namespace to write over (FASTVMM_NVME=0n1 names one)")
    block = pathlib.Path("/dev/nvme" + name)
    clear = ["blkdiscard", "-f", "-z", block]
    subprocess.run(clear, check=True, capture_output=True)
    try:
        yield block
    finally:
        subprocess.run(clear, check=True, capture_output=True)


@contextlib.contextmanager
def mounted(what, where, *options):
    where.mkdir()
    subprocess.run(["mount", *options, what, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


# Data, a flush, a discard and zeroes on a disk of at least 64 MiB; then what the host should find.
NVME_JOB = r"""
fio --name=verify --filename=/dev/vda --rw=randrw --bssplit=512/20:4k/40:64k/30:1m/10 \
	--blockalign=512 --size=4M --numjobs=2 --offset_increment=8M --iodepth=16 \
	--ioengine=io_uring --direct=1 --verify=crc32c --do_verify=1 --verify_fatal=1 \
	--randrepeat=0 --output-format=terse >/tmp/out || { cat /tmp/out; exit 1; }
dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=256k seek=128 oflag=direct conv=fsync 2>/dev/null
dd if=/dev/vda bs=64k skip=512 count=64 iflag=direct 2>/dev/null | cmp - /tmp/data || exit 1
dd if=/tmp/data of=/dev/vda bs=1M seek=40 conv=fsync 2>/dev/null
/usr/sbin/blkdiscard -o 41943040 -l 1048576 /dev/vda || exit 1
/usr/sbin/blkdiscard -z -o 42991616 -l 1048576 /dev/vda || exit 1
echo sha256 $(sha256sum </tmp/data | cut -d' ' -f1) >"$FASTVMM_RESULT"
"""


def check_nvme(block, outcome):
    """What NVME_JOB leaves behind, as the host reads it past its page cache."""
    read = subprocess.run(["dd", f"if={block}", "bs=1M", "skip=32", "count=12", "iflag=direct",
                           "status=none"], capture_output=True, check=True).stdout
    data = read[:4 << 20]
    expect(hashlib.sha256(data).hexdigest() == outcome.words()["sha256"], "the host reads other data")
    expect(not any(read[9 << 20:10 << 20]), "the zeroed range is not zero outside")
    expect(read[10 << 20:12 << 20] == data[2 << 20:], "the zeroed range's neighbour was harmed")
    expect(total(outcome.stats, "errors") == 0, "requests failed")
    for kind in ("flushes", "discards", "write_zeroes"):
        expect(total(outcome.stats, kind) > 0, f"no {kind} arrived")


def nvme_polled(host):
    """An NVMe block device with polled completions, two queues on one worker."""
    with spare_nvme() as block:
        outcome = host.boot(NVME_JOB, "--queues", "2", "--disk", f"{block},iopoll=on,workers=1",
                            add=["/usr/sbin/blkdiscard"])
        check_nvme(block, outcome)
        transfers = total(outcome.stats, "reads") + total(outcome.stats, "writes")
        polled = total(outcome.stats, "polled") + total(outcome.stats, "merged")
        expect(polled >= transfers, f"{polled} of {transfers} transfers were polled")
        expect("iopoll" not in outcome.output, f"a warning:\n{outcome.output[-2000:]}")


def nvme_passthrough(host, options=""):
    """The namespace's character device: NVMe commands past the host's block layer."""
    with spare_nvme() as block:
        device = str(block).replace("nvme", "ng")
        outcome = host.boot(NVME_JOB, "--queues", "2", "--disk", f"{device},workers=1{options}",
                            add=["/usr/sbin/blkdiscard"])
        check_nvme(block, outcome)
        polled = total(outcome.stats, "polled")
        expect((polled > 0) == ("iopoll" in options), f"{polled} commands were polled for")
        expect("warning" not in outcome.output, f"a warning:\n{outcome.output[-2000:]}")


def nvme_in_use(host):
    """Who uses the block device keeps the character device from being used, and the reverse."""
    with spare_nvme() as block:
        device = str(block).replace("nvme", "ng")
        subprocess.run(["mkfs.ext4", "-q", block], check=True)
        initrd = host.job_initrd("cloud-6.1", """
echo ready >"$FASTVMM_REPORT"
cat /sys/block/vda/ro >"$FASTVMM_RESULT"
dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct 2>/dev/null && exit 1
dd if=/dev/vda of=/dev/null bs=1M count=8 iflag=direct || exit 1
""")
        with mounted(block, host.scratch / "mnt"):
            refused = run_bounded(host.command("cloud-6.1", initrd, ["--disk", device], ""))
        expect(refused.returncode == 1 and "in use" in refused.stdout,
               f"a mounted namespace: {refused.returncode}: {refused.stdout}")
        command = host.command("cloud-6.1", initrd,
                               ["--no-reboot", "--disk", f"{device},readonly"], "quiet")
        with started(command) as process:
            host.wait_for_report("ready", process)
            second = run_bounded([FASTVMM, "--kernel", GUESTS / "cloud-6.1/vmlinux", "--disk",
                                  device])
            output, _ = process.communicate(timeout=HANG_SECONDS)
        outcome = host.outcome(process.returncode, output)
        expect(second.returncode == 1 and "locked by another instance" in second.stdout,
               f"a writer beside a reader: {second.returncode}: {second.stdout}")
        expect(outcome.result == "1" and outcome.job_status == 0,
               f"a read-only namespace: {outcome.result}:\n{output[-2000:]}")


def nvme_units(_):
    """Unit tests on the namespace, then those of polled disks on ext4 on it."""
    units = BUILD / "tests/unit/io/test_io"
    with spare_nvme() as block:
        run = run_bounded([units, "-j1", "--filter", "engine_nvme/*"])
        expect(run.returncode == 0 and "Tested: 2" in run.stdout, run.stdout[-4000:])
        subprocess.run(["mkfs.ext4", "-q", block], check=True)
        for suite, refusals in (("iopoll/*", 2), ("engine/*poll*", 1), ("blk_load/*poll*", 0)):
            run = run_bounded(["unshare", "-m", "sh", "-c", 'mount "$1" /var/tmp && exec "$2" -j1 '
                               '--filter "$3"', "sh", block, units, suite])
            expect(run.returncode == 0, f"{suite}: {run.stdout[-4000:]}")
            expect(run.stdout.count("iopoll=on has no effect") == refusals,
                   f"{suite} did not poll: {run.stdout[-4000:]}")


def grows(host):
    """The image grows while the guest runs; after SIGUSR1 the guest sees the new size."""
    disk = host.image("disk.img", 16)
    initrd = host.job_initrd("cloud-6.1", r"""
echo ready >"$FASTVMM_REPORT"
for i in $(seq 300); do
	[ "$(cat /sys/block/vda/size)" = 65536 ] && break
	sleep 0.2
done
echo size $(cat /sys/block/vda/size) >"$FASTVMM_RESULT"
dd if=/dev/vda of=/dev/null bs=512 skip=65535 count=1 iflag=direct
""")
    command = host.command("cloud-6.1", initrd, ["--no-reboot", "--disk", disk], "quiet")
    with started(command) as process:
        host.wait_for_report("ready", process)
        os.truncate(disk, 32 << 20)
        process.send_signal(signal.SIGUSR1)
        output, _ = process.communicate(timeout=HANG_SECONDS)
    outcome = host.outcome(process.returncode, output)
    expect(outcome.words().get("size") == "65536", f"the guest sees {outcome.result}:\n{output[-2000:]}")
    expect(outcome.job_status == 0, "the new end cannot be read")


def killed(host):
    """kill -9 in the middle of writes: the lock is gone with the process, the image can be used."""
    disk = host.image("disk.img", 64)
    initrd = host.job_initrd("cloud-6.1", r"""
echo ready >"$FASTVMM_REPORT"
dd if=/dev/zero of=/dev/vda bs=64k oflag=direct
sleep 100
""")
    command = host.command("cloud-6.1", initrd, ["--disk", disk], "quiet")
    with started(command, subprocess.DEVNULL) as process:
        host.wait_for_report("ready", process)
        second = run_bounded(host.command("cloud-6.1", initrd, ["--disk", disk], ""))
    expect(second.returncode == 1 and "disk.img" in second.stdout,
           f"a second instance on the same disk: {second.returncode}: {second.stdout}")
    outcome = host.boot("dd if=/dev/vda of=/dev/null bs=1M\n", "--disk", disk)
    expect(outcome.status == 0, "the image cannot be used after kill -9")


def full_host(host):
    """The host's file system is full: the guest sees an I/O error, nothing hangs."""
    needs_root()
    small = host.image("small.fs", 24)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", small], check=True)
    if not pathlib.Path("/dev/loop-control").exists():
        subprocess.run(["modprobe", "loop"], check=True)
    with mounted(small, host.scratch / "small", "-o", "loop") as mount:
        disk = mount / "disk.img"
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        outcome = host.boot(r"""
if dd if=/dev/zero of=/dev/vda bs=64k oflag=direct 2>/dev/null; then
	echo write fitted >"$FASTVMM_RESULT"
else
	echo write failed >"$FASTVMM_RESULT"
fi
dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct || exit 1
""", "--disk", disk)
        expect(outcome.words()["write"] == "failed", "64 MiB fitted into 24")
        expect(total(outcome.stats, "errors") > 0, "no request failed")


def tests(quick):
    result = [
        ("disk/four queues", four_queues),
        ("disk/fio verify", fio_verify),
        ("disk/ext4", file_system),
        ("disk/discard and write zeroes", discards),
        ("disk/two disks, one read-only", two_disks),
    ]
    if not quick:
        result += [
            ("disk/fio verify, writeback, 2 workers",
             functools.partial(fio_verify, options="cache=writeback,workers=2,queue-size=1024")),
            ("disk/block device", block_device),
            ("disk/NVMe, polled", nvme_polled),
            ("disk/NVMe, unit tests", nvme_units),
            ("disk/NVMe passthrough", nvme_passthrough),
            ("disk/NVMe passthrough, polled",
             functools.partial(nvme_passthrough, options=",iopoll=on")),
            ("disk/NVMe passthrough, in use", nvme_in_use),
            ("disk/grows", grows),
            ("disk/kill -9, second instance", killed),
            ("disk/host's file system full", full_host),
        ]
    return result
