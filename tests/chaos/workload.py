"""Clients that record what they see, and the judgement of it.

Clients write, swap, delete and read a few keys at a time through all nodes and note when each
request began and ended. Afterwards every key's history must be linearizable (linear.py), each value
must have been applied once, no acknowledged write may be missing, revisions must never have gone
back, and all nodes must agree in every pair and in the digest of their states.

Owns: the history. Must not know: what is done to the nodes meanwhile.

DRAX_TEST_SEED sets the choices (not the timing, which is the machine's).
"""

import collections
import itertools
import os
import random
import threading
import time

from harness import ACTORS, DraxTestCase, wait_until
from linear import INFINITY, OK, REFUSED, UNKNOWN, Op, linearizable, revisions_monotonic
from wire import NoAnswer, RpcError, key_bytes

SEED = int(os.environ.get("DRAX_TEST_SEED", random.SystemRandom().randrange(2**32)))
WORKERS = 6
KEYS_AT_ONCE = 2
LARGE_BYTES = 100_000     # beyond what is kept in LevelDB itself
OPS_PER_KEY = 25          # small histories keep the checker fast
ATTEMPT_S = 2.0           # then the outcome is unknown, and the connection is given up
GIVE_UP_S = 60
PROGRESS_S = 60           # no writes for that long: the cluster is dead
REFUSALS = {"create": "KEY_EXISTS", "swap": "KEY_MODIFIED", "delete": "KEY_NOT_FOUND"}


class Record:
    """What all clients saw."""

    def __init__(self):
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        self.history = collections.defaultdict(list)  # key: [Op]
        self.indices = {}                             # value: the index it was seen under
        self.answers = []                             # (invoked, returned, revision)
        self.writes = []                              # (invoked, returned) of acknowledged writes
        self.counts = collections.Counter()
        self.problems = []
        self.ending = threading.Event()

    def key_next(self):
        number = next(self.numbers)
        return f"chaos/{number // (OPS_PER_KEY * KEYS_AT_ONCE):05}/{number % KEYS_AT_ONCE}"

    def add(self, key, op, result=None):
        with self.lock:
            self.history[key].append(op)
            self.counts[op.kind, op.result] += 1
            if op.kind != "get" and op.result == OK:
                self.writes.append((op.invoked, op.returned))
            if result and "index" in result:
                known = self.indices.setdefault(op.value, result["index"])
                if known != result["index"]:
                    self.problems.append(f"{op.value} was applied twice: {known}, {result['index']}")


class Worker(threading.Thread):
    """One client of all three nodes."""

    def __init__(self, number, nodes, record, large_share):
        super().__init__(daemon=True)
        self.number = number
        self.nodes = nodes
        self.record = record
        self.large_share = large_share
        self.random = random.Random(f"{SEED} {number}")
        self.clients = {}
        self.sequence = itertools.count(1)

    def run(self):
        try:
            while not self.record.ending.is_set():
                self.turn()
        except Exception as problem:
            self.record.problems.append(f"worker {self.number}: {problem!r}")
        for client in self.clients.values():
            client.close()

    def turn(self):
        key = self.record.key_next()
        kind = self.random.choices(("get", "put", "swap", "create", "delete"), (35, 30, 20, 8, 7))[0]
        seen = None
        if kind in ("get", "swap"):
            seen = self.get(key)
        if kind == "swap" and seen and seen.value is not None:
            self.write(key, "swap", seen.value, self.record.indices[seen.value])
        elif kind not in ("get", "swap"):
            self.write(key, kind)

    def attempt(self, node, method, *params):
        """(result, None) or (None, code of the error); TIMEOUT also when nothing came."""
        client = self.clients.get(node)
        if client is None:
            client = self.clients[node] = node.client()
        try:
            return client.call(method, *params, timeout=ATTEMPT_S), None
        except RpcError as error:
            return None, error.code
        except NoAnswer:
            client.close()
            del self.clients[node]
            return None, "TIMEOUT"

    def get(self, key):
        invoked = time.monotonic()
        result, code = self.attempt(self.random.choice(self.nodes), "get", key)
        returned = time.monotonic()
        if code in ("UNAVAILABLE", "TIMEOUT"):
            self.pause()
            return None
        assert code in (None, "KEY_NOT_FOUND"), f"get was answered {code}"
        op = Op("get", invoked, returned, result["value"] if result else None, client=self.number)
        self.record.add(key, op, result)
        if result:
            with self.record.lock:
                self.record.answers.append((invoked, returned, result["revision"]))
        return op

    def write(self, key, kind, previous=None, index=None):
        """Half of the writes are tried once, the other half again, under one {client, seq}, until
        the outcome is known."""
        value = None if kind == "delete" else b"%d-%d" % (self.number, next(self.sequence))
        if value and self.random.random() < self.large_share:
            value += b"." * LARGE_BYTES
        method, params = {"put": ("put", [key, value]), "create": ("atomic_put", [key, value, None]),
                          "swap": ("atomic_put", [key, value, index]), "delete": ("delete", [key])}[kind]
        again = self.random.random() < 0.5
        if again:
            params = [*params, {"client": f"worker {self.number}", "seq": next(self.sequence)}]
        op = Op(kind, time.monotonic(), INFINITY, value, UNKNOWN, previous, self.number)
        repeated = unknown = False
        while True:
            result, code = self.attempt(self.random.choice(self.nodes), method, *params)
            returned = time.monotonic()
            unknown |= code == "TIMEOUT"
            if code not in ("UNAVAILABLE", "TIMEOUT"):
                break
            self.pause()
            if not again or returned - op.invoked > GIVE_UP_S or self.record.ending.is_set():
                if unknown:
                    self.record.add(key, op)
                return  # only ever UNAVAILABLE: it was not applied and never will be
            repeated = True
        assert code in (None, REFUSALS.get(kind)), f"{kind} was answered {code}"
        op.returned, op.result = returned, OK if code is None else REFUSED
        self.record.add(key, op, result)
        if result and not repeated:
            with self.record.lock:
                self.record.answers.append((op.invoked, returned, result["revision"]))

    def pause(self):
        self.record.ending.wait(0.05)


