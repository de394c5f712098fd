"""Contract section 2, the outside of a message: envelopes, msgid, kinds, shapes, limits, order."""

import unittest

import msgpack
import zmq

from harness import ServerTestCase
from wire import RpcError, key_bytes, request_pack

DEFAULT_MAX_REQUEST = 1572864


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def nested(levels):
    """A value that is `levels` arrays deep."""
    return [nested(levels - 1)] if levels > 1 else []


class ProtocolTest(ServerTestCase):
    def invalid(self, payload, msgids=(0,)):
        msgid, error, _ = self.c.raw_call(payload)
        self.assertIsInstance(error, RpcError)
        self.assertEqual(error.code, "INVALID_ARGUMENT")
        self.assertIn(msgid, msgids)


class Envelope(ProtocolTest):
    def test_req(self):
        client = self.client(self.server, kind=zmq.REQ)
        for i in range(5):
            client.call("put", "req", str(i))
            self.assertEqual(client.call("get", "req")["value"], str(i).encode())

    def test_req_correlate(self):
        client = self.client(self.server, kind=zmq.REQ, REQ_CORRELATE=1, REQ_RELAXED=1)
        for _ in range(5):
            self.assertIn("version", client.call("ping"))

    def test_req_relaxed_drops_the_answer_of_an_abandoned_request(self):
        client = self.client(self.server, kind=zmq.REQ, REQ_CORRELATE=1, REQ_RELAXED=1)
        client.call("put", "relaxed", "x")
        for _ in range(20):
            client.send("ping")
        self.assertEqual(client.call("get", "relaxed")["value"], b"x")

    def test_dealer_with_and_without_empty_frame(self):
        for envelope in ([b""], []):
            with self.subTest(envelope=envelope):
                client = self.client(self.server, envelope=envelope)
                client.call("ping")
                client.quiet_check()

    def test_every_envelope_frame_is_echoed_unchanged(self):
        for envelope in ([b"a", b""], [b"a", b"b", b"c", b""], [b"a"], [b"", b""],
                         [b"", b"a", b""], [b"\x00\xff", b"", b"\x94\x00\x01", b"x" * 300, b""],
                         [b"%d" % i for i in range(8)] + [b""]):
            with self.subTest(envelope=envelope):
                client = self.client(self.server, envelope=envelope)
                client.call("put", "envelope", "v")
                self.assertEqual(client.call("get", "envelope")["value"], b"v")
                self.fails("KEY_NOT_FOUND", client.call, "get", "envelope/none")
                self.fails("UNKNOWN_METHOD", client.call, "no_such")
                client.quiet_check(0.05)

    def test_errors_carry_the_envelope_as_well(self):
        client = self.client(self.server, envelope=[b"one", b"two", b""])
        msgid, error, _ = client.raw_call(b"\xc1")
        self.assertEqual((msgid, error.code), (0, "INVALID_ARGUMENT"))

    def test_each_request_is_answered_exactly_once(self):
        sent = [self.c.send("put", f"once/{i}", "v") if i % 2 else self.c.send("ping")
                for i in range(400)]
        for msgid in sent:
            self.c.answer(msgid)
        self.c.quiet_check()

    def test_equal_envelopes_and_msgids_of_two_clients_do_not_mix(self):
        clients = [self.client(self.server, envelope=[b"same", b""]) for _ in range(4)]
        for i, client in enumerate(clients):
            client.call("put", f"mix/{i}", str(i))
        for _ in range(20):
            sent = [client.send("get", f"mix/{i}") for i, client in enumerate(clients)]
            for i, client in enumerate(clients):
                self.assertEqual(client.answer(sent[i])["value"], str(i).encode())

    def test_own_routing_ids(self):
        for identity in (b"me", b"\xff" * 255, b"\x01\x00\x02"):
            self.client(self.server, identity=identity).call("ping")

    def test_a_routing_id_in_use_does_not_cut_off_its_first_user(self):
        first = self.client(self.server, identity=b"taken")
        first.call("ping")
        second = self.client(self.server, identity=b"taken")
        second.send("ping")
        self.c.call("ping")
        first.call("ping")
        first.quiet_check()


