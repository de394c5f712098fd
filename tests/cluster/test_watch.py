"""Contract section 2, watches: what a watch and a long poll say, in which order, and how much."""

import time
import unittest

import msgpack
import zmq

from harness import DraxTestCase, ServerTestCase, pid_rss, wait_until
from watching import Log, Watcher, brief
from wire import Client, NoAnswer, RpcError


class WatchTest(ServerTestCase):
    """Each test works below a directory of its own, on one node."""

    def setUp(self):
        super().setUp()
        self.d = self.id().rpartition(".")[2]

    def key(self, name):
        return f"{self.d}/{name}"

    def put(self, name, value="v", **options):
        return self.c.call("put", self.key(name), value, **options)["index"]

    def watcher(self, node=None, **options):
        watcher = Watcher((node or self.server).addr, **options)
        self.addCleanup(watcher.close)
        return watcher


class Polls(WatchTest):
    def test_without_from_it_is_what_is_there_now(self):
        index = self.put("a", "1")
        begin = time.monotonic()
        got = self.c.call("watch", self.key("a"), wait_ms=60000)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(got["pairs"], [{"key": self.key("a"), "value": b"1", "index": index}])
        self.assertEqual((got["events"], got["next"]), ([], got["revision"] + 1))
        self.put("b", "2")
        got = self.c.call("watch_tree", self.d, wait_ms=0)
        self.assertEqual([pair["key"] for pair in got["pairs"]], [self.key("a"), self.key("b")])
        self.assertEqual(self.c.call("watch", self.key("none"), wait_ms=0)["pairs"], [])

    def test_with_from_it_waits_for_a_change(self):
        index = self.put("a")
        waiting = self.c.send("watch", self.key("a"), {"from": index + 1, "wait_ms": 30000})
        tree = self.c.send("watch_tree", self.d + "/", {"from": index + 1, "wait_ms": 30000})
        other = self.client(self.server)
        other.call("put", "elsewhere", "x")
        changed = other.call("put", self.key("a"), "2")["index"]
        for msgid in (waiting, tree):
            got = self.c.answer(msgid, 5)
            self.assertEqual(brief(got["events"]), [("put", self.key("a"), b"2", changed)])
            self.assertGreater(got["next"], changed)
            self.assertIn("revision", got)

    def test_what_happened_before_is_told_at_once(self):
        first = self.put("a", "1")
        second = self.put("a", "2")
        self.put("b", "3")
        for wait_ms in (0, 60000):
            got = self.c.call("watch", self.key("a"), wait_ms=wait_ms, **{"from": first})
            self.assertEqual(brief(got["events"]), [("put", self.key("a"), b"1", first),
                                                    ("put", self.key("a"), b"2", second)])
            got = self.c.call("watch", self.key("a"), wait_ms=wait_ms, **{"from": second})
            self.assertEqual([event["index"] for event in got["events"]], [second])

    def test_the_time_is_up(self):
        """Also one longer than other requests may take; `next` goes past what does not concern it."""
        index = self.put("a")
        for wait_ms in (0, 300, 5500):
            begin = time.monotonic()
            msgid = self.c.send("watch", self.key("none"), {"from": index + 1, "wait_ms": wait_ms})
            with self.server.client() as other:
                passed = other.call("put", self.key("other"), "x")["index"]
            got = self.c.answer(msgid)
            self.assertGreaterEqual(time.monotonic() - begin, wait_ms / 1000 - 0.001)
            self.assertLess(time.monotonic() - begin, wait_ms / 1000 + 3)
            self.assertEqual(got["events"], [])
            if wait_ms:
                self.assertGreater(got["next"], passed)

    def test_a_req_socket_polls_without_gap(self):
        req = self.client(self.server, kind=zmq.REQ)
        log = Log(req.call("watch_tree", self.d, wait_ms=0)["next"], tree=self.d + "/")
        for i in range(20):
            self.put("k", str(i))
            if i % 3 == 0:
                log.take(req.call("watch_tree", self.d, wait_ms=5000, **{"from": log.next}))
        while len(log.events) < 20:
            log.take(req.call("watch_tree", self.d, wait_ms=5000, **{"from": log.next}))
        self.assertEqual([event["value"] for event in log.events], [b"%d" % i for i in range(20)])

    def test_many_wait_at_once(self):
        revision = self.c.call("ping")["revision"]
        waiting = [self.c.send("watch", self.key(str(i % 10)), {"from": revision + 1, "wait_ms": 60000})
                   for i in range(2000)]
        other = self.client(self.server)
        for i in range(10):
            other.call("put", self.key(str(i)), "x")
        for i, msgid in enumerate(waiting):
            got = self.c.answer(msgid, 60)
            self.assertEqual([event["key"] for event in got["events"]], [self.key(str(i % 10))])


