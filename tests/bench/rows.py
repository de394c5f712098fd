"""What is measured, and what it must come to: the rows of docs/PERFORMANCE.md with their goals.

A row is measured at once and can be asked for alone; each of its lines is one figure of it, with its goals. Figures are
those of the three stores, or of Drax with what the row is about ("drax") and without ("base").
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """One figure, and what Drax's is to be: at least (`less`: at most) so many times a peer's or base's; under "", so much."""

    title: str
    figure: str
    unit: str
    must: dict
    aim: dict = field(default_factory=dict)
    less: bool = False

    def kept(self, goals, figures):
        """Whether Drax's figure keeps all goals; None without goals, or when a store that it takes was not measured."""
        if not goals or any(name and name not in figures for name in ("drax", *goals)):
            return None
        own = figures["drax"][self.figure]
        bounds = [factor * (figures[against][self.figure] if against else 1) for against, factor in goals.items()]
        return all(own <= bound if self.less else own >= bound for bound in bounds)


@dataclass(frozen=True)
class Row:
    """`limit_s`: it is given up after that, whatever goes wrong."""

    name: str
    lines: tuple
    limit_s: int
    plan: dict = field(default_factory=dict)
    kind: str = "load"
    long: bool = False

    @property
    def alone(self):
        """It starts stores of its own."""
        return self.kind not in ("load", "watch", "failover")

    def titles(self, plan):
        """Each line with its title."""
        return [(line, line.title.format(**plan)) for line in self.lines]


def rate(title, must=None, aim=None):
    return (Line(title, "rate", "/s", must or {}, aim or {}),)


def p50(title, must, aim):
    return (Line(title, "p50_us", "us", {"etcd": must}, {"etcd": aim}, less=True),)


def load(work, clients, connections):
    return {"work": work, "clients": clients, "connections": connections}


def watch(connections):
    return {"rate": 500, "watchers": 100, "connections": connections}


ROWS = [
    Row("put1", p50("put, 1 client, p50", 0.75, 0.6), 300, load("put", 1, 1)),
    Row("put64", rate("put, 64 clients", {"etcd": 3}, {"etcd": 4}), 300, load("put", 64, 16)),
    Row("put256", rate("put, 256 clients", {"etcd": 4, "zookeeper": 2}, {"etcd": 6}), 300, load("put", 256, 32)),
    Row("put1000", rate("put, 1,000 clients"), 300, load("put", 1000, 64)),
    Row("get1", p50("linearizable get, 1 client, p50", 0.9, 0.6), 300, load("get", 1, 1)),
    Row("get64", rate("linearizable get, 64 clients", {"etcd": 2.5}, {"etcd": 4}), 300, load("get", 64, 16)),
    Row("get256", rate("linearizable get, 256 clients", {"etcd": 4}, {"etcd": 6}), 300, load("get", 256, 32)),
    Row("sget256", rate("stale get, 256 clients", {"zookeeper": 1.3}, {"zookeeper": 2}), 300, load("sget", 256, 32)),
    Row("mix256", rate("90% gets, 10% puts, 256 clients", {"etcd": 6}, {"etcd": 10}), 300, load("mix", 256, 32)),
    Row("watch", (Line("watch: 500 puts/s to 100 watchers, p50 of the delivery", "p50_us", "us",
                       {"etcd": 0.5}, {"etcd": 0.3}, True),
                  Line("the same: CPU of the servers a put", "cpu_us", "us", {"etcd": 0.3}, {"etcd": 0.15}, True)),
        300, watch(10), "watch"),
    Row("watch1", (Line("the same, the watchers on one connection: p50", "p50_us", "us", {}, less=True),
                   Line("the same on one connection: CPU of the servers a put", "cpu_us", "us", {}, less=True)),
        300, watch(1), "watch"),
    Row("failover", (Line("kill -9 of the leader to the next write", "took_s", "s", {"": 0.5}, {"": 0.3}, True),),
        600, {}, "failover"),
    Row("put1m", rate("put of 1 MB, 1 client", {"etcd": 3}, {"etcd": 6}), 400, load("put", 1, 1), "large"),
    Row("get1m", rate("get of 1 MB, 1 client", {"etcd": 1.5}, {"etcd": 3}), 400, load("get", 1, 1), "large"),
    Row("watches", rate("put, 256 clients, beside 10,000 idle watches", {"base": 0.9}), 400,
        {"what": "watches", "count": 10000}, "idle"),
    Row("clients", rate("put, 256 clients, beside 10,000 idle clients", {"base": 0.9}), 400,
        {"what": "clients", "count": 10000}, "idle"),
    Row("five", rate("put, 256 clients, five nodes (against three)", {"base": 0.6}), 400, {"count": 5}, "servers"),
    Row("million", (Line("restart with {keys:,} keys to the first read", "took_s", "s", {"": 1}, {"": 0.3}, True),
                    Line("disk after {keys:,} puts of 256 B, a member", "disk_mb", "MB", {"": 500}, {"": 400}, True),
                    Line("memory with {keys:,} keys, a server", "memory_mb", "MB", {"": 150}, {"": 80}, True)),
        1800, {"keys": 1000000}, "million", True),
    Row("keys", rate("put, 256 clients, {keys:,} keys (against 100,000)", {"base": 0.8}),
        3600, {"keys": 10000000}, "keys", True),
]
