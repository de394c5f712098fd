"""Three servers of each store on loopback, for compare.py: started from an empty folder, measured, ended.

Owns their processes and folders. Each store has endpoints(), pids(), folder and load(work, …), which puts one work on it and
gives {rate, p50_us, p99_us, errors}.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import load
from harness import Cluster, Process, ports_find, proc_stats, wait_until

START_TIMEOUT_S = 60
NODES = range(3)
TICKS = os.sysconf("SC_CLK_TCK")


def packages_missing():
    """Which of Debian's packages of the peers are not there."""
    files = {"etcd-server": "/usr/bin/etcd", "zookeeper": "/usr/share/java/zookeeper.jar"}
    return [package for package, file in files.items() if not os.path.exists(file)]


class Store:
    """What all three have: figures of their processes and of their folder."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"drax-bench-{self.name}-"))
        self.processes = []

    def start(self, argv):
        self.processes.append(Process(argv))

    def pids(self):
        return [process.pid for process in self.processes]

    def close(self):
        for process in self.processes:
            process.close()
        shutil.rmtree(self.folder)

    def cpu_s(self):
        """Processor seconds that the servers have used, without the kernel's own threads."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_mb(self):
        """Resident, the mean of the servers."""
        pages = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
                pages += int(statm.read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 / len(NODES)

    def disk_mb(self):
        """What their folders take on the disk, the mean of the servers."""
        files = [os.path.join(top, name) for top, _, names in os.walk(self.folder) for name in names]
        return sum(os.stat(file).st_blocks * 512 for file in files) / 1e6 / len(NODES)


class Drax(Store):
    name = "drax"

    def __init__(self):
        super().__init__()
        self.cluster = Cluster(3, base=str(self.folder))
        self.cluster.start()
        leader = self.cluster.leader()
        self.first = ",".join([leader.addr] + [node.addr for node in self.cluster.nodes if node is not leader])

    def pids(self):
        supervisors = [node.pid for node in self.cluster.nodes]
        return supervisors + [pid for pid, fields in proc_stats()
                              if int(fields[1]) in supervisors and fields[0] != "Z"]

    def close(self):
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fill(self, keys):
        load.bench(self.first, "put", count=1, keys=keys, prefill=True)

    def load(self, work, clients, connections, keys, seconds):
        flags = {"clients": clients, "connections": connections, "keys": keys, "duration": f"{seconds}s"}
        workload = {"sget": "get", "mix": "mixed"}.get(work, work)
        if work == "sget":
            flags["stale"] = True
        # To the leader, as the peers are asked: the first endpoint of every connection.
        found = load.bench(self.first.split(",")[0], workload, **flags)
        return {"rate": found["throughput"], "operations": found["operations"], "errors": sum(found["errors"].values()),
                "p50_us": found["latency_ns"]["p50"] / 1000, "p99_us": found["latency_ns"]["p99"] / 1000}


class Peer(Store):
    """One that is driven by a program of the directory given with --peers."""

    def __init__(self, programs):
        super().__init__()
        self.program = os.path.join(programs, self.program)
        self.ports = [ports_find(3) for _ in NODES]
        self.leader = None
        for i in NODES:
            self.start(self.argv(i))
        for client, *_ in self.ports:
            wait_until(lambda port=client: self.answers(port), START_TIMEOUT_S, f"{self.name} on {client}")

    @staticmethod
    def answers(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def endpoints(self):
        return [f"127.0.0.1:{client}" for client, *_ in self.ports]

    def run(self, *flags):
        return subprocess.run([self.program, *flags], capture_output=True, text=True, timeout=500, check=False)

    def fill(self, keys):
        """Each key once; again as long as a server has not found its peers yet."""
        wait_until(lambda: self.recorded("-op", "fill", "-keys", str(keys), "-clients", "64", "-conns", "16",
                                         "-endpoints", ",".join(self.endpoints()))["errs"] == 0,
                   START_TIMEOUT_S, f"{self.name} to be filled", 1)

    def recorded(self, *flags):
        """What a run of the program left behind; AssertionError when it failed altogether."""
        out = self.folder / "run.json"
        out.unlink(missing_ok=True)
        done = self.run(*flags, "-out", str(out))
        if done.returncode != 0:
            raise AssertionError(f"{self.name}: {done.stdout}{done.stderr}")
        return json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"errs": -1}

    def target(self):
        return ",".join(self.endpoints())

    def load(self, work, clients, connections, keys, seconds):
        found = self.recorded("-op", work, "-clients", str(clients), "-conns", str(connections), "-keys", str(keys),
                              "-secs", str(seconds), "-warm", "0", "-endpoints", self.target())
        if found["errs"] < 0:
            raise AssertionError(f"{self.name}: nothing succeeded in {work}")
        return {"rate": found["ops_s"], "operations": found["n"], "errors": found["errs"],
                "p50_us": found["p50"], "p99_us": found["p99"]}


class Etcd(Peer):
    name = "etcd"
    program = "etcdload"

    def argv(self, i):
        client, peer, _ = self.ports[i]
        members = ",".join(f"n{j}=http://127.0.0.1:{ports[1]}" for j, ports in enumerate(self.ports))
        return ["etcd", "--name", f"n{i}", "--data-dir", str(self.folder / f"n{i}"),
                "--listen-client-urls", f"http://127.0.0.1:{client}",
                "--advertise-client-urls", f"http://127.0.0.1:{client}",
                "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-cluster", members, "--initial-cluster-state", "new", "--log-level", "error"]

    def target(self):
        if not self.leader:
            self.leader = wait_until(lambda: self.run("-op", "leader", "-endpoints", ",".join(self.endpoints()))
                                     .stdout.strip(), START_TIMEOUT_S, "etcd's leader", 0.5)
        return self.leader


class ZooKeeper(Peer):
    name = "zookeeper"
    program = "zkload"

    def argv(self, i):
        home = self.folder / f"n{i}"
        home.mkdir()
        (home / "myid").write_text(f"{i + 1}\n", encoding="ascii")
        lines = ["tickTime=2000", "initLimit=10", "syncLimit=5", f"dataDir={home}", f"clientPort={self.ports[i][0]}",
                 "clientPortAddress=127.0.0.1", "admin.enableServer=false", "maxClientCnxns=0"]
        lines += [f"server.{j + 1}=127.0.0.1:{ports[1]}:{ports[2]}" for j, ports in enumerate(self.ports)]
        (self.folder / f"n{i}.cfg").write_text("\n".join(lines) + "\n", encoding="ascii")
        return ["java", "-Xmx512m", "-cp", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.folder / f"n{i}.cfg")]
