"""Nodes in network namespaces of their own while the router between them loses what they send.

DRAX_CHAOS_PARTITIONS sets the number of partitions under load, DRAX_TEST_SEED the choices. Under
load the histories are judged; the times that users are promised are measured apart from it."""

import itertools
import os
import time
import unittest

import network
import partitions
from arena import UNSERVED, Arena, answer_timed, in_parallel
from harness import put_until_done
from slow import SlowPaths
from workload import LoadTestCase

PARTITIONS = int(os.environ.get("DRAX_CHAOS_PARTITIONS", "9"))
LEADER_LOSS_S = 3      # contract section 1: the next write, with a majority connected
MINORITY_ANSWER_S = 5  # contract section 1: UNAVAILABLE or TIMEOUT without a majority
LOCAL_ANSWER_S = 1     # stale reads and status, which ask nobody
HEALED_S = 5           # a write through every node, after the network is whole again
FLAPS = 12
SLOW_WRITES = 200


def setUpModule():
    network.enter()


class PartitionTest(LoadTestCase):
    COUNT = 3

    def setUp(self):
        super().setUp()
        self.arena = Arena(self.COUNT, network=True)
        self.nodes += self.arena.nodes
        self.addCleanup(self.arena.close)
        self.arena.start()
        self.network = self.arena.network

    def centre(self, of_leader):
        leader = self.arena.cluster.leader()
        return self.arena.number(leader if of_leader else self.random.choice(
            [node for node in self.arena.nodes if node is not leader]))

    def cut(self, kind, centre):
        cuts = partitions.KINDS[kind](self.COUNT, centre, self.random)
        for path in sorted(cuts):
            self.network.cut(*path)
        return cuts

    def heal(self):
        """The longest time until a write through any node."""
        self.network.heal()
        return max(in_parallel(lambda node: put_until_done(node, "probe", "healed", HEALED_S), self.arena.nodes))


class UnderLoad(PartitionTest):
    def test_partitions(self):
        self.load_start(self.arena.nodes)
        self.progress_wait(20)
        longest = {}
        kinds = list(itertools.islice(itertools.cycle(partitions.KINDS), PARTITIONS))
        self.random.shuffle(kinds)
        for number, kind in enumerate(kinds):
            cuts = self.cut(kind, self.centre(of_leader=number % 2 == 0))
            if 2 * len(partitions.reachable(self.COUNT, cuts)) > self.COUNT:
                self.progress_wait(10, 10)
            self.record.ending.wait(self.random.uniform(0.3, 2.0))
            longest[kind] = max(longest.get(kind, 0), self.heal())
            self.progress_wait(10)
        print("partitions:", ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(longest)))
        print("healed, to a write through every node:",
              ", ".join(f"{kind} {value:.2f} s" for kind, value in sorted(longest.items())), flush=True)
        self.load_end()

    def test_flapping(self):
        """Paths that come and go faster than anybody's timeout, then are whole."""
        self.load_start(self.arena.nodes)
        self.progress_wait(20)
        for _ in range(FLAPS):
            self.cut(self.random.choice(list(partitions.KINDS)), self.random.randrange(self.COUNT))
            self.record.ending.wait(self.random.uniform(0.05, 0.6))
            self.network.heal()
            self.record.ending.wait(self.random.uniform(0.05, 0.4))
        self.heal()
        self.progress_wait(20)
        self.load_end()


    def test_slow_and_lossy_paths(self):
        """As between continents on a bad day; nobody is cut off, so there is no excuse."""
        self.load_start(self.arena.nodes)
        self.progress_wait(20)
        slow = SlowPaths(self.network, delay_s=0.01, jitter_s=0.03, loss=0.03, repeat=0.02, chance=self.random)
        try:
            self.progress_wait(SLOW_WRITES)
            self.assertGreater(slow.lost, 0)
        finally:
            slow.close()
        print(f"slow paths: {slow.taken} packets, {slow.lost} of them lost", flush=True)
        self.load_end()


class Promises(PartitionTest):
    def test_the_next_write_after_the_loss_of_a_leader(self):
        for kind in ("isolated", "mute", "deaf"):
            with self.subTest(kind=kind):
                centre = self.centre(of_leader=True)
                self.cut(kind, centre)
                rest = [node for node in self.arena.nodes if self.arena.number(node) != centre]
                took = in_parallel(lambda node: put_until_done(node, "probe", kind, LEADER_LOSS_S), rest)
                print(f"{kind} leader: next write after {max(took):.2f} s; healed after {self.heal():.2f} s",
                      flush=True)

    def test_a_follower_apart_disturbs_nobody(self):
        """It stands for election in vain; the others never wait, and keep their leader."""
        for kind in ("isolated", "mute", "deaf", "pair"):
            with self.subTest(kind=kind):
                leader = self.arena.cluster.leader()
                before = leader.status()
                self.cut(kind, self.centre(of_leader=False))
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    code, took = answer_timed(leader, "put", "probe", "undisturbed")
                    self.assertIsNone(code)
                    self.assertLess(took, 1)
                self.heal()
                after = self.arena.cluster.leader().status()
                self.assertEqual((after["leader"], after["term"]), (before["leader"], before["term"]))

    def test_without_a_majority(self):
        first = self.arena.nodes[0]
        first.call("put", "kept", "v")
        in_parallel(lambda node: node.call("get", "kept"), self.arena.nodes)
        self.cut("apart", 0)
        requests = [("put", ("lost", "w"), {}), ("get", ("kept",), {}), ("exists", ("kept",), {}),
                    ("list", ("",), {}), ("delete", ("kept2",), {}), ("range", ("", ""), {}),
                    ("atomic_put", ("lost2", "w", None), {"client": "c", "seq": 1})]

        def linearizable(pair):
            node, (method, params, options) = pair
            code, took = answer_timed(node, method, *params, **options)
            # What was on its way when the paths were cut may still be answered from before.
            self.assertIn(code, UNSERVED, f"{method} at {node.name}")
            self.assertLess(took, MINORITY_ANSWER_S, f"{method} at {node.name}")

        def local(node):
            for _ in range(20):
                for request in (("status",), ("get", "kept")):
                    code, took = answer_timed(node, *request, **({"stale": True} if len(request) > 1 else {}))
                    self.assertIsNone(code)
                    self.assertLess(took, LOCAL_ANSWER_S)
                time.sleep(0.1)
        for _ in range(2):  # at once, when the old leader does not know yet, and later
            in_parallel(lambda job: job[0](job[1]),
                        [(linearizable, pair) for pair in itertools.product(self.arena.nodes, requests)]
                        + [(local, node) for node in self.arena.nodes])
        print(f"healed after {self.heal():.2f} s", flush=True)
        self.assertEqual(first.call("get", "kept")["value"], b"v")


if __name__ == "__main__":
    unittest.main()
