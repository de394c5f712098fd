"""etcd and ZooKeeper as stores (store.py), driven by the programs of the directory given with --peers."""

import json
import os
import re
import shutil
import signal
import socket
import time

import load
from harness import Process, ports_find, wait_until
from store import FILL_TIMEOUT_S, LEADER_TIMEOUT_S, NotMeasured, Store

START_TIMEOUT_S = 60
FILL_TRIES = 3


def packages_missing():
    """Which of Debian's packages of the peers are not there."""
    files = {"etcd-server": "/usr/bin/etcd", "zookeeper": "/usr/share/java/zookeeper.jar"}
    return [package for package, file in files.items() if not os.path.exists(file)]


class Peer(Store):
    """What etcd and ZooKeeper have in common: servers of one process each, and a program that takes -op."""

    def __init__(self, programs):
        super().__init__()
        self.program = os.path.join(programs, self.program)
        self.ports = [ports_find(3) for _ in range(self.servers)]
        self.processes = []
        try:
            for i in range(self.servers):
                self.processes.append(Process(self.argv(i)))
            for i in range(self.servers):
                self.listening_wait(i)
        except BaseException:
            self.close()
            raise

    def close(self):
        for process in self.processes:
            process.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        return [process.pid for process in self.processes]

    def listening_wait(self, i):
        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.ports[i][0])) == 0
        wait_until(answers, START_TIMEOUT_S, f"{self.name}'s server {i}")

    def endpoint(self, i):
        return f"127.0.0.1:{self.ports[i][0]}"

    def endpoints(self, without=None):
        return ",".join(self.endpoint(i) for i in range(self.servers) if i != without)

    def leader(self):
        """The number of the server that leads."""
        found = wait_until(lambda: [i for i in range(self.servers) if self.leads(i)], LEADER_TIMEOUT_S,
                           f"{self.name}'s leader", 0.2)
        return found[0]

    def recorded(self, *flags, timeout=load.RUN_TIMEOUT_S):
        """What a run of the program left behind, and its `client_cpu_s`; errs is -1 when nothing succeeded."""
        out = self.folder / "run.json"
        out.unlink(missing_ok=True)
        _, cpu_s = load.program([self.program, *flags, "-out", str(out)], timeout)
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"errs": -1}
        return {**found, "client_cpu_s": cpu_s}

    def fill(self, keys, size=256):
        """Again as long as a server has not found its peers yet, and when a connection was lost over it."""
        flags = ["-op", "fill", "-keys", str(keys), "-clients", "256", "-conns", "32", "-vsize", str(size)]
        deadline = time.monotonic() + START_TIMEOUT_S
        tries = 1
        while self.recorded(*flags, "-endpoints", self.target(), timeout=FILL_TIMEOUT_S)["errs"] != 0:
            if tries >= FILL_TRIES and time.monotonic() > deadline:
                raise AssertionError(f"{self.name} cannot be filled with {keys} keys")
            tries += 1
            time.sleep(1)

    def load_run(self, work, clients, connections, keys, seconds, size):
        found = self.recorded("-op", work, "-clients", str(clients), "-conns", str(connections), "-keys", str(keys),
                              "-secs", str(seconds), "-vsize", str(size), "-warm", "0", "-endpoints", self.target())
        if found["errs"] < 0:
            raise AssertionError(f"{self.name}: nothing succeeded in {work}")
        return {"rate": found["ops_s"], "operations": found["n"], "errors": found["errs"],
                "p50_us": found["p50"], "p99_us": found["p99"], "client_cpu_s": found["client_cpu_s"]}

    def watch_run(self, **plan):
        raise NotMeasured

    def kill(self, i):
        self.processes[i].signal(signal.SIGKILL)

    def start_again(self, i):
        self.processes[i].wait(10)
        self.processes[i].close()
        self.processes[i] = Process(self.argv(i))

    def failover(self):
        i = self.leader()
        self.kill(i)
        begin = time.monotonic()
        self.write_wait(self.endpoints(without=i))
        took_s = time.monotonic() - begin
        self.start_again(i)
        self.listening_wait(i)
        self.read_wait(self.endpoint(i))
        return took_s

    def restart(self):
        i = (self.leader() + 1) % self.servers
        self.kill(i)
        self.processes[i].wait(10)
        begin = time.monotonic()
        self.start_again(i)
        self.read_wait(self.endpoint(i))
        return time.monotonic() - begin


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

    def leads(self, i):
        """Whether the program, asked for the leader among this server alone, finds one."""
        try:
            text, _ = load.program([self.program, "-op", "leader", "-endpoints", self.endpoint(i)], 30)
        except AssertionError:
            return False
        return text.decode().strip() == self.endpoint(i)

    def target(self):
        return self.endpoint(self.leader())

    def reads_prepare(self):
        """A server that has been written to copies its last buffer with every read, until it is started again."""
        for i in range(self.servers):
            self.kill(i)
            self.start_again(i)
            self.listening_wait(i)
            self.read_wait(self.endpoint(i))

    def watch_run(self, rate, watchers, connections, seconds):
        flags = ["-rate", str(rate), "-watchers", str(watchers), "-conns", str(connections), "-secs", str(seconds)]
        text, cpu_s = load.program([self.program, "-op", "watch", *flags, "-endpoints", self.target()])
        p50 = re.search(r"delivered (\d+) of \1, us p50 (\d+)", text.decode())
        if not p50:
            raise AssertionError(f"etcd: {text.decode()}")
        return {"p50_us": float(p50[2]), "client_cpu_s": cpu_s}

    def write_wait(self, endpoints):
        self.told("failover", endpoints)

    def read_wait(self, endpoints):
        self.told("ready", endpoints)

    def told(self, what, endpoints):
        text, _ = load.program([self.program, "-op", what, "-endpoints", endpoints], 90)
        if b" ms" not in text:
            raise AssertionError(f"etcd: {what}: {text.decode()}")


