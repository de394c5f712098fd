"""The rows of rows.py, measured: every kind of row gives {store: {figure: median of the rounds}}, and with each figure
also its least and its most, as "FIGURE_spread".

Stores are measured in turns, each when the servers have done what earlier work left to them.
"""

import contextlib
import pathlib
import statistics
import sys

from harness import Process
from peers import ZooKeeper, ZooKeeperLarge
from store import Drax, NotMeasured, quiet_wait

IDLE = pathlib.Path(__file__).with_name("idle.py")
IDLE_PROCESSES = 4  # a process has too few descriptors for all
IDLE_TIMEOUT_S = 120
WARM_S = 1
FAILOVERS = 5
RESTARTS = 3
SMALL_KEYS = 100000
LARGE_BYTES, LARGE_KEYS = 1000000, 20
PUT = {"work": "put", "clients": 256, "connections": 32}


def medians(runs):
    figures = {}
    for figure in runs[0]:
        values = [run[figure] for run in runs]
        figures[figure] = statistics.median(values)
        figures[figure + "_spread"] = [min(values), max(values)]
    return figures


@contextlib.contextmanager
def forgiven(name, figures):
    """A peer that fails is left out of the row and its figures; Drax is not."""
    try:
        yield
    except NotMeasured:
        figures.pop(name, None)
    except AssertionError as problem:
        if name in ("drax", "base"):
            raise
        print(f"{name} is left out: {problem}", file=sys.stderr)
        figures.pop(name, None)


class Measure:
    """Owns the stores that several rows share, which are started when the first of them needs them."""

    def __init__(self, kinds, peers, rounds, seconds, keys):
        self.kinds, self.peers = kinds, peers
        self.count, self.seconds, self.keys = rounds, seconds, keys
        self.stack = contextlib.ExitStack()
        self.shared = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shared_close()

    def shared_close(self):
        self.shared = {}
        self.stack.close()

    def row(self, row):
        return getattr(self, "row_" + row.kind)(**row.plan)

    def opened(self, stack, kind, **options):
        store = kind(**options) if kind is Drax else kind(self.peers)
        stack.callback(store.close)
        return store

    def rounds(self, stores, work, count=None):
        """work(store) gives figures of one round."""
        runs = {name: [] for name in stores}
        for _ in range(count or self.count):
            for name in list(runs):
                quiet_wait(stores.values())
                with forgiven(name, runs):
                    runs[name].append(work(stores[name]))
        return {name: medians(found) for name, found in runs.items()}

    def loaded(self, store, keys, **plan):
        """One round, after a while of the same work that does not count."""
        store.load(keys=keys, seconds=WARM_S, **plan)
        return store.load(keys=keys, seconds=self.seconds, **plan)

    # ---- stores side by side ----

    def side_by_side(self):
        if not self.shared:
            opened = [self.opened(self.stack, kind) for kind in self.kinds]
            for store in opened:
                store.fill(self.keys)
            self.shared = {store.name: store for store in opened}
        return self.shared

    def row_load(self, **plan):
        for store in self.side_by_side().values():
            if plan["work"] in ("get", "sget"):
                store.reads_prepare()
        return self.rounds(self.side_by_side(), lambda store: self.loaded(store, self.keys, **plan))

    def row_large(self, **plan):
        """On stores of its own: the values stay."""
        with contextlib.ExitStack() as stack:
            stores = {kind.name: self.opened(stack, kind) for kind in self.kinds}
            for store in stores.values():
                store.fill(LARGE_KEYS, LARGE_BYTES)
            return self.rounds(stores, lambda store: self.loaded(store, LARGE_KEYS, size=LARGE_BYTES, **plan))

    def row_watch(self, **plan):
        return self.rounds(self.side_by_side(), lambda store: store.watch(seconds=self.seconds, **plan))

    def row_failover(self):
        return self.rounds(self.side_by_side(), lambda store: {"took_s": store.failover()}, FAILOVERS)

    # ---- what takes long to set up ----

    def row_million(self, keys):
        """Each store alone on the machine."""
        figures = {}
        for kind in self.kinds:
            with forgiven(kind.name, figures), contextlib.ExitStack() as stack:
                store = self.opened(stack, ZooKeeperLarge if kind is ZooKeeper else kind)
                store.fill(keys)
                quiet_wait([store])
                sizes = {"disk_mb": store.disk_mb(), "memory_mb": store.memory_mb()}
                restarts = self.rounds({store.name: store}, lambda store: {"took_s": store.restart()}, RESTARTS)
                figures[store.name] = {**sizes, **restarts.get(store.name, {})}
        return figures

    def row_keys(self, keys):
        with contextlib.ExitStack() as stack:
            stores = {"base": self.opened(stack, Drax), "drax": self.opened(stack, Drax)}
            counts = {stores["base"]: SMALL_KEYS, stores["drax"]: keys}
            for store, count in counts.items():
                store.fill(count)
            figures = self.rounds(stores, lambda store: self.loaded(store, counts[store], **PUT))
            quiet_wait(stores.values())
            for name, store in stores.items():
                figures[name].update({"disk_mb": store.disk_mb(), "memory_mb": store.memory_mb()})
            return figures

    # ---- Drax with something more, and without ----

    def row_idle(self, what, count):
        with contextlib.ExitStack() as stack:
            store = self.opened(stack, Drax)
            store.fill(self.keys)
            runs = {"base": [], "drax": []}
            for _ in range(self.count):
                quiet_wait([store])
                runs["base"].append(self.loaded(store, self.keys, **PUT))
                with idle(what, store.leader(), count):
                    quiet_wait([store])
                    runs["drax"].append(self.loaded(store, self.keys, **PUT))
            return {name: medians(found) for name, found in runs.items()}

    def row_servers(self, count):
        with contextlib.ExitStack() as stack:
            stores = {"base": self.opened(stack, Drax), "drax": self.opened(stack, Drax, servers=count)}
            for store in stores.values():
                store.fill(self.keys)
            return self.rounds(stores, lambda store: self.loaded(store, self.keys, **PUT))


@contextlib.contextmanager
def idle(what, addr, count):
    """So many clients or watches at one node, as long as the body runs."""
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(IDLE_PROCESSES):
            processes.append(Process([sys.executable, "-B", str(IDLE), what, addr, str(count // IDLE_PROCESSES)]))
            stack.callback(processes[-1].close)
        for process in processes:
            process.line_wait(lambda line: line == "ready", IDLE_TIMEOUT_S)
        yield
