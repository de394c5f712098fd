"""Contract section 2, locks and fences: on one node through REQ and DEALER, on three over the loss of
leaders, and over kills of single actors while requests wait."""

import threading
import time
import unittest

import zmq

from harness import DraxTestCase, Node, ServerTestCase, put_until_done, wait_until
from wire import NoAnswer, RpcError, pair_keys

LATE_S = 0.5       # the contract's bound on expiries
MEASURE_S = 0.3    # what measuring itself may take
NO_LEADER_S = 5.0  # without a majority every linearizable request is answered within this


def waits(client, msgid, seconds=0.3):
    """AssertionError when the request is answered already."""
    try:
        client.answer(msgid, timeout=seconds)
    except NoAnswer:
        return
    raise AssertionError("the lock did not wait")


class OneNode(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.d = self.id().rsplit(".", 1)[1]
        self.other = self.client(self.server)
        self.key = f"{self.d}/lock"

    def lock(self, through=None, key=None, ttl_ms=60000, **options):
        return (through or self.c).call("lock", key or self.key, ttl_ms=ttl_ms, **options)

    def lock_send(self, through=None, key=None, ttl_ms=60000, **options):
        return (through or self.other).send("lock", key or self.key, {"ttl_ms": ttl_ms, **options})

    def test_req_and_dealer(self):
        last = 0
        for kind in (zmq.REQ, zmq.DEALER):
            with self.subTest(kind=kind), self.server.client(kind=kind) as c:
                held = c.call("lock", self.key, ttl_ms=60000)
                self.assertGreater(held["token"], last)
                self.assertLess(held["token"], 2**53)
                self.assertGreater(held["lease"], 0)
                self.fails("CANNOT_LOCK", c.call, "lock", self.key, ttl_ms=60000, wait_ms=0)
                self.assertGreater(c.call("unlock", self.key, held["token"])["revision"],
                                   held["revision"])
                last = held["token"]

    def test_the_key_of_a_lock(self):
        held = self.lock()
        got = self.c.call("get", self.key)
        self.assertEqual((got["value"], got["lease"], got["index"]), (b"", held["lease"], held["revision"]))
        self.assertTrue(50000 < got["ttl_ms"] <= 60000)
        self.assertEqual(self.c.call("unlock", self.key, held["token"])["revision"], held["revision"] + 1)
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key)
        held = self.lock(value=b"holder")
        self.assertEqual(self.c.call("get", self.key)["value"], b"holder")
        self.c.call("unlock", self.key, held["token"])

    def test_a_plain_key_is_taken_over_and_stays(self):
        self.c.call("put", self.key, "plain", ttl_ms=300)
        held = self.lock()
        self.assertEqual(self.c.call("get", self.key)["value"], b"plain")
        time.sleep(1)  # its old ttl must have no effect any more
        self.c.call("unlock", self.key, held["token"])
        got = self.c.call("get", self.key)
        self.assertEqual(got["value"], b"plain")
        self.assertNotIn("lease", got)
        self.assertNotIn("ttl_ms", got)
        held = self.lock(value="mine", ttl_ms=300)
        self.assertEqual(self.c.call("get", self.key)["value"], b"mine")
        wait_until(lambda: "lease" not in self.c.call("get", self.key), 10, "the end of the lock")
        self.assertEqual(self.c.call("get", self.key)["value"], b"mine")
        self.c.call("put", self.key, "free again")

    def test_lost_tokens(self):
        held = self.lock()
        for token in (0, held["token"] + 1, 2**53 - 1):
            self.fails("LOCK_LOST", self.c.call, "unlock", self.key, token)
        self.fails("LOCK_LOST", self.c.call, "unlock", self.key + "x", held["token"])
        self.c.call("unlock", self.key, held["token"])
        self.fails("LOCK_LOST", self.c.call, "unlock", self.key, held["token"])
        again = self.lock()
        self.fails("LOCK_LOST", self.c.call, "unlock", self.key, held["token"])
        self.fails("LOCK_LOST", self.c.call, "put", "x", "v", fence=[self.key, held["token"]])
        self.c.call("put", "x", "v", fence=[self.key, again["token"]])

    def test_invalid(self):
        for params in ([], ["k"], ["k", {}], ["k", {"ttl_ms": 0}], ["k", {"ttl_ms": None}],
                       ["", {"ttl_ms": 1}], ["k", {"ttl_ms": 1, "wait_ms": -1}], ["k", 1],
                       ["k", {"ttl_ms": 1, "value": 5}], ["k", {"ttl_ms": 1, "lease": 1}]):
            self.fails("INVALID_ARGUMENT", self.c.call, "lock", *params)
        for params in ([], ["k"], ["k", "1"], ["k", None], ["k", -1], ["k", 1, 1]):
            self.fails("INVALID_ARGUMENT", self.c.call, "unlock", *params)
        for params in ([], ["1"], [2**32], [-1], [1, 1]):
            self.fails("INVALID_ARGUMENT", self.c.call, "lock_cancel", *params)

    # ---- fences ----

    def test_a_held_key_is_written_with_its_fence_alone(self):
        held = self.lock(value="v")
        fence = [self.key, held["token"]]
        self.c.call("put", f"{self.d}/plain", "v")
        index = self.c.call("get", self.key)["index"]
        before = self.c.call("ping")["revision"]
        other = self.lock(key=f"{self.d}/second")
        wrong = [f"{self.d}/second", other["token"]]
        writes = [("put", self.key, "w"), ("atomic_put", self.key, "w", index),
                  ("atomic_put", self.key, "w", None), ("delete", self.key),
                  ("atomic_delete", self.key, index), ("delete_tree", self.d), ("delete_tree", ""),
                  ("txn", [], [["put", [f"{self.d}/plain", "w"]], ["put", [self.key, "w"]]], []),
                  ("txn", [], [["put", [f"{self.d}/plain", "w"]], ["delete_tree", [self.d]]], [])]
        for method, *params in writes:
            for options in ({}, {"fence": wrong}):
                self.fails("CANNOT_LOCK", self.c.call, method, *params, **options)
        self.assertEqual(self.c.call("ping")["revision"], before + 1)
        self.assertEqual(self.c.call("get", f"{self.d}/plain")["value"], b"v")
        self.c.call("put", self.key, "w", fence=fence)
        index = self.c.call("get", self.key)["index"]
        self.c.call("atomic_put", self.key, "x", index, fence=fence)
        self.c.call("txn", [], [["put", [self.key, "y"]]], [], fence=fence)
        self.c.call("txn", [], [["put", [self.key, "z", {"fence": fence}]]], [])
        got = self.c.call("get", self.key)
        self.assertEqual((got["value"], got["lease"]), (b"z", held["lease"]))
        self.fails("CANNOT_LOCK", self.other.call, "lock", self.key, ttl_ms=1000, wait_ms=0)
        self.c.call("unlock", f"{self.d}/second", other["token"])
        self.c.call("unlock", self.key, held["token"])
        self.assertEqual(self.c.call("delete_tree", self.d)["deleted"], 1)

    def test_any_write_may_carry_a_fence(self):
        held = self.lock()
        good, bad = [self.key, held["token"]], [self.key, held["token"] + 1]
        a = f"{self.d}/a"
        writes = [("put", a, "v"), ("atomic_put", f"{self.d}/b", "v", None), ("delete", a),
                  ("delete_tree", f"{self.d}/b"), ("txn", [], [["put", [a, "v"]]], []),
                  ("lease_grant", 1000)]
        for method, *params in writes:
            self.fails("LOCK_LOST", self.c.call, method, *params, fence=bad)
            self.fails("LOCK_LOST", self.c.call, method, *params, fence=[a, held["token"]])
        self.fails("KEY_NOT_FOUND", self.c.call, "get", a)
        for method, *params in writes:
            if method == "delete_tree":
                self.fails("KEY_NOT_FOUND", self.c.call, method, *params, fence=good)
            else:
                self.c.call(method, *params, fence=good)
        self.c.call("unlock", self.key, held["token"])
        self.fails("LOCK_LOST", self.c.call, "put", a, "v", fence=good)

    # ---- waiting ----

    def test_first_come_first_served(self):
        held = self.lock()
        clients = [self.client(self.server) for _ in range(4)]
        sent = []
        for i, client in enumerate(clients):
            sent.append(self.lock_send(client, value=str(i)))
            waits(client, sent[-1], 0.1)
        token = held["token"]
        for i, (client, msgid) in enumerate(zip(clients, sent)):
            revision = self.c.call("unlock", self.key, token)["revision"]
            got = client.answer(msgid)
            self.assertGreater(got["token"], token)
            self.assertEqual(got["revision"], revision)
            pair = self.c.call("get", self.key)
            self.assertEqual((pair["value"], pair["index"]), (str(i).encode(), revision))
            for later, later_msgid in list(zip(clients, sent))[i + 1:]:
                waits(later, later_msgid, 0.02)
            token = got["token"]
        self.c.call("unlock", self.key, token)
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key)

    def test_waiting_changes_no_revision(self):
        held = self.lock()
        msgid = self.lock_send()
        waits(self.other, msgid)
        self.assertEqual(self.c.call("ping")["revision"], held["revision"])
        self.c.call("unlock", self.key, held["token"])
        self.other.answer(msgid)

    def test_longer_than_any_other_request(self):
        held = self.lock()
        msgid = self.lock_send()
        waits(self.other, msgid, 7)
        self.c.call("unlock", self.key, held["token"])
        self.assertGreater(self.other.answer(msgid, timeout=2)["token"], held["token"])

    def test_the_lease_starts_at_the_grant(self):
        held = self.lock()
        msgid = self.lock_send(ttl_ms=1000)
        waits(self.other, msgid, 1.5)
        self.c.call("unlock", self.key, held["token"])
        granted = time.monotonic()
        self.other.answer(msgid)
        self.assertGreater(self.c.call("get", self.key)["ttl_ms"], 500)
        wait_until(lambda: not self.c.call("exists", self.key)["exists"], 10, "the end", 0.01)
        self.assertGreaterEqual(time.monotonic() - granted, 0.99)

    def test_time_that_is_up(self):
        held = self.lock()
        for wait_ms in (1, 200, 700):
            begin = time.monotonic()
            self.fails("CANNOT_LOCK", self.other.call, "lock", self.key, ttl_ms=60000, wait_ms=wait_ms)
            passed = time.monotonic() - begin
            self.assertGreaterEqual(passed, wait_ms / 1000)
            self.assertLess(passed, wait_ms / 1000 + 0.5 + MEASURE_S)
        self.c.call("unlock", self.key, held["token"])
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key)  # nobody was left in the queue
        begin = time.monotonic()
        self.lock(self.other, wait_ms=60000)
        self.assertLess(time.monotonic() - begin, 2)

    def test_lock_cancel(self):
        held = self.lock()
        third = self.client(self.server)
        mine, theirs = self.lock_send(), self.lock_send(third)
        waits(self.other, mine)
        self.assertEqual(third.call("lock_cancel", mine + 1000), {})
        self.assertEqual(self.c.call("lock_cancel", mine), {})  # another connection's
        waits(self.other, mine)
        self.assertEqual(self.other.call("lock_cancel", mine), {})
        self.fails("CANNOT_LOCK", self.other.answer, mine)
        self.c.call("unlock", self.key, held["token"])
        third.answer(theirs)
        self.other.quiet_check()

    def test_cancelled_in_one_breath(self):
        held = self.lock()
        for _ in range(20):
            msgid = self.lock_send()
            self.assertEqual(self.other.call("lock_cancel", msgid), {})
            self.fails("CANNOT_LOCK", self.other.answer, msgid)
        self.c.call("unlock", self.key, held["token"])

    def test_passed_on_when_its_holder_is_gone(self):
        holder = self.server.client()
        begin = time.monotonic()
        held = self.lock(holder, ttl_ms=1000)
        held_at = time.monotonic()
        holder.close()
        got = self.lock(self.other, wait_ms=10000)
        self.assertGreater(got["token"], held["token"])
        self.assertGreaterEqual(time.monotonic() - begin, 1.0)
        self.assertLess(time.monotonic() - held_at, 1.0 + LATE_S + MEASURE_S)

    def test_kept_alive_it_blocks(self):
        held = self.lock(ttl_ms=500)
        msgid = self.lock_send()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            self.assertEqual(self.c.call("lease_keepalive", held["lease"])["ttl_ms"], 500)
            waits(self.other, msgid, 0.1)
        self.assertGreater(self.other.answer(msgid, timeout=5)["token"], held["token"])
        self.fails("LEASE_NOT_FOUND", self.c.call, "lease_keepalive", held["lease"])
        self.fails("LOCK_LOST", self.c.call, "unlock", self.key, held["token"])

    def test_a_waiter_that_is_gone_holds_it_for_its_ttl(self):
        held = self.lock()
        gone = self.server.client()
        msgid = self.lock_send(gone, ttl_ms=700)
        waits(gone, msgid)
        gone.close()
        begin = time.monotonic()
        mine = self.lock_send()
        waits(self.other, mine, 0.1)
        self.c.call("unlock", self.key, held["token"])
        self.other.answer(mine)
        self.assertLess(time.monotonic() - begin, 0.1 + 0.7 + LATE_S + MEASURE_S)

    def test_other_keys_on_the_lease(self):
        held = self.lock()
        names = [f"{self.d}/{i}" for i in range(3)]
        for name in names:
            self.c.call("put", name, "v", lease=held["lease"])
        before = self.c.call("ping")["revision"]
        self.assertEqual(self.c.call("unlock", self.key, held["token"])["revision"], before + 1)
        self.assertEqual(self.c.call("range", self.d + "/", self.d + "0")["count"], 0)

    def test_a_holder_that_deletes_its_key_lets_go(self):
        held = self.lock()
        msgid = self.lock_send()
        waits(self.other, msgid)
        self.c.call("delete", self.key, fence=[self.key, held["token"]])
        got = self.other.answer(msgid)
        self.c.call("delete_tree", self.d, fence=[self.key, got["token"]])
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key)
        self.lock(wait_ms=0)

    def test_many_waiters_count_up(self):
        """A counter that is read and written under the lock."""
        counter, done = f"{self.d}/counter", []
        self.c.call("put", counter, "0")

        def work():
            with self.server.client() as c:
                for _ in range(10):
                    held = c.call("lock", self.key, ttl_ms=20000, timeout=60)
                    value = int(c.call("get", counter)["value"])
                    c.call("put", counter, str(value + 1), fence=[self.key, held["token"]])
                    done.append(held["token"])
                    c.call("unlock", self.key, held["token"])
        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(100)
        self.assertEqual(done, sorted(set(done)))
        self.assertEqual(self.c.call("get", counter)["value"], b"80")

    # ---- exactly once ----

    def test_given_again(self):
        who = {"client": self.d[-32:]}
        first = self.lock(**who, seq=1)
        self.assertEqual(self.lock(self.other, **who, seq=1), first)
        self.fails("CANNOT_LOCK", self.lock, wait_ms=0, **who, seq=2)
        msgids = [self.lock_send(**who, seq=3) for _ in range(2)]
        joined = self.lock_send(self.c, **who, seq=3)
        waits(self.other, msgids[0])
        self.fails("INVALID_ARGUMENT", self.c.call, "lock", self.key, ttl_ms=1, **who, seq=3)
        unlocked = self.c.call("unlock", self.key, first["token"], **who, seq=4)
        got = [self.other.answer(msgid) for msgid in msgids] + [self.c.answer(joined)]
        self.assertEqual(got, [got[0]] * 3)
        self.assertEqual(self.c.call("unlock", self.key, first["token"], **who, seq=4), unlocked)
        self.assertEqual(self.lock(**who, seq=3), got[0])
        self.c.call("unlock", self.key, got[0]["token"])
        self.assertEqual(self.lock(**who, seq=3), got[0])
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key)
        self.other.quiet_check()

    def test_a_req_client_that_waits_and_asks_again(self):
        held = self.lock()
        who = {"client": self.d[-32:], "seq": 1}
        with self.server.client(kind=zmq.REQ) as c:
            c.send("lock", self.key, {"ttl_ms": 60000, **who})
            waits(c, 1)
        with self.server.client(kind=zmq.REQ) as c:
            msgid = c.send("lock", self.key, {"ttl_ms": 60000, **who})
            waits(c, msgid)
            self.c.call("unlock", self.key, held["token"])
            self.assertEqual(c.answer(msgid), self.lock(**who))


