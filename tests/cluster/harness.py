"""Real nodes for the tests: start, watch, kill, restart, clean up.

Owns: processes, their ports, homes and logs. Must not know: the wire protocol beyond wire.Client,
or anything of the implementation beyond section 1 of the contract (commands, flags, ready line).

Invariants:
1. Whatever a test does, its processes end and its directories go: every Node is registered for
   cleanup before it is started, and the kernel kills it should this interpreter be killed first.
2. Only processes started here are signalled, by pid: a node runs in a session of its own.
   What Ctrl-C or SIGTERM leaves to nobody is closed when the interpreter ends (UNCLOSED).
3. A sanitizer's report in any process of a node fails the test that owns the node.
4. Nodes are started from the main thread only (the kernel ties them to the starting thread).
"""

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from wire import Client, NoAnswer, RpcError

BIN = os.environ.get("DRAX_BIN", "")
DRAXD = os.path.join(BIN, "draxd")
CLI = os.path.join(BIN, "drax-cli")
ACTORS = ("storage", "raft", "gateway")
KINDS = ("supervisor",) + ACTORS

START_TIMEOUT_S = 60  # a sanitized node on a busy machine
STOP_TIMEOUT_S = 5    # the contract's bound for SIGTERM
LOG_TAIL_LINES = 60
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer",
                   "AddressSanitizer:DEADLYSIGNAL")


UNCLOSED = []  # what has processes or files, in the order in which it was made


def unclosed_close():
    for thing in reversed(UNCLOSED[:]):
        with contextlib.suppress(Exception):
            thing.close()


atexit.register(unclosed_close)
signal.signal(signal.SIGTERM, signal.default_int_handler)


def wait_until(predicate, timeout, what="the condition", interval=0.02):
    """Poll until predicate() is true and return its value; AssertionError after timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(interval)


PORTS_GIVEN = set()  # who was given one may not have bound it yet, or be down between two lives


def ports_find(count, adjacent=1):
    """Free loopback ports below the kernel's range for outgoing connections: a port taken from that
    range could be lost to any connection while its node is down between two lives."""
    found = []
    while len(found) < count:
        first = random.SystemRandom().randrange(10000, 32000)
        block = range(first, first + adjacent)
        if PORTS_GIVEN.isdisjoint(block) and all(map(port_is_free, block)):
            PORTS_GIVEN.update(block)
            found.append(first)
    return found


def port_is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def environment(extra=None):
    """This environment without any DRAX_ variable, with the sanitizers' options, and extra."""
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith("DRAX_") and k not in ("NOTIFY_SOCKET", "LISTEN_FDS")}
    clean.setdefault("ASAN_OPTIONS", "exitcode=99:quarantine_size_mb=16:malloc_context_size=10")
    clean.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    clean.update(extra or {})
    return clean


