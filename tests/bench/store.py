"""Servers of one store on loopback, for compare.py: started from an empty folder, measured, ended; and Drax as such a store.

Owns their processes and folders. What each store does (NotMeasured, where there is no program for it):

    load(work, …)   puts one work on it: {rate, p50_us, p99_us, errors, cpu_us, client_us}
    watch(…)        writes at a rate, and watches that hear of them: {p50_us, cpu_us, client_us}
    fill(keys)      each key once
    failover()      kill -9 of the leader to the next write, in seconds
    restart()       kill -9 of another, and a new start to the first read, in seconds
    reads_prepare() whatever lets it read as fast as it can
    memory_mb(), disk_mb(), cpu_s()

The times of failover and restart are those of the whole command that writes or reads, its own start included.
"""

import os
import pathlib
import shutil
import signal
import tempfile
import time

import load
from harness import CLI, Cluster, environment, pid_rss, pid_signal, proc_stats

TICKS = os.sysconf("SC_CLK_TCK")
FILL_TIMEOUT_S = 1800
LEADER_TIMEOUT_S = 60
QUIET_WINDOW_S = 0.5
QUIET_SHARE = 0.1  # of a processor, for all servers together
QUIET_TIMEOUT_S = 60


class NotMeasured(Exception):
    """This store has no program for that."""


def quiet_wait(stores):
    """Until the servers have done what earlier work left to them; no error when they go on for ever."""
    os.sync()
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    while time.monotonic() < deadline:
        before = sum(store.cpu_s() for store in stores)
        time.sleep(QUIET_WINDOW_S)
        if sum(store.cpu_s() for store in stores) - before < QUIET_SHARE * QUIET_WINDOW_S:
            return


def cli_run(endpoints, *argv):
    load.program([CLI, "--endpoints", endpoints, "--timeout", "30s", *argv], env=environment())


class Store:
    """What all three have: figures of their processes and of their folder."""

    servers = 3

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"drax-bench-{self.name}-"))

    def cpu_s(self):
        """Processor seconds that the servers have used, without the kernel's own threads."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_mb(self):
        """Resident, the mean of the servers; what processes of a server share is counted for each."""
        return sum(map(pid_rss, self.pids())) / 1e6 / self.servers

    def disk_mb(self):
        """What their folders take on the disk, the mean of the servers."""
        files = [os.path.join(top, name) for top, _, names in os.walk(self.folder) for name in names]
        return sum(os.stat(file).st_blocks * 512 for file in files if os.path.exists(file)) / 1e6 / self.servers

    def reads_prepare(self):
        pass

    def load(self, work, clients=1, connections=1, keys=1, seconds=1, size=256):
        cpu_s = self.cpu_s()
        found = self.load_run(work, clients, connections, keys, seconds, size)
        cpu_s = self.cpu_s() - cpu_s
        operations = max(found.pop("operations"), 1)
        client_us = found.pop("client_cpu_s") * 1e6 / operations
        return {**found, "cpu_us": cpu_s * 1e6 / operations, "client_us": client_us}

    def watch(self, **plan):
        cpu_s = self.cpu_s()
        found = self.watch_run(**plan)
        puts = plan["rate"] * plan["seconds"]
        return {"p50_us": found["p50_us"], "cpu_us": (self.cpu_s() - cpu_s) * 1e6 / puts,
                "client_us": found["client_cpu_s"] * 1e6 / puts}


class Drax(Store):
    name = "drax"

    def __init__(self, servers=3):
        super().__init__()
        self.servers = servers
        self.cluster = Cluster(servers, base=str(self.folder))
        try:
            self.cluster.start()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        supervisors = [node.pid for node in self.cluster.nodes]
        return supervisors + [pid for pid, fields in proc_stats()
                              if int(fields[1]) in supervisors and fields[0] != "Z"]

    def leader(self):
        """Where it is asked, as the peers are: at the leader alone."""
        return self.cluster.leader().addr

    def fill(self, keys, size=256, **flags):
        load.bench(self.leader(), "put", FILL_TIMEOUT_S, count=1, keys=keys, value_size=size, prefill=True, **flags)

    def load_run(self, work, clients, connections, keys, seconds, size):
        flags = {"clients": clients, "connections": connections, "keys": keys, "duration": f"{seconds}s",
                 "value_size": size}
        if work == "sget":
            flags["stale"] = True
        found = load.bench(self.leader(), {"sget": "get", "mix": "mixed"}.get(work, work), **flags)
        return {"rate": found["throughput"], "operations": found["operations"], "errors": sum(found["errors"].values()),
                "p50_us": found["latency_ns"]["p50"] / 1000, "p99_us": found["latency_ns"]["p99"] / 1000,
                "client_cpu_s": found["client_cpu_s"]}

    def watch_run(self, rate, watchers, connections, seconds):
        found = load.bench(self.leader(), "watch", rate=rate, watchers=watchers, connections=connections, clients=64,
                           duration=f"{seconds}s")
        return {"p50_us": found["deliveries"]["p50"] / 1000, "client_cpu_s": found["client_cpu_s"]}

    def failover(self):
        leader = self.cluster.leader()
        others = ",".join(node.addr for node in self.cluster.nodes if node is not leader)
        pids = [leader.pid, *leader.actors().values()]
        for pid in pids:
            pid_signal(pid, signal.SIGKILL)
        begin = time.monotonic()
        cli_run(others, "put", "failover", "x")
        took_s = time.monotonic() - begin
        leader.process.wait(10)
        leader.ended_wait(10)
        leader.start()
        self.cluster.leader()
        return took_s

    def restart(self):
        node = self.cluster.followers()[0]
        node.crash()
        begin = time.monotonic()
        node.start()
        cli_run(node.addr, "get", "bench/0000000001")
        return time.monotonic() - begin
