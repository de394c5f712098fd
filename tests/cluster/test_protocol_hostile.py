"""Contract section 2, its last sentence: whatever arrives at a node's ports costs it no more than
that message, and never disturbs another client.

Every test here runs with a bystander: a client on another connection whose writes and reads go on
all the time and are checked. The random inputs come from a printed seed (DRAX_TEST_SEED)."""

import contextlib
import os
import random
import socket
import struct
import threading
import time
import unittest

from harness import ACTORS, ServerTestCase, pid_is_alive, pid_rss
from wire import NoAnswer, request_pack, response_unpack, socket_open

SEED = int(os.environ.get("DRAX_TEST_SEED", random.SystemRandom().randrange(2**32)))
MEMORY_BOUND = 192 << 20   # growth over a whole test; a single bomb believed would take gigabytes
BYSTANDER_BOUND_S = 5      # the longest that one request of the bystander may take, sanitized


class Bystander(threading.Thread):
    """Writes and reads back without a pause until it is told to stop."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node = node
        self.ending = threading.Event()
        self.problem = None
        self.count = 0
        self.longest = 0

    def run(self):
        try:
            with self.node.client() as client:
                while not self.ending.is_set():
                    begin = time.monotonic()
                    value = b"%d" % self.count
                    client.call("put", "bystander", value)
                    assert client.call("get", "bystander")["value"] == value
                    self.longest = max(self.longest, (time.monotonic() - begin) / 2)
                    self.count += 1
        except Exception as problem:
            self.problem = problem


class HostileTest(ServerTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"DRAX_TEST_SEED={SEED}")

    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")
        self.pids = {kind: self.server.pid_of(kind) for kind in ACTORS}
        self.rss = {kind: pid_rss(pid) for kind, pid in self.pids.items()}
        self.bystander = Bystander(self.server)
        self.bystander.start()
        self.addCleanup(self.undisturbed)

    def undisturbed(self):
        """Everything is as before: the bystander, the processes, their memory."""
        before = self.bystander.count
        begin = time.monotonic()
        while self.bystander.count < before + 3 and time.monotonic() < begin + 20:
            time.sleep(0.01)
        self.bystander.ending.set()
        self.bystander.join(30)
        self.assertIsNone(self.bystander.problem)
        self.assertGreaterEqual(self.bystander.count, before + 3)
        self.assertLess(self.bystander.longest, BYSTANDER_BOUND_S)
        for kind, pid in self.pids.items():
            self.assertTrue(pid_is_alive(pid), f"{kind} ended")
            self.assertLess(pid_rss(pid) - self.rss[kind], MEMORY_BOUND, f"{kind} grew")


def crafted():
    """Payloads made to hurt a MessagePack reader; none of them is a valid message."""
    for tag in (b"\xdc", b"\xdd", b"\xde", b"\xdf", b"\xd9", b"\xda", b"\xdb", b"\xc4", b"\xc5", b"\xc6",
                b"\xc7", b"\xc8", b"\xc9"):
        yield tag + b"\x00\x00\x00\x00"
        for length in (b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
                       b"\x80\x00\x00\x00"):
            yield tag + length
            yield tag + length + b"\x00" * 64
            yield b"\x94\x00\x07\xa3put" + tag + length
            yield b"\x94\x00\x07\xa3put\x92\xa1k" + tag + length
            yield b"\x94\x00\x07\xa3put\x93\xa1k\xa1v" + tag + length
    # Many headers that each fit but multiply: the total of what they declare must count.
    yield b"\xdc\xff\xff" * 1000
    yield b"\xdd\x00\xff\xff\xff" * 1000
    yield b"\x94\x00\x07\xa3put\x92\xa1k" + b"\xdf\x00\xff\xff\xff" * 1000
    # Depth, in arrays and in maps, a little and a lot beyond the limit.
    for levels in (9, 64, 1000, 100000, 1500000):
        yield b"\x91" * levels
        yield b"\x91" * levels + b"\xc0"
        yield b"\x81\xa1a" * (levels // 3) + b"\xc0"
        yield b"\x94\x00\x07\xa4ping" + b"\x91" * levels + b"\x90"
    # Wide ones: as many elements as the payload has bytes.
    for count in (1000, 100000, 1500000):
        yield b"\xdd" + struct.pack(">I", count) + b"\xc0" * count
        yield b"\x94\x00\x07\xa4ping\xdd" + struct.pack(">I", count) + b"\x90" * count
        yield b"\xdf" + struct.pack(">I", count // 2) + b"\xc0" * count
    yield from (b"", b"\xc1", b"\xff", b"\x80", b"\x90", b"\x94", b"\x94\x00", b"\x94\x00\xce\xff\xff\xff",
                b"\xd4\x00", b"\xc7\x00\x05", b"\xd8" + b"\x00" * 17, b"\xca\x7f\xc0\x00\x00",
                b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100000, b"\xc1" * 100000, b"\xff" * 100000)


class Payloads(HostileTest):
    def ask(self, payload):
        """The answer to one bad payload must be an error; returns its code."""
        msgid, error, result = self.c.raw_call(payload)
        self.assertIsNone(result, payload[:60])
        return error.code

    def test_crafted(self):
        count = 0
        for payload in crafted():
            with self.subTest(payload=payload[:40], length=len(payload)):
                self.assertEqual(self.ask(payload), "INVALID_ARGUMENT")
            count += 1
        self.assertGreater(count, 300)
        self.c.quiet_check()

    def test_crafted_in_one_pipeline(self):
        payloads = [payload for payload in crafted() if len(payload) < 10000]
        for payload in payloads:
            self.c.raw_send(payload)
        for _ in payloads:
            _, error, _ = response_unpack(self.c.raw_receive())
            self.assertEqual(error.code, "INVALID_ARGUMENT")
        self.c.quiet_check()

    def test_random_bytes(self):
        for _ in range(500):
            payload = self.random.randbytes(self.random.choice((1, 2, 5, 16, 64, 300)))
            if self.is_answered(payload):
                self.ask(payload)
        self.c.quiet_check()

    def is_answered(self, payload):
        """Kinds 1 and 2 may be ignored; a flipped bit can make one of any request."""
        return len(payload) < 2 or payload[0] not in (0x93, 0x94, 0xdc, 0xdd) or \
            not any(byte in (1, 2) for byte in payload[1:14])

    def test_damaged_requests(self):
        """Cut, lengthened and bit-flipped requests are each answered once, in whatever way."""
        whole = [request_pack(7, "put", ["damaged/a", "v", {"ttl_ms": 100}]),
                 request_pack(7, "list", ["damaged", {"limit": 5, "after": "x", "keys_only": True}]),
                 request_pack(7, "range", ["a", "b", {"reverse": True}]),
                 request_pack(7, "atomic_put", ["damaged/b", b"v", None, {"client": "c", "seq": 1}])]
        for _ in range(600):
            payload = bytearray(self.random.choice(whole))
            for _ in range(self.random.randrange(1, 4)):
                place = self.random.randrange(len(payload))
                kind = self.random.randrange(3)
                if kind == 0:
                    payload[place] ^= 1 << self.random.randrange(8)
                elif kind == 1:
                    payload[place:place + 1] = self.random.randbytes(self.random.randrange(1, 6))
                else:
                    del payload[max(1, place):]
            if self.is_answered(payload) or bytes(payload[:2]) == b"\x94\x00":
                self.c.raw_call(bytes(payload))
        self.c.quiet_check()

    def test_large_junk(self):
        for size in (1 << 20, 1572864):
            for byte in (b"\x91", b"\xc0", b"\xc1", b"\xdd", b"a"):
                self.assertEqual(self.ask(byte * size), "INVALID_ARGUMENT")

    def test_too_large_ones_cost_no_memory(self):
        for _ in range(30):
            self.assertEqual(self.ask(b"\x91" * (8 << 20)), "TOO_LARGE")

    def test_frames_beyond_sixteen_mebibytes(self):
        """The connection may be dropped, but the node answers others, and this client later."""
        for _ in range(3):
            with self.server.client() as client:
                client.raw_send(b"x" * ((16 << 20) + 1))
                try:
                    _, error, _ = response_unpack(client.raw_receive(1))
                    self.assertEqual(error.code, "TOO_LARGE")
                except NoAnswer:
                    pass
        self.c.call("ping")

    def test_many_frames(self):
        """Envelopes of absurd length: answered, refused or dropped, but nothing else happens."""
        for frames in ([b"e"] * 1000, [b""] * 1000, [b"e" * 10000] * 100, [b"e"] * 20000):
            sender = socket_open(self.server.addr)
            self.addCleanup(sender.close, 0)
            sender.send_multipart([*frames, request_pack(7, "ping", [])])
            if sender.poll(300):
                answer = sender.recv_multipart()
                self.assertEqual(answer[:-1], frames)
                response_unpack(answer[-1])
        self.c.call("ping")

    def test_only_empty_frames(self):
        for frames in ([b""], [b"", b""], [b"", b"", b""]):
            sender = socket_open(self.server.addr)
            self.addCleanup(sender.close, 0)
            sender.send_multipart(frames)
            self.assertTrue(sender.poll(10000))
            answer = sender.recv_multipart()
            self.assertEqual(answer[:-1], frames[:-1])
            msgid, error, _ = response_unpack(answer[-1])
            self.assertEqual((msgid, error.code), (0, "INVALID_ARGUMENT"))

    def test_clients_that_never_read(self):
        """Answers that nobody fetches cost bounded memory and hold up nobody."""
        self.c.call("put", "unread", b"x" * 500000)
        for _ in range(2):
            sender = socket_open(self.server.addr, RCVHWM=1, RCVBUF=4096)
            self.addCleanup(sender.close, 0)
            for i in range(2000):
                sender.send_multipart([b"", request_pack(i, "get", ["unread"])])
        wait = self.bystander.count + 20
        deadline = time.monotonic() + 30
        while self.bystander.count < wait and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertGreaterEqual(self.bystander.count, wait)

    def test_clients_that_come_and_go(self):
        for i in range(200):
            with self.server.client() as client:
                client.send("put", "comes", "v")
                if i % 3 == 0:
                    client.call("ping")
        self.c.quiet_check()


GREETING = (b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL" + b"\0" * 16 + b"\0" + b"\0" * 31)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def connection_open(addr):
    host, port = addr.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), 10)
    connection.settimeout(5)
    return connection


class Connections(HostileTest):
    def connect(self, addr=None, stack=None):
        connection = connection_open(addr or self.server.addr)
        if stack is not None:
            stack.enter_context(connection)
        else:
            self.addCleanup(connection.close)
        return connection

    def zmtp(self):
        """A connection that has shaken hands by hand."""
        connection = self.connect()
        connection.sendall(GREETING)
        got = b""
        while len(got) < 64:
            more = connection.recv(64 - len(got))
            self.assertTrue(more, "closed during the greeting")
            got += more
        connection.sendall(b"\x04" + bytes([len(READY)]) + READY)
        return connection

    def both_ports(self):
        return self.server.addr, self.server.raft_addr

    def pour(self, connection, data):
        with contextlib.suppress(OSError):  # it may hang up on us at any moment
            connection.sendall(data)

    def test_what_is_not_zmtp(self):
        for addr in self.both_ports():
            for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                         b"\0" * 5000, b"\xff" * 5000, b"*1\r\n$4\r\nPING\r\n", GREETING[:11],
                         GREETING[:10] + b"\x00", GREETING[:10] + b"\x7f" * 60,
                         GREETING.replace(b"NULL", b"PLAIN"), GREETING.replace(b"NULL", b"XXXX"),
                         GREETING + b"\x04\xff" + b"x" * 255, GREETING + b"\x00" * 1000,
                         GREETING + b"\x06" + b"\xff" * 8, GREETING + b"\x04\x06\x05ERROR"):
                self.pour(self.connect(addr), data)
        self.c.call("ping")

    def test_random_bytes_on_both_ports(self):
        for i in range(100):
            start = self.random.choice((b"", GREETING, GREETING + b"\x04" + bytes([len(READY)]) + READY))
            with contextlib.ExitStack() as stack:
                self.pour(self.connect(self.both_ports()[i % 2], stack),
                          start + self.random.randbytes(self.random.randrange(1, 2000)))
        self.c.call("ping")

    def test_random_messages_to_the_raft_port(self):
        sender = socket_open(self.server.raft_addr)
        self.addCleanup(sender.close, 0)
        for payload in crafted():
            if len(payload) < 10000:
                sender.send_multipart(self.random.choice(([payload], [b"", payload], [payload] * 3)))
        for _ in range(300):
            sender.send_multipart([self.random.randbytes(self.random.randrange(100))
                                   for _ in range(self.random.randrange(1, 6))])
        self.assertFalse(sender.poll(200) and len(sender.recv()) > 1 << 20)
        self.assertEqual(self.c.call("status")["role"], "leader")

    def test_half_open_connections(self):
        with contextlib.ExitStack() as stack:
            for i in range(200):
                connection = self.connect(self.both_ports()[i % 2], stack)
                if i % 3:
                    connection.sendall(GREETING[:self.random.randrange(1, 64)])
            for _ in range(20):
                self.c.call("put", "half", "v")
            self.client(self.server).call("ping")

    def test_frames_that_promise_more_than_comes(self):
        for size in (1 << 20, (16 << 20) + 1, 1 << 40, 2**63 - 1, 2**64 - 1):
            connection = self.zmtp()
            self.pour(connection, b"\x02" + struct.pack(">Q", size) + b"x" * 1000)
        for _ in range(20):
            self.c.call("ping")

    def test_a_message_without_end(self):
        """MORE frames that never end are held by the connection alone, and within bounds."""
        connection = self.zmtp()
        for _ in range(64):
            self.pour(connection, (b"\x01\xff" + b"m" * 255) * 400)
            self.c.call("ping")

    def test_a_message_left_unfinished(self):
        for _ in range(20):
            connection = self.zmtp()
            self.pour(connection, b"\x01\x00\x01\x05hello")
            connection.close()
        self.c.call("ping")


if __name__ == "__main__":
    unittest.main()
