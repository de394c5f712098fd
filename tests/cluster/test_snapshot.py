"""drax-cli snapshot save and restore: a cluster under load, its file, and the cluster that begins with it."""

import os
import random
import threading
import time

from harness import CLI, DraxTestCase, Node, cli_run
from wire import Client, NoAnswer, RpcError

SKIP = 1_000_000_000
KEYS = 3000


def store_read(client):
    """{key: (value, index)} of everything."""
    found, after = {}, None
    while True:
        page = client.call("list", "", **({"after": after} if after else {}))
        found.update({pair["key"]: (pair["value"], pair["index"]) for pair in page["pairs"]})
        if not page["more"]:
            return found
        after = page["pairs"][-1]["key"]


class Writer(threading.Thread):
    """Writes counters, one after the other, and remembers what was acknowledged."""

    def __init__(self, addr):
        super().__init__()
        self.addr = addr
        self.acknowledged = 0
        self.done = threading.Event()
        self.moved = threading.Event()

    def run(self):
        with Client(self.addr) as client:
            while not self.done.is_set():
                try:
                    client.call("put", "counter", str(self.acknowledged + 1))
                    self.acknowledged += 1
                    self.moved.set()
                except (RpcError, NoAnswer):
                    continue


class Snapshot(DraxTestCase):
    def save(self, *nodes):
        """(path, revision)"""
        path = os.path.join(self.directory(), "saved")
        code, out, err = cli_run("snapshot", "save", path, endpoints=",".join(node.addr for node in nodes))
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(os.listdir(os.path.dirname(path)), ["saved"])
        return path, int(out)

    def restored(self, path, *flags, name="restored"):
        """(a node that begins with the file, its revision then)"""
        node = self.node(name, start=False)
        code, out, err = cli_run("snapshot", "restore", path, node.home, node.addr, node.raft_addr, *flags)
        self.assertEqual((code, err), (0, ""))
        node.start()
        return node, int(out)

    def test_all_of_it_begins_another_cluster(self):
        server = self.node()
        c = self.client(server)
        chance = random.Random(7)
        for i in range(KEYS):
            c.send("put", f"many/{i}", chance.randbytes(chance.randrange(2000)))
        kept = c.call("put", b"\xff\x00", b"not text")
        lease = c.call("lease_grant", 600_000)["lease"]
        c.call("put", "leased", "v", lease=lease)
        c.call("put", "short", "v", ttl_ms=1500)
        lock = c.call("lock", "lock", ttl_ms=600_000, value="held")
        once = c.call("put", "once", "1", client=b"me", seq=1)
        path, revision = self.save(server)
        before = store_read(c)
        self.assertEqual(revision, c.call("ping")["revision"])
        c.call("put", "later", "v")
        server.stop()

        node, begins = self.restored(path)
        self.assertEqual(begins, revision + SKIP)
        c = self.client(node)
        self.assertEqual(c.call("ping")["revision"], begins)
        after = store_read(c)
        self.assertEqual({key: pair for key, pair in after.items() if key != "short"},
                         {key: pair for key, pair in before.items() if key != "short"})
        self.assertEqual(c.call("get", b"\xff\x00")["index"], kept["index"])
        self.assertLessEqual(c.call("lease_get", lease)["ttl_ms"], 600_000)
        self.assertEqual(c.call("put", "once", "1", client=b"me", seq=1)["index"], once["index"])
        self.fails("CANNOT_LOCK", c.call, "lock", "lock", ttl_ms=1000, wait_ms=0)
        self.assertGreater(c.call("unlock", "lock", lock["token"])["revision"], begins)
        self.assertGreater(c.call("lease_revoke", lease)["revision"], begins)
        self.fails("KEY_NOT_FOUND", c.call, "get", "leased")
        gone = self.fails("COMPACTED", c.call, "watch_tree", "", wait_ms=0, **{"from": revision})
        self.assertEqual(gone.details["compacted"], begins + 1)
        deadline = time.monotonic() + 10
        while c.call("exists", "short")["exists"]:
            self.assertLess(time.monotonic(), deadline)

    def test_without_skip_the_history_goes_on(self):
        server = self.node()
        first = server.call("put", "a", "1")["index"]
        server.call("delete", "a")
        path, revision = self.save(server)
        server.stop()
        node, begins = self.restored(path, "--skip", "0")
        self.assertEqual(begins, revision)
        with node.client() as c:
            self.assertEqual(c.call("put", "b", "2")["index"], revision + 1)
            events = c.call("watch_tree", "", wait_ms=0, **{"from": first})["events"]
        self.assertEqual([(event["type"], event["key"]) for event in events],
                         [("put", "a"), ("delete", "a"), ("put", "b")])

    def test_under_load_and_with_others_that_join(self):
        cluster = self.cluster(3)
        writer = Writer(cluster.nodes[1].addr)
        writer.start()
        try:
            self.assertTrue(writer.moved.wait(30))
            for node in (cluster.leader(), cluster.followers()[0]):
                at_least = writer.acknowledged
                path, _ = self.save(node)
                at_most = writer.acknowledged + 1
                copy, _ = self.restored(path, name=f"copy{node.name}")
                self.assertIn(int(copy.call("get", "counter")["value"]), range(at_least, at_most + 1))
                copy.stop()
        finally:
            writer.done.set()
            writer.join()
        path, _ = self.save(*cluster.nodes)
        cluster.leader().crash()  # the copy owes nothing to the first cluster
        first, begins = self.restored(path, name="first")
        second = self.node("second", peers=[first.addr])
        with second.client() as c:
            self.assertEqual(int(c.call("get", "counter")["value"]), writer.acknowledged)
            self.assertEqual(c.call("put", "counter", "0")["index"], begins + 1)
            status = c.call("status")
        self.assertNotEqual(status["cluster"], cluster.followers()[0].status()["cluster"])
        self.assertEqual(len(status["members"]), 2)

    def test_refusals(self):
        server = self.node()
        server.call("put", "k", "v")
        c = self.client(server)
        for params in ((1, 0), (0, 1), (2**53 - 1, 7)):
            self.fails("INVALID_ARGUMENT", c.call, "snapshot", *params)
        for params in ((), (0,), (0, -1), ("0", 0), (2**53, 0)):
            self.fails("INVALID_ARGUMENT", c.call, "snapshot", *params)
        begun = c.call("snapshot", 0, 0)
        self.assertTrue(begun["last"])
        self.assertEqual(c.call("snapshot", begun["snapshot"], 0)["data"], begun["data"])
        self.fails("INVALID_ARGUMENT", c.call, "snapshot", begun["snapshot"], 1)
        path, _ = self.save(server)
        code, _, err = cli_run("snapshot", "restore", path, server.home)
        self.assertEqual(code, 1)
        self.assertIn("in use", err)
        server.stop()
        code, _, err = cli_run("snapshot", "restore", path, server.home)
        self.assertEqual(code, 1)
        self.assertIn("there is a node's data already", err)
        fresh = os.path.join(self.directory(), "fresh")
        for broken, why in ((path + "-none", "No such file"), (CLI, "not a snapshot of Drax")):
            code, _, err = cli_run("snapshot", "restore", broken, fresh)
            self.assertEqual(code, 74, err)
            self.assertIn(why, err)
        code, _, err = cli_run("snapshot", "restore", path, fresh, "--skip", str(2**53 - 1))
        self.assertEqual(code, 64, err)
        code, _, err = cli_run("snapshot", "restore", path, fresh, "nonsense")
        self.assertEqual(code, 64, err)

    def test_a_file_that_cannot_be_written(self):
        server = self.node()
        server.call("put", "k", "v" * 200_000)
        code, _, err = cli_run("snapshot", "save", os.path.join(self.directory(), "no", "such"), endpoints=server.addr)
        self.assertEqual(code, 74)
        self.assertEqual(len(err.splitlines()), 1)
        code, _, err = cli_run("--timeout", "1s", "snapshot", "save", os.path.join(self.directory(), "x"),
                           endpoints=Node("nobody").addr)
        self.assertEqual(code, 69)
