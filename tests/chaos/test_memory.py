"""A message of frames without end: ZeroMQ keeps them all before anybody sees the first.

The process whose port it is may die of its memory limit; then it is started again, and nothing more
happens than when it is killed: other clients get their answers, and no acknowledged write is lost."""

import socket
import time
import unittest

from harness import pid_rss, wait_until
from workload import LoadTestCase

MEMORY_BYTES = 1 << 30     # LIMIT_ACTOR_BYTES
OVERHEAD = 2.0             # resident beyond it: a sanitizer's shadow and what there was before
FRAMES = b"\x01\x01m" * 20000  # small ones cost most: ZeroMQ needs 64 bytes for each
POUR_S = 90
GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00NULL" + b"\0" * 16 + b"\0" + b"\0" * 31
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def handshake(addr):
    host, port = addr.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), 10)
    connection.settimeout(10)
    connection.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    got = b""
    while b"READY" not in got:  # what comes before the other side is ready as well is an error to it
        got += connection.recv(1024)
    return connection


class Memory(LoadTestCase):
    def setUp(self):
        super().setUp()
        self.c3 = self.cluster(3)

    def test_frames_without_end(self):
        self.load_start(self.c3.nodes)
        self.progress_wait(20)
        for kind, port in (("gateway", "addr"), ("raft", "raft_addr")):
            node = self.c3.leader()
            before = node.actors()
            highest = self.pour(node, getattr(node, port), before[kind])
            wait_until(lambda: node.actors().get(kind, before[kind]) != before[kind], 10, f"another {kind}")
            wait_until(self.whole, 30, "all processes to be back")
            others = set(before) - {kind}
            self.assertEqual({other: node.actors()[other] for other in others}, {other: before[other] for other in others})
            self.assertLess(highest, MEMORY_BYTES * OVERHEAD)
            print(f"{kind}: ended at {highest >> 20} MiB and came back", flush=True)
            self.progress_wait(20)
        self.load_end()

    def pour(self, node, addr, pid):
        """Until it hangs up; the most memory that the process was seen to have."""
        connection = handshake(addr)
        deadline = time.monotonic() + POUR_S
        highest = 0
        with connection:
            while time.monotonic() < deadline:
                try:
                    connection.sendall(FRAMES)
                    highest = max(highest, pid_rss(pid))
                except OSError:
                    return highest
        self.fail(f"{node.name} took frames for {POUR_S} s: {highest >> 20} MiB")


if __name__ == "__main__":
    unittest.main()