class Msgid(ProtocolTest):
    def test_any_unsigned_32_bit_integer_is_echoed(self):
        for msgid in (0, 1, 127, 128, 65535, 65536, 2**31, 2**32 - 1):
            self.assertEqual(self.c.raw_call(request_pack(msgid, "ping", []))[::2][0], msgid)

    def test_every_integer_encoding_is_read(self):
        for encoded in (b"\xcc\x07", b"\xcd\x00\x07", b"\xce\0\0\0\x07", b"\xcf" + b"\0" * 7 + b"\x07",
                        b"\xd0\x07", b"\xd1\x00\x07", b"\xd2\0\0\0\x07", b"\xd3" + b"\0" * 7 + b"\x07"):
            msgid, error, _ = self.c.raw_call(b"\x94\x00" + encoded + b"\xa4ping\x90")
            self.assertEqual((msgid, error), (7, None), encoded)

    def test_echoed_in_errors(self):
        for method, params, code in (("get", ["msgid/none"], "KEY_NOT_FOUND"),
                                     ("get", [], "INVALID_ARGUMENT"),
                                     ("no_such", [], "UNKNOWN_METHOD")):
            msgid, error, _ = self.c.raw_call(request_pack(4000000000, method, params))
            self.assertEqual((msgid, error.code), (4000000000, code))

    def test_anything_else_is_refused_with_zero(self):
        for msgid in (-1, 2**32, 2**63, "1", b"1", 1.0, None, True, [1], {}):
            with self.subTest(msgid=msgid):
                self.invalid(pack([0, msgid, "ping", []]))

    def test_may_be_used_again(self):
        for _ in range(3):
            self.assertEqual(self.c.raw_call(request_pack(5, "ping", []))[0], 5)


class Kinds(ProtocolTest):
    def test_unknown_notifications_are_ignored(self):
        for message in ([2, "no_such", []], [2, "ping", []], [2, "put", ["kinds/n", "v"]],
                        [2, "no_such", [1, {"a": b"b"}]], [2, "no_such", nested(6)]):
            self.c.raw_send(pack(message))
        self.c.quiet_check()
        self.assertFalse(self.c.call("exists", "kinds/n")["exists"])

    def test_responses_are_ignored(self):
        for message in ([1, 7, None, {}], [1, 0, ["UNAVAILABLE", "x"], None], [1, 7, None, None]):
            self.c.raw_send(pack(message))
        self.c.quiet_check()

    def test_other_kinds(self):
        for kind in (3, 4, 255, -1, 2**40, "0", None, 0.0, False, []):
            with self.subTest(kind=kind):
                self.invalid(pack([kind, 7, "ping", []]), (0, 7))

    def test_what_is_no_message(self):
        for payload in (b"", b"\xc1", b"\x00", b"ping", b"\x94", b"\xc0", pack({}), pack([]), pack("ping"),
                        pack([0]), pack([0, 7]), pack([0, 7, "ping"]), pack([0, 7, "ping", None]),
                        pack([0, 7, "ping", {}]), pack([0, 7, "ping", "x"]), pack([0, 7, "ping", [], 1]),
                        pack([0, 7, 5, []]), pack([0, 7, None, []]), pack([0, 7, ["ping"], []]),
                        pack({0: 0, 1: 7, 2: "ping", 3: []}), request_pack(7, "ping", [])[:-1],
                        request_pack(7, "put", ["a", "b"])[:-1], b"\x94\x00\x07\xdb\xff\xff\xff\xff"):
            with self.subTest(payload=payload):
                self.invalid(payload, (0, 7))

    def test_empty_payload_however_it_is_framed(self):
        for envelope in ([], [b""], [b"", b""], [b"a", b""]):
            with self.subTest(envelope=envelope):
                client = self.client(self.server, envelope=envelope)
                msgid, error, _ = client.raw_call(b"")
                self.assertEqual((msgid, error.code), (0, "INVALID_ARGUMENT"))
                client.quiet_check(0.05)

    def test_trailing_bytes(self):
        revision = self.c.call("ping")["revision"]
        for tail in (b"\x00", b"\xc0", b"\xc1", request_pack(8, "ping", [])):
            self.invalid(request_pack(7, "put", ["kinds/tail", "v"]) + tail, (7,))
        self.assertFalse(self.c.call("exists", "kinds/tail")["exists"])
        self.assertEqual(self.c.call("ping")["revision"], revision)
        self.c.quiet_check()

    def test_unknown_methods(self):
        for method in ("", "nope", "PING", "get ", "get\0", "getx", "ge", "x" * 1000, "\u20ac"):
            with self.subTest(method=method):
                self.fails("UNKNOWN_METHOD", self.c.call, method)
                self.fails("UNKNOWN_METHOD", self.c.call, method, "key", "value", nope=1)


