"""Drax beside etcd and ZooKeeper: the same work on the same machine, in turns, and what it must come to.

    compare.py [--peers DIR] [--rows NAME,...|all] [--seconds S] [--rounds N] [--keys N] [--write]

DIR holds load generators for the peers, `etcdload` and `zkload` (docs/HACKING.md, "Speed"); without it, or without a
peer's Debian package, that peer is left out. --rows names rows of rows.py; without it all are measured but those that
take long to set up. A row that fails or takes too long is left out, said so, and makes the exit code 1.
--write keeps the figures in docs/performance.json, beside those of other rows that are there, and renews
docs/PERFORMANCE.md and docs/performance.svg from all of them.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import report
from measure import Measure
from peers import Etcd, ZooKeeper, packages_missing
from plot import plot_svg
from rows import ROWS
from store import Drax

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
KEPT = DOCS / "performance.json"


def kinds_there(peers):
    """Drax, and each peer that is there."""
    kinds = [Drax]
    for kind in (Etcd, ZooKeeper):
        missing = [name for name in packages_missing() if kind.name in name]
        if missing:
            print(f"{kind.name}: left out, package {missing[0]} is not installed", file=sys.stderr)
        elif not peers or not os.access(os.path.join(peers, kind.program), os.X_OK):
            print(f"{kind.name}: left out, no {kind.program} in --peers", file=sys.stderr)
        else:
            kinds.append(kind)
    return kinds


class TooLong(Exception):
    """A row's time is up."""


@contextlib.contextmanager
def limited(seconds):
    """TooLong in the body after so many seconds."""
    def over(*_):
        raise TooLong(f"more than {seconds} s")
    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def rows_chosen(names):
    if names == "all":
        return ROWS
    if names is None:
        return [row for row in ROWS if not row.long]
    unknown = set(names.split(",")) - {row.name for row in ROWS}
    if unknown:
        raise SystemExit(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if row.name in names.split(",")]


def measured(rows, measure, setting):
    """{row: {setting, figures}} of those that could be measured."""
    found = {}
    for row in rows:
        begin = time.monotonic()
        if row.alone:
            measure.shared_close()
        try:
            with limited(row.limit_s):
                figures = measure.row(row)
        except (AssertionError, TooLong, OSError, subprocess.SubprocessError) as problem:
            print(f"{row.name}: {problem}", file=sys.stderr)
            measure.shared_close()
            continue
        found[row.name] = {**setting, "plan": row.plan, "figures": figures}
        print(f"{time.monotonic() - begin:4.0f} s  {report.summary(row, figures)}", file=sys.stderr)
    return found


def document_write(found):
    found = {row.name: found[row.name] for row in ROWS if row.name in found}
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (DOCS / "PERFORMANCE.md").write_text(report.markdown(found), encoding="utf-8")
    (DOCS / "performance.svg").write_text(plot_svg(found), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="directory of the peers' load generators")
    parser.add_argument("--rows", help="names, with commas between them, or `all`: " + ", ".join(row.name for row in ROWS))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=100000, help="in the rows that do not say how many")
    parser.add_argument("--million", type=int, help="keys in the row `million`, instead of 1,000,000")
    parser.add_argument("--grown", type=int, help="keys in the row `keys`, instead of 10,000,000")
    parser.add_argument("--write", action="store_true", help="renew the figures kept in docs/")
    arguments = parser.parse_args()
    sizes = {"million": arguments.million, "keys": arguments.grown}
    rows = [dataclasses.replace(row, plan={"keys": sizes[row.name]}) if sizes.get(row.name) else row
            for row in rows_chosen(arguments.rows)]
    setting = report.setting(arguments)
    with Measure(kinds_there(arguments.peers), arguments.peers, arguments.rounds, arguments.seconds, arguments.keys) as measure:
        found = measured(rows, measure, setting)
    if arguments.write:
        before = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
        document_write({**before, **found})
    print(report.markdown(found))
    return 0 if len(found) == len(rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
