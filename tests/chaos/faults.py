"""The faults that a schedule can mix: each begins, lasts, and ends; all ended, a cluster must heal.

Owns: how a fault is done to an arena, and undone whatever else happened to the same node meanwhile.
Must not know: the schedule, the load.

What a fault strikes is chosen when it begins, by the chance that it was given and by who leads then.
All of it runs in the main thread, which alone may start nodes.
"""

import signal

import partitions
from harness import KINDS, pid_is_alive, pid_signal
from slow import SlowPaths

FULL_LEAVES = 1 << 20  # what a foreign file leaves free; the journal's spares are more than that anyway


class Fault:
    def __init__(self, arena, leader, chance):
        """leader: a function that gives the node that leads as far as is known, or None."""
        self.arena = arena
        self.leader = leader
        self.chance = chance

    def victim(self):
        """A node that is up, every second time the one that leads; None: there is none."""
        nodes = [node for node in self.arena.nodes if node.alive()]
        leader = self.leader()
        if leader in nodes and self.chance.random() < 0.5:
            return leader
        return self.chance.choice(nodes) if nodes else None

    def process(self):
        """(node, kind, pid) of one of its processes that is up, or None."""
        node = self.victim()
        if not node:
            return None
        found = [("supervisor", node.pid), *sorted(node.actors().items())]
        return node, *self.chance.choice([pair for pair in found if pair[0] in KINDS])

    def begin(self):
        """Whether it struck anything."""
        raise NotImplementedError

    def end(self):
        pass


class Kill(Fault):
    """kill -9 of one process; a supervisor comes back at once, as under systemd."""

    def begin(self):
        struck = self.process()
        if struck:
            node, kind, pid = struck
            if kind == "supervisor":
                node.kill(kind)
                node.ended_wait(10)
                node.start(wait=False)
            else:
                pid_signal(pid, signal.SIGKILL)
        return bool(struck)


class Pause(Fault):
    """SIGSTOP of one process until the end."""

    def begin(self):
        self.struck = self.process()
        if self.struck:
            pid_signal(self.struck[2], signal.SIGSTOP)
        return bool(self.struck)

    def end(self):
        if self.struck and pid_is_alive(self.struck[2]):
            pid_signal(self.struck[2], signal.SIGCONT)


class Partition(Fault):
    """One at a time: a new one takes the place of the last."""

    def begin(self):
        victim = self.victim()
        centre = self.arena.number(victim) if victim else 0
        kind = partitions.KINDS[self.chance.choice(sorted(partitions.KINDS))]
        self.arena.network.heal()
        for path in sorted(kind(len(self.arena.nodes), centre, self.chance)):
            self.arena.network.cut(*path)
        return True

    def end(self):
        self.arena.network.heal()


class Slow(Fault):
    """All paths delay, lose, repeat and reorder. One at a time."""

    def begin(self):
        if self.arena.slow:
            return False
        self.arena.slow = SlowPaths(self.arena.network, delay_s=self.chance.choice((0.001, 0.02)), jitter_s=0.03,
                                    loss=self.chance.choice((0, 0.02, 0.1)), repeat=0.02, chance=self.chance)
        return True

    def end(self):
        self.arena.slow.close()
        self.arena.slow = None


class Power(Fault):
    """The power of one node, or of all, fails; it returns at the end."""

    def begin(self):
        nodes = [node for node in self.arena.nodes if node.alive()]
        self.struck = nodes if self.chance.random() < 0.3 else [self.victim()] if nodes else []
        for node in self.struck:
            self.arena.disk(node).cut()
        for node in self.struck:
            node.crash()
            self.arena.disk(node).repower()
        return bool(self.struck)

    def end(self):
        for node in self.struck:
            if not node.alive():
                node.start(wait=False)


class FullDisk(Fault):
    def begin(self):
        self.disk = self.chance.choice(self.arena.disks)
        self.disk.fill(FULL_LEAVES)
        return True

    def end(self):
        self.disk.drain()


FAULTS = {"kill": Kill, "pause": Pause, "partition": Partition, "slow": Slow, "power": Power, "full disk": FullDisk}