class Process:
    """One command in a session of its own, its standard error read line by line."""

    def __init__(self, argv, env=None, log=None, pass_fds=(), cwd=None):
        self.log = log if log is not None else []
        self.changed = threading.Condition()
        self.started = time.monotonic()
        self.eof = False
        tie = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self.popen = subprocess.Popen(tie + list(argv), env=environment(env), cwd=cwd,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, start_new_session=True,
                                      pass_fds=pass_fds)
        self.pid = self.popen.pid
        self.log.append(f"--- started {self.pid}: {' '.join(argv)}")
        self.first_line = len(self.log)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with self.popen.stderr as stream:
            for line in stream:
                with self.changed:
                    self.log.append(line.decode(errors="replace").rstrip("\n"))
                    self.changed.notify_all()
        with self.changed:
            self.eof = True
            self.changed.notify_all()

    def lines(self):
        """What this process (and its children) wrote so far in this life."""
        with self.changed:
            return self.log[self.first_line:]

    def line_wait(self, matches, timeout):
        """Wait for a line; AssertionError when the process ends or the time is up before."""
        deadline = time.monotonic() + timeout
        with self.changed:
            seen = self.first_line
            while True:
                for line in self.log[seen:]:
                    if matches(line):
                        return line
                seen = len(self.log)
                left = deadline - time.monotonic()
                if self.eof or left <= 0:
                    why = "the process ended" if self.eof else f"{timeout} s passed"
                    raise AssertionError(f"{why} before the awaited line:\n" + log_tail(self.log))
                self.changed.wait(left)

    def wait(self, timeout):
        """The exit code; AssertionError when it does not end in time."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pid {self.pid} did not end within {timeout} s\n"
                                 + log_tail(self.log)) from None

    def signal(self, number):
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def close(self):
        """Kill what is left of the session, and wait for the last word of its log."""
        deadline = time.monotonic() + 10
        while self.popen.poll() is None or session_pids(self.pid):
            for pid in session_pids(self.pid):
                pid_signal(pid, signal.SIGKILL)
            self.popen.poll()
            if time.monotonic() > deadline:
                raise AssertionError(f"processes of session {self.pid} cannot be killed")
            time.sleep(0.01)
        self.reader.join(10)


def session_pids(session):
    """The pids of all processes of a session, zombies left out."""
    return [pid for pid, fields in proc_stats() if fields[3] == str(session) and fields[0] != "Z"]


def proc_stats():
    """(pid, [state, ppid, pgrp, session, …]) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                    yield int(name), stat.read().rpartition(")")[2].split()
            except OSError:
                pass