class Streams(WatchTest):
    def test_what_is_there_then_what_changes(self):
        w = self.watcher()
        index = self.put("a", "1")
        got = w.watch("watch", self.key("a"))
        self.assertEqual(got["pairs"], [{"key": self.key("a"), "value": b"1", "index": index}])
        log = Log(got["next"], key=self.key("a"))
        wanted = [("put", self.key("a"), b"2", self.put("a", "2"))]
        self.put("b", "no")
        self.put("a/b", "no")
        wanted.append(("delete", self.key("a"), None, self.c.call("delete", self.key("a"))["revision"]))
        wanted.append(("put", self.key("a"), b"", self.put("a", "")))
        while len(log.events) < 3:
            note = w.note()
            self.assertEqual(set(note), {"watch", "events", "next"})
            self.assertEqual(note["watch"], got["watch"])
            log.take(note)
        self.assertEqual(brief(log.events), wanted)

    def test_a_missing_key_begins_with_no_pairs(self):
        w = self.watcher()
        got = w.watch("watch", self.key("a"))
        self.assertEqual(got["pairs"], [])
        got = w.watch("watch_tree", self.d)
        self.assertEqual(got["pairs"], [])
        index = self.put("a", "1")
        self.assertEqual(brief(w.note()["events"]), [("put", self.key("a"), b"1", index)])
        self.assertEqual(brief(w.note()["events"]), [("put", self.key("a"), b"1", index)])

    def test_a_tree_hears_of_every_kind_of_change(self):
        w = self.watcher()
        self.put("old", "0")
        self.c.call("put", self.d, "the directory's own name")
        self.c.call("put", self.d + "x", "beside it")
        got = w.watch("watch_tree", self.d + "/")
        self.assertEqual([pair["key"] for pair in got["pairs"]], [self.key("old")])
        log = Log(got["next"], tree=self.d + "/")
        self.c.call("put", self.d, "own name again")
        a = self.put("x/a", "1")
        b = self.put("x/b", "2")
        c = self.c.call("atomic_put", self.key("x/a"), "3", a)["index"]
        txn = self.c.call("txn", [], [["put", [self.key("t1"), "4"]], ["delete", [self.key("old")]]], [])
        tree = self.c.call("delete_tree", self.key("x"))["revision"]
        self.put("gone", "5", ttl_ms=50)
        while not log.events or log.events[-1]["type"] != "expire":
            log.take(w.note())
        t = txn["revision"]
        self.assertEqual(brief(log.events), [
            ("put", self.key("x/a"), b"1", a), ("put", self.key("x/b"), b"2", b),
            ("put", self.key("x/a"), b"3", c),
            ("put", self.key("t1"), b"4", t), ("delete", self.key("old"), None, t),
            ("delete", self.key("x/a"), None, tree), ("delete", self.key("x/b"), None, tree),
            ("put", self.key("gone"), b"5", tree + 1), ("expire", self.key("gone"), None, tree + 2)])

    def test_what_was_refused_is_no_change(self):
        w = self.watcher()
        got = w.watch("watch_tree", self.d)
        index = self.put("a", "1")
        self.fails("KEY_EXISTS", self.c.call, "atomic_put", self.key("a"), "2", None)
        self.fails("KEY_NOT_FOUND", self.c.call, "txn", [], [["put", [self.key("b"), "3"]],
                                                             ["delete", [self.key("none")]]], [])
        last = self.put("a", "4")
        log = Log(got["next"])
        while len(log.events) < 2:
            log.take(w.note())
        self.assertEqual([event["index"] for event in log.events], [index, last])
        self.assertEqual(last, index + 1)

    def test_from_any_revision(self):
        indexes = [self.put("k", str(i)) for i in range(50)]
        w = self.watcher()
        for start in (0, 17, 49):
            got = w.watch("watch", self.key("k"), **{"from": indexes[start]})
            log = Log(got["next"], key=self.key("k"))
            while len(log.events) < 50 - start:
                log.take(w.note())
            self.assertEqual([event["index"] for event in log.events], indexes[start:])
            self.assertEqual(w.call("watch_cancel", got["watch"]), {})

    def test_from_a_revision_to_come(self):
        index = self.put("k", "0")
        w = self.watcher()
        got = w.watch("watch", self.key("k"), **{"from": index + 3})
        for i in range(1, 5):
            self.put("k", str(i))
        log = Log(got["next"], key=self.key("k"))
        while len(log.events) < 2:
            log.take(w.note())
        self.assertEqual([event["index"] for event in log.events], [index + 3, index + 4])

    def test_the_whole_store(self):
        for root in ("", "/"):
            w = self.watcher()
            got = w.watch("watch_tree", root, **{"from": self.c.call("ping")["revision"] + 1})
            self.put("a")
            self.c.call("put", self.d, "x")
            log = Log(got["next"])
            while len(log.events) < 2:
                log.take(w.note())
            self.assertEqual([event["key"] for event in log.events], [self.key("a"), self.d])

    def test_bytes_as_keys(self):
        w = self.watcher()
        key = self.d.encode() + b"/\xff\x00"
        got = w.watch("watch", key)
        self.c.call("put", key, b"\x00\xff")
        self.assertEqual(w.note()["events"][0]["key"], key)
        self.assertTrue(got["watch"])

    def test_envelopes_come_back_with_notifications(self):
        for envelope in ((), (b"",), (b"one", b"two", b""), (b"", b"x")):
            with Watcher(self.server.addr, envelope=envelope) as w:
                w.watch("watch", self.key("k"))
                self.put("k")
                w.note()

    def test_many_watches_of_one_connection(self):
        w = self.watcher()
        logs = {}
        for i in range(300):
            got = w.watch("watch", self.key(str(i)))
            self.assertNotIn(got["watch"], logs)
            logs[got["watch"]] = Log(got["next"], key=self.key(str(i)))
        for i in range(300):
            self.put(str(i), str(i))
        while sum(len(log.events) for log in logs.values()) < 300:
            note = w.note()
            logs[note["watch"]].take(note)
        self.assertTrue(all(len(log.events) == 1 for log in logs.values()))

    def test_two_watches_of_one_key(self):
        w = self.watcher()
        one, other = w.watch("watch", self.key("k")), w.watch("watch", self.key("k"))
        self.put("k")
        self.assertEqual({w.note()["watch"], w.note()["watch"]}, {one["watch"], other["watch"]})


