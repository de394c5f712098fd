"""Contract section 2, leases: on one node through REQ and DEALER, on three over the loss of a leader,
and over restarts."""

import time
import unittest

import zmq

from harness import DraxTestCase, Node, ServerTestCase, put_until_done, wait_until
from wire import pair_keys

LATE_S = 0.5         # the contract's bound
MEASURE_S = 0.3      # what measuring itself may take
LEADER_LOSS_S = 3.0  # a change of leader may add this


class OneNode(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.d = self.id().rsplit(".", 1)[1]

    def key(self, name):
        return f"{self.d}/{name}"

    def test_req_and_dealer(self):
        for kind in (zmq.REQ, zmq.DEALER):
            with self.subTest(kind=kind), self.server.client(kind=kind) as c:
                granted = c.call("lease_grant", 60000)
                self.assertEqual(granted["ttl_ms"], 60000)
                lease = granted["lease"]
                self.assertEqual(c.call("lease_get", lease)["lease"], lease)
                self.assertEqual(c.call("lease_keepalive", lease)["lease"], lease)
                self.assertIn("revision", c.call("lease_revoke", lease))

    def test_granting_and_renewing_change_no_revision(self):
        before = self.c.call("ping")["revision"]
        leases = [self.c.call("lease_grant", 60000)["lease"] for _ in range(10)]
        self.assertEqual(len(set(leases)), 10)
        self.assertTrue(all(0 < lease < 2**53 for lease in leases))
        self.c.call("lease_keepalive", leases[0])
        self.c.call("lease_revoke", leases[1])  # without keys
        self.assertEqual(self.c.call("ping")["revision"], before)

    def test_unknown_leases(self):
        lease = self.c.call("lease_grant", 60000)["lease"]
        self.c.call("lease_revoke", lease)
        for method in ("lease_get", "lease_keepalive", "lease_revoke"):
            self.fails("LEASE_NOT_FOUND", self.c.call, method, lease)
            self.fails("LEASE_NOT_FOUND", self.c.call, method, 2**53 - 1)
        self.fails("LEASE_NOT_FOUND", self.c.call, "put", self.key("a"), "v", lease=lease)
        self.fails("LEASE_NOT_FOUND", self.c.call, "atomic_put", self.key("a"), "v", None, lease=lease)
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key("a"))

    def test_invalid(self):
        for params in ([], [0], [-1], [1.5], ["1"], [None], [2**53], [1, 1], [1, {"ttl_ms": 1}]):
            self.fails("INVALID_ARGUMENT", self.c.call, "lease_grant", *params)
        for method in ("lease_get", "lease_keepalive", "lease_revoke"):
            for params in ([], [0], ["1"], [2**53], [1, 2]):
                self.fails("INVALID_ARGUMENT", self.c.call, method, *params)
        self.fails("INVALID_ARGUMENT", self.c.call, "put", "k", "v", lease=1, ttl_ms=1)

    def test_a_key_tells_its_lease_and_time(self):
        lease = self.c.call("lease_grant", 60000)["lease"]
        self.c.call("put", self.key("a"), "v", lease=lease)
        got = self.c.call("get", self.key("a"))
        self.assertEqual(got["lease"], lease)
        self.assertTrue(50000 < got["ttl_ms"] <= 60000)
        time.sleep(0.05)
        later = self.c.call("lease_get", lease)["ttl_ms"]
        self.assertLess(later, got["ttl_ms"])
        self.assertGreaterEqual(self.c.call("lease_keepalive", lease)["ttl_ms"], 59000)
        self.assertGreater(self.c.call("get", self.key("a"))["ttl_ms"], later)

    def test_writing_without_the_lease_detaches(self):
        lease = self.c.call("lease_grant", 60000)["lease"]
        for name in ("put", "atomic", "ttl", "other", "same"):
            self.c.call("put", self.key(name), "v", lease=lease)
        other = self.c.call("lease_grant", 60000)["lease"]
        self.c.call("put", self.key("put"), "w")
        index = self.c.call("get", self.key("atomic"))["index"]
        self.c.call("atomic_put", self.key("atomic"), "w", index)
        self.c.call("put", self.key("ttl"), "w", ttl_ms=600000)
        self.c.call("put", self.key("other"), "w", lease=other)
        self.c.call("put", self.key("same"), "w", lease=lease)
        self.assertNotIn("lease", self.c.call("get", self.key("put")))
        self.assertNotIn("ttl_ms", self.c.call("get", self.key("put")))
        self.c.call("lease_revoke", lease)
        left = pair_keys(self.c.call("list", self.d, keys_only=True))
        self.assertEqual(left, [self.key(name).encode() for name in ("atomic", "other", "put", "ttl")])
        self.c.call("lease_revoke", other)
        self.fails("KEY_NOT_FOUND", self.c.call, "get", self.key("other"))

    def test_revoking_is_one_change(self):
        lease = self.c.call("lease_grant", 60000)["lease"]
        for msgid in [self.c.send("put", self.key(i), "v", {"lease": lease}) for i in range(3000)]:
            before = self.c.answer(msgid)["revision"]
        self.assertEqual(self.c.call("lease_revoke", lease)["revision"], before + 1)
        self.assertEqual(self.c.call("range", self.key(""), self.d + "0")["count"], 0)

    def test_gone_not_before_and_soon_after(self):
        lives = {}
        for ttl_ms in (100, 400, 900):
            sent = time.monotonic()
            lease = self.c.call("lease_grant", ttl_ms)["lease"]
            granted = time.monotonic()
            for i in range(5):
                self.c.call("put", self.key(f"{ttl_ms}/{i}"), "v", lease=lease)
            lives[ttl_ms] = sent, granted, lease
        while lives:
            for ttl_ms, (sent, granted, lease) in list(lives.items()):
                asked = time.monotonic()
                count = self.c.call("range", self.key(f"{ttl_ms}/"), self.key(f"{ttl_ms}0"))["count"]
                answered = time.monotonic()
                self.assertIn(count, (0, 5))
                if count:
                    self.assertLess(asked - granted, ttl_ms / 1000 + LATE_S + MEASURE_S)
                else:
                    self.assertGreaterEqual(answered - sent, ttl_ms / 1000)
                    self.fails("LEASE_NOT_FOUND", self.c.call, "lease_keepalive", lease)
                    del lives[ttl_ms]
            time.sleep(0.01)

    def test_an_expiry_is_one_change(self):
        before = self.c.call("ping")["revision"]
        lease = self.c.call("lease_grant", 300)["lease"]
        for i in range(10):
            self.c.call("put", self.key(i), "v", lease=lease)
        wait_until(lambda: self.c.call("range", self.key(""), self.d + "0")["count"] == 0, 10, "the end")
        self.assertEqual(self.c.call("ping")["revision"], before + 11)

    def test_keepalives_keep_it(self):
        lease = self.c.call("lease_grant", 400)["lease"]
        self.c.call("put", self.key("a"), "v", lease=lease)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            asked = time.monotonic()
            self.c.call("lease_keepalive", lease)
            self.assertTrue(self.c.call("exists", self.key("a"))["exists"])
            time.sleep(max(0, asked + 0.1 - time.monotonic()))
        wait_until(lambda: not self.c.call("exists", self.key("a"))["exists"], 10, "the end")
        self.assertGreaterEqual(time.monotonic() - asked, 0.4)

    def test_many_leases(self):
        begin = time.monotonic()
        sent = [self.c.send("lease_grant", 1500) for _ in range(2000)]
        leases = [self.c.answer(msgid)["lease"] for msgid in sent]
        for msgid in [self.c.send("put", self.key(i), "v", {"lease": lease})
                      for i, lease in enumerate(leases)]:
            self.c.answer(msgid)
        done = time.monotonic()
        while count := self.c.call("range", self.key(""), self.d + "0", count_only=True)["count"]:
            self.assertTrue(count == 2000 or time.monotonic() - begin >= 1.5)
            self.assertLess(time.monotonic() - done, 1.5 + LATE_S + 1.0)  # three batches
            time.sleep(0.02)

    def test_given_again(self):
        options = {"client": self.d[-32:]}
        first = self.c.call("lease_grant", 60000, **options, seq=1)
        self.assertEqual(self.client(self.server).call("lease_grant", 60000, **options, seq=1), first)
        self.assertNotEqual(self.c.call("lease_grant", 60000, **options, seq=2)["lease"], first["lease"])
        self.fails("INVALID_ARGUMENT", self.c.call, "lease_grant", 60001, **options, seq=1)
        revoked = self.c.call("lease_revoke", first["lease"], **options, seq=3)
        self.assertEqual(self.c.call("lease_revoke", first["lease"], **options, seq=3), revoked)

    def test_over_a_restart(self):
        node = self.node("restarted")
        short, long = (node.call("lease_grant", ttl_ms)["lease"] for ttl_ms in (2500, 600000))
        begin = time.monotonic()
        node.call("put", "short", "v", lease=short)
        node.call("put", "long", "v", lease=long)
        down = time.monotonic()
        node.crash()
        node.start()
        down = time.monotonic() - down
        self.assertTrue(590000 < node.call("lease_get", long)["ttl_ms"] <= 600000)
        self.assertEqual(node.call("get", "long")["lease"], long)
        wait_until(lambda: not node.call("exists", "short")["exists"], 20, "the end of the short one")
        passed = time.monotonic() - begin
        self.assertGreaterEqual(passed, 2.4)
        self.assertLess(passed, 2.5 + down + LATE_S + MEASURE_S + 1.0)  # a stamp each second
        self.assertGreater(node.call("lease_grant", 1000)["lease"], long)


