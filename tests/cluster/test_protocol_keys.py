"""Contract section 2, single keys: get put delete exists atomic_put atomic_delete ping status
member_list, what they accept, what they answer, and what happens to revision and index."""

import unittest

from harness import ServerTestCase
from wire import pair_keys

MAX_INTEGER = 2**53


class KeysTest(ServerTestCase):
    def revision(self):
        return self.c.call("ping")["revision"]


class Answers(KeysTest):
    def test_ping(self):
        result = self.c.call("ping")
        self.assertEqual(set(result), {"version", "node", "revision"})
        self.assertIsInstance(result["version"], str)
        self.assertTrue(result["version"])
        self.assertIsInstance(result["revision"], int)
        self.assertEqual(result["node"], self.c.call("status")["node"])

    def test_put_and_get(self):
        put = self.c.call("put", "a", "hello")
        self.assertEqual(set(put), {"index", "revision"})
        self.assertEqual(put["index"], put["revision"])
        got = self.c.call("get", "a")
        self.assertEqual(got, {"key": "a", "value": b"hello", "index": put["index"],
                               "revision": put["revision"]})

    def test_values_come_back_as_bin_whatever_they_were(self):
        for value in ("text", "\u20ac", b"bin", b"", "", b"\x00\xff\xfe", b"x" * 100000):
            self.c.call("put", "v", value)
            got = self.c.call("get", "v")["value"]
            self.assertIs(type(got), bytes)
            self.assertEqual(got, value.encode() if isinstance(value, str) else value)

    def test_str_and_bin_name_the_same_key(self):
        self.c.call("put", b"same", "1")
        self.assertEqual(self.c.call("get", "same")["value"], b"1")
        self.c.call("put", "same", "2")
        self.assertEqual(self.c.call("get", b"same")["value"], b"2")

    def test_keys_come_back_as_str_when_utf8_else_bin(self):
        for sent, back in (("plain", "plain"), (b"plain", "plain"), ("\u20ac\U0001f600", "\u20ac\U0001f600"),
                           ("\u20ac".encode(), "\u20ac"), (b"nul\x00", "nul\x00"), (b"\xff\xfe", b"\xff\xfe"),
                           (b"half\xe2\x82", b"half\xe2\x82"), (b"\xed\xa0\x80", b"\xed\xa0\x80"),
                           (b"\xc0\x80", b"\xc0\x80"), (b"\xf4\x90\x80\x80", b"\xf4\x90\x80\x80")):
            with self.subTest(key=sent):
                self.c.call("put", sent, "v")
                got = self.c.call("get", sent)["key"]
                self.assertIs(type(got), type(back))
                self.assertEqual(got, back)
                pair = self.c.call("range", sent, sent + ("\0" if isinstance(sent, str) else b"\0"))
                self.assertEqual(pair["pairs"][0]["key"], back)

    def test_missing_keys(self):
        for method, rest in (("get", []), ("delete", []), ("atomic_delete", [1])):
            error = self.fails("KEY_NOT_FOUND", self.c.call, method, "missing", *rest)
            self.assertTrue(error.text)
        self.assertIs(self.c.call("exists", "missing")["exists"], False)

    def test_exists(self):
        revision = self.c.call("put", "there", "")["revision"]
        self.assertEqual(self.c.call("exists", "there"), {"exists": True, "revision": revision})
        self.assertEqual(self.c.call("exists", "not/there"), {"exists": False, "revision": revision})

    def test_delete(self):
        revision = self.c.call("put", "gone", "v")["revision"]
        self.assertEqual(self.c.call("delete", "gone"), {"revision": revision + 1})
        self.fails("KEY_NOT_FOUND", self.c.call, "get", "gone")
        self.fails("KEY_NOT_FOUND", self.c.call, "delete", "gone")

    def test_stale_reads_of_a_leader(self):
        index = self.c.call("put", "stale", "v")["index"]
        self.assertEqual(self.c.call("get", "stale", stale=True)["index"], index)
        self.assertTrue(self.c.call("exists", "stale", stale=True)["exists"])
        self.assertFalse(self.c.call("exists", "stale/none", stale=True)["exists"])
        self.fails("KEY_NOT_FOUND", self.c.call, "get", "stale/none", stale=True)
        self.assertEqual(self.c.call("get", "stale", stale=False)["index"], index)

    def test_slashes_are_bytes_like_any_other(self):
        names = ("a", "a/", "a//", "/a", "/", "//")
        for name in names:
            self.c.call("put", name, name)
        for name in names:
            self.assertEqual(self.c.call("get", name)["value"], name.encode())
        self.c.call("delete", "a/")
        self.assertTrue(self.c.call("exists", "a")["exists"])
        self.assertTrue(self.c.call("exists", "a//")["exists"])

    def test_status(self):
        status = self.c.call("status")
        self.assertLessEqual({"cluster", "node", "role", "leader", "term", "revision", "commit",
                              "applied", "members"}, set(status))
        self.assertEqual(status["role"], "leader")
        self.assertEqual(status["leader"], status["node"])
        for name in ("term", "revision", "commit", "applied"):
            self.assertIsInstance(status[name], int)
        self.assertGreaterEqual(status["term"], 1)
        self.assertLessEqual(status["applied"], status["commit"])
        self.assertEqual(status["members"], [{"id": status["node"], "addr": self.server.addr,
                                              "raft_addr": self.server.raft_addr, "role": "voter"}])

    def test_member_list(self):
        result = self.c.call("member_list")
        self.assertEqual(set(result), {"members", "revision"})
        self.assertEqual(result["members"], self.c.call("status")["members"])


