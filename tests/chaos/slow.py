"""Paths that delay, lose, repeat and reorder packets, whatever the kernel's queues can do.

Owns: a detour. The router sends what takes a slow path into a TUN device that this program reads,
and takes it back from there when its time has come. (The kernel's own netem is often not there.)
Must not know: what is in a packet.

    host a -> router -> rule "from a to b" -> tun -> [heap by time] -> tun -> router -> host b
"""

import fcntl
import heapq
import itertools
import os
import select
import struct
import threading
import time

import kernel

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LINK, TABLE = "slow0", "77"
RULE_BACK, RULE_FIRST = 50, 300  # before and behind the network's cuts
PACKET_BYTES = 65536
WAITING = 20000                  # packets; beyond, they are lost as in any full queue


class SlowPaths:
    def __init__(self, network, delay_s, jitter_s, loss, repeat, chance):
        self.network = network
        self.delay_s, self.jitter_s, self.loss, self.repeat = delay_s, jitter_s, loss, repeat
        self.chance = chance
        self.taken = self.lost = 0
        self.ending = threading.Event()
        self.fd = kernel.require("tun", self.open)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def open(self):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", LINK.encode(), IFF_TUN | IFF_NO_PI))
        kernel.command("ip", "link", "set", LINK, "up")
        for link in ("all", LINK):  # what comes out of the detour has another's source address
            with open(f"/proc/sys/net/ipv4/conf/{link}/rp_filter", "w", encoding="ascii") as rp_filter:
                rp_filter.write("0")
        kernel.command("ip", "route", "add", "default", "dev", LINK, "table", TABLE)
        kernel.command("ip", "rule", "add", "priority", str(RULE_BACK), "iif", LINK, "lookup", "main")
        hosts = range(len(self.network.namespaces))
        for number, (source, target) in enumerate(itertools.permutations(hosts, 2)):
            kernel.command("ip", "rule", "add", "priority", str(RULE_FIRST + number), "from",
                           self.network.host(source), "to", self.network.host(target), "lookup", TABLE)
        return fd

    def run(self):
        waiting = []  # [(when, number, packet)]
        numbers = itertools.count()
        while not self.ending.is_set():
            wait = min(0.1, max(0, waiting[0][0] - time.monotonic())) if waiting else 0.1
            if select.select([self.fd], [], [], wait)[0]:
                self.take(os.read(self.fd, PACKET_BYTES), waiting, numbers)
            while waiting and waiting[0][0] <= time.monotonic():
                os.write(self.fd, heapq.heappop(waiting)[2])

    def take(self, packet, waiting, numbers):
        self.taken += 1
        if self.chance.random() < self.loss or len(waiting) > WAITING:
            self.lost += 1
            return
        for _ in range(2 if self.chance.random() < self.repeat else 1):
            when = time.monotonic() + self.delay_s + self.chance.uniform(0, self.jitter_s)
            heapq.heappush(waiting, (when, next(numbers), packet))

    def close(self):
        """All paths are fast again; what is on its way is lost."""
        self.ending.set()
        self.thread.join()
        os.close(self.fd)  # the link goes with it, and the routes with the link
        hosts = len(self.network.namespaces)
        for priority in [RULE_BACK, *range(RULE_FIRST, RULE_FIRST + hosts * (hosts - 1))]:
            kernel.command("ip", "rule", "del", "priority", str(priority))
