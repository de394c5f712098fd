"""Contract section 2, many keys: list, range, delete_tree: directories, order, paging, the cut."""

import unittest

from harness import EmptyServerTestCase
from wire import key_bytes, pair_keys

MIB = 1 << 20


class ListTest(EmptyServerTestCase):
    def put(self, *keys):
        sent = [self.c.send("put", key, key) for key in keys]
        return [self.c.answer(msgid)["index"] for msgid in sent]

    def keys(self, *params, **options):
        return [key.decode() for key in pair_keys(self.c.call(*params, **options))]


class Directories(ListTest):
    def test_pairs(self):
        indices = self.put("d/b", "d/a")
        result = self.c.call("list", "d")
        self.assertEqual(result, {"pairs": [
            {"key": "d/a", "value": b"d/a", "index": indices[1]},
            {"key": "d/b", "value": b"d/b", "index": indices[0]}],
            "more": False, "revision": indices[1]})

    def test_keys_come_as_in_get(self):
        self.put(b"d/\xff", "d/\u20ac")
        self.assertEqual([p["key"] for p in self.c.call("list", "d")["pairs"]], ["d/\u20ac", b"d/\xff"])
        self.assertTrue(all(type(p["value"]) is bytes for p in self.c.call("list", "d")["pairs"]))

    def test_a_name_never_reaches_a_longer_one(self):
        self.put("foo/1", "foobar/1", "foobar", "foo0", "foo.", "foo")
        for name in ("foo", "foo/", b"foo"):
            self.assertEqual(self.keys("list", name), ["foo/1"])

    def test_recursive_and_sorted_by_bytes(self):
        names = ["d/a", "d/a/b", "d/a/b/c", "d/a0", "d/B", "d/\u00e9", "d/z", "d/a-", "d/a.b", "d/10", "d/9"]
        self.put(*names)
        self.assertEqual(self.keys("list", "d"), sorted(names, key=str.encode))

    def test_the_key_itself_is_left_out(self):
        self.put("d", "d/", "d/x")
        self.assertEqual(self.keys("list", "d"), ["d/", "d/x"])
        self.assertEqual(self.keys("list", "d/"), ["d/", "d/x"])

    def test_one_trailing_slash_is_dropped_not_two(self):
        self.put("d/x", "d//y", "d//")
        self.assertEqual(self.keys("list", "d/"), ["d//", "d//y", "d/x"])
        self.assertEqual(self.keys("list", "d//"), ["d//", "d//y"])
        self.assertEqual(self.keys("list", "d///"), [])  # the key "d//", with nothing under it
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "d////")

    def test_empty_and_slash_are_the_whole_store(self):
        names = ["/", "/a", "a", "a/b", "\u20ac", "z"]
        self.put(*names)
        for name in ("", b"", "/", b"/"):
            self.assertEqual(self.keys("list", name), sorted(names, key=str.encode))

    def test_nothing_under_it(self):
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "")
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "/")
        self.put("key", "other/x")
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "none")
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "othe")
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "none", stale=True)
        empty = self.c.call("list", "key")
        self.assertEqual((empty["pairs"], empty["more"]), ([], False))

    def test_keys_only(self):
        index = self.put("d/a")[0]
        self.assertEqual(self.c.call("list", "d", keys_only=True)["pairs"], [{"key": "d/a", "index": index}])
        self.assertIn("value", self.c.call("list", "d", keys_only=False)["pairs"][0])

    def test_stale(self):
        self.put("d/a")
        self.assertEqual(self.c.call("list", "d", stale=True), self.c.call("list", "d"))


