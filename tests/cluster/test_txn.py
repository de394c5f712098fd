"""Contract section 2, transactions: on one node through REQ and DEALER, on three through each of
them and over the loss of leaders."""

import random
import threading
import unittest

import zmq

from harness import DraxTestCase, Node, ServerTestCase
from wire import NoAnswer, RpcError, pair_keys

ACCOUNTS = 5
START = 100
TRANSFERS = 40


class OneNode(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.d = self.id().rsplit(".", 1)[1]

    def key(self, name):
        return f"{self.d}/{name}"

    def test_req_and_dealer(self):
        for kind in (zmq.REQ, zmq.DEALER):
            with self.subTest(kind=kind), self.server.client(kind=kind) as c:
                got = c.call("txn", [], [["put", ["both", b"v"]], ["get", ["both"]]], [])
                self.assertTrue(got["succeeded"])
                self.assertEqual(got["results"][1]["value"], b"v")
                self.assertEqual(got["results"][1]["index"], got["revision"])

    def test_then_and_else(self):
        a = self.key("a")
        lock = [[a, "exists", "=", False]], [["put", [a, "1"]]], [["get", [a]]]
        first = self.c.call("txn", *lock)
        self.assertTrue(first["succeeded"])
        second = self.c.call("txn", *lock)
        self.assertFalse(second["succeeded"])
        self.assertEqual(second["results"][0]["value"], b"1")
        self.assertEqual(second["revision"], first["revision"])

    def test_compares(self):
        a = self.key("a")
        index = self.c.call("put", a, b"m")["index"]
        holds = [(a, "index", "=", index), (a, "index", ">", index - 1), (a, "index", "<", index + 1),
                 (a, "version", "=", 1), (a, "value", "=", b"m"), (a, "value", "<", b"n"),
                 (a, "value", ">", b"ll"), (a, "value", "!=", b"x"), (a, "exists", "=", True),
                 (self.key("no"), "index", "=", 0), (self.key("no"), "version", "=", 0),
                 (self.key("no"), "value", "!=", b"x"), (self.key("no"), "exists", "!=", True)]
        fails = [(a, "index", "!=", index), (a, "index", "<", index), (a, "version", ">", 1),
                 (a, "value", "=", b"n"), (a, "value", ">", b"m"), (a, "exists", "=", False),
                 (self.key("no"), "value", "=", b""), (self.key("no"), "value", "<", b"x"),
                 (self.key("no"), "value", ">", b""), (self.key("no"), "index", ">", 0)]
        for compare in holds:
            self.assertTrue(self.c.call("txn", [compare], [], [])["succeeded"], compare)
            for other in fails[:3]:
                self.assertFalse(self.c.call("txn", [compare, other], [], [])["succeeded"])
        for compare in fails:
            self.assertFalse(self.c.call("txn", [compare], [], [])["succeeded"], compare)

    def test_all_changes_share_one_revision(self):
        before = self.c.call("ping")["revision"]
        got = self.c.call("txn", [], [["put", [self.key(i), str(i)]] for i in range(100)], [])
        self.assertEqual(got["revision"], before + 1)
        self.assertEqual({result["index"] for result in got["results"]}, {before + 1})
        pairs = self.c.call("list", self.d)["pairs"]
        self.assertEqual({pair["index"] for pair in pairs}, {before + 1})
        self.assertEqual(self.c.call("ping")["revision"], before + 1)

    def test_reading_takes_no_revision(self):
        before = self.c.call("put", self.key("a"), "v")["revision"]
        got = self.c.call("txn", [], [["list", [self.d]], ["range", [self.d, ""]],
                                      ["exists", [self.key("b")]]], [])
        self.assertEqual(got["revision"], before)
        self.assertEqual(pair_keys(got["results"][0]), [self.key("a").encode()])
        self.assertEqual(self.c.call("ping")["revision"], before)

    def test_a_refusal_takes_all_back(self):
        a, b = self.key("a"), self.key("b")
        index = self.c.call("put", a, "before", ttl_ms=600000)["index"]
        for code, last in (("KEY_NOT_FOUND", ["delete", [self.key("no")]]),
                           ("KEY_NOT_FOUND", ["get", [self.key("no")]]),
                           ("KEY_EXISTS", ["atomic_put", [a, "w", None]]),
                           ("KEY_MODIFIED", ["atomic_delete", [a, index]]),
                           ("PREVIOUS_NOT_SPECIFIED", ["atomic_delete", [a, None]]),
                           ("LEASE_NOT_FOUND", ["put", [a, "v", {"lease": 2**52}]]),
                           ("LOCK_LOST", ["put", [a, "v", {"fence": ["nobody/holds/it", 1]}]])):
            self.fails(code, self.c.call, "txn", [], [["put", [a, "after"]], ["put", [b, "v"]],
                                                      ["delete_tree", [""]], ["put", [a, "x"]], last], [])
            got = self.c.call("get", a)
            self.assertEqual((got["value"], got["index"]), (b"before", index))
            self.assertGreater(got["ttl_ms"], 500000)
            self.assertEqual(got["revision"], index)
            self.fails("KEY_NOT_FOUND", self.c.call, "get", b)

    def test_invalid_ones_apply_nothing(self):
        put = ["put", [self.key("a"), "v"]]
        for params in ([[], [put]], [[], [put], {}], [None, [put], []], [[], [put], None],
                       [[[self.key("a"), "index", "=", "1"]], [put], [put]],
                       [[[self.key("a"), "value", "=", 1]], [put], [put]],
                       [[[self.key("a"), "exists", "=", 1]], [put], [put]],
                       [[[self.key("a"), "index", "~", 1]], [put], [put]],
                       [[[self.key("a"), "size", "=", 1]], [put], [put]],
                       [[["", "index", "=", 1]], [put], [put]],
                       [[], [put, ["ping", []]], []], [[], [put, ["txn", [[], [], []]]], []],
                       [[], [put, ["put", [self.key("b")]]], []],
                       [[], [put], [["get", ["", {}]]]],
                       [[], [["put", [self.key("a"), "v", {"client": "c", "seq": 1}]]], []],
                       [[], [put] * 1025, []]):
            self.fails("INVALID_ARGUMENT", self.c.call, "txn", *params)
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key("a"))

    def test_time_to_live_within(self):
        got = self.c.call("txn", [], [["put", [self.key("a"), "v", {"ttl_ms": 60000}]],
                                      ["get", [self.key("a")]]], [])
        self.assertGreater(got["results"][1]["ttl_ms"], 50000)

    def test_an_answer_given_again_is_the_first_one(self):
        a = self.key("a")
        txn = [[[a, "exists", "=", False]], [["put", [a, "1"]], ["get", [a]]], [["get", [a]]]]
        first = self.c.call("txn", *txn, client=self.d[-32:], seq=1)
        self.c.call("put", a, "2")
        self.assertEqual(self.client(self.server).call("txn", *txn, client=self.d[-32:], seq=1), first)
        self.fails("KEY_NOT_FOUND", self.c.call, "txn", [], [["delete", [self.key("b")]]], [],
                   client=self.d[-32:], seq=2)
        self.c.call("put", self.key("b"), "now")
        self.fails("KEY_NOT_FOUND", self.c.call, "txn", [], [["delete", [self.key("b")]]], [],
                   client=self.d[-32:], seq=2)
        self.fails("INVALID_ARGUMENT", self.c.call, "txn", [], [["get", [a]]], [],
                   client=self.d[-32:], seq=1)
        self.assertEqual(self.c.call("get", a)["value"], b"2")

    def test_pages_within(self):
        for i in range(30):
            self.c.call("put", self.key(f"{i:02}"), b"v" * 100000)
        got = self.c.call("txn", [], [["list", [self.d]], ["range", [self.d, "", {"limit": 2}]]], [])
        self.assertTrue(got["results"][0]["more"])
        self.assertLess(len(got["results"][0]["pairs"]), 12)
        self.assertEqual(len(got["results"][1]["pairs"]), 2)
        self.assertEqual(got["results"][1]["count"], 30)
        gets = [["get", [self.key("00")]]] * 200
        self.fails("TOO_LARGE", self.c.call, "txn", [], [["put", [self.key("00"), "x"]], *gets[:1],
                                                         *[["get", [self.key("01")]]] * 200], [])
        self.assertEqual(len(self.c.call("get", self.key("00"))["value"]), 100000)

    def test_after_a_restart(self):
        node = self.node("restarted")
        txn = [[], [["put", ["a", "1"]], ["put", ["b", "2"]], ["get", ["a"]]], []]
        first = node.call("txn", *txn, client="r", seq=1)
        node.crash()
        node.start()
        self.assertEqual(node.call("txn", *txn, client="r", seq=1), first)
        self.assertEqual(node.call("get", "b")["index"], first["revision"])