class ZooKeeper(Peer):
    """Its clients are spread over all servers; it is not told more than Debian tells it but the size of its heap."""

    name = "zookeeper"
    program = "zkload"
    heap = "512m"

    def argv(self, i):
        home = self.folder / f"n{i}"
        home.mkdir(exist_ok=True)
        (home / "myid").write_text(f"{i + 1}\n", encoding="ascii")
        lines = ["tickTime=2000", "initLimit=10", "syncLimit=5", f"dataDir={home}", f"clientPort={self.ports[i][0]}",
                 "clientPortAddress=127.0.0.1", "admin.enableServer=false", "maxClientCnxns=0"]
        lines += [f"server.{j + 1}=127.0.0.1:{ports[1]}:{ports[2]}" for j, ports in enumerate(self.ports)]
        (self.folder / f"n{i}.cfg").write_text("\n".join(lines) + "\n", encoding="ascii")
        return ["java", f"-Xmx{self.heap}", "-cp", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.folder / f"n{i}.cfg")]

    def leads(self, i):
        try:
            with socket.create_connection(("127.0.0.1", self.ports[i][0]), 5) as asked:
                asked.sendall(b"srvr")
                return b"Mode: leader" in b"".join(iter(lambda: asked.recv(4096), b""))
        except OSError:
            return False

    def target(self):
        return self.endpoints()

    def write_wait(self, endpoints):
        self.one("put", endpoints)

    def read_wait(self, endpoints):
        self.one("get", endpoints)

    def one(self, work, endpoints):
        """One operation, tried until it succeeds."""
        flags = ["-op", work, "-clients", "1", "-conns", "1", "-keys", "1", "-ops", "1", "-secs", "30", "-warm", "0"]
        wait_until(lambda: self.recorded(*flags, "-endpoints", endpoints)["errs"] == 0,
                   START_TIMEOUT_S, f"zookeeper to {work}", 0)


class ZooKeeperLarge(ZooKeeper):
    """A million nodes need more than Debian's 512 MB."""

    heap = "2g"