class Revisions(KeysTest):
    def test_grows_by_one_with_every_change(self):
        before = self.revision()
        for i, (method, params) in enumerate((
                ("put", ["r/a", "1"]), ("put", ["r/a", "1"]), ("atomic_put", ["r/b", "1", None]),
                ("delete", ["r/a"]), ("put", ["r/c", "1"]), ("delete_tree", ["r"]))):
            self.assertEqual(self.c.call(method, *params)["revision"], before + i + 1, method)
        self.assertEqual(self.revision(), before + 6)

    def test_starts_low_and_counts_from_the_empty_store(self):
        # A store that nobody wrote to has seen no change.
        node = self.node("fresh")
        client = self.client(node)
        self.assertEqual(client.call("ping")["revision"], 0)
        self.assertEqual(client.call("put", "k", "v"), {"index": 1, "revision": 1})
        self.assertEqual(client.call("exists", "k")["revision"], 1)

    def test_all_changes_of_a_delete_tree_share_one(self):
        for i in range(10):
            self.c.call("put", f"share/{i}", "v")
        before = self.revision()
        self.assertEqual(self.c.call("delete_tree", "share"), {"deleted": 10, "revision": before + 1})
        self.assertEqual(self.revision(), before + 1)

    def test_requests_that_change_nothing(self):
        index = self.c.call("put", "still", "v")["index"]
        before = self.revision()
        for code, method, params in (
                ("KEY_NOT_FOUND", "delete", ["still/none"]), ("KEY_NOT_FOUND", "get", ["still/none"]),
                ("KEY_NOT_FOUND", "delete_tree", ["still"]), ("KEY_NOT_FOUND", "list", ["still/none"]),
                ("KEY_EXISTS", "atomic_put", ["still", "w", None]),
                ("KEY_MODIFIED", "atomic_put", ["still", "w", index + 1]),
                ("KEY_MODIFIED", "atomic_put", ["still/none", "w", 1]),
                ("KEY_MODIFIED", "atomic_delete", ["still", index + 1]),
                ("KEY_NOT_FOUND", "atomic_delete", ["still/none", 1]),
                ("PREVIOUS_NOT_SPECIFIED", "atomic_delete", ["still", None]),
                ("INVALID_ARGUMENT", "put", ["still", 5])):
            with self.subTest(method=method, params=params):
                self.fails(code, self.c.call, method, *params)
        for method, params in (("get", ["still"]), ("exists", ["still"]), ("list", ["still"]),
                               ("range", ["still", ""]), ("status", []), ("member_list", [])):
            self.c.call(method, *params)
        self.assertEqual(self.revision(), before)
        self.assertEqual(self.c.call("get", "still")["value"], b"v")

    def test_index_is_the_revision_of_the_keys_last_change(self):
        first = self.c.call("put", "i/a", "1")["index"]
        self.c.call("put", "i/b", "1")
        got = self.c.call("get", "i/a")
        self.assertEqual((got["index"], got["revision"]), (first, first + 1))
        again = self.c.call("put", "i/a", "1")["index"]
        self.assertEqual(self.c.call("get", "i/a")["index"], again)
        self.assertEqual([p["index"] for p in self.c.call("list", "i")["pairs"]], [again, first + 1])