class FirstPairs(WatchTest):
    """What is there may be more than fits in an answer."""

    def fill(self, count, size):
        sent = [self.c.send("put", self.key(f"{i:04}"), b"%04d" % i * (size // 4)) for i in range(count)]
        return [self.c.answer(msgid)["index"] for msgid in sent]

    def pairs_of(self, w, result):
        """All pages; the number of notifications they took."""
        pairs, more, notes = list(result["pairs"]), result.get("more", False), 0
        while more:
            note = w.note()
            self.assertEqual(set(note), {"watch", "pairs", "more"})
            self.assertEqual(note["watch"], result["watch"])
            pairs += note["pairs"]
            more = note["more"]
            notes += 1
        return pairs, notes

    def test_pages_are_of_one_revision(self):
        """Writers go on meanwhile; pairs are as of `revision`, and events go on from there."""
        self.fill(500, 10000)
        with self.server.client() as writer:
            rounds = []
            w = self.watcher()
            msgid = w.send("watch_tree", self.d)
            for i in range(60):  # however many come before the watch, there are pages to come
                rounds.append(writer.send("put", self.key(f"{i * 37 % 500:04}"), f"new {i}"))
                rounds.append(writer.send("delete", self.key(f"{i * 11 % 500:04}")))
            for i in range(200):
                rounds.append(writer.send("put", self.key("again"), f"new {i}"))
            result = w.answer(msgid)
            pairs, notes = self.pairs_of(w, result)
            self.assertGreaterEqual(notes, 3)
            for each in rounds:
                try:
                    writer.answer(each)
                except RpcError as error:
                    self.assertEqual(error.code, "KEY_NOT_FOUND")
        self.assertEqual([pair["key"] for pair in pairs], sorted({pair["key"] for pair in pairs}))
        self.assertTrue(all(pair["index"] < result["next"] for pair in pairs))
        state = {pair["key"]: (pair["value"], pair["index"]) for pair in pairs}
        log = Log(result["next"], tree=self.d + "/")
        last = self.c.call("put", self.key("last"), "x")["index"]
        while not log.events or log.events[-1]["index"] < last:
            for event in log.take(w.note()):
                if event["type"] == "put":
                    state[event["key"]] = (event["value"], event["index"])
                else:
                    del state[event["key"]]
        there, after, more = {}, {}, True
        while more:
            page = self.c.call("list", self.d, **after)
            there.update({pair["key"]: (pair["value"], pair["index"]) for pair in page["pairs"]})
            more, after = page["more"], {"after": page["pairs"][-1]["key"]}
        self.assertEqual(state, there)

    def test_a_write_before_the_watch_is_in_its_pairs(self):
        self.fill(300, 10000)
        for i in range(3):
            index = self.c.call("put", self.key("9"), str(i))["index"]
            w = self.watcher()
            result = w.watch("watch_tree", self.d)
            self.assertGreater(result["next"], index)
            pairs, _ = self.pairs_of(w, result)
            self.assertEqual(pairs[-1], {"key": self.key("9"), "value": b"%d" % i, "index": index})

    def test_many_at_once(self):
        """More than storage reads at a time: the others wait."""
        self.fill(300, 10000)
        watchers = [self.watcher() for _ in range(40)]
        msgids = [w.send("watch_tree", self.d) for w in watchers]
        for w, msgid in zip(watchers, msgids):
            pairs, _ = self.pairs_of(w, w.answer(msgid))
            self.assertEqual(len(pairs), 300)

    def test_a_poll_tells_that_there_is_more(self):
        self.fill(300, 10000)
        got = self.c.call("watch_tree", self.d, wait_ms=0)
        self.assertTrue(got["more"])
        self.assertLess(len(got["pairs"]), 300)

    def test_cancelled_in_the_middle(self):
        self.fill(300, 10000)
        for _ in range(30):
            w = self.watcher()
            result = w.watch("watch_tree", self.d)
            self.assertEqual(w.call("watch_cancel", result["watch"]), {})
            w.notes.clear()
            w.quiet(0.02)


class Cancel(WatchTest):
    def test_nothing_follows_a_cancel(self):
        w = self.watcher()
        got = w.watch("watch_tree", self.d)
        with self.server.client() as writer:
            pending = [writer.send("put", self.key("k"), str(i)) for i in range(500)]
            msgid = w.send("watch_cancel", got["watch"])
            self.assertEqual(w.answer(msgid), {})
            w.notes.clear()
            for each in pending:
                writer.answer(each)
        w.quiet(0.3)

    def test_any_number_may_be_cancelled(self):
        w = self.watcher()
        got = w.watch("watch", self.key("k"))
        self.assertEqual(self.c.call("watch_cancel", got["watch"]), {})  # another connection's
        self.put("k")
        w.note()
        self.assertEqual(w.call("watch_cancel", 12345), {})
        for wrong in (0, -1, "x", None, 2**53):
            self.fails("INVALID_ARGUMENT", self.c.call, "watch_cancel", wrong)


class Credit(WatchTest):
    def drain(self, w, log):
        """Everything that comes until it is quiet; the number of notifications with events."""
        count = 0
        while True:
            try:
                note = w.note(0.5)
            except NoAnswer:
                return count
            count += bool(log.take(note))

    def test_64_then_as_many_as_allowed(self):
        w = self.watcher()
        got = w.watch("watch", self.key("k"))
        log = Log(got["next"], key=self.key("k"))
        for i in range(200):
            self.put("k", str(i))  # one after the other: each is a notification
        self.assertEqual(self.drain(w, log), 64)
        w.credit(got["watch"], 1)
        self.assertEqual(self.drain(w, log), 1)  # it may carry many
        w.credit(got["watch"], 10)
        self.drain(w, log)
        self.assertEqual([event["value"] for event in log.events], [b"%d" % i for i in range(200)])
        self.put("k", "last")  # and it is fed live again
        self.assertEqual(brief(log.take(w.note()))[0][2], b"last")

    def test_credit_that_means_nothing_is_ignored(self):
        w = self.watcher()
        got = w.watch("watch", self.key("k"))
        for params in ([got["watch"]], [got["watch"], 0], [got["watch"], -1], [got["watch"], "1"], [],
                       [got["watch"], 1, 2], [99, 5], ["x", 5], [got["watch"], 2**53]):
            w.client.raw_send(msgpack.packb([2, "credit", params]))
        w.client.raw_send(msgpack.packb([2, "nonsense", []]))
        self.put("k")
        self.assertEqual(w.note()["watch"], got["watch"])
        w.credit(got["watch"], 2**53 - 1)
        w.credit(got["watch"], 2**53 - 1)
        self.put("k")
        self.assertEqual(w.note()["watch"], got["watch"])
        w.quiet(0.2)

    def test_a_slow_watch_costs_no_memory(self):
        """Half a gigabyte passes watches that have no credit left; they hear all of it later."""
        gateway = self.server.pid_of("gateway")
        slow = []
        for _ in range(10):
            w = self.watcher()
            got = w.watch("watch", self.key("k"))
            slow.append((w, got["watch"], Log(got["next"], key=self.key("k"))))
        for i in range(64):
            self.put("k", str(i))
        before = pid_rss(gateway)
        for i in range(50):
            self.put("k", b"%02d" % i * 500000)
        self.assertLess(pid_rss(gateway), before + (64 << 20))
        for w, watch, log in slow:
            self.assertEqual(self.drain(w, log), 64)
            w.credit(watch, 100)
            while len(log.events) < 114:
                log.take(w.note(30))
            self.assertEqual([event["value"][:2] for event in log.events[64:]],
                             [b"%02d" % i for i in range(50)])

    def test_a_client_that_reads_nothing_costs_little(self):
        gateway = self.server.pid_of("gateway")
        w = self.watcher(RCVHWM=1, RCVBUF=4096)
        got = w.watch("watch", self.key("k"))
        w.credit(got["watch"], 100000)
        self.put("k", "x")
        before = pid_rss(gateway)
        for i in range(60):
            self.put("k", b"%02d" % i * 500000)
        self.assertLess(pid_rss(gateway), before + (128 << 20))
        log = Log(got["next"], key=self.key("k"))
        while len(log.events) < 61:
            log.take(w.note(30))
        self.assertEqual([event["value"][:2] for event in log.events[1:]], [b"%02d" % i for i in range(60)])

    def test_idle_watches_say_so(self):
        w = self.watcher()
        one, other = w.watch("watch", self.key("a")), w.watch("watch_tree", self.key("t"))
        begin = time.monotonic()
        passed = self.put("else")
        notes = [w.note(20), w.note(20)]
        self.assertGreater(time.monotonic() - begin, 9)
        self.assertEqual({note["watch"] for note in notes}, {one["watch"], other["watch"]})
        for note in notes:
            self.assertEqual(note["events"], [])
            self.assertGreater(note["next"], passed)


class Limits(WatchTest):
    def test_bad_requests(self):
        for params in ([], [""], ["k", "k"], [5], ["k" * 4097], ["k", {"from": 0}], ["k", {"from": -1}],
                       ["k", {"from": "1"}], ["k", {"wait_ms": -1}], ["k", {"wait_ms": 1.5}],
                       ["k", {"stale": True}], ["k", {"nonsense": 1}], ["k", {"from": 2**53}]):
            self.fails("INVALID_ARGUMENT", self.c.call, "watch", *params)
        self.fails("INVALID_ARGUMENT", self.c.call, "watch_tree", "d" * 4097)
        got = self.c.call("watch", "k", **{"from": None, "wait_ms": 0})
        self.assertIn("pairs", got)

    def test_10000_watches(self):
        """Of one connection; a put costs the same with them as without, and each hears its own."""
        w = self.watcher()
        watches = {}
        for base in range(0, 10000, 5000):  # a connection has up to 8,192 requests waiting
            begun = [w.send("watch", self.key(str(i))) for i in range(base, base + 5000)]
            for i, msgid in enumerate(begun, base):
                got = w.answer(msgid, 60)
                watches[got["watch"]] = (i, Log(got["next"], key=self.key(str(i))))
        self.assertEqual(len(watches), 10000)
        for i in range(0, 10000, 100):
            self.put(str(i), str(i))
        heard = 0
        while heard < 100:
            note = w.note(30)
            i, log = watches[note["watch"]]
            heard += len(log.take(note))
            self.assertEqual(i % 100, 0)
        for watch in list(watches)[:100]:
            self.assertEqual(w.call("watch_cancel", watch), {})

    def test_too_many_for_one_connection(self):
        w = self.watcher()
        for _ in range(2):
            begun = [w.send("watch", self.key("k"), **{"from": 1000000}) for _ in range(8000)]
            for msgid in begun:
                w.answer(msgid, 60)
        begun = [w.send("watch", self.key("k"), **{"from": 1000000}) for _ in range(384)]
        for msgid in begun:
            w.answer(msgid, 60)
        self.fails("UNAVAILABLE", w.call, "watch", self.key("k"))
        self.c.call("watch", self.key("k"), wait_ms=0)  # others are not concerned
        other = self.watcher()
        got = other.watch("watch", self.key("k"))
        w.close()
        self.put("k")
        self.assertEqual(other.note()["watch"], got["watch"])

    def test_watches_go_with_their_client(self):
        """As many as a node has room for; the gateway finds out within 10 s, and has room again."""
        node = self.node("crowded")
        for _ in range(4):
            with Watcher(node.addr) as w:
                for _ in range(2):
                    begun = [w.send("watch_tree", self.key(str(i))) for i in range(8000)]
                    for msgid in begun:
                        w.answer(msgid, 60)
        w = self.watcher(node)
        begun = [w.send("watch_tree", self.key(str(i))) for i in range(4000)]
        refused = 0
        for msgid in begun:
            try:
                w.answer(msgid, 60)
            except RpcError as error:
                self.assertEqual(error.code, "UNAVAILABLE")
                refused += 1
        self.assertGreater(refused, 0)
        w.close()

        def room():
            with Watcher(node.addr) as other:
                begun = [other.send("watch_tree", self.key(str(i))) for i in range(2000)]
                try:
                    return all(other.answer(msgid, 60) for msgid in begun)
                except RpcError:
                    return False
        wait_until(room, 30, "room for watches", 1)


class Compacted(ServerTestCase):
    """History reaches back 100,000 revisions, and at least not much further."""

    def test_history_is_forgotten_and_told_so(self):
        c = self.c
        slow = Watcher(self.server.addr)
        self.addCleanup(slow.close)
        got = slow.watch("watch_tree", "h")
        log = Log(got["next"], tree="h/")
        for i in range(70):
            c.call("put", "h/slow", str(i))
        first = c.call("ping")["revision"] + 1
        for base in range(0, 110000, 5000):
            sent = [c.send("put", f"h/{i}", "x" * 200) for i in range(base, base + 5000)]
            for msgid in sent:
                c.answer(msgid, 60)
        revision = c.call("ping")["revision"]
        self.assertEqual(revision, first + 110000 - 1)
        # the last 100,000 are there, also after a restart
        for _ in range(2):
            with Watcher(self.server.addr) as w:
                got = w.watch("watch_tree", "h", **{"from": revision - 99999})
                w.credit(got["watch"], 100000)
                whole = Log(got["next"], tree="h/")
                while len(whole.events) < 100000:
                    whole.take(w.note(60))
                self.assertEqual([event["index"] for event in whole.events],
                                 list(range(revision - 99999, revision + 1)))
            if self.server.pid_of("storage"):
                error = self.compacted(c, first - 60)
                self.assertGreater(error.details["compacted"], first)
                self.assertLessEqual(error.details["compacted"], revision - 99999)
            old = error.details["compacted"]
            self.fails("COMPACTED", c.call, "watch", "h/1", **{"from": old - 1, "wait_ms": 0})
            c.call("watch", "h/1", **{"from": old, "wait_ms": 0})
            self.server.restart()
        # a node that joins gets it with its snapshot
        joined = self.node("joined", peers=[self.server.addr])
        wait_until(lambda: joined.status()["role"] != "learner", 60, "a second voter")
        self.assertEqual(self.compacted(self.client(joined), first - 60).code, "COMPACTED")
        with Watcher(joined.addr) as w:
            got = w.watch("watch_tree", "h", **{"from": revision - 99999})
            w.credit(got["watch"], 100000)
            whole = Log(got["next"], tree="h/")
            while len(whole.events) < 100000:
                whole.take(w.note(60))
            self.assertEqual([event["index"] for event in whole.events],
                             list(range(revision - 99999, revision + 1)))
        # the slow one, without credit, heard so before its connection broke
        seen = 0
        while True:
            note = slow.note(30)
            if "compacted" in note:
                break
            seen += bool(log.take(note))
        self.assertEqual(seen, 64)
        self.assertEqual(note["events"], [])
        self.assertEqual(set(note), {"watch", "compacted", "events"})
        self.assertGreater(note["compacted"], log.next)

    def compacted(self, c, revision):
        """COMPACTED, once the history has been cut: that takes a flush."""
        def error():
            try:
                c.call("watch", "h/1", **{"from": revision, "wait_ms": 0})
            except Exception as problem:  # noqa: BLE001, checked by its user
                return problem
            return None
        return wait_until(error, 10, "history to be cut")


class Nodes(DraxTestCase):
    """Every node tells the same."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.members = cls.class_cluster(3)

    def test_every_node_tells_every_change(self):
        watchers = []
        for node in self.members.nodes:
            w = Watcher(node.addr)
            self.addCleanup(w.close)
            got = w.watch("watch_tree", "every")
            watchers.append((w, Log(got["next"], tree="every/")))
        clients = [self.client(node) for node in self.members.nodes]
        sent = [(clients[i % 3], clients[i % 3].send("put", f"every/{i}", str(i))) for i in range(300)]
        indexes = sorted(client.answer(msgid)["index"] for client, msgid in sent)
        for w, log in watchers:
            while len(log.events) < 300:
                log.take(w.note())
            self.assertEqual([event["index"] for event in log.events], indexes)

    def test_what_was_written_anywhere_is_there_everywhere(self):
        """The first state is linearizable, through every node."""
        clients = [Client(node.addr) for node in self.members.nodes]
        for client in clients:
            self.addCleanup(client.close)
        for i in range(30):
            index = clients[i % 3].call("put", "lin/k", str(i))["index"]
            got = clients[(i + 1) % 3].call("watch", "lin/k", wait_ms=0)
            self.assertEqual([pair["index"] for pair in got["pairs"]], [index])
            self.assertGreater(got["next"], index)


if __name__ == "__main__":
    unittest.main()