class Paging(ListTest):
    def setUp(self):
        super().setUp()
        self.names = [f"p/{i:03}" for i in range(25)]
        self.put(*self.names, "p", "q/1")

    def test_limit_and_more(self):
        for limit in (1, 24):
            result = self.c.call("list", "p", limit=limit)
            self.assertEqual((pair_keys(result), result["more"]),
                             ([name.encode() for name in self.names[:limit]], True))
        for limit in (0, 25, 26, 2**31, 2**53 - 1):
            result = self.c.call("list", "p", limit=limit)
            self.assertEqual((len(result["pairs"]), result["more"]), (25, False), limit)

    def test_after_is_a_whole_key_and_not_included(self):
        self.assertEqual(self.keys("list", "p", after="p/003"), self.names[4:])
        self.assertEqual(self.keys("list", "p", after=b"p/003", limit=2), self.names[4:6])

    def test_after_need_not_exist_or_be_inside(self):
        self.assertEqual(self.keys("list", "p", after="p/003x"), self.names[4:])
        self.assertEqual(self.keys("list", "p", after="a"), self.names)
        self.assertEqual(self.keys("list", "p", after="p"), self.names)

    def test_a_page_that_begins_past_the_end_is_empty(self):
        for after in ("p/024", "p/9", "q", "zzz", b"\xff\xff"):
            result = self.c.call("list", "p", after=after)
            self.assertEqual((result["pairs"], result["more"]), ([], False))
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "none", after="none/1")

    def test_pages_give_everything_once(self):
        for limit in (1, 7, 24, 25):
            seen, after, more = [], None, True
            while more:
                result = self.c.call("list", "p", limit=limit, after=after)
                seen += pair_keys(result)
                after, more = result["pairs"][-1]["key"], result["more"]
            self.assertEqual(seen, [name.encode() for name in self.names])

    def test_pages_over_the_whole_store(self):
        seen, after, more = [], None, True
        while more:
            result = self.c.call("list", "", limit=5, after=after)
            seen += pair_keys(result)
            after, more = result["pairs"][-1]["key"], result["more"]
        self.assertEqual(seen, sorted(name.encode() for name in [*self.names, "p", "q/1"]))


class Cut(ListTest):
    """Without limit an answer is cut at about 1 MiB of pairs."""

    def check_pages(self, size, count, method):
        names = [b"cut/%04d" % i for i in range(count)]
        sent = [self.c.send("put", name, name + b"x" * (size - len(name))) for name in names]
        for msgid in sent:
            self.c.answer(msgid)
        seen, start, pages = [], None, 0
        more = True
        while more:
            if method == "list":
                result = self.c.call("list", "cut", after=start)
                start = result["pairs"][-1]["key"]
            else:
                result = self.c.call("range", start or "cut/", "cut0", limit=0)
                start = key_bytes(result["pairs"][-1]["key"]) + b"\0"
                self.assertEqual(result["count"], count - len(seen))
            more = result["more"]
            total = sum(len(key_bytes(p["key"])) + len(p["value"]) for p in result["pairs"])
            self.assertTrue(total <= MIB * 1.25 or len(result["pairs"]) == 1, total)
            self.assertTrue(not more or total >= min(MIB * 0.75, MIB - size), total)
            self.assertTrue(all(p["value"].startswith(key_bytes(p["key"])) for p in result["pairs"]))
            seen += pair_keys(result)
            pages += 1
        self.assertEqual(seen, names)
        return pages

    def test_list_small_pairs(self):
        self.assertGreaterEqual(self.check_pages(4096, 600, "list"), 2)

    def test_range_small_pairs(self):
        self.assertGreaterEqual(self.check_pages(4096, 600, "range"), 2)

    def test_list_values_near_and_beyond_the_cut(self):
        self.assertEqual(self.check_pages(1500000, 3, "list"), 3)
        self.check_pages(600000, 4, "list")

    def test_range_backwards(self):
        names = [b"cut/%04d" % i for i in range(8)]
        for name in names:
            self.c.call("put", name, b"x" * 300000)
        seen, end, more = [], "cut0", True
        while more:
            result = self.c.call("range", "cut/", end, reverse=True)
            seen += pair_keys(result)
            end, more = result["pairs"][-1]["key"], result["more"]
        self.assertEqual(seen, names[::-1])

    def test_keys_only_counts_no_values(self):
        self.check_pages(600000, 4, "list")
        result = self.c.call("list", "cut", keys_only=True)
        self.assertEqual((len(result["pairs"]), result["more"]), (4, False))


