"""drax-cli lock, elect, lease and txn: commands that run while a lock is held, its loss, exit codes."""

import json
import os
import signal
import subprocess
import time
import unittest

from harness import CLI, EmptyServerTestCase, environment, sanitizer_check, wait_until

RUN_TIMEOUT_S = 60


class LockTest(EmptyServerTestCase):
    def start(self, *arguments, server=None):
        process = subprocess.Popen([CLI, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True,
                                   env=environment({"DRAX_ENDPOINTS": (server or self.server).addr}))
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def result(self, process, stdin=""):
        out, error = process.communicate(stdin, timeout=RUN_TIMEOUT_S)
        sanitizer_check("drax-cli", error.splitlines())
        return process.returncode, out, error

    def run_cli(self, *arguments, stdin="", code=0):
        got, out, error = self.result(self.start(*arguments), stdin)
        self.assertEqual(got, code, (arguments, out, error))
        return out

    def held(self, key, value=b""):
        def there():
            pairs = self.c.call("range", key, key + "\0")["pairs"]
            return bool(pairs) and pairs[0]["value"] == value
        wait_until(there, RUN_TIMEOUT_S, f"the lock {key}")

    def test_command(self):
        out = self.run_cli("lock", "k", "--", "sh", "-c", 'echo "$DRAX_LOCK_KEY $DRAX_LOCK_TOKEN"; exit 7', code=7)
        key, token = out.split()
        self.assertEqual(key, "k")
        self.assertGreater(int(token), 0)
        self.assertEqual(self.c.call("range", b"\0", "")["count"], 0)
        self.run_cli("lock", "k", "--", "sh", "-c", "kill -9 $$", code=128 + 9)
        self.run_cli("lock", "k", "--", "/nowhere/command", code=127)
        self.assertEqual(self.c.call("range", b"\0", "")["count"], 0)  # released all the same

    def test_until_interrupted(self):
        first = self.start("lock", "k")
        token = int(first.stdout.readline())
        self.held("k")
        self.run_cli("lock", "k", "--wait", "0", code=1)
        self.run_cli("lock", "k", "--wait", "200ms", "--", "true", code=1)
        second = self.start("lock", "k", "--wait", "30s")
        first.send_signal(signal.SIGINT)
        self.assertEqual(self.result(first), (0, "", ""))
        self.assertGreater(int(second.stdout.readline()), token)
        second.send_signal(signal.SIGTERM)
        self.assertEqual(self.result(second), (0, "", ""))
        self.assertEqual(self.c.call("range", b"\0", "")["count"], 0)

    def test_longer_than_its_ttl(self):
        process = self.start("lock", "k", "--ttl", "1s", "--", "cat")  # which ends when its input does
        self.held("k")
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            self.run_cli("lock", "k", "--wait", "0", "--", "true", code=1)
        self.assertEqual(self.result(process)[0], 0)

    def test_lost(self):
        process = self.start("lock", "k", "--ttl", "1s", "--", "sleep", "60")
        self.held("k")
        lease = self.c.call("get", "k")["lease"]
        self.c.call("lease_revoke", lease)
        code, _, error = self.result(process)
        self.assertEqual((code, error), (1, "drax-cli: LOCK_LOST: the lock was lost\n"))

    def test_lost_with_its_node(self):
        node = self.node()
        process = self.start("lock", "k", "--ttl", "1s", server=node)
        process.stdout.readline()
        node.crash()
        self.assertEqual(self.result(process)[0], 1)

    def test_signals_go_to_the_command(self):
        process = self.start("lock", "k", "--", "sh", "-c", "trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "up\n")
        os.kill(process.pid, signal.SIGTERM)
        self.assertEqual(self.result(process), (3, "told\n", ""))
        self.assertEqual(self.c.call("range", b"\0", "")["count"], 0)

    def test_elect(self):
        one = self.start("elect", "office", "ann")
        one.stdout.readline()
        self.held("office", b"ann")
        two = self.start("elect", "office", "bob", "--", "sleep", "1")
        one.send_signal(signal.SIGINT)
        self.assertEqual(self.result(one)[0], 0)
        self.held("office", b"bob")
        self.assertEqual(self.result(two)[0], 0)

    def test_observe(self):
        watching = self.start("elect", "observed", "--observe")
        self.assertEqual(watching.stdout.readline(), "vacant\t0\t\n")
        one = self.start("elect", "observed", "a\tnn")
        one.stdout.readline()  # its token
        first = watching.stdout.readline().split("\t")
        self.assertEqual((first[0], first[2]), ("elected", "a\\tnn\n"))
        two = self.start("elect", "observed", "bob")
        one.send_signal(signal.SIGINT)
        second = watching.stdout.readline().split("\t")
        if second[0] == "vacant":  # the second was not in the queue yet
            second = watching.stdout.readline().split("\t")
        self.assertEqual((second[0], second[2]), ("elected", "bob\n"))
        self.assertLess(int(first[1]), int(second[1]))
        late = self.start("-o", "json", "elect", "observed", "--observe")
        self.assertEqual(json.loads(late.stdout.readline()),
                         {"elected": True, "index": int(second[1]), "name": "bob"})
        two.stdout.readline()  # it has said its token: it heeds the signal
        two.send_signal(signal.SIGINT)
        self.assertEqual((self.result(one)[0], self.result(two)[0]), (0, 0))
        kind, index, name = watching.stdout.readline().split("\t")
        self.assertEqual((kind, name), ("vacant", "\n"))
        self.assertEqual(json.loads(late.stdout.readline()), {"elected": False, "index": int(index)})
        for process in (watching, late):
            process.send_signal(signal.SIGINT)
            self.assertEqual(self.result(process)[0], 0)

    def test_usage(self):
        for arguments in (["lock"], ["elect", "k"], ["elect", "k", "v", "--observe"],
                          ["elect", "k", "--observe", "--ttl", "1"], ["lock", "k", "--ttl", "0"], ["lock", ""], ["lease", "grant", "x"],
                          ["lease", "get", "0"], ["lease", "get", "x"], ["lease", "grant"]):
            self.run_cli(*arguments, code=64)

    def test_lease(self):
        lease = self.run_cli("lease", "grant", "60s").strip()
        self.run_cli("put", "k", "v", "--lease", lease)
        self.assertEqual(self.c.call("get", "k")["lease"], int(lease))
        self.assertEqual(self.run_cli("lease", "keepalive", lease), "60000\n")
        self.assertLessEqual(int(self.run_cli("lease", "get", lease)), 60000)
        self.assertEqual(json.loads(self.run_cli("-o", "json", "lease", "get", lease))["lease"], int(lease))
        self.assertEqual(self.run_cli("lease", "revoke", lease), "")
        self.assertEqual(self.c.call("range", b"\0", "")["count"], 0)
        self.run_cli("lease", "get", lease, code=1)

    def test_txn(self):
        text = json.dumps({"compares": [["k", "exists", "=", False]],
                           "then": [["put", ["k", {"base64": "/w=="}, {"ttl_ms": 60000}]], ["get", ["k"]]],
                           "else": [["delete", ["k"]]]})
        result = json.loads(self.run_cli("txn", stdin=text))
        self.assertTrue(result["succeeded"])
        self.assertEqual(result["results"][1]["value"], {"base64": "/w=="})
        path = os.path.join(self.directory(), "txn.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        result = json.loads(self.run_cli("txn", path, code=1))
        self.assertFalse(result["succeeded"])
        self.assertEqual(json.loads(self.run_cli("txn", stdin="{}"))["results"], [])
        for bad in ("", "[]", '{"then": 1}', '{"when": []}', '{"then": [["put", ["k", 1.5]]]}', '{"then": [["fly", []]]}',
                    '{"then": [["put", ["k", -1]]]}', '{"then": [], "then": []}'):
            self.run_cli("txn", stdin=bad, code=64)
        self.run_cli("txn", "/nowhere/file", code=74)


if __name__ == "__main__":
    unittest.main()
