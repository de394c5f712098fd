"""A network of its own for nodes: each in a namespace, joined by a router that can cut any path.

Owns: the namespaces, links and routing rules. The program itself, with its clients, is the router:
it reaches every node whatever is cut between them. Must not know: nodes beyond their number.

    node 0  10.77.0.2 --- 10.77.0.1  router  10.77.1.1 --- 10.77.1.2  node 1

A cut is a rule of the router that drops silently what one node sends another: one rule, one
direction. Connections do not break; they fall silent, as over a dead switch.
"""

import itertools
import os

import kernel

HOSTS = 9
RULE_FIRST = 100  # cuts have priorities of their own, so that each can be taken back alone


def enter():
    """Before the first Network; from the main thread, before there is any other."""
    kernel.require("network-namespaces", kernel.network_enter)
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as forward:
        forward.write("1")


class Network:
    def __init__(self, count):
        assert count <= HOSTS
        self.namespaces = []
        self.cuts = set()
        for number in range(count):
            self.host_add(number)

    def host_add(self, number):
        fd = kernel.namespace_new()
        self.namespaces.append(fd)
        path = f"/proc/{os.getpid()}/fd/{fd}"
        inside = ("nsenter", f"--net={path}", "ip")
        link = f"host{number}"
        kernel.command("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", path)
        kernel.command("ip", "address", "add", f"10.77.{number}.1/24", "dev", link)
        kernel.command("ip", "link", "set", link, "up")
        kernel.command(*inside, "address", "add", self.host(number) + "/24", "dev", "eth0")
        kernel.command(*inside, "link", "set", "lo", "up")
        kernel.command(*inside, "link", "set", "eth0", "up")
        kernel.command(*inside, "route", "add", "default", "via", f"10.77.{number}.1")

    def host(self, number):
        return f"10.77.{number}.2"

    def prefix(self, number):
        """What runs a command on that host."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespaces[number]}", "--"]

    def cut(self, source, target):
        """What source sends to target is lost from now on."""
        self.rule("add", source, target)
        self.cuts.add((source, target))

    def rule(self, verb, source, target):
        kernel.command("ip", "rule", verb, "priority", str(RULE_FIRST + source * HOSTS + target),
                       "from", self.host(source), "to", self.host(target), "blackhole")

    def cut_between(self, one_side, other_side):
        for a, b in itertools.product(one_side, other_side):
            for path in ((a, b), (b, a)):
                if path not in self.cuts:
                    self.cut(*path)

    def heal(self):
        for source, target in sorted(self.cuts):
            self.rule("del", source, target)
        self.cuts.clear()

    def close(self):
        """The kernel takes all of it back, once the processes in it have ended."""
        self.heal()
        for number, fd in enumerate(self.namespaces):
            kernel.command("ip", "link", "del", f"host{number}")
            os.close(fd)
        self.namespaces.clear()