class Atomic(KeysTest):
    def test_create(self):
        made = self.c.call("atomic_put", "at/new", "v", None)
        self.assertEqual(made, {"key": "at/new", "value": b"v", "index": made["index"],
                                "revision": made["index"]})
        self.fails("KEY_EXISTS", self.c.call, "atomic_put", "at/new", "w", None)
        self.c.call("delete", "at/new")
        again = self.c.call("atomic_put", "at/new", "w", None)
        self.assertGreater(again["index"], made["index"])

    def test_replace(self):
        index = self.c.call("put", "at/r", "1")["index"]
        result = self.c.call("atomic_put", "at/r", "2", index)
        self.assertEqual(result["index"], index + 1)
        self.assertEqual(self.c.call("get", "at/r")["value"], b"2")
        self.fails("KEY_MODIFIED", self.c.call, "atomic_put", "at/r", "3", index)
        self.fails("KEY_MODIFIED", self.c.call, "atomic_put", "at/r", "3", index + 100)
        self.assertEqual(self.c.call("get", "at/r")["value"], b"2")

    def test_a_key_that_is_gone_or_was_made_again_is_modified(self):
        index = self.c.call("put", "at/g", "1")["index"]
        self.c.call("delete", "at/g")
        self.fails("KEY_MODIFIED", self.c.call, "atomic_put", "at/g", "2", index)
        self.c.call("put", "at/g", "1")
        self.fails("KEY_MODIFIED", self.c.call, "atomic_put", "at/g", "2", index)
        self.fails("KEY_MODIFIED", self.c.call, "atomic_delete", "at/g", index)

    def test_delete(self):
        index = self.c.call("put", "at/d", "1")["index"]
        self.fails("KEY_MODIFIED", self.c.call, "atomic_delete", "at/d", index + 1)
        self.fails("PREVIOUS_NOT_SPECIFIED", self.c.call, "atomic_delete", "at/d", None)
        self.assertEqual(self.c.call("atomic_delete", "at/d", index), {"revision": index + 1})
        self.fails("KEY_NOT_FOUND", self.c.call, "atomic_delete", "at/d", index)

    def test_previous_is_nil_or_an_index_of_one_or_more(self):
        index = self.c.call("put", "at/p", "1")["index"]
        for previous in (0, -1, MAX_INTEGER, 2**63, 1.0, "1", True, [index], {"index": index}):
            with self.subTest(previous=previous):
                self.fails("INVALID_ARGUMENT", self.c.call, "atomic_put", "at/p", "2", previous)
                self.fails("INVALID_ARGUMENT", self.c.call, "atomic_delete", "at/p", previous)
        self.assertEqual(self.c.call("get", "at/p")["index"], index)

    def test_one_of_many_wins(self):
        clients = [self.client(self.server) for _ in range(8)]
        index = self.c.call("put", "at/race", "0")["index"]
        for _ in range(10):
            sent = [client.send("atomic_put", "at/race", str(i), index)
                    for i, client in enumerate(clients)]
            won = []
            for i, client in enumerate(clients):
                try:
                    won.append((i, client.answer(sent[i])["index"]))
                except Exception as error:
                    self.assertEqual(getattr(error, "code", error), "KEY_MODIFIED")
            self.assertEqual(len(won), 1)
            got = self.c.call("get", "at/race")
            self.assertEqual((int(got["value"]), got["index"]), won[0])
            index = won[0][1]