class ThreeNodes(DraxTestCase):
    """Money is moved between accounts through all nodes, every request sent twice, while the
    leader's node is killed: the sum stays, and each transfer is done once."""

    def setUp(self):
        super().setUp()
        self.c3 = self.cluster(3)
        self.problems = []
        self.stop = threading.Event()

    def call_until_answered(self, rng, method, *params, **options):
        while not self.stop.is_set():
            try:
                with rng.choice(self.c3.nodes).client() as c:
                    return c.call(method, *params, timeout=2, **options)
            except NoAnswer:
                pass
            except RpcError as error:
                if error.code not in ("UNAVAILABLE", "TIMEOUT"):
                    raise
        raise AssertionError("stopped")

    def transfer(self, rng, name, seq):
        while True:
            one, other = rng.sample(range(ACCOUNTS), 2)
            found = [self.call_until_answered(rng, "get", f"account/{i}") for i in (one, other)]
            amount = rng.randrange(10)
            values = [int(found[0]["value"]) - amount, int(found[1]["value"]) + amount]
            keys = [f"account/{one}", f"account/{other}"]
            txn = [[[key, "index", "=", got["index"]] for key, got in zip(keys, found)],
                   [["put", [key, str(value)]] for key, value in zip(keys, values)]
                   + [["put", [f"done/{name}/{seq[0]}", "v"]]], []]
            options = {"client": name, "seq": seq[0]}
            seq[0] += 1
            answers = [self.call_until_answered(rng, "txn", *txn, **options) for _ in range(2)]
            assert answers[0] == answers[1], answers
            if answers[0]["succeeded"]:
                return

    def work(self, number, done):
        rng, seq = random.Random(number), [1]
        try:
            for _ in range(TRANSFERS):
                self.transfer(rng, f"worker{number}", seq)
                done.append(number)
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(problem)

    def test_transfers_over_leader_kills(self):
        for i in range(ACCOUNTS):
            self.c3.nodes[0].call("put", f"account/{i}", str(START))
        revision = self.c3.nodes[0].call("ping")["revision"]
        done = []
        workers = [threading.Thread(target=self.work, args=(i, done)) for i in range(4)]
        for worker in workers:
            worker.start()
        try:
            for _ in range(2):
                at = len(done)
                while len(done) < min(at + 20, 4 * TRANSFERS - 1) and not self.problems:
                    workers[0].join(0.02)
                leader = self.c3.leader()
                leader.crash()
                Node.start(leader)
            for worker in workers:
                worker.join(100)
        finally:
            self.stop.set()
        self.assertEqual(self.problems, [])
        self.assertEqual(len(done), 4 * TRANSFERS)
        for node in self.c3.nodes:
            pairs = node.call("list", "account")["pairs"]
            self.assertEqual(sum(int(pair["value"]) for pair in pairs), ACCOUNTS * START)
            self.assertEqual(node.call("range", "done/", "done0", count_only=True)["count"],
                             4 * TRANSFERS)
            self.assertEqual(node.call("ping")["revision"], revision + 4 * TRANSFERS)


if __name__ == "__main__":
    unittest.main()