class ThreeNodes(DraxTestCase):
    def setUp(self):
        super().setUp()
        self.c3 = self.cluster(3)

    def test_over_the_loss_of_the_leader(self):
        leader = self.c3.leader()
        others = self.c3.followers()
        kept, lost = (others[0].call("lease_grant", 2000)["lease"] for _ in range(2))
        begin = time.monotonic()
        others[1].call("put", "kept", "v", lease=kept)
        leader.call("put", "lost", "v", lease=lost)
        leader.crash()
        put_until_done(others[0], "x", "y", 5)
        renewed = others[1].call("lease_keepalive", kept)
        self.assertEqual(renewed["ttl_ms"], 2000)
        renewed_at = time.monotonic()
        wait_until(lambda: not others[0].call("exists", "lost")["exists"], 20, "the end")
        passed = time.monotonic() - begin
        self.assertGreaterEqual(passed, 1.9)
        self.assertLess(passed, 2 + LATE_S + LEADER_LOSS_S + MEASURE_S)
        if time.monotonic() - renewed_at < 1.5:
            self.assertTrue(others[1].call("exists", "kept")["exists"])
        Node.start(leader)
        wait_until(lambda: not leader.call("exists", "kept")["exists"], 20, "the end of the other")
        self.assertGreaterEqual(time.monotonic() - renewed_at, 2.0)

    def test_every_node_serves(self):
        for i, node in enumerate(self.c3.nodes):
            other = self.c3.nodes[(i + 1) % 3]
            lease = node.call("lease_grant", 60000)["lease"]
            other.call("put", f"s/{i}", "v", lease=lease)
            self.assertEqual(node.call("get", f"s/{i}")["lease"], lease)
            self.assertEqual(other.call("lease_get", lease)["lease"], lease)
            other.call("lease_revoke", lease)
            self.fails("KEY_NOT_FOUND", node.call, "get", f"s/{i}")


if __name__ == "__main__":
    unittest.main()
