"""Contract sections 1 and 2 on three nodes: joining, reads and writes through every node, and what
happens when processes die. The bounds asserted here are the contract's own figures."""

import os
import time
import unittest

from harness import (ACTORS, Cluster, DraxTestCase, Node, pid_is_alive, put_until_done,
                     session_pids, wait_until)
from wire import NoAnswer, RpcError, pair_keys

LEADER_LOSS_S = 3      # the next write after the loss of a leader
ACTOR_BACK_S = 2       # a killed actor
MINORITY_ANSWER_S = 5  # UNAVAILABLE or TIMEOUT without a majority
ACTORS_END_S = 1       # actors after their supervisor
STOP_S = 5             # SIGTERM


def ids(members):
    return sorted(member["id"] for member in members)


class ClusterTest(DraxTestCase):
    """Each class has one cluster; every test begins with all of its nodes up and agreed."""

    PEERS = staticmethod(lambda i: [0])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c3 = cls.class_cluster(3, peers_of=cls.PEERS)

    def setUp(self):
        super().setUp()
        self.all = self.c3.nodes
        self.repair()

    def repair(self):
        for node in self.all:
            if not node.alive():
                node.start()
        leader = self.c3.leader()
        leader.call("put", "settle", "v")
        revision = leader.status()["revision"]
        wait_until(lambda: all(set(node.actors()) == set(ACTORS) for node in self.all), 30, "all actors")
        for node in self.all:
            wait_until(lambda: node.status()["revision"] >= revision, 30, f"{node.name} to catch up")


class Joining(ClusterTest):
    # The third node is told of the second only, which does not lead.
    PEERS = staticmethod(lambda i: [i - 1])

    def test_members_on_every_node(self):
        expected = {(node.addr, node.raft_addr, "voter") for node in self.all}
        lists = [node.call("member_list")["members"] for node in self.all]
        lists += [node.status()["members"] for node in self.all]
        for members in lists:
            self.assertEqual({(m["addr"], m["raft_addr"], m["role"]) for m in members}, expected)
            self.assertEqual(ids(members), ids(lists[0]))
            self.assertEqual(len(set(ids(members))), 3)

    def test_status_agrees(self):
        found = [node.status() for node in self.all]
        self.assertEqual(len({status["cluster"] for status in found}), 1)
        self.assertEqual(sorted(status["role"] for status in found), ["follower", "follower", "leader"])
        self.assertEqual(sorted(status["node"] for status in found), ids(found[0]["members"]))
        self.assertEqual(len({status["leader"] for status in found}), 1)


