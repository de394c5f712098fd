"""Contract section 1: flags, environment, configuration file, exit codes, signals, homes, actors
started alone."""

import fcntl
import itertools
import os
import pathlib
import resource
import select
import signal
import socket
import stat
import subprocess
import time
import unittest

from harness import (ACTORS, DRAXD, STOP_TIMEOUT_S, DraxTestCase, Node, Process, environment,
                     pid_takes_sigterm, ports_find, put_until_done, sanitizer_check, session_pids, wait_until)
from wire import request_pack

EX_USAGE, EX_UNAVAILABLE, EX_CONFIG = 64, 69, 78
RUN_TIMEOUT_S = 30


def draxd(*arguments, env=None, timeout=RUN_TIMEOUT_S, cwd=None):
    """Run draxd to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([DRAXD, *arguments], env=environment(env), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=timeout, check=False, cwd=cwd)
    out, err = done.stdout.decode(), done.stderr.decode()
    sanitizer_check("draxd " + " ".join(arguments), err.splitlines())
    return done.returncode, out, err


def flock_try(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


class NodeTest(DraxTestCase):
    def arguments(self, **given):
        """Flags of a node that could start, as a dict to change; home in a directory of its own."""
        port, raft_port = ports_find(2)
        flags = {"--home": os.path.join(self.directory(), "home"), "--addr": f"127.0.0.1:{port}",
                 "--raft-addr": f"127.0.0.1:{raft_port}"}
        flags.update(given)
        return flags

    def run_draxd(self, flags=None, env=None, command=()):
        argv = list(itertools.chain(command, *(flags or {}).items()))
        return draxd(*argv, env=env)

    def start_process(self, argv, env=None, name="draxd", **options):
        process = Process([DRAXD, *argv], env, **options)
        self.addCleanup(sanitizer_check, name, process.log)
        self.addCleanup(process.close)
        return process


class Texts(NodeTest):
    def test_version(self):
        code, out, err = draxd("--version")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out.splitlines()[0], r"^draxd\b.* [0-9]+\.[0-9]+")

    def test_help(self):
        code, out, err = draxd("--help")
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.startswith("Usage: draxd"), out[:80])
        for flag in ("--home", "--addr", "--raft-addr", "--advertise", "--raft-advertise", "--peer",
                     "--config", "--max-request", "--log-level", "--version", "--help"):
            self.assertIn(flag, out)

    def test_of_every_command(self):
        for command in ("run", *ACTORS):
            for flag in ("--version", "--help"):
                code, out, err = draxd(command, flag)
                self.assertEqual((code, err), (0, ""), command)
                self.assertTrue(out)


class ExitCodes(NodeTest):
    BAD = {"--addr": ("nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:x",
                      ":1:2x", ""),
           "--raft-addr": ("nonsense", "127.0.0.1:65536"), "--advertise": ("nonsense", "a:b"),
           "--raft-advertise": ("nonsense", "a:b"), "--peer": ("nonsense", "127.0.0.1:1,nonsense", "127.0.0.1:x"),
           "--max-request": ("abc", "-1", "0", "1e6", "12x", "99999999999999999999", ""),
           "--log-level": ("loud", "", "INFO ")}

    def check(self, flags, code, env=None, command=(), naming=""):
        got, out, err = self.run_draxd(flags, env, command)
        self.assertEqual(got, code, (flags, env, err))
        self.assertEqual(out, "")
        self.assertTrue(err.strip(), "nothing said on standard error")
        self.assertIn(naming, err)

    def test_bad_flags(self):
        for argv in (["--nope"], ["--nope=1"], ["-Z"], ["--addr"], ["fly"], ["run", "fly"], ["gateway", "--nope"],
                     ["storage", "x"], ["--home"]):
            with self.subTest(argv=argv):
                code, out, err = draxd(*argv)
                self.assertEqual((code, out), (EX_USAGE, ""), err)
                self.assertTrue(err)

    def test_bad_values_of_flags(self):
        for flag, values in self.BAD.items():
            for value in values:
                with self.subTest(flag=flag, value=value):
                    self.check(self.arguments(**{flag: value}), EX_USAGE)

    def test_actors_check_their_flags_as_well(self):
        for command in ("run", *ACTORS):
            with self.subTest(command=command):
                self.check(self.arguments(**{"--addr": "nonsense"}), EX_USAGE, command=[command])

    def test_bad_environment(self):
        for flag, values in self.BAD.items():
            name = "DRAX_" + flag[2:].upper().replace("-", "_")
            flags = self.arguments()
            flags.pop(flag, None)
            for value in [value for value in values if value][:2]:
                with self.subTest(name=name, value=value):
                    self.check(flags, EX_CONFIG, {name: value}, naming=name)

    def test_a_flag_hides_a_bad_environment_value_or_not(self):
        # Either reading is defensible, but it must be one of the two codes' meanings: it starts, or 78.
        node = self.node("hidden", start=False, env={"DRAX_LOG_LEVEL": "loud"}, flags=["--log-level", "info"])
        node.start(wait=False)
        wait_until(lambda: node.process.eof or any(map(node.is_ready_line, node.process.lines())), 60)
        if node.process.eof:
            self.assertEqual(node.process.wait(5), EX_CONFIG)

    def test_missing_configuration_file(self):
        for flags, env in (({"--config": "/nonexistent/drax.zpl"}, {}),
                           ({}, {"DRAX_CONFIG": "/nonexistent/drax.zpl"})):
            with self.subTest(env=env):
                self.check(self.arguments(**flags), EX_CONFIG, env, naming="/nonexistent/drax.zpl")

    def test_bad_configuration_file(self):
        for text in ("addr = nonsense\n", "max-request = many\n", "log-level = loud\n", "nope = 1\n",
                     "addr\n  = = broken\n\t x", "\x00\x01\x02\xff", "peer = \"a b\"\n"):
            with self.subTest(text=text):
                path = os.path.join(self.directory(), "drax.zpl")
                with open(path, "w", encoding="latin-1") as file:
                    file.write(text)
                flags = self.arguments(**{"--config": path})
                if text.startswith("addr"):
                    del flags["--addr"]
                self.check(flags, EX_CONFIG)

    def test_a_directory_is_no_configuration_file(self):
        self.check(self.arguments(**{"--config": self.directory()}), EX_CONFIG)

    def test_ports_in_use(self):
        for flag in ("--addr", "--raft-addr"):
            with self.subTest(flag=flag), socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                where = "127.0.0.1:%d" % taken.getsockname()[1]
                self.check(self.arguments(**{flag: where}), EX_UNAVAILABLE, naming=where)

    def test_ports_of_another_node(self):
        node = self.node()
        for flag, where in (("--addr", node.addr), ("--raft-addr", node.raft_addr)):
            with self.subTest(flag=flag):
                self.check(self.arguments(**{flag: where}), EX_UNAVAILABLE, naming=where)
        node.call("put", "k", "v")

    def test_home_in_use(self):
        node = self.node()
        self.check(self.arguments(**{"--home": node.home}), EX_UNAVAILABLE, naming=node.home)
        node.call("put", "k", "v")
        self.assertEqual(node.call("get", "k")["value"], b"v")

    def test_one_line_names_it(self):
        node = self.node()
        _, _, err = self.run_draxd(self.arguments(**{"--addr": node.addr}))
        self.assertEqual(len([line for line in err.splitlines() if node.addr in line]), 1, err)
        _, _, err = self.run_draxd(self.arguments(**{"--home": node.home}))
        self.assertEqual(len([line for line in err.splitlines() if node.home in line]), 1, err)

    def test_a_home_that_cannot_be_made(self):
        blocked = os.path.join(self.directory(), "file")
        with open(blocked, "w", encoding="ascii"):
            pass
        code, _, err = self.run_draxd(self.arguments(**{"--home": os.path.join(blocked, "home")}))
        self.assertNotEqual(code, 0)
        self.assertIn(blocked, err)


class Settings(NodeTest):
    def served(self, flags=(), env=None, config=None):
        """Start with these settings; the address that the ready line tells."""
        node = Node("settings", flags=flags, env=env)
        self.nodes.append(node)
        self.addCleanup(node.close)
        if config is not None:
            path = os.path.join(node.base, "drax.zpl")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config.replace("HOME", node.home))
            node.env["DRAX_CONFIG"] = path
        node.argv = lambda *command: [DRAXD, *command, *node.flags]
        return node

    def ready_addr(self, node, candidates):
        node.start(wait=False)
        line = node.process.line_wait(lambda line: "ready" in line and any(c in line for c in candidates), 60)
        found = [c for c in candidates if c in line]
        self.assertEqual(len(found), 1, line)
        node.addr = found[0]
        node.call("ping")
        return found[0]

    def test_precedence_flag_environment_file(self):
        flag, env, file = (f"127.0.0.1:{port}" for port in ports_find(3, adjacent=2))
        config = f"# a comment\naddr = \"{file}\"\nhome = \"HOME\"\n"
        for flags, environ, expected in ((["--addr", flag], {"DRAX_ADDR": env}, flag), ([], {"DRAX_ADDR": env}, env),
                                         ([], {}, file), (["--addr=" + flag], {}, flag)):
            with self.subTest(expected=expected):
                node = self.served(flags, environ, config)
                self.assertEqual(self.ready_addr(node, [flag, env, file]), expected)
                self.assertTrue(os.path.isdir(node.home))
                node.stop()

    def test_config_flag_over_environment(self):
        one, two = (f"127.0.0.1:{port}" for port in ports_find(2, adjacent=2))
        node = self.served(config=f"addr = {one}\nhome = HOME\n")
        path = os.path.join(node.base, "other.zpl")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"addr = {two}\nhome = {node.home}\n")
        node.flags = ["--config", path]
        self.assertEqual(self.ready_addr(node, [one, two]), two)

    def test_every_setting_from_the_environment(self):
        port, raft_port, said, raft_said = ports_find(4)
        node = self.served(env={"DRAX_ADDR": f"127.0.0.1:{port}", "DRAX_RAFT_ADDR": f"127.0.0.1:{raft_port}",
                                "DRAX_ADVERTISE": f"localhost:{said}", "DRAX_RAFT_ADVERTISE": f"localhost:{raft_said}",
                                "DRAX_MAX_REQUEST": "65536", "DRAX_LOG_LEVEL": "debug"})
        node.env["DRAX_HOME"] = node.home
        self.ready_addr(node, [f"127.0.0.1:{port}"])
        self.check_settings(node, said, raft_said)

    def test_every_setting_from_the_file(self):
        port, raft_port, said, raft_said = ports_find(4)
        node = self.served(config=f"home = \"HOME\"\naddr = \"127.0.0.1:{port}\"\nraft-addr = \"127.0.0.1:{raft_port}\"\n"
                                  f"advertise = \"localhost:{said}\"\nraft-advertise = \"localhost:{raft_said}\"\n"
                                  "max-request = 65536\nlog-level = \"debug\"\n")
        self.ready_addr(node, [f"127.0.0.1:{port}"])
        self.check_settings(node, said, raft_said)

    def check_settings(self, node, said, raft_said):
        member, = node.status()["members"]
        self.assertEqual((member["addr"], member["raft_addr"]), (f"localhost:{said}", f"localhost:{raft_said}"))
        self.assertTrue(os.path.isdir(node.home))
        with node.client() as c:
            frame = len(request_pack(7, "put", ["k", b"x" * 60000])) - 60000
            self.assertIsNone(c.raw_call(request_pack(7, "put", ["k", b"x" * (65536 - frame)]))[1])
            _, error, _ = c.raw_call(request_pack(7, "put", ["k", b"x" * (65537 - frame)]))
            self.assertEqual(error.code, "TOO_LARGE")

    def test_peer_from_the_environment(self):
        first = self.node("first")
        second = self.node("second", env={"DRAX_PEER": first.addr})
        self.assertEqual(second.status()["cluster"], first.status()["cluster"])

    def test_raft_addr_is_by_default_the_next_port(self):
        port, = ports_find(1, adjacent=2)
        node = self.served(["--addr", f"127.0.0.1:{port}"])
        node.flags += ["--home", node.home]
        self.ready_addr(node, [f"127.0.0.1:{port}"])
        member, = node.status()["members"]
        self.assertEqual((member["addr"], member["raft_addr"]), (f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"))

    @unittest.skipIf(os.geteuid() == 0, "root's default home is the machine's own")
    def test_default_home(self):
        port, = ports_find(1, adjacent=2)
        node = self.served(["--addr", f"127.0.0.1:{port}"])
        node.env["HOME"] = node.base
        self.ready_addr(node, [f"127.0.0.1:{port}"])
        self.assertTrue(os.path.isdir(os.path.join(node.base, ".local/share/drax")))

    def test_draxd_run_is_the_same(self):
        node = self.node(start=False)
        plain = node.argv
        node.argv = lambda *command: plain("run")
        node.start()
        self.assertEqual(node.call("put", "k", "v")["revision"], 1)

    def test_log_level(self):
        loud = self.node("loud", flags=["--log-level", "debug"])
        quiet = self.node("quiet", flags=["--log-level", "error"])  # the ready line comes all the same
        self.assertLess(len(quiet.process.lines()), len(loud.process.lines()))


class Lifecycle(NodeTest):
    def test_home_is_made_with_mode_0700(self):
        node = self.node(start=False)
        mask = os.umask(0)
        try:
            node.start()
        finally:
            os.umask(mask)
        self.assertEqual(stat.S_IMODE(os.stat(node.home).st_mode), 0o700)

    def test_parents_of_the_home_are_made(self):
        node = self.node(start=False)
        node.home = os.path.join(node.base, "a", "b", "home")
        node.start()
        self.assertEqual(stat.S_IMODE(os.stat(node.home).st_mode), 0o700)

    def test_an_empty_home_bootstraps_a_leader_of_one(self):
        node = self.node(start=False)
        os.mkdir(node.home, 0o700)
        node.start()
        status = node.status()
        self.assertEqual((status["role"], status["leader"], len(status["members"])), ("leader", status["node"], 1))

    def test_one_ready_line_when_it_can_serve(self):
        node = self.node(start=False)
        node.start()
        node.call("put", "k", "v", timeout=2)
        for kind in ACTORS:
            node.kill(kind)
            wait_until(lambda: set(node.actors()) == set(ACTORS), 10)
            put_until_done(node, "k", "v", 10)
        node.stop()
        node.process.reader.join(10)
        ready = [line for line in node.process.lines() if node.is_ready_line(line)]
        self.assertEqual(len(ready), 1, ready)

    def test_state_survives_stop_and_crash(self):
        node = self.node()
        before = node.status()
        node.call("put", "k", "1")
        node.restart()
        self.assertEqual(node.call("get", "k")["value"], b"1")
        for i in range(3):
            revision = node.call("put", "k", f"crash {i}")["revision"]
            node.crash()
            node.start()
            got = node.call("get", "k")
            self.assertEqual((got["value"], got["revision"]), (f"crash {i}".encode(), revision))
        after = node.status()
        self.assertEqual((after["node"], after["cluster"]), (before["node"], before["cluster"]))

    def test_storage_may_have_more_memory(self):
        # A sanitizer's terabytes are in all of them: the difference is what can be looked at.
        actors = self.node().actors()
        storage, gateway, raft = (resource.prlimit(actors[kind], resource.RLIMIT_DATA)[0]
                                  for kind in ("storage", "gateway", "raft"))
        self.assertAlmostEqual(storage - gateway, 512 << 20, delta=64 << 20)
        self.assertAlmostEqual(raft, gateway, delta=64 << 20)

    def test_an_actor_dies_twice(self):
        """Right after its start, so that its neighbours' answers to that life come to the next one."""
        node = self.node()
        for delay in (0.02, 0.05, 0.1):  # when is what is tested
            killed = node.kill("raft")
            wait_until(lambda: node.actors().get("raft", killed) != killed, 10, "another raft", 0.001)
            time.sleep(delay)
            node.kill("raft")
            put_until_done(node, "k", str(delay), 20)

    def test_a_start_right_after_a_crash(self):
        """Actors die a little later than their supervisor, and whoever starts the node again does not wait for that."""
        node = self.node()
        for i in range(3):
            revision = node.call("put", "k", f"crash {i}")["revision"]
            node.kill("supervisor", signal.SIGKILL)
            node.process.wait(10)
            with open(os.path.join(node.home, "run", "gateway.lock"), "r+b") as late:
                wait_until(lambda: flock_try(late), 10)
                node.start(wait=False)
                wait_until(lambda: "gateway" in node.actors(), 30)
                time.sleep(0.3)  # how late is what is tested
            node.ready_wait()
            self.assertEqual(node.call("get", "k")["revision"], revision)

    def test_a_damaged_large_value_is_named(self):
        node = self.node()
        value = bytes(range(256)) * 400
        node.call("put", "large", value)
        node.restart()  # a stop flushes
        self.assertEqual(node.call("get", "large")["value"], value)
        node.stop()
        file = next(pathlib.Path(node.home).glob("state/*/large/*.val"))
        content = bytearray(file.read_bytes())
        content[50000] ^= 1
        file.write_bytes(content)
        node.start()
        with node.client() as client:
            client.send("get", "large")
            node.process.line_wait(lambda line: f"{file.name}: the checksum of the value is wrong" in line, 20)

    def test_sigterm_and_sigint(self):
        node = self.node(start=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            node.start()
            node.call("put", "k", "v")
            begin = time.monotonic()
            node.kill("supervisor", number)
            self.assertEqual(node.process.wait(STOP_TIMEOUT_S + 5), 0)
            self.assertLess(time.monotonic() - begin, STOP_TIMEOUT_S)
            node.ended_wait(1)

    def test_sigterm_to_the_whole_group(self):
        """As a terminal or systemd sends it: to the actors as well."""
        node = self.node()
        os.killpg(node.pid, signal.SIGTERM)
        self.assertEqual(node.process.wait(STOP_TIMEOUT_S + 5), 0)
        node.ended_wait(1)

    def test_sigterm_with_clients_at_work(self):
        node = self.node()
        with node.client() as client:
            for i in range(2000):
                client.send("put", f"busy/{i}", "v")
            client.call("ping")
            code, seconds = node.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, STOP_TIMEOUT_S)

    def terminated_while_starting(self, argv, delay):
        process = self.start_process(argv)
        wait_until(lambda: pid_takes_sigterm(process.pid) or process.popen.poll() is not None, 30,
                   "the process to catch SIGTERM", 0)
        time.sleep(delay)  # the moment is what is tested
        process.signal(signal.SIGTERM)
        begin = time.monotonic()
        self.assertEqual(process.wait(STOP_TIMEOUT_S + 5), 0, (argv, delay))
        self.assertLess(time.monotonic() - begin, STOP_TIMEOUT_S)
        wait_until(lambda: not session_pids(process.pid), 1, "the end of its children")

    def test_sigterm_while_it_starts(self):
        for command in ("run", *ACTORS):
            for delay in (0, 0.02, 0.1, 0.4):
                with self.subTest(command=command, delay=delay):
                    flags = self.arguments()
                    self.terminated_while_starting([command, *itertools.chain(*flags.items())], delay)

    def test_sigterm_while_it_cannot_join(self):
        for delay in (0, 0.5, 2):
            flags = self.arguments(**{"--peer": "127.0.0.1:9"})
            self.terminated_while_starting([*itertools.chain(*flags.items())], delay)


