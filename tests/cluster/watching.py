"""Watches as a stranger would hold them: one DEALER whose answers and notifications are told apart,
and a checker of what a watch may say. Must not know: anything but the contract."""

import time

import msgpack

from wire import Client, NoAnswer, key_bytes, response_unpack

TYPES = {"put": {"type", "key", "value", "index"}, "delete": {"type", "key", "index"},
         "expire": {"type", "key", "index"}}


class Watcher:
    """A connection with any number of watches. Notifications wait, in order, in `notes`."""

    def __init__(self, addr, **options):
        self.client = Client(addr, **options)
        self.notes = []
        self.answers = {}

    def close(self):
        self.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def send(self, method, *params, **options):
        return self.client.send(method, *list(params) + ([options] if options else []))

    def receive(self, timeout):
        """Take one message in; NoAnswer when there is none in time."""
        payload = self.client.raw_receive(timeout)
        message = msgpack.unpackb(payload, raw=False, strict_map_key=True)
        if message[0] == 2:
            assert len(message) == 3 and message[1] == "event" and len(message[2]) == 1, message
            self.notes.append(message[2][0])
            return
        msgid, error, result = response_unpack(payload)
        assert msgid not in self.answers, f"request {msgid} was answered twice"
        self.answers[msgid] = (error, result)

    def answer(self, msgid, timeout=15):
        deadline = time.monotonic() + timeout
        while msgid not in self.answers:
            self.receive(deadline - time.monotonic())
        error, result = self.answers.pop(msgid)
        if error:
            raise error
        return result

    def call(self, method, *params, timeout=15, **options):
        return self.answer(self.send(method, *params, **options), timeout)

    def watch(self, method, key, **options):
        """Begin a stream; its answer, checked."""
        result = self.call(method, key, **options)
        assert {"watch", "pairs", "next", "revision"} <= set(result), result
        if "from" in options:
            assert result["pairs"] == [] and result["next"] == options["from"], result
        else:
            assert result["next"] == result["revision"] + 1, result
        return result

    def note(self, timeout=15):
        """The next notification of any watch here."""
        if not self.notes:
            deadline = time.monotonic() + timeout
            while not self.notes:
                self.receive(deadline - time.monotonic())
        return self.notes.pop(0)

    def quiet(self, seconds):
        """Nothing is to come for so long; AssertionError with what came."""
        try:
            note = self.note(seconds)
        except NoAnswer:
            return
        raise AssertionError(f"not expected: {note}")

    def credit(self, watch, n):
        self.client.raw_send(msgpack.packb([2, "credit", [watch, n]]))


class Log:
    """What one watch has said, checked as it comes: no gap, no repetition, `next` as promised."""

    def __init__(self, next_, key=None, tree=None):
        self.next = next_
        self.events = []
        self.key = None if key is None else key_bytes(key)
        self.prefix = None if tree is None else key_bytes(tree)

    def take(self, note):
        """One notification with events; returns them."""
        events = note["events"]
        for event in events:
            assert set(event) == TYPES[event["type"]], event
            assert self.next <= event["index"] < note["next"], (self.next, event, note["next"])
            key = key_bytes(event["key"])
            assert self.key is None or key == self.key, event
            assert self.prefix is None or key.startswith(self.prefix), event
        indexes = [event["index"] for event in events]
        assert indexes == sorted(indexes), indexes
        assert note["next"] >= self.next, (self.next, note["next"])
        self.next = note["next"]
        self.events += events
        return events


def brief(events):
    """[(type, key, value or None, index)] of events."""
    return [(event["type"], event["key"], event.get("value"), event["index"]) for event in events]
