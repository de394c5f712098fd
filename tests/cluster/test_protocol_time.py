"""Contract section 2, time and repetition: ttl_ms on a single node, and exactly once."""

import time
import unittest

from harness import ServerTestCase
from wire import RpcError

LATE_S = 0.5      # the contract's bound
MEASURE_S = 0.3   # what measuring itself may take: a poll, and a sanitized node on a busy machine


class Life:
    """One write with a ttl, and what its writer knows about the time of it."""

    def __init__(self, client, ttl_ms, key, method="put", extra=()):
        self.key, self.ttl = key, ttl_ms / 1000
        self.sent = time.monotonic()
        client.call(method, key, "v", *extra, ttl_ms=ttl_ms)
        self.acknowledged = time.monotonic()
        self.gone = None

    def look(self, client):
        """Asks for the key once; an AssertionError if it is gone early or there late."""
        asked = time.monotonic()
        found = client.call("exists", self.key)["exists"]
        answered = time.monotonic()
        if not found:
            self.gone = answered
            assert answered - self.sent >= self.ttl, \
                f"{self.key} went {self.ttl - (answered - self.sent):.3f} s early"
        else:
            late = asked - self.acknowledged - self.ttl
            assert late <= LATE_S + MEASURE_S, f"{self.key} is still there {late:.3f} s late"


def follow_until_gone(client, lives):
    while any(life.gone is None for life in lives):
        for life in lives:
            if life.gone is None:
                life.look(client)
        time.sleep(0.01)


class Ttl(ServerTestCase):
    def test_gone_not_before_and_soon_after(self):
        lives = [Life(self.c, ttl, f"ttl/{ttl}") for ttl in (1, 50, 300, 700, 1500)]
        lives.append(Life(self.c, 400, "ttl/atomic", "atomic_put", [None]))
        index = self.c.call("put", "ttl/index", "v")["index"]
        lives.append(Life(self.c, 600, "ttl/index", "atomic_put", [index]))
        follow_until_gone(self.c, lives)
        self.fails("KEY_NOT_FOUND", self.c.call, "get", "ttl/300")
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "ttl")

    def test_an_expiry_is_one_change(self):
        before = self.c.call("ping")["revision"]
        follow_until_gone(self.c, [Life(self.c, 200, "one")])
        self.assertEqual(self.c.call("ping")["revision"], before + 2)

    def test_remaining_time_is_told(self):
        begin = time.monotonic()
        self.c.call("put", "tell", "v", ttl_ms=60000)
        last = 60000
        for _ in range(5):
            remaining = self.c.call("get", "tell")["ttl_ms"]
            passed = (time.monotonic() - begin) * 1000
            self.assertLessEqual(remaining, last)
            self.assertGreaterEqual(remaining, 60000 - passed - 1)
            last = remaining
            time.sleep(0.05)
        self.assertLess(last, 60000)

    def test_a_plain_key_tells_no_time(self):
        self.c.call("put", "plain", "v")
        self.assertNotIn("ttl_ms", self.c.call("get", "plain"))

    def test_writes_without_ttl_clear_it_and_with_ttl_replace_it(self):
        for key in ("clear/put", "clear/atomic", "clear/again", "clear/longer", "clear/later"):
            self.c.call("put", key, "v", ttl_ms=400)
        self.c.call("put", "clear/put", "w")
        self.c.call("atomic_put", "clear/atomic", "w", self.c.call("get", "clear/atomic")["index"])
        self.c.call("delete", "clear/again")
        self.c.call("put", "clear/again", "w")
        self.c.call("put", "clear/longer", "w", ttl_ms=60000)
        self.c.call("put", "clear/later", "w", ttl_ms=None)
        last = Life(self.c, 900, "clear/shorter")  # written last: when it is gone, the rest is due
        follow_until_gone(self.c, [last])
        for key in ("clear/put", "clear/atomic", "clear/again", "clear/longer", "clear/later"):
            self.assertEqual(self.c.call("get", key)["value"], b"w", key)
        self.assertNotIn("ttl_ms", self.c.call("get", "clear/put"))
        self.assertNotIn("ttl_ms", self.c.call("get", "clear/atomic"))
        self.assertGreater(self.c.call("get", "clear/longer")["ttl_ms"], 50000)

    def test_a_shorter_ttl_counts(self):
        self.c.call("put", "shorter", "v", ttl_ms=60000)
        follow_until_gone(self.c, [Life(self.c, 200, "shorter")])

    def test_a_refused_write_changes_no_ttl(self):
        life = Life(self.c, 500, "refused")
        self.fails("KEY_EXISTS", self.c.call, "atomic_put", "refused", "w", None, ttl_ms=60000)
        self.fails("KEY_EXISTS", self.c.call, "atomic_put", "refused", "w", None)
        follow_until_gone(self.c, [life])

    def test_a_long_ttl(self):
        year = 365 * 24 * 3600 * 1000
        self.c.call("put", "year", "v", ttl_ms=year)
        self.assertGreater(self.c.call("get", "year")["ttl_ms"], year - 60000)

    def test_many_at_once(self):
        begin = time.monotonic()
        sent = [self.c.send("put", f"many/{i}", "v", {"ttl_ms": 1000}) for i in range(1000)]
        for msgid in sent:
            self.c.answer(msgid)
        done = time.monotonic()
        count = 1000
        while count:
            asked = time.monotonic()
            count = self.c.call("range", "many/", "many0", count_only=True)["count"]
            self.assertTrue(count == 1000 or time.monotonic() - begin >= 1.0)
            self.assertTrue(not count or asked - done <= 1.0 + LATE_S + MEASURE_S, count)
            time.sleep(0.02)

    def test_over_a_restart(self):
        node = self.node("restarted")
        client = self.client(node)
        life = Life(client, 3000, "short")
        client.call("put", "long", "v", ttl_ms=600000)
        down = time.monotonic()
        node.restart()
        life.ttl_latest = time.monotonic() - down
        remaining = node.call("get", "long")["ttl_ms"]
        self.assertLessEqual(remaining, 600000)
        self.assertGreaterEqual(remaining, 600000 - (time.monotonic() - life.sent) * 1000 - 1)
        life.acknowledged += life.ttl_latest  # the time it was down may be added
        follow_until_gone(self.client(node), [life])


