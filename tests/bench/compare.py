"""Drax beside etcd and ZooKeeper: the same work on the same machine, in turns, and the ratios between them.

    compare.py [--peers DIR] [--seconds S] [--rounds N] [--keys N] [--write]

DIR holds load generators for the peers, `etcdload` and `zkload`, that take -op, -clients, -conns, -keys, -secs, -warm,
-endpoints and -out; without it, or without a peer's Debian package, that peer is left out. All servers run at
once, three of each, and only one of them has work at a time; rounds alternate between the stores, so that what else
the machine does falls on all of them. --write renews docs/PERFORMANCE.md and docs/performance.svg.
"""

import argparse
import contextlib
import datetime
import os
import pathlib
import platform
import statistics
import sys

from peers import Drax, Etcd, Store, ZooKeeper, packages_missing
from plot import bars_svg

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
# work, clients, connections, what it is called; the first figure is a rate, or p50 with one client
WORKS = [
    ("put", 1, 1, "put, 1 client"),
    ("put", 64, 16, "put, 64 clients"),
    ("put", 256, 32, "put, 256 clients"),
    ("get", 1, 1, "linearizable get, 1 client"),
    ("get", 64, 16, "linearizable get, 64 clients"),
    ("get", 256, 32, "linearizable get, 256 clients"),
    ("sget", 256, 32, "stale get, 256 clients"),
    ("mix", 256, 32, "90% reads, 256 clients"),
]


def stores_open(arguments, stack):
    """Drax, and each peer that is there."""
    kinds = [Drax]
    for kind in (Etcd, ZooKeeper):
        missing = [name for name in packages_missing() if kind.name in name]
        if missing:
            print(f"{kind.name}: left out, package {missing[0]} is not installed", file=sys.stderr)
        elif not arguments.peers or not os.access(os.path.join(arguments.peers, kind.program), os.X_OK):
            print(f"{kind.name}: left out, no {kind.program} in --peers", file=sys.stderr)
        else:
            kinds.append(kind)
    stores = []
    for kind in kinds:
        store = kind() if kind is Drax else kind(arguments.peers)
        stack.callback(store.close)
        stores.append(store)
    return stores


def run(store: Store, work, clients, connections, arguments):
    cpu_s = store.cpu_s()
    found = store.load(work, clients, connections, arguments.keys, arguments.seconds)
    found["cpu_us"] = (store.cpu_s() - cpu_s) * 1e6 / max(found["operations"], 1)
    return found


def measure(stores, arguments):
    """{title: {store: {figure: median of the rounds}}}"""
    table = {}
    for work, clients, connections, title in WORKS:
        runs = {store.name: [] for store in stores}
        for _ in range(arguments.rounds):
            for store in stores:
                runs[store.name].append(run(store, work, clients, connections, arguments))
        table[title] = {name: {figure: statistics.median(one[figure] for one in found) for figure in found[0]}
                        for name, found in runs.items()}
        print(title, {name: round(row["rate"]) for name, row in table[title].items()}, file=sys.stderr)
    return table


def ratio(table, title, peer):
    """Drax against the peer: of the p50 with one client, else of the rates. (text, more is better)"""
    row = table[title]
    if peer not in row:
        return "-"
    one = "1 client" in title
    figure = "p50_us" if one else "rate"
    return f"{row['drax'][figure] / row[peer][figure]:.2f}x"


def markdown(table, sizes, arguments):
    names = [name for name in ("drax", "etcd", "zookeeper") if name in sizes]
    peers = names[1:]
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    lines = [
        "# Performance", "",
        "Written by `./run bench --write`; the ratios are what can be compared, the figures themselves belong to one machine and one day.", "",
        f"{datetime.date.today()}, {os.cpu_count()} CPUs ({model}), {platform.system()} {platform.release()}; three servers of each store on "
        f"loopback, all synced to disk; {arguments.keys} keys, values of 256 bytes; {arguments.rounds} rounds of "
        f"{arguments.seconds:g} s in turns, medians. The load generators share the CPUs with the servers; their CPU is not in the figures. "
        "Drax and etcd are asked at their leader, ZooKeeper at all its servers; its linearizable get is a sync and a get.", "",
        "![ratios](performance.svg)", "",
        "| work | " + " | ".join(f"{name}" for name in names) + " | "
        + " | ".join(f"drax to {peer}" for peer in peers) + (" | " if peers else "")
        + "server CPU an operation: " + " / ".join(names) + " |",
        "|" + "---|" * (2 + len(names) + len(peers))]
    for title, row in table.items():
        cells = [f"{row[name]['rate']:.0f}/s, p50 {row[name]['p50_us']:.0f} us, p99 {row[name]['p99_us']:.0f} us"
                 + (f", {row[name]['errors']:.0f} errors" if row[name]["errors"] else "") for name in names]
        cells += [ratio(table, title, peer) for peer in peers]
        cells.append(" / ".join(f"{row[name]['cpu_us']:.0f}" for name in names) + " us")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "Ratios are of rates (more is better), with one client of the p50 (less is better).", "",
              "| a server, after that | " + " | ".join(names) + " |", "|" + "---|" * (1 + len(names))]
    for figure in ("memory", "disk"):
        lines.append(f"| {figure} | " + " | ".join(f"{sizes[name][figure]:.0f} MB" for name in names) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="directory of the peers' load generators")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--write", action="store_true", help="renew docs/PERFORMANCE.md and docs/performance.svg")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        stores = stores_open(arguments, stack)
        for store in stores:
            store.fill(arguments.keys)
        table = measure(stores, arguments)
        sizes = {store.name: {"memory": store.memory_mb(), "disk": store.disk_mb()} for store in stores}
    text = markdown(table, sizes, arguments)
    print(text)
    if arguments.write:
        (DOCS / "PERFORMANCE.md").write_text(text, encoding="utf-8")
        (DOCS / "performance.svg").write_text(bars_svg(table), encoding="utf-8")


if __name__ == "__main__":
    main()