class Methods(ClusterTest):
    def test_every_method_on_every_node(self):
        for i, node in enumerate(self.all):
            with self.subTest(node=i), node.client() as c:
                d = f"m{i}"
                index = c.call("put", f"{d}/a", "1")["index"]
                self.assertEqual(c.call("get", f"{d}/a")["index"], index)
                self.assertTrue(c.call("exists", f"{d}/a")["exists"])
                made = c.call("atomic_put", f"{d}/b", "2", None)["index"]
                c.call("atomic_put", f"{d}/b", "3", made)
                self.fails("KEY_MODIFIED", c.call, "atomic_put", f"{d}/b", "4", made)
                self.fails("KEY_EXISTS", c.call, "atomic_put", f"{d}/b", "4", None)
                self.assertEqual(pair_keys(c.call("list", d)), [b"%s/a" % d.encode(), b"%s/b" % d.encode()])
                self.assertEqual(c.call("range", f"{d}/", f"{d}0")["count"], 2)
                c.call("atomic_delete", f"{d}/a", index)
                c.call("put", f"{d}/c", "5", ttl_ms=60000)
                self.assertGreater(c.call("get", f"{d}/c")["ttl_ms"], 50000)
                c.call("delete", f"{d}/c")
                self.assertEqual(c.call("delete_tree", d)["deleted"], 1)
                self.fails("KEY_NOT_FOUND", c.call, "get", f"{d}/a")
                self.assertIn("version", c.call("ping"))
                self.assertEqual(len(c.call("member_list")["members"]), 3)
                self.fails("INVALID_ARGUMENT", c.call, "put", f"{d}/a", 5)

    def test_a_write_is_read_at_once_through_every_other_node(self):
        clients = [self.client(node) for node in self.all]
        for n in range(60):
            writer, reader = clients[n % 3], clients[(n + 1 + n // 3 % 2) % 3]
            put = writer.call("put", "ryw", str(n))
            got = reader.call("get", "ryw")
            self.assertEqual((got["value"], got["index"]), (str(n).encode(), put["index"]))
            self.assertGreaterEqual(got["revision"], put["revision"])
            self.assertEqual(reader.call("list", "")["revision"], put["revision"])

    def test_stale_reads_follow(self):
        index = self.all[0].call("put", "stale", "v")["index"]
        for node in self.all:
            def there(node=node):
                try:
                    return node.call("get", "stale", stale=True)["index"] == index
                except RpcError as error:
                    self.assertEqual(error.code, "KEY_NOT_FOUND")
                    return False
            wait_until(there, 10, f"the write at {node.name}")

    def test_pipelined_writes_through_a_follower_keep_their_order(self):
        for node in self.all:
            with node.client() as c:
                sent = [c.send("put", "order", str(i)) for i in range(300)]
                indices = [c.answer(msgid)["index"] for msgid in sent]
                self.assertEqual(indices, sorted(set(indices)))
                self.assertEqual(c.call("get", "order")["value"], b"299")

    def test_exactly_once_over_nodes(self):
        first = self.all[0].call("put", "eo", "1", client="eo", seq=1)
        self.all[1].call("put", "eo", "2")
        for node in self.all:
            self.assertEqual(node.call("put", "eo", "1", client="eo", seq=1), first)
        self.assertEqual(self.all[2].call("get", "eo")["value"], b"2")

    def test_expiry_is_seen_by_all(self):
        begin = time.monotonic()
        self.all[1].call("put", "exp", "v", ttl_ms=500)
        done = time.monotonic()
        for node in self.all:
            wait_until(lambda: not node.call("exists", "exp")["exists"], 10, "the expiry")
            self.assertGreaterEqual(time.monotonic() - begin, 0.5)
        self.assertLess(time.monotonic() - done, 0.5 + 0.5 + 1.0)  # three nodes asked one by one


class Killing(ClusterTest):
    def leader_loss_check(self, kill, heal):
        leader = self.c3.leader()
        others = [node for node in self.all if node is not leader]
        value = leader.call("put", "loss", os.urandom(8))["revision"]
        first = leader.call("put", "loss/once", "v", client="loss", seq=value)
        begin = time.monotonic()
        kill(leader)
        put_until_done(others[0], "loss", "after", LEADER_LOSS_S)
        seconds = time.monotonic() - begin
        self.assertLess(seconds, LEADER_LOSS_S)
        print(f"write {seconds:.2f} s after the loss of the leader")
        self.assertEqual(others[1].call("get", "loss")["value"], b"after")
        again = others[1].call("put", "loss/once", "v", client="loss", seq=value)
        self.assertEqual(again, first)
        heal(leader)

    def test_the_leaders_node(self):
        for _ in range(2):
            self.leader_loss_check(Node.crash, Node.start)
            self.repair()

    def test_the_leaders_supervisor(self):
        self.leader_loss_check(lambda node: node.kill(), Node.start)

    def test_the_leaders_raft(self):
        self.leader_loss_check(lambda node: node.kill("raft"), lambda node: None)

    def test_the_leaders_storage(self):
        self.leader_loss_check(lambda node: node.kill("storage"), lambda node: None)

    def test_a_leader_that_is_told_to_stop_hands_over(self):
        leader = self.c3.leader()
        other = [node for node in self.all if node is not leader][0]
        code, seconds = leader.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, STOP_S)
        put_until_done(other, "handed", "over", LEADER_LOSS_S)
        leader.start()

    def back_check(self, node, kind, through, bound):
        """After kill -9 of one actor: a new one, and `through` answers, within `bound`."""
        killed = node.kill(kind)
        begin = time.monotonic()
        deadline = begin + bound
        while True:
            try:
                if node.actors().get(kind) not in (None, killed):
                    with node.client() as client:
                        through(client, max(0.05, min(0.5, deadline - time.monotonic())))
                    break
            except (NoAnswer, RpcError) as error:
                if isinstance(error, RpcError) and error.code not in ("UNAVAILABLE", "TIMEOUT"):
                    raise
            self.assertLess(time.monotonic(), deadline, f"{node.name}'s {kind} is not back")
            time.sleep(0.02)
        seconds = time.monotonic() - begin
        print(f"{kind} back after {seconds:.2f} s")
        self.assertLess(seconds, bound)

    def test_a_followers_actors_come_back(self):
        for kind in ACTORS:
            with self.subTest(kind=kind):
                node = self.c3.followers()[0]
                leader, term = node.status()["leader"], node.status()["term"]
                self.back_check(node, kind, lambda c, t: c.call("get", "settle", timeout=t), ACTOR_BACK_S)
                status = node.status()
                self.assertEqual((status["leader"], status["term"]), (leader, term))
                self.repair()

    def test_the_leaders_gateway_comes_back_and_the_leader_stays(self):
        leader = self.c3.leader()
        term = leader.status()["term"]
        raft, storage = leader.pid_of("raft"), leader.pid_of("storage")
        self.back_check(leader, "gateway", lambda c, t: c.call("put", "gw", "v", timeout=t), ACTOR_BACK_S)
        for node in self.all:
            status = node.status()
            self.assertEqual((status["leader"], status["term"]), (leader.status()["node"], term))
        self.assertEqual(leader.status()["role"], "leader")
        self.assertEqual((leader.pid_of("raft"), leader.pid_of("storage")), (raft, storage))

    def test_the_leaders_storage_and_raft_come_back(self):
        for kind in ("storage", "raft"):
            with self.subTest(kind=kind):
                self.back_check(self.c3.leader(), kind,
                                lambda c, t: c.call("get", "settle", stale=True, timeout=t), ACTOR_BACK_S)
                self.repair()

    def test_actors_end_with_their_supervisor(self):
        for node in (self.c3.leader(), self.c3.followers()[0]):
            actors = node.actors()
            self.assertEqual(set(actors), set(ACTORS))
            begin = time.monotonic()
            node.kill()
            wait_until(lambda: not any(map(pid_is_alive, actors.values())), ACTORS_END_S, "the actors' end",
                       0.01)
            self.assertLess(time.monotonic() - begin, ACTORS_END_S)
            self.assertFalse(session_pids(node.pid))
            node.start()
            self.repair()

    def test_sigterm_ends_every_node_with_zero_in_time(self):
        for node in self.c3.followers() + [self.c3.leader()]:
            code, seconds = node.stop()
            self.assertEqual(code, 0)
            self.assertLess(seconds, STOP_S)
            node.ended_wait(ACTORS_END_S)
            self.repair()


class Majority(ClusterTest):
    # Every method that needs a majority, on keys of its own: a TIMEOUT may still be applied later.
    REQUESTS = (("get", ["minor/get"]), ("exists", ["minor/get"]), ("list", [""]), ("range", ["a", ""]),
                ("put", ["minor/put", "new"]), ("delete", ["minor/delete"]), ("delete_tree", ["minor/tree"]),
                ("atomic_put", ["minor/create", "new", None]), ("atomic_put", ["minor/swap", "new", 0]),
                ("atomic_delete", ["minor/cad", 0]))

    def test_a_minority_refuses_in_time_and_still_answers_stale_reads_and_status(self):
        for choose in (self.c3.leader, lambda: self.c3.followers()[0]):
            keep = choose()
            with self.subTest(role=keep.status()["role"]):
                before = self.fill()
                wait_until(lambda: keep.status()["revision"] >= before["revision"], 10)
                others = [node for node in self.all if node is not keep]
                for node in others:
                    node.crash()
                refused = self.minority_check(keep, before)
                for node in others:
                    node.start(wait=False)
                put_until_done(keep, "after", "v", 30)
                self.repair()
                for node in self.all:
                    after = {p["key"]: p for p in node.call("list", "minor")["pairs"]}
                    for key in refused | {"minor/get"}:
                        self.assertEqual(after.get(key), before.get(key), "UNAVAILABLE means never applied")

    def fill(self):
        """The keys that the requests are about, as list shows them, and the revision."""
        with self.all[0].client() as c:
            for name in ("get", "put", "delete", "tree/x", "swap", "cad"):
                c.call("put", "minor/" + name, "old")
            if c.call("exists", "minor/create")["exists"]:
                c.call("delete", "minor/create")
            result = c.call("list", "minor")
        return {"revision": result["revision"], **{pair["key"]: pair for pair in result["pairs"]}}

    def minority_check(self, node, before):
        """Also the requests sent before the node can have noticed its loneliness. Returns the keys
        of the writes that were answered UNAVAILABLE."""
        refused, timed_out = set(), set()
        with node.client() as c:
            for _ in range(2):
                begin = time.monotonic()
                sent = []
                for method, params in self.REQUESTS:
                    params = [before[params[0]]["index"] if param == 0 else param for param in params]
                    sent.append((method, params[0], c.send(method, *params)))
                for method, key, msgid in sent:
                    with self.assertRaises(RpcError, msg=method) as caught:
                        c.answer(msgid, max(0.01, begin + MINORITY_ANSWER_S - time.monotonic()))
                    code = caught.exception.code
                    self.assertIn(code, ("UNAVAILABLE", "TIMEOUT"), method)
                    key = "minor/tree/x" if key == "minor/tree" else key
                    (refused if code == "UNAVAILABLE" else timed_out).add(key)
                print(f"a minority's answers after {time.monotonic() - begin:.2f} s")
            index = before["minor/get"]["index"]
            self.assertEqual(c.call("get", "minor/get", stale=True, timeout=2)["index"], index)
            self.assertTrue(c.call("exists", "minor/get", stale=True, timeout=2)["exists"])
            self.assertIn(b"minor/get", pair_keys(c.call("list", "", stale=True, timeout=2)))
            self.assertGreaterEqual(c.call("range", "a", "", stale=True, timeout=2)["count"], 1)
            status = c.call("status", timeout=2)
            self.assertGreaterEqual(status["revision"], before["revision"])
            self.assertEqual(len(status["members"]), 3)
            wait_until(lambda: c.call("status", timeout=2)["leader"] is None, 10, "leader to be nil")
            self.assertNotEqual(c.call("status", timeout=2)["role"], "leader")
        return {key for key in refused - timed_out if key.startswith("minor/")}

    def test_one_of_three_may_be_away(self):
        away = self.c3.followers()[0]
        away.crash()
        here = [node for node in self.all if node is not away]
        for i in range(50):
            here[i % 2].call("put", f"away/{i}", "v")
        away.start()
        self.assertEqual(len(away.call("list", "away")["pairs"]), 50)

    def test_all_stopped_and_all_killed(self):
        for number, end in enumerate((Node.stop, Node.crash)):
            put = self.all[number].call("put", f"all/{number}", "v", client="all", seq=number + 1)
            terms = [node.status()["term"] for node in self.all]
            known = ids(self.all[0].status()["members"])
            for node in self.all:
                end(node)
            for node in self.all:
                node.start(wait=False)
            for node in self.all:
                node.ready_wait()
            self.c3.leader()
            for node, term in zip(self.all, terms):
                got = node.call("get", f"all/{number}")
                self.assertEqual((got["value"], got["index"]), (b"v", put["index"]))
                self.assertGreaterEqual(got["revision"], put["revision"])
                self.assertGreaterEqual(node.status()["term"], term)
                self.assertEqual(ids(node.status()["members"]), known)
                self.assertEqual(node.call("put", f"all/{number}", "v", client="all", seq=number + 1), put)


class Homes(ClusterTest):
    def test_a_home_that_holds_a_node_ignores_peer(self):
        node = self.c3.followers()[0]
        before, peers = node.status(), node.peers
        node.stop()
        node.peers = ["127.0.0.1:9"]
        try:
            node.start()
        finally:
            node.peers = peers
        after = node.status()
        self.assertEqual((after["node"], after["cluster"]), (before["node"], before["cluster"]))
        self.assertEqual(node.call("get", "settle")["value"], b"v")

    def test_a_cluster_of_one_does_not_join_another_later(self):
        node = self.node("alone")
        node.call("put", "alone", "v")
        before = node.status()
        node.stop()
        node.peers = [self.all[0].addr]
        node.start()
        after = node.status()
        self.assertEqual((after["node"], after["cluster"]), (before["node"], before["cluster"]))
        self.assertEqual(node.call("get", "alone")["value"], b"v")
        self.assertEqual(len(self.all[0].status()["members"]), 3)

    def test_a_wiped_node_joins_again_as_another(self):
        node = self.c3.followers()[0]
        others = [other for other in self.all if other is not node]
        before, peers = node.status()["node"], node.peers
        for i in range(20):
            others[0].call("put", f"wiped/{i}", "v")
        node.crash()
        node.wipe()
        node.peers = [others[0].addr]
        try:
            node.start()
        finally:
            node.peers = peers

        def voter():
            status = node.status()
            return status["node"] != before and status["role"] == "follower" and \
                {m["id"]: m["role"] for m in status["members"]}.get(status["node"]) == "voter"
        wait_until(voter, 30, "the wiped node to be a voter under a new id")
        self.assertEqual(len(node.call("list", "wiped")["pairs"]), 20)
        node.call("put", "wiped/after", "v")
        self.assertEqual(others[1].call("get", "wiped/after")["value"], b"v")
        self.assertEqual(node.status()["cluster"], others[0].status()["cluster"])


class Growing(DraxTestCase):
    def test_a_dead_peer_among_several_is_skipped(self):
        first = self.node("first")
        first.call("put", "k", "v")
        second = self.node("second", peers=["127.0.0.1:9", first.addr])
        wait_until(lambda: {m["addr"]: m["role"] for m in second.status()["members"]}.get(second.addr)
                   == "voter", 30, "the second to be a voter")
        self.assertEqual(second.call("get", "k")["value"], b"v")
        self.assertEqual(second.status()["cluster"], first.status()["cluster"])

    def test_a_late_joiner_gets_everything_while_writes_go_on(self):
        cluster = Cluster(2)
        self.nodes += cluster.nodes
        self.addCleanup(cluster.close)
        first, late = cluster.nodes
        first.start()
        with first.client() as c:
            sent = [c.send("put", f"late/{i:05}", "x" * 200) for i in range(5000)]
            for msgid in sent:
                c.answer(msgid)
            late.start(wait=False)
            more = 0
            while not late.process.eof and not any(map(late.is_ready_line, late.process.lines())):
                c.call("put", f"more/{more:05}", "y")
                more += 1
            late.ready_wait()
        with late.client() as c:
            self.assertEqual(c.call("range", "late/", "late0", count_only=True)["count"], 5000)
            self.assertEqual(c.call("range", "more/", "more0", count_only=True)["count"], more)
        cluster.voters_wait(2)


if __name__ == "__main__":
    unittest.main()