class Limits(ProtocolTest):
    def test_nesting_of_eight_levels_is_read_and_nine_refused(self):
        # The payload array is level 1 and params level 2; the method's name is looked at last.
        message = lambda levels: pack([0, 7, "nope", nested(levels - 1)])
        msgid, error, _ = self.c.raw_call(message(8))
        self.assertEqual((msgid, error.code), (7, "UNKNOWN_METHOD"))
        for levels in (9, 10, 100):
            self.invalid(message(levels), (7,))
        in_map = pack([0, 7, "nope", [{"a": [{"a": [{"a": []}]}]}]])
        self.assertEqual(self.c.raw_call(in_map)[1].code, "UNKNOWN_METHOD")
        self.invalid(pack([0, 7, "nope", [{"a": [{"a": [{"a": [{}]}]}]}]]), (7,))

    def test_payload_size_limit_is_exact(self):
        empty = len(request_pack(7, "put", ["limits/size", b"x" * 70000])) - 70000
        largest = DEFAULT_MAX_REQUEST - empty
        request = request_pack(7, "put", ["limits/size", b"x" * largest])
        self.assertEqual(len(request), DEFAULT_MAX_REQUEST)
        msgid, error, result = self.c.raw_call(request)
        self.assertIsNone(error)
        self.assertEqual(len(self.c.call("get", "limits/size")["value"]), largest)
        for more in (1, 1000, 3 << 20):
            request = request_pack(7, "put", ["limits/size", b"y" * (largest + more)])
            msgid, error, _ = self.c.raw_call(request)
            self.assertEqual((msgid, error.code), (7, "TOO_LARGE"))
        self.assertEqual(self.c.call("get", "limits/size")["value"][:1], b"x")
        self.assertEqual(self.c.call("get", "limits/size")["index"], result["index"])

    def test_too_large_counts_the_payload_not_what_it_means(self):
        for payload in (b"\xc1" * (DEFAULT_MAX_REQUEST + 1), b"\x00" * (DEFAULT_MAX_REQUEST + 1)):
            msgid, error, _ = self.c.raw_call(payload)
            self.assertEqual((msgid, error.code), (0, "TOO_LARGE"))

    def test_key_length(self):
        for length in (1, 4095, 4096):
            for key in ("k" * length, b"\xff" * length):
                self.c.call("put", key, "v")
                self.assertEqual(key_bytes(self.c.call("get", key)["key"]), key_bytes(key))
                self.assertTrue(self.c.call("exists", key)["exists"])
                self.c.call("delete", key)
        for key in ("", b"", "k" * 4097, "\u20ac" * 1366):
            for method, rest in (("put", ["v"]), ("get", []), ("delete", []), ("exists", []),
                                 ("atomic_put", ["v", None]), ("atomic_delete", [1])):
                with self.subTest(method=method, length=len(key_bytes(key))):
                    self.fails("INVALID_ARGUMENT", self.c.call, method, key, *rest)


class Order(ProtocolTest):
    def test_pipelined_writes_are_applied_in_the_order_sent(self):
        sent = [self.c.send("put", "order", str(i)) for i in range(500)]
        indices = [self.c.answer(msgid)["index"] for msgid in sent]
        self.assertEqual(indices, sorted(set(indices)))
        got = self.c.call("get", "order")
        self.assertEqual((got["value"], got["index"]), (b"499", indices[-1]))

    def test_pipelined_writes_of_different_methods(self):
        for _ in range(20):
            sent = [self.c.send("put", "o/a", "1"), self.c.send("atomic_put", "o/b", "1", None),
                    self.c.send("delete", "o/a"), self.c.send("atomic_put", "o/a", "2", None),
                    self.c.send("delete_tree", "o"), self.c.send("put", "o/b", "last"),
                    self.c.send("delete", "o/b")]
            revisions = [self.c.answer(msgid)["revision"] for msgid in sent]
            self.assertEqual(revisions, list(range(revisions[0], revisions[0] + len(sent))))
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "o")

    def test_a_failed_request_between_others_does_not_hold_them_up(self):
        sent = [self.c.send("put", "o2", "1"), self.c.send("delete", "o2/none"),
                self.c.send("put", "o2", ["bad"]), self.c.send("put", "o2", "2")]
        first = self.c.answer(sent[0])["revision"]
        self.fails("KEY_NOT_FOUND", self.c.answer, sent[1])
        self.fails("INVALID_ARGUMENT", self.c.answer, sent[2])
        self.assertEqual(self.c.answer(sent[3])["revision"], first + 1)

    def test_a_slow_request_does_not_hold_up_another_client(self):
        big = b"x" * 1000000
        sent = [self.c.send("put", f"slow/{i}", big) for i in range(10)]
        other = self.client(self.server)
        other.call("ping")
        other.call("status")
        for msgid in sent:
            self.c.answer(msgid)
        self.c.call("delete_tree", "slow")


if __name__ == "__main__":
    unittest.main()
