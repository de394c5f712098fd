"""Contract section 2, watches: every change once, in order, whatever is killed meanwhile.

Nothing but the writers here changes keys, and each put is one revision; so what a watcher of the
whole tree must hear is known without asking anybody: every revision, once.

DRAX_WATCH_EVENTS and DRAX_WATCH_WATCHERS make a longer run, as in
    DRAX_WATCH_EVENTS=100000 DRAX_WATCH_WATCHERS=100 ctest --test-dir build-test -R watch_faults
"""

import itertools
import os
import time
import unittest

import msgpack
import zmq
import zmq.utils.monitor

from harness import DraxTestCase
from wire import request_pack, socket_open

EVENTS = int(os.environ.get("DRAX_WATCH_EVENTS", "20000"))
WATCHERS = int(os.environ.get("DRAX_WATCH_WATCHERS", "12"))
TREE = "w"
WINDOW = 64          # puts under way at each node
SILENCE_S = 15       # a watch says something every 10 s; one that does not is begun anew
PATIENCE_S = 60      # without any progress


class Connection:
    """A DEALER that knows when its connection broke."""

    def __init__(self, loop, addr, take):
        self.loop = loop
        self.addr = addr
        self.take = take
        self.socket = socket_open(addr)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.broken = False
        self.heard = time.monotonic()
        loop.add(self.socket, self.receive)
        loop.add(self.monitor, self.end)

    def send(self, message):
        self.socket.send_multipart([b"", message])

    def receive(self):
        self.heard = time.monotonic()
        while not self.broken:
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self.take(msgpack.unpackb(frames[-1], raw=False))

    def end(self):
        zmq.utils.monitor.recv_monitor_message(self.monitor)
        self.broken = True

    def close(self):
        self.loop.remove(self.socket)
        self.loop.remove(self.monitor)
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


class Loop:
    def __init__(self):
        self.poller = zmq.Poller()
        self.handlers = {}

    def add(self, socket, handler):
        self.poller.register(socket, zmq.POLLIN)
        self.handlers[socket] = handler

    def remove(self, socket):
        self.poller.unregister(socket)
        del self.handlers[socket]

    def turn(self):
        for socket, _ in self.poller.poll(50):
            if socket in self.handlers:
                self.handlers[socket]()


class Resumer:
    """One watch of the tree that goes on at the next node when its connection breaks."""

    def __init__(self, loop, addrs, next_):
        self.loop = loop
        self.addrs = itertools.cycle(addrs)
        self.next = next_     # of the last notification: where to go on
        self.wanted = next_   # the revision of the next event
        self.resumed = -1
        self.connection = None
        self.begin()

    def begin(self):
        if self.connection:
            self.connection.close()
        self.resumed += 1
        self.watch = None
        self.connection = Connection(self.loop, next(self.addrs), self.take)
        self.connection.send(request_pack(1, "watch_tree", [TREE, {"from": self.next}]))

    def take(self, message):
        if message[0] == 1:
            if message[2]:  # no majority just now
                assert message[2][0] in ("UNAVAILABLE", "TIMEOUT"), message
                self.connection.broken = True
                return
            self.watch = message[3]["watch"]
            assert message[3]["pairs"] == [] and message[3]["next"] == self.next, message[3]
            return
        note = message[2][0]
        assert note["watch"] == self.watch and "compacted" not in note, note
        assert self.wanted == self.next, (self.wanted, self.next)
        for event in note["events"]:
            assert event["index"] == self.wanted and event["type"] == "put", (self.wanted, event)
            self.wanted += 1
        if note["events"]:
            self.connection.send(msgpack.packb([2, "credit", [self.watch, 1]]))
        # all revisions are in this tree, so nothing may be skipped either
        assert note["next"] == self.wanted, (note["next"], self.wanted)
        self.next = note["next"]

    def check(self):
        silent = time.monotonic() - self.connection.heard > SILENCE_S
        if self.connection.broken or silent:
            self.begin()


class Writer:
    """Keeps puts under way at one node; what became of them the watchers tell."""

    def __init__(self, loop, addr):
        self.loop = loop
        self.addr = addr
        self.msgids = itertools.count(1)
        self.connection = None
        self.begin()

    def begin(self):
        if self.connection:
            self.connection.close()
        self.open = 0
        self.connection = Connection(self.loop, self.addr, self.take)

    def take(self, message):
        self.open -= 1
        assert not message[2] or message[2][0] in ("UNAVAILABLE", "TIMEOUT"), message

    def turn(self, more):
        if self.connection.broken:
            self.begin()
        while more and self.open < WINDOW:
            msgid = next(self.msgids)
            self.connection.send(request_pack(msgid, "put", [f"{TREE}/{msgid % 100}", str(msgid)]))
            self.open += 1


class Faults(DraxTestCase):
    def run_watched(self, events, watchers, faults):
        """Write `events` revisions past watchers while faults[i] happens at its share of them."""
        cluster = self.cluster(3)
        addrs = cluster.addrs()
        loop = Loop()
        first = cluster.nodes[0].call("ping")["revision"] + 1
        resumers = [Resumer(loop, addrs[i % 3:] + addrs[:i % 3], first) for i in range(watchers)]
        writers = [Writer(loop, addr) for addr in addrs]
        faults = sorted(faults)
        begin = progress = time.monotonic()
        seen = most = first
        while True:
            loop.turn()
            for resumer in resumers:
                resumer.check()
            now = min(resumer.wanted for resumer in resumers)
            most = max(most, *(resumer.wanted for resumer in resumers))
            if now != seen:
                seen, progress = now, time.monotonic()
            self.assertLess(time.monotonic(), progress + PATIENCE_S, f"stuck at {seen} of {most}")
            if faults and most - first >= faults[0][0] * events:
                faults.pop(0)[1](cluster)
            for writer in writers:
                writer.turn(most - first < events)
            if most - first >= events and not any(writer.open for writer in writers):
                last = cluster.nodes[0].call("ping")["revision"]
                if seen == last + 1 and not faults:
                    break
        print(f"{last - first + 1} events to {watchers} watchers, resumed "
              f"{sum(resumer.resumed for resumer in resumers)} times, "
              f"{time.monotonic() - begin:.1f} s", flush=True)
        for each in [*resumers, *writers]:
            each.connection.close()

    def test_gateways_killed_and_another_leader(self):
        def kill(kind, at):
            return lambda cluster: cluster.nodes[at].kill(kind)

        def leader(cluster):
            cluster.leader().kill("raft")
        self.run_watched(EVENTS, WATCHERS, [(0.2, kill("gateway", 0)), (0.4, kill("gateway", 1)),
                                            (0.6, kill("gateway", 2)), (0.8, leader)])

    def test_storages_killed(self):
        """Watches stay with their gateway, which asks the new storage for what it missed."""
        def kill(at):
            return lambda cluster: cluster.nodes[at].kill("storage")
        self.run_watched(EVENTS // 2, WATCHERS // 2, [(0.2, kill(0)), (0.5, kill(1)), (0.8, kill(2))])

    def test_nodes_killed(self):
        """All of a node at once, the leader among them; the supervisors start again."""
        def crash(cluster):
            node = cluster.leader()
            node.crash()
            node.start(wait=False)
        self.run_watched(EVENTS // 4, WATCHERS // 2, [(0.3, crash), (0.7, crash)])


if __name__ == "__main__":
    unittest.main()
