"""A node's home on a real file system of its own that can lose its power and fill up.

Owns: an image, its loop device, an ext4 on it and where that is mounted. Must not know: nodes.

States: mounted -> cut (every access fails) -> unmounted -> checked -> mounted.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time

import kernel
from harness import UNCLOSED

IMAGE_BYTES = 192 << 20
UNMOUNT_S = 10
FILLER = "filler"


def enter():
    """Before the first Disk; from the main thread, before there is any other."""
    kernel.require("mount-namespaces", kernel.mounts_enter)


class Disk:
    def __init__(self, size=IMAGE_BYTES):
        self.path = tempfile.mkdtemp(prefix="drax-disk-")
        self.device = None
        UNCLOSED.append(self)
        try:
            self.device, self.device_path = kernel.require("loop-devices", lambda: self.attach(size))
            kernel.command("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0",
                           self.device_path)
            self.mount()
        except BaseException:
            self.close()
            raise

    def attach(self, size):
        with tempfile.TemporaryFile(dir=self.path) as image:
            image.truncate(size)
            return kernel.loop_attach(image.fileno())

    def mount(self):
        kernel.command("mount", "-t", "ext4", "-o", "noatime", self.device_path, self.path)

    def unmount(self):
        """A process can be a zombie already while threads of it still give back their files."""
        deadline = time.monotonic() + UNMOUNT_S
        while True:
            try:
                return kernel.command("umount", self.path)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def cut(self):
        """From here on nothing more reaches the device, not even what the file system's journal
        holds in memory."""
        kernel.require("ext4-shutdown", lambda: kernel.file_system_cut(self.path))

    def repower(self):
        """After a cut, once nobody holds a file: what is on the device is checked and mounted."""
        self.unmount()
        checked = subprocess.run(["e2fsck", "-p", self.device_path], capture_output=True, text=True, check=False)
        if checked.returncode not in (0, 1):  # 1: what a journal's replay mends
            raise AssertionError(f"e2fsck: {checked.stdout}{checked.stderr}")
        self.mount()

    def free_bytes(self):
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave=0):
        """A foreign file takes all space but `leave` bytes, to the last block."""
        fd = os.open(os.path.join(self.path, FILLER), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            block = 1 << 20
            while block >= 512:
                while self.free_bytes() > leave + block or (leave == 0 and block < 4096):
                    if not self.write_some(fd, block):
                        break
                block //= 2
        finally:
            os.close(fd)

    @staticmethod
    def write_some(fd, count):
        try:
            return os.write(fd, bytes(count)) == count
        except OSError:
            return False

    def drain(self):
        """The foreign file goes."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, FILLER))

    def close(self):
        if self in UNCLOSED:
            UNCLOSED.remove(self)
        if os.path.ismount(self.path):
            with contextlib.suppress(OSError):
                self.unmount()
        if self.device is not None:
            os.close(self.device)
            self.device = None
        shutil.rmtree(self.path, ignore_errors=True)
