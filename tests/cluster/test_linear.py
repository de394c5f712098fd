"""The checker must find what is wrong, or test_chaos proves nothing."""

import itertools
import random
import unittest

from linear import INFINITY, OK, REFUSED, UNKNOWN, Op, linearizable, revisions_monotonic, step


def put(value, invoked, returned):
    return Op("put", invoked, returned, value, OK if returned != INFINITY else UNKNOWN)


def get(value, invoked, returned):
    return Op("get", invoked, returned, value)


def swap(previous, value, invoked, returned, result=OK):
    return Op("swap", invoked, returned, value, result, previous)


class Good(unittest.TestCase):
    def good(self, *history):
        for order in itertools.islice(itertools.permutations(history), 50):
            self.assertTrue(linearizable(list(order)))

    def test_empty(self):
        self.good()

    def test_one_after_the_other(self):
        self.good(get(None, 0, 1), put("a", 2, 3), get("a", 4, 5), put("b", 6, 7), get("b", 8, 9))

    def test_overlapping_writes_in_either_order(self):
        self.good(put("a", 0, 5), put("b", 1, 4), get("a", 6, 7))
        self.good(put("a", 0, 5), put("b", 1, 4), get("b", 6, 7))

    def test_reads_during_a_write_see_old_then_new(self):
        self.good(put("a", 0, 1), put("b", 2, 9), get("a", 3, 4), get("b", 5, 6))

    def test_an_unknown_write_may_happen_late_or_never(self):
        self.good(put("a", 0, 1), put("b", 2, INFINITY), get("a", 3, 4), get("b", 50, 51))
        self.good(put("a", 0, 1), put("b", 2, INFINITY), get("a", 3, 4), get("a", 50, 51))

    def test_swap_create_delete(self):
        self.good(Op("create", 0, 1, "a"), Op("create", 2, 3, "x", REFUSED), swap("a", "b", 4, 5),
                  swap("a", "c", 6, 7, REFUSED), Op("delete", 8, 9), Op("delete", 10, 11, None, REFUSED),
                  swap("b", "d", 12, 13, REFUSED), get(None, 14, 15))

    def test_an_unknown_swap(self):
        self.good(put("a", 0, 1), swap("a", "b", 2, INFINITY, UNKNOWN), swap("a", "c", 3, 4, REFUSED),
                  get("b", 5, 6))
        self.good(put("a", 0, 1), swap("a", "b", 2, INFINITY, UNKNOWN), swap("a", "c", 3, 4),
                  get("c", 5, 6))


class Bad(unittest.TestCase):
    def bad(self, *history):
        for order in itertools.islice(itertools.permutations(history), 50):
            self.assertFalse(linearizable(list(order)))

    def test_a_lost_write(self):
        self.bad(put("a", 0, 1), get(None, 2, 3))
        self.bad(put("a", 0, 1), put("b", 2, 3), get("a", 4, 5))

    def test_a_stale_read(self):
        self.bad(put("a", 0, 1), put("b", 2, 3), get("b", 4, 5), get("a", 6, 7))

    def test_reads_during_a_write_see_new_then_old(self):
        self.bad(put("a", 0, 1), put("b", 2, 9), get("b", 3, 4), get("a", 5, 6))

    def test_a_value_from_nowhere(self):
        self.bad(put("a", 0, 1), get("b", 2, 3))

    def test_a_value_before_it_was_written(self):
        self.bad(get("a", 0, 1), put("a", 2, 3))

    def test_an_unknown_write_seen_and_gone(self):
        self.bad(put("a", 0, 1), put("b", 2, INFINITY), get("b", 3, 4), get("a", 5, 6))

    def test_an_unknown_write_before_it_was_invoked(self):
        self.bad(put("a", 0, 1), get("b", 2, 3), put("b", 4, INFINITY))

    def test_two_swaps_of_one_value_both_succeed(self):
        self.bad(put("a", 0, 1), swap("a", "b", 2, 5), swap("a", "c", 3, 4))

    def test_two_creates_both_succeed(self):
        self.bad(Op("create", 0, 3, "a"), Op("create", 1, 2, "b"))

    def test_a_refusal_without_a_reason(self):
        self.bad(put("a", 0, 1), swap("a", "b", 2, 3, REFUSED))
        self.bad(Op("create", 0, 1, "a", REFUSED))
        self.bad(put("a", 0, 1), Op("delete", 2, 3, None, REFUSED))

    def test_a_write_applied_again_later(self):
        self.bad(put("a", 0, 1), put("b", 2, 3), get("b", 4, 5), get("a", 6, 7), get("a", 8, 9))

    def test_two_readers_disagree_on_the_order(self):
        self.bad(put("a", 0, 9), put("b", 0, 9), get("a", 10, 11), get("b", 12, 13))


class Random(unittest.TestCase):
    """Histories made from a true order are good; the same with one read falsified are bad."""

    def history(self, rng, count):
        state, ops = None, []
        for i in range(count):
            kind = rng.choice(("get", "get", "put", "create", "swap", "delete"))
            op = Op(kind, i - rng.uniform(0, 3), i + rng.uniform(0.01, 3), client=i)
            op.value = state if kind == "get" else f"v{i}"
            op.previous = state if rng.random() < 0.7 else f"v{rng.randrange(count)}"
            op.result = UNKNOWN
            after = step(op, state)[1]
            if kind in ("create", "swap", "delete"):
                op.result = OK if after != state else REFUSED
            else:
                op.result = OK
            state = after
            if kind != "get" and rng.random() < 0.1:
                op.returned, op.result = INFINITY, UNKNOWN
            ops.append(op)
        return ops

    def test_random(self):
        rng = random.Random(1)
        for _ in range(300):
            ops = self.history(rng, rng.randrange(1, 40))
            self.assertTrue(linearizable(ops), ops)
            reads = [op for op in ops if op.kind == "get"]
            if reads:
                rng.choice(reads).value = "never written"
                self.assertFalse(linearizable(ops), ops)


class Revisions(unittest.TestCase):
    def test_good(self):
        self.assertIsNone(revisions_monotonic([]))
        self.assertIsNone(revisions_monotonic([(0, 1, 5), (2, 3, 5), (2, 9, 4 + 2), (4, 5, 7)]))
        self.assertIsNone(revisions_monotonic([(0, 5, 9), (1, 2, 4), (6, 7, 9)]))

    def test_bad(self):
        self.assertIsNotNone(revisions_monotonic([(0, 1, 5), (2, 3, 4)]))
        self.assertIsNotNone(revisions_monotonic([(0, 9, 5), (1, 2, 7), (3, 4, 6)]))


if __name__ == "__main__":
    unittest.main()
