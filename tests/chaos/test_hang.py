"""Processes that are there but do nothing: the supervisor ends those that hang for good, and only
those.

All nodes of this test wait at the same time, as each must wait for the supervisor's patience."""

import signal
import time
import unittest

from harness import ACTORS, DraxTestCase, pid_signal, put_until_done, wait_until

HUNG_S = 15            # SUPERVISOR_HUNG_MS
NOTICED_S = HUNG_S + 5  # beats are a third of that apart, and the supervisor looks every second
PAUSE_S = 5            # what must not be taken for hanging


class Hang(DraxTestCase):
    def test_only_what_hangs_for_good_is_killed(self):
        hung = {kind: self.node(f"hung-{kind}") for kind in ACTORS}
        paused = self.node("paused")
        frozen = self.node("frozen")
        before = {node: node.actors() for node in [*hung.values(), paused, frozen]}
        time.sleep(HUNG_S / 3)  # all have shown that they take turns
        begin = time.monotonic()
        for kind, node in hung.items():
            node.kill(kind, signal.SIGSTOP)
        frozen.kill("supervisor", signal.SIGSTOP)
        for pid in [*before[paused].values(), *before[frozen].values()]:
            pid_signal(pid, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        for pid in before[paused].values():
            pid_signal(pid, signal.SIGCONT)
        put_until_done(paused, "after", "the pause", 5)

        for kind, node in hung.items():
            wait_until(lambda kind=kind, node=node: node.actors().get(kind, before[node][kind]) != before[node][kind],
                       NOTICED_S - (time.monotonic() - begin), f"another {kind}")
            self.assertGreater(time.monotonic() - begin, HUNG_S * 2 / 3 - 1)
            put_until_done(node, "after", "the hang", 10)
            others = [other for other in ACTORS if other != kind]
            self.assertEqual({other: node.actors()[other] for other in others},
                             {other: before[node][other] for other in others})
        # A supervisor that did not run itself cannot say who else did not.
        time.sleep(max(0, begin + HUNG_S + 3 - time.monotonic()))
        frozen.kill("supervisor", signal.SIGCONT)
        time.sleep(1)
        for pid in before[frozen].values():
            pid_signal(pid, signal.SIGCONT)
        for node in (paused, frozen):
            self.assertEqual(node.actors(), before[node])
            put_until_done(node, "after", "all", 5)


if __name__ == "__main__":
    unittest.main()
