"""Three nodes under load while processes of all four kinds are killed with -9, or stopped for a while.

The schedule follows the progress of the clients, not a clock. DRAX_CHAOS_KILLS and DRAX_CHAOS_PAUSES
set how many, DRAX_TEST_SEED the choices."""

import collections
import itertools
import os
import time
import unittest

from faults import Pause
from harness import KINDS, wait_until
from workload import LoadTestCase

KILLS = int(os.environ.get("DRAX_CHAOS_KILLS", "52"))
PAUSES = int(os.environ.get("DRAX_CHAOS_PAUSES", "16"))
PAUSE_S = (0.1, 5)
WRITES_BETWEEN_KILLS = 12


class Kills(LoadTestCase):
    def setUp(self):
        super().setUp()
        self.c3 = self.cluster(3)
        self.kills = []  # (kind, whether the leader's, time)

    def test_kills(self):
        self.load_start(self.c3.nodes)
        kinds = list(itertools.islice(itertools.cycle(KINDS), KILLS))
        self.random.shuffle(kinds)
        self.progress_wait(WRITES_BETWEEN_KILLS)
        for kind in kinds:
            # Mostly from health to health; now and then the next one falls while the last heals.
            if self.random.random() < 0.75:
                wait_until(self.whole, 60, "all processes to be back")
            self.kill(kind)
            self.progress_wait(WRITES_BETWEEN_KILLS)
        self.load_end()
        self.figures_print()

    def kill(self, kind):
        nodes = list(self.c3.nodes)
        self.random.shuffle(nodes)
        leader = self.watcher.leader
        if leader and self.random.random() < 0.5:
            nodes.sort(key=lambda node: node is not leader)
        node = wait_until(lambda: next((n for n in nodes if kind == "supervisor" or kind in n.actors()), None),
                          60, f"a {kind} to kill")
        self.kills.append((kind, node is leader, time.monotonic()))
        node.kill(kind)
        if kind == "supervisor":
            node.ended_wait(10)
            node.start(wait=False)

    def figures_print(self):
        kinds = collections.Counter(kind for kind, _, _ in self.kills)
        print("kills:", ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS),
              f"({sum(lead for _, lead, _ in self.kills)} of them the leader's)")
        outages = [self.outage_after(at) for kind, lead, at in self.kills if lead and kind != "gateway"]
        if outages:
            print(f"from a kill of the leader's to the next write: longest {max(outages):.2f} s, "
                  f"median {sorted(outages)[len(outages) // 2]:.2f} s", flush=True)


class Pauses(LoadTestCase):
    """SIGSTOP: for a moment, or for longer than any timeout between nodes."""

    def test_pauses(self):
        c3 = self.cluster(3)
        self.load_start(c3.nodes)
        self.progress_wait(WRITES_BETWEEN_KILLS)
        pauses = []  # (kind, whether the leader's, time)
        for number in range(PAUSES):
            pause = Pause(c3, lambda: self.watcher.leader, self.random)
            self.assertTrue(pause.begin())
            node, kind, _ = pause.struck
            pauses.append((kind, node is self.watcher.leader, time.monotonic()))
            # Mostly short, as most are in life; the longest tries every timeout there is.
            longest = PAUSE_S[1] if number % 4 == 0 else 1
            self.record.ending.wait(self.random.uniform(PAUSE_S[0], longest))
            pause.end()
            self.progress_wait(WRITES_BETWEEN_KILLS)
        self.load_end()
        kinds = collections.Counter(kind for kind, _, _ in pauses)
        print("pauses:", ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS),
              f"({sum(lead for _, lead, _ in pauses)} of them the leader's); to the next write: longest",
              f"{max(self.outage_after(at) for _, _, at in pauses):.2f} s", flush=True)


if __name__ == "__main__":
    unittest.main()