class Kills(DraxTestCase):
    """Requests wait while actors are killed with -9: none hangs, none is lost."""

    def unlocked(self, node, client, msgid, token):
        """Until the unlock was applied: its answer may be lost with a life of storage."""
        try:
            client.answer(msgid, timeout=10)
        except RpcError as error:
            self.assertIn(error.code, ("UNAVAILABLE", "TIMEOUT"))
            put_until_done(node, "x", "y", 10)
            try:
                client.call("unlock", "l", token)
            except RpcError as again:
                self.assertEqual(again.code, "LOCK_LOST")

    def test_single_actors(self):
        node = self.node()
        for kind in ("storage", "raft", "storage"):
            with self.subTest(kind=kind):
                holder, waiter = self.client(node), self.client(node)
                held = holder.call("lock", "l", ttl_ms=60000)
                msgid = waiter.send("lock", "l", {"ttl_ms": 60000})
                waits(waiter, msgid)
                node.kill(kind)
                put_until_done(node, "x", "y", 10)
                waits(waiter, msgid, 0.5)
                self.unlocked(node, holder, holder.send("unlock", "l", held["token"]), held["token"])
                got = waiter.answer(msgid, timeout=10)
                # Once more, and the grant is told while storage is dead.
                last = waiter.send("lock", "l", {"ttl_ms": 60000})
                waits(waiter, last, 0.1)
                unlock = holder.send("unlock", "l", got["token"])
                node.kill(kind)
                self.unlocked(node, holder, unlock, got["token"])
                got = waiter.answer(last, timeout=15)
                self.unlocked(node, waiter, waiter.send("unlock", "l", got["token"]), got["token"])

    def test_the_gateway(self):
        """Its clients' connections go with it; who says who he is keeps his place."""
        node = self.node()
        held = node.call("lock", "l", ttl_ms=60000)
        named, nameless = self.client(node), self.client(node)
        nameless_msgid = nameless.send("lock", "l", {"ttl_ms": 60000})
        waits(nameless, nameless_msgid)
        waits(named, named.send("lock", "l", {"ttl_ms": 60000, "client": "n", "seq": 1}))
        node.kill("gateway")
        put_until_done(node, "x", "y", 10)
        again = self.client(node)
        msgid = again.send("lock", "l", {"ttl_ms": 60000, "client": "n", "seq": 1})
        later = self.client(node)
        later_msgid = later.send("lock", "l", {"ttl_ms": 60000})
        waits(again, msgid)
        node.call("unlock", "l", held["token"])
        got = again.answer(msgid)  # not the nameless one of the dead gateway
        again.call("unlock", "l", got["token"])
        later.answer(later_msgid)

    def test_a_restart_of_all(self):
        node = self.node()
        held = node.call("lock", "l", ttl_ms=600000, value="mine")
        with node.client() as c:
            waits(c, c.send("lock", "l", {"ttl_ms": 600000, "client": "n", "seq": 1}))
        node.crash()
        node.start()
        self.assertEqual(node.call("get", "l")["value"], b"mine")
        self.fails("CANNOT_LOCK", node.call, "put", "l", "x")
        c = self.client(node)
        msgid = c.send("lock", "l", {"ttl_ms": 600000, "client": "n", "seq": 1})
        waits(c, msgid)
        node.call("unlock", "l", held["token"])
        self.assertGreater(c.answer(msgid)["token"], held["token"])


