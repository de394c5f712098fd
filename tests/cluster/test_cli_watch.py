"""Contract section 3: drax-cli watch: a line an event, flushed at once, what is there first, until SIGINT."""

import json
import signal
import subprocess
import threading
import unittest

from harness import CLI, DraxTestCase, environment, ports_find, sanitizer_check, wait_until
from wire import NoAnswer, RpcError

RUN_TIMEOUT_S = 60


class Watcher:
    """A drax-cli that goes on; its lines as they come."""

    def __init__(self, endpoints, *arguments):
        self.process = subprocess.Popen([CLI, *arguments], env=environment({"DRAX_ENDPOINTS": endpoints}),
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def expect(self, count):
        wait_until(lambda: len(self.lines) >= count, RUN_TIMEOUT_S, f"{count} lines: {self.lines}")
        return self.lines

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(RUN_TIMEOUT_S)
        self.reader.join(RUN_TIMEOUT_S)
        error = self.process.stderr.read().decode(errors="replace")
        sanitizer_check("drax-cli", error.splitlines())
        self.process.stdout.close()
        self.process.stderr.close()
        return code, error

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.wait()


class WatchTest(DraxTestCase):
    def watcher(self, endpoints, *arguments):
        watcher = Watcher(endpoints, *arguments)
        self.addCleanup(watcher.kill)
        return watcher

    def test_key(self):
        node = self.node()
        c = self.client(node)
        first = c.call("put", "k", "a\tb")["index"]
        watcher = self.watcher(node.addr, "watch", "k")
        self.assertEqual(watcher.expect(1), [b"current\t%d\tk\ta\\tb\n" % first])
        c.call("put", "other", "x")
        index = c.call("put", "k", b"\xff")["index"]
        c.call("delete", "k")
        self.assertEqual(watcher.expect(3)[1:], [b"put\t%d\tk\t\\xff\n" % index, b"delete\t%d\tk\t\n" % (index + 1)])
        c.call("put", "k", "v", ttl_ms=50)
        self.assertEqual(watcher.expect(5)[4].split(b"\t")[0::2], [b"expire", b"k"])
        self.assertEqual(watcher.end(), (0, ""))
        self.assertEqual(len(watcher.lines), 5)

    def test_tree_json_and_from(self):
        node = self.node()
        c = self.client(node)
        c.call("put", "d/a", "1")
        c.call("put", "da", "beside")
        watcher = self.watcher(node.addr, "-o", "json", "watch", "--tree", "d")
        watcher.expect(1)
        start = c.call("put", "d/b", b"\xfe")["index"]
        c.call("delete", "d/a")
        events = [json.loads(line) for line in watcher.expect(3)]
        self.assertEqual(events[0], {"type": "current", "key": "d/a", "value": "1", "index": 1})
        self.assertEqual(events[1], {"type": "put", "key": "d/b", "value": {"base64": "/g=="}, "index": start})
        self.assertEqual(events[2], {"type": "delete", "key": "d/a", "index": start + 1})
        self.assertEqual(watcher.end(signal.SIGTERM), (0, ""))
        later = self.watcher(node.addr, "watch", "--tree", "d", "--from", str(start))
        self.assertEqual([line.split(b"\t")[0] for line in later.expect(2)], [b"put", b"delete"])
        self.assertEqual(later.end(), (0, ""))

    def test_failures(self):
        node = self.node()
        port = ports_find(1)[0]
        dead = self.watcher(f"127.0.0.1:{port}", "--timeout", "300ms", "watch", "k")
        code, error = dead.wait()
        self.assertEqual((code, len(error.splitlines())), (69, 1), error)
        for arguments in (["watch"], ["watch", "a", "b"], ["watch", "k", "--from", "x"], ["watch", ""]):
            code, error = self.watcher(node.addr, *arguments).wait()
            self.assertEqual(code, 64, (arguments, error))

    def test_over_a_lost_node(self):
        cluster = self.cluster(3)
        lost, others = cluster.nodes[0], cluster.nodes[1:]
        watcher = self.watcher(",".join(node.addr for node in cluster.nodes), "watch", "--tree", "")
        c = self.client(others[0])
        c.call("put", "k", "0")
        watcher.expect(1)
        lost.crash()
        for i in range(1, 50):
            wait_until(lambda i=i: self.try_put(c, str(i)), RUN_TIMEOUT_S, "a write")
        values = [line.split(b"\t")[3].strip() for line in watcher.expect(50)]
        self.assertEqual(values, [b"%d" % i for i in range(50)])
        self.assertEqual(watcher.end(), (0, ""))

    @staticmethod
    def try_put(client, value):
        """Written once, however often it is tried."""
        try:
            client.call("put", "k", value, client="w", seq=int(value) + 1)
            return True
        except (NoAnswer, RpcError):
            return False


if __name__ == "__main__":
    unittest.main()