def pid_signal(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def pid_is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def pid_argv(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return cmdline.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def pid_rss(pid):
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pid_takes_sigterm(pid):
    """Whether a SIGTERM sent now is caught or blocked rather than fatal."""
    bit = 1 << (signal.SIGTERM - 1)
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            return any(int(line.split()[1], 16) & bit for line in status
                       if line.startswith(("SigBlk:", "SigCgt:")))
    except OSError:
        return False


def log_tail(log, count=LOG_TAIL_LINES):
    return "\n".join(log[-count:])


class Node:
    """One draxd with its own home and ports, through any number of lives. `host` is where it listens,
    `prefix` a command that runs it (in another network)."""

    def __init__(self, name="node", peers=(), flags=(), env=None, base=None, host="127.0.0.1", prefix=()):
        self.name = name
        self.peers = list(peers)
        self.flags = list(flags)
        self.env = dict(env or {})
        self.base = base or tempfile.mkdtemp(prefix="drax-test-")
        self.home = os.path.join(self.base, name)
        port, raft_port = ports_find(2)
        self.addr = f"{host}:{port}"
        self.raft_addr = f"{host}:{raft_port}"
        self.prefix = list(prefix)
        self.log = []
        self.process = None
        UNCLOSED.append(self)

    def argv(self, *command):
        argv = [DRAXD, *command, "--home", self.home, "--addr", self.addr,
                "--raft-addr", self.raft_addr]
        if self.peers:
            argv += ["--peer", ",".join(self.peers)]
        return argv + self.flags

    def start(self, wait=True):
        assert threading.current_thread() is threading.main_thread()
        assert self.process is None or not self.alive(), f"{self.name} runs already"
        if self.process:
            self.process.close()
        self.process = Process(self.prefix + self.argv(), self.env, self.log)
        if wait:
            self.ready_wait()
        return self

    def is_ready_line(self, line):
        return "ready" in line and self.addr in line

    def ready_wait(self, timeout=START_TIMEOUT_S):
        return self.process.line_wait(self.is_ready_line, timeout)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.popen.poll() is None

    def actors(self):
        """{kind: pid} of the actor processes that run now."""
        found = {}
        for pid, fields in proc_stats():
            if fields[1] == str(self.pid) and fields[0] != "Z":
                found.update({kind: pid for kind in ACTORS if kind in pid_argv(pid)[1:]})
        return found

    def pid_of(self, kind, timeout=10):
        if kind == "supervisor":
            return self.pid
        return wait_until(lambda: self.actors().get(kind), timeout, f"{self.name}'s {kind}")

    def kill(self, kind="supervisor", number=signal.SIGKILL):
        """kill -9 one process; returns its pid. A supervisor takes its actors along by itself."""
        pid = self.pid_of(kind)
        self.log.append(f"--- signal {int(number)} to {kind} {pid}")
        pid_signal(pid, number)
        if kind == "supervisor" and number == signal.SIGKILL:
            self.process.wait(10)
        return pid

    def ended_wait(self, timeout):
        """Wait until no process of the node is left."""
        wait_until(lambda: not session_pids(self.pid), timeout, f"the end of {self.name}")

    def stop(self, timeout=30):
        """SIGTERM; (exit code, seconds it took)."""
        begin = time.monotonic()
        self.kill("supervisor", signal.SIGTERM)
        return self.process.wait(timeout), time.monotonic() - begin

    def crash(self):
        """kill -9 of the whole node: supervisor and actors at once."""
        for pid in [self.pid, *self.actors().values()]:
            pid_signal(pid, signal.SIGKILL)
        self.process.wait(10)
        self.ended_wait(10)

    def restart(self):
        if self.alive():
            self.stop()
        return self.start()

    def wipe(self):
        shutil.rmtree(self.home)

    def client(self, **options):
        return Client(self.addr, **options)

    def call(self, method, *params, **options):
        """One call on a connection of its own."""
        with self.client() as client:
            return client.call(method, *params, **options)

    def status(self, timeout=15):
        return self.call("status", timeout=timeout)

    def close(self):
        """End everything, remove the home; AssertionError for a sanitizer's report in the log."""
        if self in UNCLOSED:
            UNCLOSED.remove(self)
        try:
            if self.process:
                self.process.close()
        finally:
            shutil.rmtree(self.base, ignore_errors=True)
        sanitizer_check(self.name, self.log)


def sanitizer_check(name, log):
    for number, line in enumerate(log):
        if any(mark in line for mark in SANITIZER_MARKS):
            report = "\n".join(log[number:number + LOG_TAIL_LINES])
            raise AssertionError(f"sanitizer report in {name}:\n{report}")


class Cluster:
    """n nodes, the second to the last joined one after the other through peers_of(index). `each(index)`
    gives further options of one node."""

    def __init__(self, count, peers_of=None, each=None, **options):
        self.nodes = [Node(f"node{i}", **options, **(each(i) if each else {})) for i in range(count)]
        for i, node in enumerate(self.nodes[1:], 1):
            chosen = peers_of(i) if peers_of else [0]
            node.peers = [self.nodes[j].addr for j in chosen]

    def start(self):
        for i, node in enumerate(self.nodes):
            node.start()
            self.voters_wait(i + 1)
        return self

    def voters_wait(self, count, timeout=START_TIMEOUT_S):
        """Until the first node knows `count` voters and a leader."""
        def settled():
            status = self.nodes[0].status()
            roles = [member["role"] for member in status["members"]]
            return roles == ["voter"] * count and status["leader"] is not None
        wait_until(settled, timeout, f"{count} voters")

    def leader(self, timeout=30, among=None):
        """The node that leads, once every live node asked agrees on it."""
        nodes = among or [node for node in self.nodes if node.alive()]

        def agreed():
            try:
                found = [node.status(timeout=2) for node in nodes]
            except (NoAnswer, RpcError):
                return None
            if len({(status["leader"], status["term"]) for status in found}) != 1:
                return None
            leading = [node for node, status in zip(nodes, found) if status["role"] == "leader"
                       and status["leader"] == status["node"]]
            return leading[0] if len(leading) == 1 else None
        return wait_until(agreed, timeout, "one leader that all agree on", 0.05)

    def followers(self):
        leader = self.leader()
        return [node for node in self.nodes if node.alive() and node is not leader]

    def addrs(self):
        return [node.addr for node in self.nodes]

    def close(self):
        problems = []
        for node in self.nodes:
            try:
                node.close()
            except AssertionError as problem:
                problems.append(str(problem))
        if problems:
            raise AssertionError("\n".join(problems))


def put_until_done(node, key, value, timeout):
    """Write through a node, again after UNAVAILABLE, TIMEOUT or silence; seconds until the first
    success, AssertionError when there is none in time."""
    begin = time.monotonic()
    last = None
    while (left := begin + timeout - time.monotonic()) > 0:
        with node.client() as client:
            try:
                client.call("put", key, value, timeout=min(left, 1.0))
                return time.monotonic() - begin
            except NoAnswer as error:
                last = error
            except RpcError as error:
                if error.code not in ("UNAVAILABLE", "TIMEOUT"):
                    raise
                last = error
                time.sleep(0.02)
    raise AssertionError(f"no write through {node.name} within {timeout} s: {last}")


def cli_run(*arguments, endpoints=None, env=None, stdin=b"", timeout=60):
    """drax-cli to its end, in an environment without any other DRAX_ variable; (exit code, standard output as bytes,
    standard error as text), AssertionError for a sanitizer's report."""
    given = {"DRAX_ENDPOINTS": endpoints} if endpoints else {}
    done = subprocess.run([CLI, *arguments], input=stdin, env=environment({**given, **(env or {})}), capture_output=True,
                          timeout=timeout, check=False)
    err = done.stderr.decode(errors="replace")
    sanitizer_check("drax-cli", err.splitlines())
    return done.returncode, done.stdout, err


class DraxTestCase(unittest.TestCase):
    """Base of all tests here: registers nodes for cleanup, prints their logs on a failure."""

    shared = ()  # nodes of the whole class

    @classmethod
    def setUpClass(cls):
        assert os.access(DRAXD, os.X_OK), "DRAX_BIN must name the folder that holds draxd"
        cls.shared = []

    def setUp(self):
        self.nodes = []

    @classmethod
    def class_node(cls, name="node", **options):
        node = Node(name, **options)
        cls.shared.append(node)
        cls.addClassCleanup(node.close)
        return node.start()

    @classmethod
    def class_cluster(cls, count, **options):
        cluster = Cluster(count, **options)
        cls.shared += cluster.nodes
        cls.addClassCleanup(cluster.close)
        return cluster.start()

    def node(self, name="node", start=True, **options):
        node = Node(name, **options)
        self.nodes.append(node)
        self.addCleanup(node.close)
        return node.start() if start else node

    def cluster(self, count, **options):
        cluster = Cluster(count, **options)
        self.nodes += cluster.nodes
        self.addCleanup(cluster.close)
        return cluster.start()

    def client(self, node, **options):
        client = node.client(**options)
        self.addCleanup(client.close)
        return client

    def directory(self):
        path = tempfile.mkdtemp(prefix="drax-test-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def fails(self, code, function, *args, **options):
        """The RpcError that the call must raise with this code."""
        with self.assertRaises(RpcError) as caught:
            function(*args, **options)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def run(self, result=None):
        result = result if result is not None else self.defaultTestResult()
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for node in [*getattr(self, "nodes", ()), *self.shared]:
                print(f"\n===== {node.name} {node.addr} ({self.id()} failed)\n"
                      + log_tail(node.log), file=sys.stderr)
        return result


class ServerTestCase(DraxTestCase):
    """One node for the whole class: `server`, and `c`, a client of it for each test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.class_node()

    def setUp(self):
        super().setUp()
        self.c = self.client(self.server)


class EmptyServerTestCase(ServerTestCase):
    """The same, but it is empty when a test begins."""

    def setUp(self):
        super().setUp()
        if self.count():
            self.c.call("delete_tree", "")

    def count(self):
        return self.c.call("range", b"\0", "", count_only=True)["count"]