class Alone(NodeTest):
    """Actors started by somebody else than the supervisor."""

    def start_actor(self, kind, flags, env=None):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        process = self.start_process([kind, *itertools.chain(*flags.items()), f"--ready-fd={write}"], env,
                                     name=kind, pass_fds=[write])
        os.close(write)
        process.ready = read
        return process

    def ready_wait(self, process, timeout=60):
        """One newline, then the end of the file: closed."""
        deadline = time.monotonic() + timeout
        got = b""
        while True:
            readable, _, _ = select.select([process.ready], [], [], max(0, deadline - time.monotonic()))
            self.assertTrue(readable, f"not ready in time: {process.log}")
            data = os.read(process.ready, 16)
            if not data:
                break
            got += data
        self.assertEqual(got, b"\n", process.log)
        self.assertIsNone(process.popen.poll())

    def test_in_any_order(self):
        for order in (("gateway", "raft", "storage"), ("storage", "raft", "gateway"), ("raft", "gateway", "storage"),
                      ("gateway", "storage", "raft")):
            with self.subTest(order=order):
                self.serve_and_stop(order, self.arguments())

    def serve_and_stop(self, order, flags):
        started = [self.start_actor(kind, flags) for kind in order]
        for process in started:
            self.ready_wait(process)
        node = Node("alone")
        self.addCleanup(node.close)
        node.addr = flags["--addr"]
        node.call("put", "k", "v")
        self.assertEqual(node.call("get", "k")["value"], b"v")
        self.assertEqual(node.status()["role"], "leader")
        for process in started:
            self.assertIsNone(process.popen.poll(), "stays in the foreground")
            process.signal(signal.SIGTERM)
        for process in started:
            self.assertEqual(process.wait(STOP_TIMEOUT_S), 0)
            process.reader.join(10)
            said = [line for line in process.lines() if "ready" in line and flags["--addr"] in line]
            self.assertEqual(said, [], "only the supervisor says so")

    def test_waits_for_the_others(self):
        flags = self.arguments()
        gateway = self.start_actor("gateway", flags)
        wait_until(lambda: pid_takes_sigterm(gateway.pid), 30)
        self.assertFalse(select.select([gateway.ready], [], [], 2)[0] and os.read(gateway.ready, 1) == b"")
        self.assertIsNone(gateway.popen.poll())
        rest = [self.start_actor(kind, flags) for kind in ("storage", "raft")]
        node = Node("alone")
        self.addCleanup(node.close)
        node.addr = flags["--addr"]
        for process in rest:
            self.ready_wait(process)
        node.call("put", "k", "v", timeout=30)

    def test_a_restarted_actor_finds_the_others(self):
        flags = self.arguments()
        processes = {kind: self.start_actor(kind, flags) for kind in ACTORS}
        for process in processes.values():
            self.ready_wait(process)
        node = Node("alone")
        self.addCleanup(node.close)
        node.addr = flags["--addr"]
        for i, kind in enumerate(ACTORS):
            node.call("put", "k", str(i))
            processes[kind].signal(signal.SIGKILL)
            processes[kind].wait(10)
            processes[kind] = self.start_actor(kind, flags)
            self.ready_wait(processes[kind])
            self.assertEqual(node.call("get", "k", timeout=30)["value"], str(i).encode())

    def notify_socket(self):
        path = os.path.join(self.directory(), "notify")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(path)
        notify.settimeout(60)
        return path, notify

    def notify_wait(self, notify, word):
        while word not in (said := notify.recv(4096).decode().split("\n")):
            self.assertTrue(said)

    def test_notify_socket_of_an_actor(self):
        flags = self.arguments()
        for kind in ACTORS:
            path, notify = self.notify_socket()
            process = self.start_actor(kind, flags, {"NOTIFY_SOCKET": path})
            process.notify = notify
            setattr(self, kind, process)
        for kind in ACTORS:
            self.notify_wait(getattr(self, kind).notify, "READY=1")
            self.ready_wait(getattr(self, kind))

    def test_notify_socket_of_the_supervisor(self):
        path, notify = self.notify_socket()
        node = self.node(start=False, env={"NOTIFY_SOCKET": path})
        node.start(wait=False)
        self.notify_wait(notify, "READY=1")
        node.call("ping", timeout=5)

    def beats_check(self, notify, seconds=2):
        """A service manager that wants a beat in every half second gets them."""
        end = time.monotonic() + seconds
        notify.settimeout(0.5)
        while time.monotonic() < end:
            self.notify_wait(notify, "WATCHDOG=1")

    def test_watchdog_of_an_actor_and_of_the_supervisor(self):
        env = {"WATCHDOG_USEC": "500000"}
        path, notify = self.notify_socket()
        self.start_actor("storage", self.arguments(), {"NOTIFY_SOCKET": path, **env})
        self.notify_wait(notify, "WATCHDOG=1")  # waits for no neighbour
        self.beats_check(notify)
        path, notify = self.notify_socket()
        self.node(env={"NOTIFY_SOCKET": path, **env})
        self.beats_check(notify)

    def test_no_beats_that_nobody_asked_for(self):
        path, notify = self.notify_socket()
        self.node(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"})
        self.notify_wait(notify, "READY=1")
        notify.settimeout(1)
        with self.assertRaises(TimeoutError):
            notify.recv(4096)

    def test_an_abstract_notify_socket(self):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        name = f"drax-test-{os.getpid()}"
        notify.bind("\0" + name)
        notify.settimeout(60)
        self.node(env={"NOTIFY_SOCKET": "@" + name})
        self.notify_wait(notify, "READY=1")


if __name__ == "__main__":
    unittest.main()
