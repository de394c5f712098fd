"""The client wire protocol, as any stranger with pyzmq and msgpack would speak it.

Owns: encoding of requests, the strict check of every answer's shape, and Client: one socket with
pipelined calls. Must not know: how nodes are started, or anything of the implementation.

Every answer that passes through here is checked against the contract's form, whatever the test is
about: `[1, msgid, error, result]`, exactly one of error and result, a known code, a map as result.
"""

import itertools
import time

import msgpack
import zmq

CODES = frozenset(
    """KEY_NOT_FOUND KEY_EXISTS KEY_MODIFIED PREVIOUS_NOT_SPECIFIED CANNOT_LOCK LOCK_LOST
    LEASE_NOT_FOUND COMPACTED INVALID_ARGUMENT UNKNOWN_METHOD TOO_LARGE PERMISSION_DENIED
    UNAVAILABLE TIMEOUT""".split())

CALL_TIMEOUT_S = 15


class RpcError(Exception):
    """The server's answer is an error."""

    def __init__(self, code, text, details=None):
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.details = code, text, details


class NoAnswer(Exception):
    """Nothing came back in time: the outcome is unknown."""


def request_pack(msgid, method, params):
    return msgpack.packb([0, msgid, method, list(params)], use_bin_type=True)


def response_unpack(payload):
    """(msgid, error, result) of one answer; AssertionError when it is not of the contract's form."""
    message = msgpack.unpackb(payload, raw=False, strict_map_key=True)
    assert isinstance(message, list) and len(message) == 4, f"not a response: {message!r}"
    kind, msgid, error, result = message
    assert kind == 1 and isinstance(msgid, int), f"not a response: {message!r}"
    if error is None:
        assert isinstance(result, dict), f"a result must be a map: {message!r}"
        assert all(isinstance(name, str) for name in result), f"names are str: {message!r}"
        return msgid, None, result
    assert result is None, f"both error and result: {message!r}"
    assert isinstance(error, list) and len(error) in (2, 3), f"not an error: {message!r}"
    assert error[0] in CODES and isinstance(error[1], str), f"not an error: {message!r}"
    assert len(error) == 2 or isinstance(error[2], dict), f"not an error: {message!r}"
    return msgid, RpcError(*error), None


def socket_open(addr, kind=zmq.DEALER, identity=None, **options):
    socket = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    if identity is not None:
        socket.setsockopt(zmq.IDENTITY, identity)
    for name, value in options.items():
        socket.setsockopt(getattr(zmq, name), value)
    socket.connect("tcp://" + addr)
    return socket


class Client:
    """One DEALER or REQ socket. Options of a call are its keyword arguments."""

    def __init__(self, addr, kind=zmq.DEALER, envelope=None, identity=None, **options):
        self.kind = kind
        self.addr = addr
        if envelope is None:
            envelope = () if kind == zmq.REQ else (b"",)
        self.envelope = list(envelope)
        self.socket = socket_open(addr, kind, identity, **options)
        self.msgids = itertools.count(1)
        self.answers = {}

    def close(self):
        self.socket.close(0)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def call(self, method, *params, timeout=CALL_TIMEOUT_S, **options):
        """The result map, or RpcError, or NoAnswer."""
        params = list(params) + ([options] if options else [])
        return self.answer(self.send(method, *params), timeout)

    def send(self, method, *params):
        """Pipeline one request; its msgid is for answer()."""
        msgid = next(self.msgids)
        self.raw_send(request_pack(msgid, method, params))
        return msgid

    def answer(self, msgid, timeout=CALL_TIMEOUT_S):
        deadline = time.monotonic() + timeout
        while msgid not in self.answers:
            got, error, result = response_unpack(self.raw_receive(deadline - time.monotonic()))
            assert got not in self.answers, f"request {got} was answered twice"
            self.answers[got] = (error, result)
        error, result = self.answers.pop(msgid)
        if error:
            raise error
        return result

    def raw_call(self, payload, timeout=CALL_TIMEOUT_S):
        """Send any bytes as payload; (msgid, error, result) of the next answer."""
        self.raw_send(payload)
        return response_unpack(self.raw_receive(timeout))

    def raw_send(self, payload):
        self.socket.send_multipart(self.envelope + [payload])

    def raw_receive(self, timeout=CALL_TIMEOUT_S):
        """The next payload, after a check that the envelope came back unchanged."""
        if not self.socket.poll(max(0, int(timeout * 1000))):
            raise NoAnswer(f"{self.addr}: no answer in time")
        frames = self.socket.recv_multipart()
        assert frames[:-1] == self.envelope, f"envelope {self.envelope} came back as {frames[:-1]}"
        return frames[-1]

    def quiet_check(self, seconds=0.2):
        """AssertionError if anything more arrives, also behind a last request."""
        assert not self.answers, f"answers nobody asked for: {self.answers}"
        if self.kind != zmq.REQ:
            self.call("ping")
            assert not self.answers, f"answers nobody asked for: {self.answers}"
            assert not self.socket.poll(int(seconds * 1000)), self.socket.recv_multipart()


def key_bytes(key):
    return key.encode() if isinstance(key, str) else bytes(key)


def pair_keys(result):
    """The keys of a list or range result, as bytes."""
    return [key_bytes(pair["key"]) for pair in result["pairs"]]