class Range(ListTest):
    def setUp(self):
        super().setUp()
        self.names = ["a", "b", "b/1", "b/2", "c", "\u20ac"]
        self.indices = self.put(*self.names)

    def test_answer(self):
        result = self.c.call("range", "b", "b/2")
        self.assertEqual(result, {"pairs": [{"key": "b", "value": b"b", "index": self.indices[1]},
                                            {"key": "b/1", "value": b"b/1", "index": self.indices[2]}],
                                  "count": 2, "more": False, "revision": self.indices[-1]})

    def test_start_is_included_and_end_is_not(self):
        self.assertEqual(self.keys("range", "b", "c"), ["b", "b/1", "b/2"])
        self.assertEqual(self.keys("range", b"b\0", "c\0"), ["b/1", "b/2", "c"])

    def test_an_empty_end_means_to_the_last_key(self):
        self.assertEqual(self.keys("range", "b/2", ""), ["b/2", "c", "\u20ac"])
        self.assertEqual(self.keys("range", "a", b""), self.names)

    def test_an_empty_start_means_from_the_first_key(self):
        self.assertEqual(self.keys("range", "", ""), self.names)
        self.assertEqual(self.keys("range", "", "b/1"), ["a", "b"])

    def test_nothing_in_it_is_not_an_error(self):
        for start, end in (("x", "y"), ("b", "b"), ("c", "a"), (b"\xff", "")):
            result = self.c.call("range", start, end)
            self.assertEqual((result["pairs"], result["count"], result["more"]), ([], 0, False))

    def test_limit_and_count(self):
        result = self.c.call("range", "a", "d", limit=2)
        self.assertEqual((pair_keys(result), result["count"], result["more"]), ([b"a", b"b"], 5, True))
        result = self.c.call("range", "a", "d", limit=5)
        self.assertEqual((len(result["pairs"]), result["count"], result["more"]), (5, 5, False))
        result = self.c.call("range", "a", "d", limit=0)
        self.assertEqual((len(result["pairs"]), result["more"]), (5, False))

    def test_reverse(self):
        self.assertEqual(self.keys("range", "b", "c", reverse=True), ["b/2", "b/1", "b"])
        self.assertEqual(self.keys("range", "a", "", reverse=True), self.names[::-1])
        result = self.c.call("range", "a", "d", reverse=True, limit=2)
        self.assertEqual((pair_keys(result), result["count"], result["more"]), ([b"c", b"b/2"], 5, True))

    def test_count_only(self):
        for options in ({}, {"limit": 1}, {"reverse": True}):
            result = self.c.call("range", "a", "", count_only=True, **options)
            self.assertEqual((result["count"], result["pairs"]), (6, []))

    def test_keys_only(self):
        result = self.c.call("range", "a", "b", keys_only=True)
        self.assertEqual(result["pairs"], [{"key": "a", "index": self.indices[0]}])

    def test_stale(self):
        self.assertEqual(self.c.call("range", "a", "", stale=True), self.c.call("range", "a", ""))

    def test_slash_means_nothing(self):
        self.assertEqual(self.keys("range", "b", "b0"), ["b", "b/1", "b/2"])


class DeleteTree(ListTest):
    def test_leaves_the_key_and_its_neighbours(self):
        self.put("d", "d/a", "d/b/c", "d0", "dd/x", "d/", "d//x")
        self.assertEqual(self.c.call("delete_tree", "d")["deleted"], 4)
        self.assertEqual(self.keys("list", ""), ["d", "d0", "dd/x"])

    def test_trailing_slash(self):
        self.put("d/a", "d//b")
        self.assertEqual(self.c.call("delete_tree", "d//")["deleted"], 1)
        self.assertEqual(self.c.call("delete_tree", "d/")["deleted"], 1)

    def test_whole_store(self):
        for name in ("", "/"):
            self.put("a", "/", "b/c", b"\xff\xff")
            self.assertEqual(self.c.call("delete_tree", name)["deleted"], 4)
            self.fails("KEY_NOT_FOUND", self.c.call, "list", "")

    def test_nothing_there(self):
        self.put("d")
        self.fails("KEY_NOT_FOUND", self.c.call, "delete_tree", "d")
        self.fails("KEY_NOT_FOUND", self.c.call, "delete_tree", "none")
        self.assertTrue(self.c.call("exists", "d")["exists"])

    def test_many(self):
        self.put(*[f"many/{i}" for i in range(5000)])
        before = self.c.call("ping")["revision"]
        self.assertEqual(self.c.call("delete_tree", "many"), {"deleted": 5000, "revision": before + 1})


if __name__ == "__main__":
    unittest.main()
