"""Hostile inputs in great number, on both ports, while a bystander is not disturbed.

DRAX_HOSTILE_INPUTS sets how many; DRAX_TEST_SEED what they are. Each input is one payload to the
clients' port, one message to the peers' port, or one connection that does not speak as it should to
either. The gateway must answer what follows them, and nothing that it sends may break the form."""

import collections
import contextlib
import os
import struct
import time
import unittest

import msgpack

import test_protocol_hostile as hostile
from wire import request_pack, response_unpack, socket_open

INPUTS = int(os.environ.get("DRAX_HOSTILE_INPUTS", "100000"))
BATCH = 256
CONNECTION_BATCHES = 20  # then a client's connection is given up, with what it has not read
BATCH_S = 20             # for one batch to be read, sanitized on a busy machine

KEYS = ("flood/a", "flood/b/c", b"flood/\xff", "f" * 300)
GOOD = [("ping", []), ("get", ["flood/a"]), ("get", ["flood/a", {"stale": True}]), ("exists", ["flood/b/c"]),
        ("put", ["flood/a", "v"]), ("put", ["flood/b/c", b"\0" * 400, {"ttl_ms": 50}]),
        ("put", ["flood/x", "v", {"client": "flood", "seq": 7}]), ("delete", ["flood/a"]),
        ("atomic_put", ["flood/a", "w", None]), ("atomic_put", ["flood/a", "w", 3]),
        ("atomic_delete", ["flood/a", 3]), ("delete_tree", ["flood/b"]),
        ("list", ["flood", {"limit": 3, "after": "flood/a", "keys_only": True}]),
        ("range", ["flood/", "flood0", {"reverse": True, "count_only": True}]), ("status", []), ("member_list", [])]
METHODS = sorted({method for method, _ in GOOD}) + [
    "txn", "watch", "watch_tree", "watch_cancel", "lock", "unlock", "lock_cancel", "lease_grant", "lease_keepalive",
    "lease_get", "lease_revoke", "member_add", "member_remove", "member_promote", "leader_transfer", "PUT", "", "x" * 99]


class Payloads:
    """Random payloads, from bytes without sense to requests with one thing wrong."""

    def __init__(self, chance):
        self.chance = chance
        self.crafted = [payload for payload in hostile.crafted() if len(payload) < 4096]

    def next(self):
        return self.chance.choice((self.noise, self.damaged, self.damaged, self.odd, self.made))()

    def noise(self):
        return self.chance.randbytes(self.chance.choice((0, 1, 2, 5, 16, 64, 300)))

    def made(self):
        return self.chance.choice(self.crafted)

    def damaged(self):
        """A good request, cut, lengthened or with bits turned."""
        payload = bytearray(request_pack(self.chance.randrange(2**32), *self.chance.choice(GOOD)))
        for _ in range(self.chance.randrange(1, 4)):
            place = self.chance.randrange(len(payload))
            kind = self.chance.randrange(3)
            if kind == 0:
                payload[place] ^= 1 << self.chance.randrange(8)
            elif kind == 1:
                payload[place:place + 1] = self.chance.randbytes(self.chance.randrange(1, 6))
            else:
                del payload[max(1, place):]
        return bytes(payload)

    def odd(self):
        """Well-formed MessagePack of a request's shape with whatever in it; the numbers are no
        member's id, so nothing but keys below flood/ can change."""
        params = [self.value(3) for _ in range(self.chance.randrange(5))]
        return msgpack.packb([self.chance.choice((0, 0, 0, 1, 2, -1)), self.chance.choice((1, 2**32 - 1, 2**40, -5)),
                              self.chance.choice(METHODS), params], use_bin_type=True)

    def value(self, depth):
        kind = self.chance.randrange(9 if depth else 7)
        if kind == 7:
            return [self.value(depth - 1) for _ in range(self.chance.randrange(4))]
        if kind == 8:
            return {self.chance.choice(("stale", "limit", "ttl_ms", "seq", "client", "wait_ms", "x")): self.value(depth - 1)
                    for _ in range(self.chance.randrange(4))}
        return (None, self.chance.random() < 0.5, self.chance.choice((0, 1, -1, 2**53, 2**64 - 1, -2**63)), 1.5,
                self.chance.choice(KEYS), self.chance.randbytes(5), msgpack.ExtType(self.chance.randrange(128), b"ext"))[kind]


class Flood(hostile.HostileTest):
    def setUp(self):
        super().setUp()
        self.payloads = Payloads(self.random)
        self.counts = collections.Counter()

    def test_flood(self):
        client = None
        begin = time.monotonic()
        for batch in range(10**9):
            if batch % CONNECTION_BATCHES == 0:
                if client:
                    client.close()
                client = self.server.client()
            self.to_clients_port(client)
            self.to_peers_port()
            self.connections()
            if sum(self.counts.values()) - self.counts["answers"] >= INPUTS:
                break
        client.close()
        self.assertEqual(self.c.call("status")["role"], "leader")
        print(f"{INPUTS} hostile inputs in {time.monotonic() - begin:.0f} s:",
              ", ".join(f"{name} {count}" for name, count in self.counts.items()),
              f"; the bystander's longest wait {self.bystander.longest:.2f} s", flush=True)

    def to_clients_port(self, client):
        """A batch of payloads, then a ping; whatever comes until it is answered has a right form."""
        for _ in range(BATCH):
            client.raw_send(self.payloads.next())
        self.counts["payloads"] += BATCH
        client.raw_send(request_pack(4000000000, "ping", []))
        deadline = time.monotonic() + BATCH_S
        while True:
            payload = client.raw_receive(deadline - time.monotonic())
            if payload[:2] == b"\x93\x02":  # of a watch that a random request opened
                continue
            msgid, error, result = response_unpack(payload)
            if msgid == 4000000000 and error is None and "version" in result:
                return
            self.counts["answers"] += 1

    def to_peers_port(self):
        """Messages of random frames; half of them begin as a peer's might, with an array of numbers."""
        sender = socket_open(self.server.raft_addr)
        for _ in range(BATCH // 4):
            if self.random.random() < 0.5:
                head = msgpack.packb([self.random.choice((0, 1, 2, 20, 33, 2**32, None, "x", []))
                                      for _ in range(self.random.randrange(12))])
            else:
                head = self.payloads.next()
            sender.send_multipart([head] + [self.payloads.noise() for _ in range(self.random.randrange(3))])
        self.counts["peer messages"] += BATCH // 4
        sender.close(500)

    def connections(self):
        """Greetings, frames and lengths that are not what they should be."""
        hello = hostile.GREETING + b"\x04" + bytes([len(hostile.READY)]) + hostile.READY
        for addr in (self.server.addr, self.server.raft_addr):
            for _ in range(2):
                data = bytearray(self.random.choice((b"", hostile.GREETING, hello)))
                if data and self.random.random() < 0.5:
                    data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
                flags = self.random.choice((0, 1, 2, 3, 4, 6, 7, 0xff))
                data += bytes([flags]) + struct.pack(">Q", self.random.choice((0, 9, 2**31, 2**63, 2**64 - 1)))
                data += self.random.randbytes(self.random.randrange(600))
                with contextlib.suppress(OSError):  # it may hang up at any moment
                    with hostile.connection_open(addr) as connection:
                        connection.sendall(data)
                self.counts["connections"] += 1


if __name__ == "__main__":
    unittest.main()
