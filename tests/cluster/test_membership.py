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
        once = {"client": "c", "seq": 1}
        first = third.call("member_add", "127.0.0.1:1", "127.0.0.1:2", **once)
        self.assertEqual(cluster.nodes[0].call("member_add", "127.0.0.1:1", "127.0.0.1:2", **once), first)
        self.fails("INVALID_ARGUMENT", third.call, "member_add", "127.0.0.1:3", "127.0.0.1:4", **once)
        third.call("member_remove", first["id"])
        heir = self.id_of(third)
        self.assertEqual(cluster.nodes[0].call("leader_transfer", heir)["leader"], heir)
        wait_until(lambda: third.status()["role"] == "leader", 10, "the heir leads")
        self.assertEqual(cluster.nodes[0].call("leader_transfer", heir)["leader"], heir)  # it leads already
        self.fails("INVALID_ARGUMENT", third.call, "member_remove", 4294967295)
        self.fails("INVALID_ARGUMENT", third.call, "member_promote", 4294967295)

    def move(self, node):
        """Start it again at other ports."""
        node.stop()
        port, raft_port = ports_find(2)
        node.addr, node.raft_addr = f"127.0.0.1:{port}", f"127.0.0.1:{raft_port}"
        node.start()

    def places(self, node):
        return {(member["addr"], member["raft_addr"]) for member in node.call("member_list")["members"]}

    def test_each_node_moves_in_turn(self):
        cluster = self.cluster(3)
        ids = [self.id_of(node) for node in cluster.nodes]
        for moving in cluster.followers() + [cluster.leader()]:
            self.move(moving)
            expected = {(node.addr, node.raft_addr) for node in cluster.nodes}
            for node in cluster.nodes:
                wait_until(lambda: self.places(node) == expected, 30, f"{node.name} knows who has moved")
        self.assertEqual([self.id_of(node) for node in cluster.nodes], ids)
        self.assertEqual(self.roles(cluster.nodes[0]), ["voter"] * 3)
        gone = cluster.leader()
        gone.crash()
        first, second = [node for node in cluster.nodes if node is not gone]
        put_until_done(first, "after", "1", 15)
        self.assertEqual(second.call("get", "after")["value"], b"1")

    def test_a_node_that_was_away_while_another_moved(self):
        cluster = self.cluster(3)
        leader = cluster.leader()
        away, other = cluster.followers()
        away.stop()
        self.move(leader)
        wait_until(lambda: (leader.addr, leader.raft_addr) in self.places(other), 30, "the move is known")
        heir = self.id_of(leader)
        wait_until(lambda: other.call("leader_transfer", heir)["leader"] == heir, 10, "the moved one leads")
        away.start()
        wait_until(lambda: self.places(away) == self.places(other), 30, "it has caught up")

    def test_a_cluster_of_one_moves_and_is_joined(self):
        alone = self.node("alone")
        self.move(alone)
        wait_until(lambda: self.places(alone) == {(alone.addr, alone.raft_addr)}, 10, "it knows where it is")
        second = self.node("second", peers=[alone.addr])
        wait_until(lambda: self.roles(second) == ["voter"] * 2, 30, "the second one is a voter")


if __name__ == "__main__":
    unittest.main()