class ThreeNodes(DraxTestCase):
    def setUp(self):
        super().setUp()
        self.c3 = self.cluster(3)

    def test_over_the_loss_of_leaders(self):
        """Requests wait at both followers while the leader dies, and get the lock in their order."""
        leader = self.c3.leader()
        others = self.c3.followers()
        clients = [self.client(node) for node in others]
        held = clients[0].call("lock", "l", ttl_ms=60000)
        sent = []
        for client in clients:
            sent.append((client, client.send("lock", "l", {"ttl_ms": 60000})))
            waits(*sent[-1])
        leader.crash()
        put_until_done(others[0], "x", "y", 5)
        for client, msgid in sent:
            waits(client, msgid, 0.3)
        Node.start(leader)
        clients[1].call("unlock", "l", held["token"])
        first = sent[0][0].answer(sent[0][1])
        waits(*sent[1], 0.1)
        leader.call("unlock", "l", first["token"])
        second = sent[1][0].answer(sent[1][1])
        self.assertLess(held["token"], first["token"])
        self.assertLess(first["token"], second["token"])

    def test_joined_through_another_node(self):
        nodes = self.c3.nodes
        held = nodes[0].call("lock", "l", ttl_ms=60000)
        first, second = self.client(nodes[1]), self.client(nodes[2])
        options = {"ttl_ms": 60000, "client": "j", "seq": 1}
        msgids = first.send("lock", "l", options), second.send("lock", "l", options)
        waits(first, msgids[0])
        waits(second, msgids[1])
        nodes[0].call("unlock", "l", held["token"])
        got = first.answer(msgids[0])
        self.assertEqual(second.answer(msgids[1]), got)
        self.assertEqual(nodes[0].call("lock", "l", **options), got)

    def test_without_a_majority(self):
        leader = self.c3.leader()
        others = self.c3.followers()
        held = leader.call("lock", "l", ttl_ms=600000)
        c = self.client(leader)
        nameless = c.send("lock", "l", {"ttl_ms": 60000})
        named = c.send("lock", "l", {"ttl_ms": 60000, "client": "m", "seq": 1})
        waits(c, nameless)
        for node in others:
            node.crash()
        begin = time.monotonic()
        for msgid in (nameless, named):
            error = self.fails("TIMEOUT", c.answer, msgid)
            self.assertEqual(error.code, "TIMEOUT")
        self.assertLess(time.monotonic() - begin, NO_LEADER_S + MEASURE_S)
        for node in others:
            Node.start(node)
        put_until_done(leader, "x", "y", 20)
        msgid = c.send("lock", "l", {"ttl_ms": 60000, "client": "m", "seq": 1})
        waits(c, msgid)
        leader.call("unlock", "l", held["token"])
        c.answer(msgid, timeout=10)  # the nameless one is out of the way

    def test_one_holder_at_a_time_over_kills(self):
        """Workers through all nodes take turns with fenced writes, while leaders die."""
        done, problems, stop = [], [], threading.Event()
        self.c3.nodes[0].call("put", "counter", "0")

        def attempt(number, method, *params, **options):
            while not stop.is_set():
                try:
                    with self.c3.nodes[number % 3].client() as c:
                        return c.call(method, *params, timeout=10, **options)
                except NoAnswer:
                    number += 1
                except RpcError as error:
                    if error.code not in ("UNAVAILABLE", "TIMEOUT"):
                        raise
                    number += 1
            raise AssertionError("stopped")

        def work(number):
            seq = 0
            try:
                for _ in range(12):
                    who = {"client": f"w{number}"}
                    held = attempt(number, "lock", "l", ttl_ms=20000, **who, seq=seq + 1)
                    value = int(attempt(number, "get", "counter")["value"])
                    attempt(number, "put", "counter", str(value + 1), fence=["l", held["token"]],
                            **who, seq=seq + 2)
                    done.append(held["token"])
                    attempt(number, "unlock", "l", held["token"], **who, seq=seq + 3)
                    seq += 3
            except Exception as problem:  # pylint: disable=broad-except
                problems.append(problem)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(5)]
        for worker in workers:
            worker.start()
        try:
            for _ in range(2):
                at = len(done)
                while len(done) < min(at + 15, 59) and not problems:
                    workers[0].join(0.02)
                leader = self.c3.leader()
                leader.crash()
                Node.start(leader)
            for worker in workers:
                worker.join(100)
        finally:
            stop.set()
        self.assertEqual(problems, [])
        self.assertEqual(len(done), 60)
        self.assertEqual(done, sorted(set(done)))
        for node in self.c3.nodes:
            self.assertEqual(node.call("get", "counter")["value"], b"60")
        self.assertEqual(pair_keys(self.c3.nodes[0].call("range", "", "")), [b"counter"])


if __name__ == "__main__":
    unittest.main()
