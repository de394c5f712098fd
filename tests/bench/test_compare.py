"""The comparison with other stores: its goals, its document, and each kind of row once, small and with Drax alone."""

import dataclasses
import unittest
import unittest.mock
import xml.etree.ElementTree

import report
from measure import Measure
from plot import plot_svg
from rows import ROWS, Line
from store import Drax, NotMeasured

SMALL = {"large": {}, "watch": {"rate": 1000, "watchers": 5, "connections": 2}, "idle": {"what": "watches", "count": 400},
         "servers": {"count": 1}, "million": {"keys": 1000}, "keys": {"keys": 1000}}
SHORT = {"FAILOVERS": 1, "RESTARTS": 1, "WARM_S": 0.1, "SMALL_KEYS": 500}
SETTING = {"date": "2000-01-01", "machine": "none", "rounds": 1, "seconds": 1, "keys": 1}


def made_up(row):
    """Figures of a row in which all are one, and so are all ratios."""
    own = {"rate": 1, "p50_us": 1, "p99_us": 1, "cpu_us": 1, "client_us": 1, "took_s": 1, "disk_mb": 1, "memory_mb": 1}
    figures = {**own, **{name + "_spread": [1, 1] for name in own}}
    names = ("drax", "base") if "base" in row.lines[0].must else ("drax", "etcd", "zookeeper")
    return {**SETTING, "plan": row.plan, "figures": {name: dict(figures) for name in names}}


class TestGoals(unittest.TestCase):
    def test_bounds(self):
        more = Line("", "rate", "/s", {"etcd": 3, "zookeeper": 2})
        for own, kept in ((300, True), (299, False)):
            peers = {"etcd": {"rate": 100}, "zookeeper": {"rate": 1}}
            self.assertIs(more.kept(more.must, {"drax": {"rate": own}, **peers}), kept)
        peers["zookeeper"]["rate"] = 151
        self.assertFalse(more.kept(more.must, {"drax": {"rate": 300}, **peers}))
        less = Line("", "p50_us", "us", {"etcd": 0.5}, less=True)
        for own, kept in ((50, True), (51, False)):
            self.assertIs(less.kept(less.must, {"drax": {"p50_us": own}, "etcd": {"p50_us": 100}}), kept)
        alone = Line("", "took_s", "s", {"": 0.5}, less=True)
        for own, kept in ((0.5, True), (0.6, False)):
            self.assertIs(alone.kept(alone.must, {"drax": {"took_s": own}}), kept)

    def test_a_peer_that_was_not_there(self):
        line = Line("", "rate", "/s", {"etcd": 3})
        self.assertIsNone(line.kept(line.must, {"drax": {"rate": 300}}))


class TestDocument(unittest.TestCase):
    def test_all_rows(self):
        found = {row.name: made_up(row) for row in ROWS}
        text = report.markdown(found)
        verdicts = {}
        for row in ROWS:
            for line, title in row.titles(row.plan):
                kept = next(at for at in text.splitlines() if at.startswith(f"| {title} |")).split(" | ")[-1]
                verdicts.setdefault(kept.rstrip(" |"), []).append(line.figure)
        self.assertEqual(set(verdicts), {"**no**", "must", "aim", "-"})
        self.assertEqual(len(verdicts["-"]), sum(not line.must for row in ROWS for line in row.lines))
        self.assertEqual(verdicts["aim"], ["disk_mb", "memory_mb"])  # one megabyte is less than what they may have
        self.assertNotIn("not measured", text)
        self.assertGreater(len(list(xml.etree.ElementTree.fromstring(plot_svg(found)))), 3 * len(ROWS))

    def test_a_part_of_the_rows(self):
        text = report.markdown({"put1": made_up(ROWS[0])})
        self.assertEqual(text.count("| not measured |"), sum(len(row.lines) for row in ROWS) - 1)
        xml.etree.ElementTree.fromstring(plot_svg({"put1": made_up(ROWS[0])}))


class Fails(Drax):
    """No servers, and no work that succeeds."""

    def __init__(self, problem):
        self.problem = problem

    def cpu_s(self):
        return 0

    def work(self):
        raise self.problem


class TestFailures(unittest.TestCase):
    def test_a_peer_is_left_out_and_drax_is_not(self):
        measure = Measure([], None, rounds=2, seconds=1, keys=1)
        stores = {"etcd": Fails(AssertionError("meant")), "zookeeper": Fails(NotMeasured())}
        self.assertEqual(measure.rounds(stores, Fails.work), {})
        with self.assertRaises(AssertionError):
            measure.rounds({"drax": Fails(AssertionError("meant"))}, Fails.work)


class TestRows(unittest.TestCase):
    def test_each_kind(self):
        found = {}
        with Measure([Drax], None, rounds=1, seconds=0.2, keys=500) as measure:
            for row in {row.kind: row for row in ROWS}.values():
                row = dataclasses.replace(row, plan={**row.plan, **SMALL.get(row.kind, {})})
                with self.subTest(row.name), unittest.mock.patch.multiple("measure", **SHORT):
                    figures = measure.row(row)
                    for line in row.lines:
                        self.assertGreater(figures["drax"][line.figure], 0)
                    found[row.name] = {**SETTING, "plan": row.plan, "figures": figures}
        report.markdown(found)


if __name__ == "__main__":
    unittest.main()
