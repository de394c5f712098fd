"""What the kernel must lend to these tests, taken in a way that it gets back by itself.

Owns: the calls that Python lacks (unshare, setns, LOOP_CONFIGURE, EXT4_IOC_SHUTDOWN), and the names
of the capabilities. Must not know: nodes, clients.

Invariants:
1. Nothing taken here has a name in the system: namespaces live by descriptors and processes, loop
   devices clear themselves at the last close, images are unlinked at once, mounts are in a mount
   namespace of the program's own. So nothing stays behind, not even after kill -9 of the program.
2. A capability that is missing fails the program by its name. DRAX_TEST_WITHOUT may name, separated
   by commas, those that a user knows to be missing: then what needs them is skipped, by name.
"""

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import unittest

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000

LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_FLAGS_AUTOCLEAR = 4
LOOP_INFO_FLAGS_AT, LOOP_CONFIG_BYTES = 8 + 52, 8 + 232 + 64  # struct loop_config

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
SHUTDOWN_NOLOGFLUSH = 2         # as power is lost: what is not on the device yet never gets there

WITHOUT = frozenset(filter(None, os.environ.get("DRAX_TEST_WITHOUT", "").split(",")))


class Missing(AssertionError):
    """The system does not lend something, named at the beginning of the text."""


def call_check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def require(name, probe):
    """probe()'s value. When it raises, what needs `name` fails, or is skipped where the user said
    that it is missing."""
    if name in WITHOUT:
        raise unittest.SkipTest(f"without {name}, as DRAX_TEST_WITHOUT says")
    try:
        return probe()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{name}: missing here ({error}); DRAX_TEST_WITHOUT={name} goes without") from error


def command(*argv):
    """Runs a tool; its output, or CalledProcessError with what it said."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.returncode, f"{' '.join(argv)}: {done.stdout.strip()}")
    return done.stdout


# ---- namespaces ----

def namespace_new():
    """A descriptor of a fresh network namespace; the calling thread stays where it is."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        call_check(LIBC.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        call_check(LIBC.setns(here, CLONE_NEWNET), "setns")
        return made
    finally:
        os.close(here)


def network_enter():
    """The calling thread, and all that it starts from now on, gets a network of its own: for the
    main thread, before there is any other."""
    call_check(LIBC.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
    command("ip", "link", "set", "lo", "up")


def mounts_enter():
    """The same with mounts: what is mounted from now on is seen by this program alone."""
    call_check(LIBC.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    call_check(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount(MS_PRIVATE)")


# ---- block devices ----

def loop_attach(image_fd):
    """(descriptor, path) of a loop device on an open file. It is gone when neither the descriptor
    nor a mount holds it."""
    with open("/dev/loop-control", "rb") as control:
        while True:
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            path = f"/dev/loop{number}"
            config = bytearray(LOOP_CONFIG_BYTES)
            struct.pack_into("=II", config, 0, image_fd, 0)
            struct.pack_into("=I", config, LOOP_INFO_FLAGS_AT, LO_FLAGS_AUTOCLEAR)
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, bytes(config))
                return device, path
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # another program was faster: the next one
                    raise


def file_system_cut(path, how=SHUTDOWN_NOLOGFLUSH):
    """Power loss of the ext4 that holds path, as far as its files are concerned."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("=I", how))
    finally:
        os.close(fd)
