# SPDX-License-Identifier: Apache-2.0
"""What all runs share: the guest, the disk images, the measured time, a directory for small files."""
import fcntl
import os
import shutil
import subprocess
import tempfile

from .errors import BenchError

_UNFIT = {"tmpfs", "ramfs", "overlay", "9p", "nfs", "fuse"}
_BLOCK = 1 << 20


class Context:
    def __init__(self, guest, disk_directory, disk_size, seconds, warmup, vcpu_cpus="", io_cpus="",
                 device=""):
        self.guest = guest
        self.linux = None    # linux_guest.Guest, where a workload wants it
        self.device = device  # a block device in place of the image files
        self.disk_directory, self.disk_size = disk_directory, disk_size
        self.seconds, self.warmup = seconds, warmup
        self.vcpu_cpus, self.io_cpus = vcpu_cpus, io_cpus
        self.file_system = ""
        self._temporary = tempfile.mkdtemp(prefix="fastvmm-bench-")
        self._files = 0
        self._lock = None

    def close(self):
        if self._lock:
            self._lock.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def temporary_file(self, name):
        self._files += 1
        return os.path.join(self._temporary, f"{self._files}-{name}")

    @property
    def scratch(self):
        return self._temporary

    def disk_driver(self):
        """QEMU's name for what the disk is on the host."""
        return "host_device" if self.device else "file"

    def disk_path(self, index):
        if self.device:
            return self.device
        return os.path.join(self.disk_directory, f"disk{index}.img")

    def prepare_disks(self, count):
        """Makes the images: fully allocated, random content, so that no layer can take a short cut."""
        if self.device:
            if count > 1:
                raise BenchError("--disk-device: one device only, but a workload has several disks")
            self.file_system = f"none (block device {self.device})"
            return
        os.makedirs(self.disk_directory, exist_ok=True)
        self._lock_directory()
        self.file_system = file_system_of(self.disk_directory)
        if self.file_system in _UNFIT:
            raise BenchError(f"{self.disk_directory} is on {self.file_system}, where io_uring hands "
                             "every request to a kernel thread: name a directory on a disk with --disk-dir")
        for index in range(count):
            path = self.disk_path(index)
            if os.path.exists(path) and os.stat(path).st_size == self.disk_size \
                    and os.stat(path).st_blocks * 512 >= self.disk_size:
                continue
            _need_room(self.disk_directory, self.disk_size)
            with open(path, "wb") as file:
                for _ in range(self.disk_size // _BLOCK):
                    file.write(os.urandom(_BLOCK))
                file.flush()
                os.fsync(file.fileno())

    def _lock_directory(self):
        """Two comparisons would share images, and each would be the other's noise."""
        self._lock = open(os.path.join(self.disk_directory, ".lock"), "wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BenchError(f"{self.disk_directory}: another fastvmm-bench is at work there; wait for it, "
                             "or name another directory with --disk-dir") from error

    def settle_disks(self, workload):
        """Before each run: nothing dirty; in the page cache, or out of it where O_DIRECT is asked for."""
        for index in range(0 if self.device else workload.disks):
            fd = os.open(self.disk_path(index), os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
                if workload.cache == "none":
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                else:
                    while os.read(fd, 4 * _BLOCK):
                        pass
            finally:
                os.close(fd)


def _need_room(directory, size):
    free = shutil.disk_usage(directory).free
    if free < size + (64 << 20):
        raise BenchError(f"{directory}: {free >> 20} MiB free, {size >> 20} MiB needed for a disk image; "
                         "name another directory with --disk-dir")


def file_system_of(path):
    """The type of the file system that a path is on."""
    best, kind = "", ""
    path = os.path.realpath(path)
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for line in file:
            _, point, name, *_ = line.split()
            if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, kind = point, name
    return kind


def default_disk_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if file_system_of(os.path.dirname(base) if not os.path.isdir(base) else base) in _UNFIT:
        base = "/var/tmp"
    return os.path.join(base, "fastvmm-bench")


def first_that_exists(what, candidates, hint):
    for path in candidates:
        if path and os.path.exists(path):
            return os.path.abspath(path)
    raise BenchError(f"cannot find {what}; {hint}")


def output_of(argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
