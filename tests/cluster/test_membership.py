"""Members that come and go: joining past a dead peer, transfer, removal of the leader, a node that lost its disk."""

import unittest

from harness import DraxTestCase, ports_find, put_until_done, wait_until


class Membership(DraxTestCase):
    def roles(self, node):
        return sorted(member["role"] for member in node.call("member_list")["members"])

    def id_of(self, node):
        return node.status()["node"]

    def test_leader_removed_then_back_with_an_empty_home(self):
        cluster = self.cluster(3)
        leader = cluster.leader()
        first, second = [node for node in cluster.nodes if node is not leader]
        first.call("put", "before", "1")
        removed = self.id_of(leader)
        members = first.call("member_remove", removed)["members"]
        self.assertNotIn(removed, [member["id"] for member in members])
        self.assertEqual(len(members), 2)
        put_until_done(second, "after", "2", 3)
        leader.stop()
        leader.wipe()
        leader.peers = [first.addr]
        leader.start()
        wait_until(lambda: self.roles(first) == ["voter"] * 3, 30, "the node that came back is a voter")
        self.assertEqual(leader.call("get", "before")["value"], b"1")
        self.assertEqual(leader.call("get", "after")["value"], b"2")
        self.assertNotEqual(self.id_of(leader), removed)

    def test_join_past_a_dead_peer_and_transfer(self):
        cluster = self.cluster(2)
        dead = f"127.0.0.1:{ports_find(1)[0]}"
        third = self.node("third", peers=[dead, cluster.nodes[1].addr])
        wait_until(lambda: self.roles(third) == ["voter"] * 3, 30, "the third node is a voter")
        heir = self.id_of(third)
        self.assertEqual(cluster.nodes[0].call("leader_transfer", heir)["leader"], heir)
        wait_until(lambda: third.status()["role"] == "leader", 10, "the heir leads")
        self.fails("INVALID_ARGUMENT", third.call, "member_remove", 4294967295)
        self.fails("INVALID_ARGUMENT", third.call, "member_promote", 4294967295)


if __name__ == "__main__":
    unittest.main()
