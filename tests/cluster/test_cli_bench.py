"""drax-cli bench: that it does what it was told, counts all of it, and ends. How fast is no matter here."""

import json
import os
import pty
import signal
import subprocess
import time
import unittest

from harness import CLI, EmptyServerTestCase, environment, pid_signal, ports_find, sanitizer_check

OK, NO, EX_USAGE, EX_UNAVAILABLE = 0, 1, 64, 69
RUN_TIMEOUT_S = 60


class BenchTest(EmptyServerTestCase):
    def start(self, *arguments, endpoints=None, **options):
        env = environment({"DRAX_ENDPOINTS": endpoints or self.server.addr})
        return subprocess.Popen([CLI, *arguments], env=env, stdout=subprocess.PIPE,
                                **{"stderr": subprocess.PIPE, **options})

    def end(self, process, code=OK):
        out, err = process.communicate(timeout=RUN_TIMEOUT_S)
        err = (err or b"").decode(errors="replace")
        sanitizer_check("drax-cli", err.splitlines())
        self.assertEqual(process.returncode, code, (out, err))
        return out.decode(), err

    def bench(self, *arguments, code=OK, **options):
        """The JSON of a run, its sums checked."""
        out, err = self.end(self.start("--timeout", "30s", "-o", "json", "bench", *arguments, **options), code)
        self.assertEqual(err, "")
        found = json.loads(out)
        latency = found["latency_ns"]
        self.assertEqual(latency["count"], found["operations"])
        self.assertEqual(sum(count for _, count in found["histogram_ns"]), found["operations"])
        order = [latency[name] for name in ("p50", "p90", "p99", "p999", "max")]
        self.assertEqual(order, sorted(order))
        self.assertLessEqual(latency["max"], found["elapsed_ns"])
        self.assertEqual(found["missing"], 0)
        self.assertFalse(found["interrupted"])
        return found

    def test_put_writes_what_it_says(self):
        before = self.c.call("ping")["revision"]
        found = self.bench("put", "--count", "300", "--clients", "8", "--pipeline", "4", "--connections", "3",
                           "--keys", "20", "--key-size", "40", "--value-size", "1000")
        self.assertEqual((found["operations"], found["errors"]), (300, {}))
        self.assertEqual(self.c.call("ping")["revision"], before + 300)
        pairs = self.c.call("range", b"\0", "")["pairs"]
        self.assertLessEqual(len(pairs), 20)
        for pair in pairs:
            self.assertRegex(pair["key"], r"^bench/0{32}\d\d$")
            self.assertEqual(len(pair["value"]), 1000)
        self.assertEqual(len({pair["value"][8:] for pair in pairs}), len(pairs))

    def test_get_needs_its_keys(self):
        found = self.bench("get", "--count", "50", "--keys", "10", code=NO)
        self.assertEqual((found["operations"], found["errors"]), (0, {"KEY_NOT_FOUND": 50}))
        found = self.bench("get", "--count", "500", "--clients", "5", "--keys", "10", "--prefill")
        self.assertEqual((found["operations"], found["errors"], self.count()), (500, {}, 10))
        before = self.c.call("ping")["revision"]
        self.bench("get", "--count", "50", "--keys", "10", "--stale")
        self.assertEqual(self.c.call("ping")["revision"], before)

    def test_prefill_beyond_a_window(self):
        self.bench("put", "--count", "1", "--keys", "1500", "--prefill")
        self.assertEqual(self.count(), 1500)

    def test_mixed(self):
        before = self.c.call("ping")["revision"]
        found = self.bench("mixed", "--count", "400", "--clients", "4", "--keys", "10", "--reads", "75", "--prefill")
        reads, writes = found["reads"]["count"], found["writes"]["count"]
        self.assertEqual(reads + writes, 400)
        self.assertEqual(self.c.call("ping")["revision"], before + 10 + writes)
        self.assertTrue(200 < reads < 380, reads)
        for share, part in (("0", "writes"), ("100", "reads")):
            found = self.bench("mixed", "--count", "20", "--keys", "10", "--reads", share)
            self.assertEqual(found[part]["count"], 20)

    def test_watch_delivers_every_change_to_every_watcher(self):
        found = self.bench("watch", "--count", "60", "--clients", "3", "--watchers", "7", "--connections", "2")
        self.assertEqual((found["operations"], found["deliveries"]["count"], self.count()), (60, 420, 1))
        found = self.bench("watch", "--count", "5", "--watchers", "700")  # more than ask at once
        self.assertEqual(found["deliveries"]["count"], 3500)

    def test_lock_gives_back_what_it_takes(self):
        found = self.bench("lock", "--count", "60", "--clients", "6", "--keys", "2")
        self.assertEqual((found["operations"], found["locking"]["count"], found["unlocking"]["count"]), (60, 60, 60))
        self.assertEqual(self.count(), 0)

    def test_a_stall_is_in_the_latencies_of_all_that_had_to_wait(self):
        process = self.start("-o", "json", "bench", "put", "--rate", "200", "--count", "300")
        gateway = self.server.pid_of("gateway")
        before = self.c.call("ping")["revision"]
        while self.c.call("ping")["revision"] < before + 20:
            pass
        pid_signal(gateway, signal.SIGSTOP)
        self.addCleanup(pid_signal, gateway, signal.SIGCONT)
        time.sleep(0.5)  # the stall itself
        pid_signal(gateway, signal.SIGCONT)
        found = json.loads(self.end(process)[0])
        slow = sum(count for end, count in found["histogram_ns"] if end > 100e6)
        self.assertEqual(found["operations"], 300)
        self.assertGreater(slow, 50)

    def test_a_rate_beyond_reach(self):
        found = self.bench("put", "--rate", "1000000", "--duration", "200ms")
        self.assertEqual(found["operations"] + found["behind"], 200000)
        self.assertGreater(found["behind"], 0)

    def test_text(self):
        out, err = self.end(self.start("bench", "put", "--count", "200", "--clients", "4"))
        lines = out.splitlines()
        self.assertEqual(err, "")
        self.assertRegex(lines[0], r"^workload    put: clients 4 ")
        self.assertRegex(lines[1], r"^operations  200 in \d")
        self.assertRegex(lines[2], r"^throughput  \d+\.\d/s$")
        self.assertRegex(lines[3], r"^latency     p50 \S+ \S+  p90 .*  p99 .*  p99\.9 .*  max .*  mean ")
        self.assertEqual(lines[4:6], ["errors      none", ""])
        self.assertEqual(sum(int(line.split("\t")[1].split()[0]) for line in lines[6:]), 200)

    def test_a_line_while_it_runs(self):
        terminal, other = pty.openpty()
        process = self.start("bench", "put", "--rate", "50", stderr=other)
        os.close(other)
        self.addCleanup(os.close, terminal)
        shown = b""
        while b"errors 0" not in shown:
            shown += os.read(terminal, 1000)
        process.send_signal(signal.SIGINT)
        out, _ = self.end(process)
        self.assertRegex(shown, rb"\r\x1b\[K\d+ s  \d+/s  p50 [0-9.]+ \w+  p99 [0-9.]+ \w+  errors 0$")
        self.assertIn(", interrupted\n", out)

    def test_usage(self):
        for arguments in (["put", "--clients", "0"], ["put", "--clients", "32769"], ["put", "--clients", "513"],
                          ["put", "--clients", "2", "--pipeline", "512", "--connections", "1"],
                          ["put", "--pipeline", "513"], ["put", "--pipeline", "0"],
                          ["put", "--connections", "65"], ["put", "--connections", "0"],
                          ["put", "--rate", "10000001"], ["put", "--duration", "169h"], ["put", "--duration", "0"],
                          ["put", "--count", "0"], ["put", "--keys", "0"], ["put", "--keys", "100000001"],
                          ["put", "--key-size", "15"], ["put", "--key-size", "4097"], ["put", "--value-size", "7"],
                          ["put", "--value-size", "16777217"], ["mixed", "--reads", "101"],
                          ["watch", "--watchers", "0"], ["watch", "--watchers", "10001"],
                          ["put", "--stale"], ["lock", "--prefill"], ["put", "more"], []):
            _, err = self.end(self.start("bench", *arguments), EX_USAGE)
            self.assertEqual(len(err.splitlines()), 1, arguments)
        found = self.bench("put", "--clients", "1024", "--connections", "2", "--count", "2000", "--key-size", "4096")
        self.assertEqual(found["operations"], 2000)
        out, _ = self.end(self.start("help", "bench", "watch"))
        self.assertIn("--watchers", out)

    def test_nobody_there(self):
        dead = f"127.0.0.1:{ports_find(1)[0]}"
        _, err = self.end(self.start("--timeout", "300ms", "bench", "put", endpoints=dead), EX_UNAVAILABLE)
        self.assertEqual(len(err.splitlines()), 1, err)
        # One that is not there among others costs nothing but the time to find out.
        found = self.bench("put", "--count", "20", "--connections", "2", "--clients", "2",
                           endpoints=f"{dead},{self.server.addr}")
        self.assertEqual(found["operations"], 20)


if __name__ == "__main__":
    unittest.main()
