"""Disks without space: of a follower, of the leader, of a majority; by a foreign file and by the
node's own data.

While space is missing, writes may be refused, or their outcome be unknown, but within the time that
users are promised; reads are served by every node; nothing that was acknowledged is lost; and when
space returns, the cluster heals without anybody's help."""

import itertools
import time
import unittest

import disk
from arena import UNSERVED, Arena, answer_timed, in_parallel
from harness import put_until_done, wait_until
from wire import RpcError, key_bytes
from workload import LoadTestCase

DISK_BYTES = 176 << 20    # the journal's history, spares, and the state
ALONE_DISK_BYTES = 320 << 20
ALONE_FREE_BYTES = 72 << 20
VALUE = b"v" * (256 << 10)
BULK_KEYS = 8             # written over and over: the journal grows, the state hardly
ANSWER_S = 5              # contract section 1
HEALED_S = 10             # room is looked for every second, and storage may have to open its state again
FULL_S = 60


def setUpModule():
    disk.enter()


class FullDiskTest(LoadTestCase):
    LARGE_SHARE = 0.1

    def arena_start(self, count, size):
        self.arena = Arena(count, disks=size)
        self.nodes += self.arena.nodes
        self.addCleanup(self.arena.close)
        self.arena.start()

    def bulk(self, node, numbers, key="bulk/{}".format):
        """Large writes, one after the other, until one is not acknowledged: (acknowledged keys, the
        code and text of that answer)."""
        done = []
        with node.client() as client:
            for number in numbers:
                try:
                    client.call("put", key(number), VALUE, timeout=ANSWER_S + 1)
                except RpcError as error:
                    self.assertIn(error.code, UNSERVED)
                    return done, error
                done.append(key(number))
        return done, None

    def reads_check(self, key, full):
        """Stale reads are served by all. A full node may lack what the others have committed
        meanwhile, and then cannot answer linearizable ones."""
        def check(node):
            code, took = answer_timed(node, "get", key, stale=True)
            self.assertIsNone(code, f"stale get at {node.name}")
            self.assertLess(took, ANSWER_S)
            code, took = answer_timed(node, "get", key)
            self.assertIn(code, (None, "UNAVAILABLE") if node in full else (None,), f"get at {node.name}")
            self.assertLess(took, ANSWER_S)
            return code
        self.assertIn(None, in_parallel(check, self.arena.nodes))

    def healed_wait(self):
        return max(in_parallel(lambda node: put_until_done(node, "probe", "healed", HEALED_S), self.arena.nodes))


class OfSome(FullDiskTest):
    """A foreign file takes the space of some nodes while clients write."""

    def setUp(self):
        super().setUp()
        self.arena_start(3, DISK_BYTES)
        self.arena.nodes[0].call("put", "kept", "v")
        self.load_start(self.arena.nodes)
        self.progress_wait(20)

    def fill(self, victims, refuses):
        """Fills the disks, also with what old files give back, and what the journals have set aside:
        until writes are refused, or, where `refuses` is false, until all victims say that they are
        full twice in a row."""
        begin = time.monotonic()
        full = 0
        for number in itertools.count():
            for node in victims:
                self.arena.disk(node).fill()
            full = full + 1 if all(node.status()["no_space"] for node in victims) else 0
            _, refusal = self.bulk(self.arena.nodes[number % 3], [number % BULK_KEYS])
            if refusal if refuses else full >= 2:
                return
            self.assertLess(time.monotonic() - begin, FULL_S, f"not full yet: {refusal}")

    def heal(self, victims):
        for node in victims:
            self.arena.disk(node).drain()
        took = self.healed_wait()
        wait_until(lambda: not any(node.status()["no_space"] for node in self.arena.nodes), HEALED_S, "space again")
        return took

    def writes_check(self, served):
        """Every write through any node is answered in time, and succeeds if they are served."""
        def check(node):
            code, took = answer_timed(node, "put", "probe", "full")
            self.assertIn(code, (None,) if served else (None, *UNSERVED))
            self.assertLess(took, ANSWER_S)
        in_parallel(check, self.arena.nodes)

    def test_one_after_the_other(self):
        leader = self.arena.cluster.leader()
        followers = self.arena.cluster.followers()
        for name, victims in (("a follower", followers[:1]), ("the leader", [leader]),
                              ("both followers", followers), ("all", self.arena.nodes)):
            with self.subTest(victims=name):
                self.fill(victims, refuses=name != "a follower")
                self.writes_check(served=name == "a follower")
                self.reads_check("kept", victims)
                print(f"{name} full: healed after {self.heal(victims):.2f} s", flush=True)
                self.progress_wait(20)
        self.load_end()


class OfOne(FullDiskTest):
    """A node alone fills its disk with what it is given."""

    def test_its_own_data(self):
        self.arena_start(1, ALONE_DISK_BYTES)
        node = self.arena.nodes[0]
        ballast = self.arena.disk(node)
        ballast.fill(leave=ALONE_FREE_BYTES)
        acknowledged, refusal = self.bulk(node, itertools.count(), "own/{:05}".format)
        self.assertEqual(refusal.code, "UNAVAILABLE")
        self.assertIn("space", refusal.text)
        self.check(node, acknowledged)
        for way in (node.crash, node.stop):  # what is full when it stops is full when it starts
            way()
            node.start(wait=False)
            time.sleep(2)
            ballast.drain()
            node.ready_wait(HEALED_S + 10)
            self.healed_wait()
            self.check(node, acknowledged)
            ballast.fill()
            more, refusal = self.bulk(node, itertools.count(), f"{way.__name__}/{{:05}}".format)
            acknowledged += more
            self.assertEqual(refusal.code, "UNAVAILABLE")
        ballast.drain()
        self.healed_wait()
        self.check(node, acknowledged)

    def check(self, node, acknowledged):
        found = set()
        with node.client() as client:
            for key in acknowledged:
                self.assertEqual(client.call("get", key)["value"], VALUE)
            for directory in {key.split("/")[0] for key in acknowledged}:
                pairs = client.call("list", directory, keys_only=True)["pairs"]
                found |= {key_bytes(pair["key"]).decode() for pair in pairs}
        self.assertLessEqual(set(acknowledged), found)


if __name__ == "__main__":
    unittest.main()