class Arguments(KeysTest):
    # (method, positional, options that are right)
    METHODS = (
        ("ping", [], {}), ("get", ["arg"], {"stale": True}), ("put", ["arg", "v"], {"ttl_ms": 60000}),
        ("delete", ["arg"], {}), ("exists", ["arg"], {"stale": True}),
        ("list", ["arg"], {"keys_only": True, "limit": 1, "after": "arg", "stale": True}),
        ("range", ["arg", ""], {"limit": 1, "reverse": True, "keys_only": True, "count_only": True,
                                "stale": True}),
        ("delete_tree", ["arg"], {}), ("atomic_put", ["arg", "v", None], {"ttl_ms": 60000}),
        ("atomic_delete", ["arg", 1], {}), ("status", [], {}), ("member_list", [], {}))
    WRONG = {"stale": (1, "true", b"", [], 0), "keys_only": (1, "x"), "reverse": (1, "x"),
             "count_only": (1, "x"), "limit": (-1, "1", 1.5, MAX_INTEGER, 2**64 - 1, [], True),
             "after": (1, [], True, {}), "ttl_ms": (0, -1, "1", 1.5, MAX_INTEGER, 2**63, True, [])}

    def check_refused(self, method, params):
        before = self.revision()
        self.fails("INVALID_ARGUMENT", self.c.call, method, *params)
        self.assertEqual(self.revision(), before)

    def test_an_option_that_is_nil_counts_as_absent(self):
        for method, positional, options in self.METHODS:
            with self.subTest(method=method):
                self.c.call("put", "arg/x", "v")
                index = self.c.call("put", "arg", "v")["index"]
                if method == "atomic_put":
                    self.c.call("delete", "arg")
                params = [index if item == 1 else item for item in positional]
                self.c.call(method, *params, dict.fromkeys(options))

    def test_nil_client_and_seq_count_as_absent(self):
        for _ in range(2):
            before = self.revision()
            result = self.c.call("put", "arg", "v", client=None, seq=None)
            self.assertEqual(result["revision"], before + 1)

    def test_an_empty_map_of_options(self):
        self.c.call("put", "arg", "v", {})
        self.c.call("get", "arg", {})
        self.c.call("ping", {})

    def test_unknown_options(self):
        for method, positional, _ in self.METHODS:
            for name in ("nope", "", "Stale", "stale ", "ttl_ms\0", "x" * 5000):
                with self.subTest(method=method, name=name[:10]):
                    self.check_refused(method, [*positional, {name: True}])

    def test_options_of_other_methods_are_unknown(self):
        for method, option in (("get", {"limit": 1}), ("put", {"stale": True}), ("delete", {"ttl_ms": 5}),
                               ("list", {"reverse": True}), ("range", {"after": "a"}),
                               ("ping", {"stale": True}), ("get", {"client": "c", "seq": 1}),
                               ("delete_tree", {"limit": 1}), ("atomic_delete", {"ttl_ms": 1})):
            positional = next(row[1] for row in self.METHODS if row[0] == method)
            with self.subTest(method=method, option=option):
                self.check_refused(method, [*positional, option])

    def test_names_of_options_are_strings(self):
        for name in (1, None, True):
            with self.subTest(name=name):
                self.check_refused("put", ["arg", "v", {name: 1}])

    def test_wrong_values_of_options(self):
        for method, positional, options in self.METHODS:
            for name in options:
                for value in self.WRONG[name]:
                    with self.subTest(method=method, option=name, value=value):
                        self.check_refused(method, [*positional, {name: value}])

    def test_wrong_types_of_positional_arguments(self):
        for method, positional, _ in self.METHODS:
            for i, right in enumerate(positional):
                values = (1.5, True, [], ["arg"]) + ((5, None, {}) if isinstance(right, str) else ())
                for wrong in values:
                    with self.subTest(method=method, argument=i, value=wrong):
                        params = list(positional)
                        params[i] = wrong
                        self.check_refused(method, params)

    def test_too_few_and_too_many_arguments(self):
        for method, positional, _ in self.METHODS:
            with self.subTest(method=method):
                if positional:
                    self.check_refused(method, [])
                    self.check_refused(method, [{}])
                if len(positional) > 1 and method != "atomic_delete":
                    self.check_refused(method, positional[:-1])
                self.check_refused(method, [*positional, "more"])
                self.check_refused(method, [*positional, {}, {}])
                self.check_refused(method, [*positional, {}, "more"])

    def test_ttl_and_lease_at_once(self):
        self.check_refused("put", ["arg", "v", {"ttl_ms": 1000, "lease": 1}])
        self.check_refused("atomic_put", ["arg", "v", None, {"ttl_ms": 1000, "lease": 1}])

    def test_nothing_of_a_refused_write_is_there(self):
        self.c.call("put", "refused/keep", "v")
        self.check_refused("put", ["refused/new", "v", {"nope": 1}])
        self.check_refused("delete", ["refused/keep", {"nope": 1}])
        self.check_refused("delete_tree", ["refused", {"nope": 1}])
        self.assertEqual(pair_keys(self.c.call("list", "refused")), [b"refused/keep"])


if __name__ == "__main__":
    unittest.main()