class ExactlyOnce(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.who = self.id().rsplit(".", 1)[1][-32:]

    def outcome(self, through, method, *params, **options):
        try:
            return through.call(method, *params, **options)
        except RpcError as error:
            return (error.code, error.text, error.details)

    def test_a_repeated_write_is_applied_once_and_gets_the_first_answer(self):
        for seq, (method, params) in enumerate((
                ("put", ["once", "1"]), ("atomic_put", ["once/new", "v", None]),
                ("delete_tree", ["once"]), ("delete", ["once"]), ("put", ["once", "2"])), 1):
            first = self.outcome(self.c, method, *params, client=self.who, seq=seq)
            self.assertIsInstance(first, dict)
            self.c.call("put", "other", "v")
            for client in (self.c, self.client(self.server)):
                again = self.outcome(client, method, *params, client=self.who, seq=seq)
                self.assertEqual(again, first, method)
        self.assertEqual(self.c.call("get", "once")["value"], b"2")

    def test_a_repetition_changes_no_revision(self):
        revision = self.c.call("put", "rev", "v", client=self.who, seq=1)["revision"]
        self.c.call("put", "rev", "v", client=self.who, seq=1)
        self.assertEqual(self.c.call("ping")["revision"], revision)

    def test_a_later_write_is_not_overwritten_by_a_repetition(self):
        self.c.call("put", "later", "1", client=self.who, seq=1)
        self.c.call("put", "later", "2", client=self.who, seq=2)
        self.c.call("put", "later", "1", client=self.who, seq=1)
        self.assertEqual(self.c.call("get", "later")["value"], b"2")

    def test_a_refusal_is_repeated_even_when_it_would_succeed_now(self):
        index = self.c.call("put", "no", "v")["index"]
        cases = (("atomic_put", ["no", "w", index + 100]), ("atomic_put", ["no", "w", None]),
                 ("atomic_delete", ["no", index + 100]), ("delete", ["no/none"]),
                 ("delete_tree", ["no/tree"]))
        first = [self.outcome(self.c, method, *params, client=self.who, seq=seq)
                 for seq, (method, params) in enumerate(cases, 1)]
        self.assertEqual([error[0] for error in first], ["KEY_MODIFIED", "KEY_EXISTS", "KEY_MODIFIED",
                                                         "KEY_NOT_FOUND", "KEY_NOT_FOUND"])
        self.c.call("delete", "no")
        self.c.call("put", "no/none", "v")
        self.c.call("put", "no/tree/x", "v")
        again = [self.outcome(self.c, method, *params, client=self.who, seq=seq)
                 for seq, (method, params) in enumerate(cases, 1)]
        self.assertEqual(again, first)
        self.assertFalse(self.c.call("exists", "no")["exists"])
        self.assertTrue(self.c.call("exists", "no/none")["exists"])

    def test_other_arguments_under_the_same_number(self):
        self.c.call("put", "args", "v", client=self.who, seq=1)
        for method, params, more in (("put", ["args", "w"], {}), ("put", ["args2", "v"], {}),
                                     ("put", ["args", "v"], {"ttl_ms": 5000}), ("delete", ["args"], {}),
                                     ("atomic_put", ["args", "v", None], {})):
            self.fails("INVALID_ARGUMENT", self.c.call, method, *params, client=self.who, seq=1, **more)
        self.assertEqual(self.c.call("get", "args")["value"], b"v")
        self.assertFalse(self.c.call("exists", "args2")["exists"])

    def test_clients_and_numbers_are_separate(self):
        one = self.c.call("put", "sep", "1", client="one", seq=7)["index"]
        self.assertEqual(self.c.call("put", "sep", "1", client="two", seq=7)["index"], one + 1)
        self.assertEqual(self.c.call("put", "sep", "1", client="one", seq=8)["index"], one + 2)
        self.assertEqual(self.c.call("put", "sep", "1", client="one", seq=6)["index"], one + 3)

    def test_both_or_neither_and_their_ranges(self):
        for options in ({"client": "x"}, {"seq": 1}, {"client": "x", "seq": None}, {"client": None, "seq": 1},
                        {"client": "", "seq": 1}, {"client": "x" * 33, "seq": 1}, {"client": 5, "seq": 1},
                        {"client": "x", "seq": 0}, {"client": "x", "seq": -1}, {"client": "x", "seq": 2**53},
                        {"client": "x", "seq": "1"}, {"client": "x", "seq": 1.0}, {"client": "x", "seq": True}):
            for method, params in (("put", ["both", "v"]), ("delete", ["both"]), ("delete_tree", ["both"]),
                                   ("atomic_put", ["both", "v", None]), ("atomic_delete", ["both", 1])):
                with self.subTest(options=options, method=method):
                    self.fails("INVALID_ARGUMENT", self.c.call, method, *params, **options)
        self.assertFalse(self.c.call("exists", "both")["exists"])

    def test_any_bytes_name_a_client(self):
        for name in (b"\xff\x00" * 16, "c", "\u20ac" * 10, b"\x00"):
            first = self.c.call("put", "names", "v", client=name, seq=2**53 - 1)
            self.assertEqual(self.c.call("put", "names", "v", client=name, seq=2**53 - 1), first)

    def test_the_last_1024_answers_are_kept(self):
        sent = [self.c.send("put", f"kept/{i}", "v", {"client": self.who, "seq": i})
                for i in range(1, 1025)]
        first = [self.c.answer(msgid) for msgid in sent]
        sent = [self.c.send("put", f"kept/{i}", "v", {"client": self.who, "seq": i})
                for i in range(1, 1025)]
        self.assertEqual([self.c.answer(msgid) for msgid in sent], first)

    def test_repetitions_in_one_pipeline(self):
        options = {"client": self.who, "seq": 1}
        sent = [self.c.send("put", "pipe", "v", options) for _ in range(50)]
        answers = [self.c.answer(msgid) for msgid in sent]
        self.assertEqual(answers, answers[:1] * 50)
        self.assertEqual(self.c.call("ping")["revision"], answers[0]["revision"])

    def test_over_a_restart(self):
        node = self.node("restarted")
        first = node.call("put", "k", "1", client="me", seq=1)
        refused = self.outcome(self.client(node), "atomic_put", "k", "2", None, client="me", seq=2)
        node.crash()
        node.start()
        node.call("delete", "k")
        client = self.client(node)
        self.assertEqual(client.call("put", "k", "1", client="me", seq=1), first)
        self.assertEqual(self.outcome(client, "atomic_put", "k", "2", None, client="me", seq=2), refused)
        self.assertFalse(client.call("exists", "k")["exists"])


if __name__ == "__main__":
    unittest.main()
