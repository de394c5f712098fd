"""drax-cli shell: commands line by line from a file or pipe, and at a terminal with history and completion."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
import unittest

from harness import CLI, DraxTestCase, ServerTestCase, environment, sanitizer_check, wait_until

TIMEOUT_S = 30


class Script(ServerTestCase):
    def shell(self, text, code=0, arguments=()):
        done = subprocess.run([CLI, *arguments, "shell"], input=text, capture_output=True, text=True, check=False,
                              env=environment({"DRAX_ENDPOINTS": self.server.addr}), timeout=TIMEOUT_S)
        sanitizer_check("drax-cli", done.stderr.splitlines())
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout, done.stderr

    def test_commands(self):
        out, error = self.shell("put d/a 'one two'\n\n  # nothing\nget d/a\nput d/b \"two\nlines\"\nget d/b\nls d --keys\nexit\nget d/a\n")
        self.assertEqual(error, "")
        self.assertEqual(out.splitlines()[1:], ["one two", str(int(out.split()[0]) + 1), "two", "lines", "d/a", "d/b"])

    def test_failures_do_not_end_it(self):
        out, error = self.shell("nonsense\nget\nget missing\nshell\nget --endpoints 127.0.0.1:1 k\nexists d/none\nput k v\nget k\n")
        self.assertEqual(out.splitlines()[0], "false")
        self.assertEqual(out.splitlines()[-1], "v")
        self.assertEqual(len(error.splitlines()), 5, error)

    def test_exit_code_is_that_of_the_last_command(self):
        self.shell("get missing\n", code=1)
        self.shell("get missing\nput k v\n", code=0)
        self.shell("get 'open\n", code=64)

    def test_flags_hold_for_one_command(self):
        out, _ = self.shell("put k v\nget -o json k\nget k\n")
        self.assertIn('"value": "v"', out.splitlines()[1])
        self.assertEqual(out.splitlines()[2], "v")
        out, _ = self.shell("get k\n", arguments=("-o", "json"))
        self.assertIn('"value": "v"', out)


class Terminal(DraxTestCase):
    def start(self, history):
        # libedit keeps the names of functions that are added to it, until the program ends.
        allowed = os.path.join(self.directory(), "lsan")
        with open(allowed, "w", encoding="utf-8") as file:
            file.write("leak:wcsdup\n")
        variables = environment({"DRAX_ENDPOINTS": self.server.addr, "TERM": "vt100", "DRAX_HISTORY": history,
                                 "LSAN_OPTIONS": f"suppressions={allowed}:print_suppressions=0"})
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(CLI, [CLI, "shell"], variables)
        self.fd, self.seen = fd, ""
        self.addCleanup(self.end, pid, fd)
        return pid

    def end(self, pid, fd):
        os.close(fd)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def expect(self, pattern):
        """Reads until the screen's text has `pattern`; forgets all up to it."""
        end = time.monotonic() + TIMEOUT_S
        while not re.search(pattern, self.seen, re.S):
            ready = select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]
            self.assertTrue(ready, f"no {pattern!r} in {self.seen!r}")
            self.seen += os.read(self.fd, 4096).decode(errors="replace")
        self.seen = self.seen[re.search(pattern, self.seen, re.S).end():]

    def prompt(self):
        """Until it reads what is typed: keys that come while lines are still the terminal's mean other things."""
        self.expect("drax> ")
        wait_until(lambda: not termios.tcgetattr(self.fd)[3] & termios.ICANON, TIMEOUT_S, "keys to be read one by one")

    def ended(self, pid):
        """Its exit status; what it still prints is read, as a terminal being set right waits for that."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:  # the last of its descriptors is closed
                    return os.waitpid(pid, 0)[1]
        return None

    def type(self, text):
        os.write(self.fd, text.encode())

    def test_editing(self):
        self.server = self.node()
        client = self.client(self.server)
        for key in ("fruit/apples", "fruit/apricots", "fruit/dried/figs", "vegetables"):
            client.call("put", key, f"value of {key}")
        history = os.path.join(self.directory(), "history")
        pid = self.start(history)
        self.prompt()
        self.type("ge\t")  # a command
        self.expect("t ")
        self.type("fr\tap\tp\t\r")  # keys: as far as they have in common, then the whole
        self.expect("value of fruit/apples")
        self.prompt()
        self.type("get fruit/d\tf\t\r")
        self.expect("value of fruit/dried/figs")
        self.prompt()
        self.type("watch vegetables\r")
        self.expect("current\t|current  ")
        self.type("\x03")  # ends the watch, not the shell
        self.prompt()
        self.type("\x1b[A\x1b[A\r")  # the command before the last
        self.expect("value of fruit/dried/figs")
        self.prompt()
        self.type("exit\r")
        self.assertEqual(self.ended(pid), 0)
        self.assertEqual(os.stat(history).st_mode & 0o777, 0o600)
        pid = self.start(history)  # another time, the history is there
        self.prompt()
        self.type("\x1b[A\r")
        self.expect("value of fruit/dried/figs")
        self.prompt()
        self.type("\x04")
        self.assertEqual(self.ended(pid), 0)


if __name__ == "__main__":
    unittest.main()
