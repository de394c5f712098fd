"""Every fault at any time, several at once: the long form of all that stands beside it.

A run is a row of campaigns: a cluster of three or five nodes with networks and disks of their own, a
schedule of faults, then quiet, in which the cluster must heal, and the verdict. DRAX_CHAOS_SECONDS
sets its length. The schedule comes from DRAX_TEST_SEED alone and is printed when a campaign fails;
whom it strikes depends on who leads at that moment."""

import collections
import os
import random
import sys
import time
import unittest

import disk
import network
from arena import Arena, in_parallel
from faults import FAULTS
from harness import put_until_done
from workload import SEED, LoadTestCase

SECONDS = float(os.environ.get("DRAX_CHAOS_SECONDS", "20"))
CAMPAIGN_S = 90
HEALED_S = 20            # from the end of the last fault, whatever was mixed, to writes through every node
AT_ONCE = 3
WEIGHTS = {"kill": 10, "pause": 6, "partition": 6, "slow": 2, "power": 2, "full disk": 1}
# How long a fault lasts; processes pause for less than what a supervisor takes for hanging.
LASTS_S = {"kill": (0, 0), "pause": (0.1, 5), "partition": (0.2, 5), "slow": (0.5, 5), "power": (0, 2), "full disk": (1, 5)}
BETWEEN_S = (0.05, 1.5)

Step = collections.namedtuple("Step", "at kind lasts chance")


def setUpModule():
    network.enter()
    disk.enter()


def schedule(chance, seconds):
    """Steps in the order of their beginnings; no more than AT_ONCE last at the same time."""
    steps, at = [], 0.0
    while True:
        at += chance.uniform(*BETWEEN_S)
        lasting = sorted(step.at + step.lasts for step in steps if step.at + step.lasts > at)
        if len(lasting) >= AT_ONCE:
            at = lasting[0]
        if at > seconds:
            return steps
        kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        steps.append(Step(at, kind, chance.uniform(*LASTS_S[kind]), chance.randrange(2**32)))


class Figures:
    """Of the whole run."""

    def __init__(self):
        self.struck = collections.Counter()
        self.requests = collections.Counter()
        self.acknowledged = 0
        self.next_write = collections.defaultdict(float)  # kind of a fault that struck alone: longest
        self.healed = 0.0
        self.begin = time.monotonic()

    def print(self):
        print(f"chaos: {time.monotonic() - self.begin:.0f} s,",
              ", ".join(f"{kind} {self.struck[kind]}" for kind in FAULTS))
        print(f"requests answered or given up {sum(self.requests.values())}, writes acknowledged {self.acknowledged}")
        print("longest time to the next write after a fault that struck alone:",
              ", ".join(f"{kind} {value:.2f} s" for kind, value in sorted(self.next_write.items())))
        print(f"longest time until all nodes served again after the last fault: {self.healed:.2f} s", flush=True)


class Mixed(LoadTestCase):
    LED_S = 2

    def test_campaigns(self):
        figures = Figures()
        number = 0
        while (left := figures.begin + SECONDS - time.monotonic()) > 0 or number == 0:
            chance = random.Random(f"{SEED} campaign {number}")
            count = 3 if number % 2 == 0 else 5
            steps = schedule(chance, max(10, min(left, CAMPAIGN_S)))
            try:
                self.campaign(count, steps, figures)
            except BaseException:
                print(f"campaign {number}, {count} nodes, DRAX_TEST_SEED={SEED}:\n" + "\n".join(map(str, steps)),
                      file=sys.stderr)
                raise
            number += 1
            if SECONDS > CAMPAIGN_S:
                figures.print()
        if SECONDS <= CAMPAIGN_S:
            figures.print()

    def campaign(self, count, steps, figures):
        arena = Arena(count, network=True, disks=disk.IMAGE_BYTES)
        self.nodes = arena.nodes
        try:
            arena.start()
            self.load_start(arena.nodes)
            self.progress_wait(20)
            struck = self.steps_run(arena, steps)
            begin = time.monotonic()
            in_parallel(lambda node: put_until_done(node, "probe", "healed", HEALED_S), arena.nodes)
            figures.healed = max(figures.healed, time.monotonic() - begin)
            self.load_end()
            self.count(struck, figures)
        finally:
            self.threads_end()
            arena.close()

    def steps_run(self, arena, steps):
        """[(kind, when it began, whether nothing else lasted then)] of those that struck."""
        struck, lasting = [], []  # lasting: [(end, fault)]
        begin = time.monotonic()

        def ended_until(moment):
            for end, fault in sorted((pair for pair in lasting if pair[0] <= moment), key=lambda pair: pair[0]):
                self.record.ending.wait(max(0, begin + end - time.monotonic()))
                lasting.remove((end, fault))
                fault.end()
        for step in steps:
            ended_until(step.at)
            self.record.ending.wait(max(0, begin + step.at - time.monotonic()))
            fault = FAULTS[step.kind](arena, lambda: self.watcher.leader, random.Random(step.chance))
            alone, at = not lasting, time.monotonic()
            if fault.begin():
                struck.append((step.kind, at, alone))
                lasting.append((step.at + step.lasts, fault))
            self.assertEqual(self.record.problems, [])
        ended_until(float("inf"))
        return struck

    def count(self, struck, figures):
        figures.struck.update(kind for kind, _, _ in struck)
        figures.requests.update(self.record.counts)
        figures.acknowledged += len(self.record.writes)
        for number, (kind, at, alone) in enumerate(struck):
            # One that was joined by another before the next write says nothing about itself.
            following = struck[number + 1][1] if number + 1 < len(struck) else float("inf")
            if alone and kind in ("kill", "pause") and at + (outage := self.outage_after(at)) <= following:
                figures.next_write[kind] = max(figures.next_write[kind], outage)


if __name__ == "__main__":
    unittest.main()
