"""A node whose actors run one by one; one of them is refused its n-th allocation, again and again.

The actor may answer with an error, go on, or end with an exit code of its own and a line that says why.
It must not crash, nor may its neighbours: they may end as it may, and are started again, as a supervisor would. While
all of them live the node serves, without help from outside. Whatever the actor did, all that was acknowledged is there
once it runs without faults.
DRAX_SWEEP_NTH=N tries every n up to N instead of a growing series.
"""

import os
import signal
import unittest

from harness import ACTORS, SANITIZER_MARKS, Node, Process, wait_until
from wire import NoAnswer, RpcError

SHIM = os.environ.get("DRAX_SHIM", "")
NTH = (list(range(1, int(os.environ["DRAX_SWEEP_NTH"]) + 1)) if "DRAX_SWEEP_NTH" in os.environ
       else [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144])
# sysexits.h: no port or home (69), software (70), system (71), no file (73), configuration (78)
ENDED = (0, 69, 70, 71, 73, 78)
PUTS = 4


class NodeFaults(unittest.TestCase):
    def setUp(self):
        self.node = Node("faults")
        self.addCleanup(self.node.close)
        self.processes = {}
        self.addCleanup(self.stop_all)
        self.acknowledged = {}
        self.puts = 0

    def start(self, actor, nth=0):
        env = {}
        if nth:
            env = {"LD_PRELOAD": SHIM, "DRAX_FAULT": f"malloc:{nth}:ENOMEM:1",
                   "ASAN_OPTIONS": "exitcode=99:verify_asan_link_order=0:detect_leaks=0:"
                                   "allocator_may_return_null=1"}
        self.processes[actor] = Process(self.node.argv(actor), env=env)

    def stop(self, actor):
        process = self.processes.pop(actor)
        if process.popen.poll() is None:
            process.signal(signal.SIGTERM)
        return process.wait(30), process

    def stop_all(self):
        for actor in list(self.processes):
            self.processes[actor].signal(signal.SIGKILL)
            self.stop(actor)

    def put_try(self):
        """One put: acknowledged, refused, or not answered; what holds afterwards is noted."""
        self.puts += 1
        key, value = f"k{self.puts}", f"v{self.puts}".encode()
        try:
            with self.node.client() as client:
                client.call("put", key, value, timeout=2)
            self.acknowledged[key] = value
            return True
        except (NoAnswer, RpcError):
            return False

    def holds(self):
        for key, value in list(self.acknowledged.items())[-40:]:
            with self.node.client() as client:
                self.assertEqual(client.call("get", key)["value"], value, key)

    def checked(self, actor, nth, code, process):
        text = "\n".join(process.lines())
        for mark in SANITIZER_MARKS:
            self.assertNotIn(mark, text, f"{actor}, allocation {nth}")
        self.assertIn(code, ENDED, f"{actor}, allocation {nth}:\n{text}")
        if code:
            self.assertIn(" error ", text, f"{actor}, allocation {nth}: no line says why")

    def ended(self, actor):
        return self.processes[actor].popen.poll() is not None

    def neighbours_restart(self, subject, nth):
        for actor in [actor for actor in ACTORS if actor != subject and self.ended(actor)]:
            self.checked(actor, nth, *self.stop(actor))
            self.start(actor)

    def serves_wait(self, subject, nth, what, over=lambda: False):
        def served():
            self.neighbours_restart(subject, nth)
            return over() or self.put_try()
        try:
            wait_until(served, 60, f"a put {what} {subject} lost allocation {nth}")
        except AssertionError:
            for actor, each in self.processes.items():
                print(f"--- {actor}", *list(each.lines())[-20:], sep="\n")
            raise

    def sweep(self, subject):
        for actor in ACTORS:
            self.start(actor)
        wait_until(self.put_try, 60, "the first put")
        for nth in NTH:
            self.stop(subject)
            self.start(subject, nth)
            for _ in range(PUTS):
                if not self.put_try() and self.ended(subject):
                    break
            self.serves_wait(subject, nth, "while", over=lambda: self.ended(subject))
            self.checked(subject, nth, *self.stop(subject))
            self.start(subject)
            self.serves_wait(subject, nth, "after")
            self.holds()

    def test_storage(self):
        self.sweep("storage")

    def test_raft(self):
        self.sweep("raft")

    def test_gateway(self):
        self.sweep("gateway")


if __name__ == "__main__":
    unittest.main()