class Watcher(threading.Thread):
    """Asks every node for its status all the time: who leads, and does its revision go back?

    A node that lost its power and then hears no leader for 3 s answers with what it knows for certain,
    which may be less than it said before. Where faults last so long, only an answer of a node that
    has named a leader for `led_s` in all its answers counts."""

    def __init__(self, nodes, record, led_s):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.record = record
        self.led_s = led_s
        self.highest = {node: 0 for node in nodes}
        self.led_since = {node: time.monotonic() for node in nodes}
        self.leader = None
        self.went_back = []

    def run(self):
        clients = {node: node.client() for node in self.nodes}
        while not self.record.ending.wait(0.05):
            for node in self.nodes:
                try:
                    status = clients[node].call("status", timeout=0.5)
                except (RpcError, NoAnswer):
                    clients[node].close()
                    clients[node] = node.client()
                    self.led_since[node] = time.monotonic()
                    continue
                now = time.monotonic()
                if status["leader"] is None:
                    self.led_since[node] = now
                if status["revision"] < self.highest[node] and now - self.led_since[node] >= self.led_s:
                    self.went_back.append(f"{node.name}: {self.highest[node]} to {status['revision']}")
                self.highest[node] = max(self.highest[node], status["revision"])
                if status["role"] == "leader":
                    self.leader = node
        for client in clients.values():
            client.close()


class LoadTestCase(DraxTestCase):
    """Nodes under load. load_start() begins it, load_end() ends it and judges."""

    LED_S = 0  # see Watcher; 0: every answer counts
    LARGE_SHARE = 0  # of values

    def setUp(self):
        super().setUp()
        print(f"\nDRAX_TEST_SEED={SEED}", flush=True)
        self.random = random.Random(f"{SEED} {self.id()}")
        self.record = None
        self.addCleanup(self.threads_end)

    def load_start(self, nodes):
        self.loaded = list(nodes)
        self.record = Record()
        self.watcher = Watcher(self.loaded, self.record, self.LED_S)
        self.threads = [self.watcher] + [Worker(number, self.loaded, self.record, self.LARGE_SHARE)
                                         for number in range(WORKERS)]
        for thread in self.threads:
            thread.start()

    def threads_end(self):
        if self.record:
            self.record.ending.set()
            for thread in self.threads:
                thread.join(60)

    def load_end(self):
        """Once all is whole again: the verdict."""
        wait_until(self.whole, 60, "all processes to be back")
        self.progress_wait(10)
        self.threads_end()
        self.requests_print()
        self.verify()

    def whole(self):
        return all(set(node.actors()) == set(ACTORS) for node in self.loaded)

    def progress_wait(self, writes, timeout=PROGRESS_S):
        """Until clients had so many more writes acknowledged."""
        mark = len(self.record.writes) + writes
        wait_until(lambda: len(self.record.writes) >= mark or self.record.problems, timeout,
                   "any progress of the clients", 0.01)
        self.assertEqual(self.record.problems, [])

    def requests_print(self):
        counts = self.record.counts
        print("requests:", ", ".join(f"{kind} {result} {count}"
                                     for (kind, result), count in sorted(counts.items())), flush=True)

    def outage_after(self, at):
        """Seconds from `at` to the end of the first acknowledged write that began after it."""
        with self.record.lock:
            return min((returned for invoked, returned in self.record.writes if invoked >= at), default=at) - at

    def verify(self):
        self.assertEqual(self.record.problems, [])
        listings = [self.listing(node) for node in self.loaded]
        for listing in listings[1:]:
            self.assertEqual(listings[0], listing)
        final = listings[0]
        self.assertIsNone(revisions_monotonic(self.record.answers))
        self.assertLessEqual(set(final), set(self.record.history))
        now = time.monotonic()
        for key, history in sorted(self.record.history.items()):
            value, index = final.get(key, (None, None))
            self.assertEqual(self.record.indices.get(value, index), index, "applied again")
            history.append(Op("get", now, now + 1, value))
            self.assertTrue(linearizable(history), key + " is not linearizable:\n" + "\n".join(
                map(str, sorted(history, key=lambda op: op.invoked))))
        self.assertFalse(self.watcher.went_back, "revisions went back: " + ", ".join(self.watcher.went_back))
        for node in self.loaded:
            self.assertGreaterEqual(node.status()["revision"], max(self.watcher.highest.values()))
        wait_until(self.digests_agree, 30, "equal digests at an equal applied index")

    def digests_agree(self):
        """Nothing is written any more, so all come to the same applied index. Different states at one
        index are never forgiven."""
        found = [node.status() for node in self.loaded]
        by_applied = collections.defaultdict(set)
        for status in found:
            by_applied[status["applied"]].add(status["digest"])
        for applied, digests in by_applied.items():
            self.assertEqual(len(digests), 1, f"different states at {applied}")
        return len(by_applied) == 1

    def listing(self, node):
        """{key: (value, index)} of everything, read linearizably."""
        found, after, more = {}, None, True
        with node.client() as client:
            while more:
                result = client.call("list", "chaos", limit=500, after=after, timeout=30)
                found.update((key_bytes(p["key"]).decode(), (p["value"], p["index"])) for p in result["pairs"])
                after, more = (result["pairs"][-1]["key"] if result["pairs"] else None), result["more"]
        return found
