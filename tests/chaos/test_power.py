"""Nodes whose disks lose their power in the middle of writes.

Each home is on an ext4 of its own. A cut (EXT4_IOC_SHUTDOWN without a flush of the log) leaves on the
device what had been synced and whatever else happened to be there; then the node's processes are
killed, the file system is checked, mounted, and the node starts from it. Clients write all the time.

DRAX_POWER_CYCLES sets the number of cycles, DRAX_TEST_SEED the choices."""

import os
import time
import unittest

import disk
from arena import Arena
from workload import LoadTestCase

CYCLES = int(os.environ.get("DRAX_POWER_CYCLES", "9"))
WRITES_BETWEEN = 25
ALL_EVERY = 3  # each third cycle takes all nodes at once


def setUpModule():
    disk.enter()


class Power(LoadTestCase):
    LARGE_SHARE = 0.1

    def setUp(self):
        super().setUp()
        self.arena = Arena(3, disks=disk.IMAGE_BYTES)
        self.nodes += self.arena.nodes
        self.addCleanup(self.arena.close)
        self.arena.start()

    def test_power_is_lost(self):
        self.load_start(self.arena.nodes)
        outages = {"one": [], "all": []}
        for cycle in range(CYCLES):
            self.progress_wait(WRITES_BETWEEN)
            of_all = cycle % ALL_EVERY == ALL_EVERY - 1
            victims = self.arena.nodes if of_all else [self.victim()]
            back = self.cycle(victims)
            self.progress_wait(1)
            outages["all" if of_all else "one"].append(self.outage_after(back))
        self.load_end()
        for name, found in outages.items():
            if found:
                print(f"power lost by {name}: {len(found)} times; from power to the next write: "
                      f"longest {max(found):.2f} s", flush=True)

    def victim(self):
        leader = self.watcher.leader
        return leader if leader and self.random.random() < 0.5 else self.random.choice(self.arena.nodes)

    def cycle(self, victims):
        """The time at which the last of them was started again."""
        for node in self.random.sample(victims, len(victims)):
            self.arena.disk(node).cut()
        # For a moment each lives on over a dead disk: it must not acknowledge anything then.
        time.sleep(self.random.choice((0, 0.02, 0.3)))
        for node in victims:
            node.crash()
        for node in victims:
            self.arena.disk(node).repower()
        for node in victims:
            node.start(wait=False)
        started = time.monotonic()
        for node in victims:
            node.ready_wait()
        return started


if __name__ == "__main__":
    unittest.main()
