"""A counter that several clients increment, who send every request twice, over leader kills: in the
end it is exactly as high as the number of increments.

An increment is a compare-and-swap (atomic_put of the value read plus one, with the index read). Its
two copies carry the same {client, seq} and go to two nodes at once. Were a copy applied a second time,
it would be refused as KEY_MODIFIED; the client, which may hear of that first, would count again, and
the two answers would differ.

DRAX_COUNTER sets the number of increments (3,000): 100,000 before a release.
"""

import os
import threading
import time
import unittest

from harness import DraxTestCase, Node
from wire import NoAnswer, RpcError

INCREMENTS = int(os.environ.get("DRAX_COUNTER", "3000"))
CLIENTS = 4
KILLS = max(3, INCREMENTS // 10000)
PATIENCE_S = 60
ANSWER_S = 1.0   # for the first copy answered
COPY_S = 0.1     # then for the other one, whose node may be dead
AGAIN = ("UNAVAILABLE", "TIMEOUT")


class Worker(threading.Thread):
    """One client, with a connection to each node."""

    def __init__(self, nodes, number, increments, progress):
        super().__init__()
        self.nodes, self.number, self.increments, self.progress = nodes, number, increments, progress
        self.seq = 0
        self.compared = self.late = self.refused = 0
        self.problem = None

    def run(self):
        self.clients = [node.client() for node in self.nodes]
        try:
            value, index = self.read()
            while self.increments > 0:
                done = self.swap(value + 1, index)
                if done is None:
                    self.refused += 1
                    value, index = self.read()
                    continue
                value, index = value + 1, done
                self.increments -= 1
                self.progress.append(self.number)
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem
        finally:
            for client in self.clients:
                client.close()

    def read(self):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for client in self.clients:
                try:
                    got = client.call("get", "counter", timeout=ANSWER_S)
                    return int(got["value"]), got["index"]
                except NoAnswer:
                    continue
                except RpcError as error:
                    if error.code not in AGAIN:
                        raise
        raise AssertionError("the counter cannot be read")

    def swap(self, value, index):
        """The new index; None when another client was faster."""
        self.seq += 1
        options = {"client": f"counter{self.number}", "seq": self.seq}
        end = time.monotonic() + PATIENCE_S
        turn = self.seq + self.number
        while time.monotonic() < end:
            pair = [self.clients[(turn + i) % len(self.clients)] for i in range(2)]
            sent = [(c, c.send("atomic_put", "counter", str(value), index, options)) for c in pair]
            outcomes = [self.outcome(*sent[0], ANSWER_S)]
            outcomes.append(self.outcome(*sent[1], COPY_S if outcomes[0] else ANSWER_S))
            known = [outcome for outcome in outcomes if outcome]
            if len(known) == 2:
                self.compared += 1
                if known[0] != known[1]:
                    raise AssertionError(f"one request, two answers: {known}")
            if known:
                return known[0][1]
            self.late += 1
            turn += 1
        raise AssertionError("the counter cannot be written")

    @staticmethod
    def outcome(client, msgid, timeout):
        """(code, index, revision) of a final answer; None while the outcome is open."""
        try:
            got = client.answer(msgid, timeout)
            return "", got["index"], got["revision"]
        except NoAnswer:
            return None
        except RpcError as error:
            if error.code in AGAIN:
                return None
            if error.code != "KEY_MODIFIED":
                raise
            return error.code, None, None


class Counter(DraxTestCase):
    def test_every_request_twice_over_leader_kills(self):
        cluster = self.cluster(3)
        cluster.nodes[0].call("put", "counter", "0")
        begin, progress = time.monotonic(), []
        workers = [Worker(cluster.nodes, i, INCREMENTS // CLIENTS, progress) for i in range(CLIENTS)]
        total = INCREMENTS // CLIENTS * CLIENTS
        for worker in workers:
            worker.start()
        for kill in range(1, KILLS + 1):
            while len(progress) < total * kill // (KILLS + 1) and any(w.is_alive() for w in workers):
                time.sleep(0.01)
            leader = cluster.leader()
            leader.crash()
            Node.start(leader)
        for worker in workers:
            worker.join()
        self.assertEqual([w.problem for w in workers], [None] * CLIENTS)
        for node in cluster.nodes:
            self.assertEqual(node.call("get", "counter")["value"], b"%d" % total)
            held = node.call("txn", [["counter", "version", "=", total + 1]], [], [])
            self.assertTrue(held["succeeded"])  # the first write and the increments
        compared = sum(w.compared for w in workers)
        self.assertGreater(compared, total)  # refusals among them
        print(f"{total} increments, {KILLS} leader kills, {time.monotonic() - begin:.1f} s: {compared} answered twice,"
              f" {sum(w.refused for w in workers)} refused, {sum(w.late for w in workers)} sent again")


if __name__ == "__main__":
    unittest.main()
