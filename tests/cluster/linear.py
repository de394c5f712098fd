"""Is a recorded history of one key linearizable?

Owns: the model of a key (its value or nothing), and the search of Wing and Gong with Lowe's
memory of visited (operations done, value) pairs. Must not know: clocks, sockets, nodes.

A history is a list of Op. Every value that is written is unique within its key, so a value names
its write. An operation whose outcome is unknown has returned = INFINITY and result UNKNOWN: it may
take effect at any time after it was invoked, or never.
"""

import dataclasses
import math

INFINITY = math.inf
UNKNOWN = "unknown"
OK = "ok"
REFUSED = "refused"  # the store said no: KEY_EXISTS, KEY_MODIFIED, KEY_NOT_FOUND


@dataclasses.dataclass
class Op:
    """get: value is what it saw (None: nothing). put, create: value is what it writes.
    swap: writes value if the key still holds `previous`. delete: takes the key away."""

    kind: str
    invoked: float
    returned: float
    value: object = None
    result: str = OK
    previous: object = None
    client: object = None


def step(op, state):
    """(legal, the key's value after op) when op takes effect on a key that holds state."""
    if op.kind == "get":
        return op.value == state, state
    if op.kind == "put":
        return True, op.value
    holds = {"create": state is None, "swap": state is not None and state == op.previous,
             "delete": state is not None}[op.kind]
    if op.result != UNKNOWN and holds != (op.result == OK):
        return False, state
    if not holds:
        return True, state
    return True, None if op.kind == "delete" else op.value


def linearizable(history, initial=None):
    """Whether some order of the operations, each between its invocation and its return, explains
    every result. Exponential in the operations that overlap, so keep histories small."""
    ops = sorted((op for op in history if op.kind != "get" or op.result == OK),
                 key=lambda op: op.invoked)
    needed = sum(1 << i for i, op in enumerate(ops) if op.returned != INFINITY)
    visited = set()
    pending = [(0, initial)]
    while pending:
        done, state = pending.pop()
        if done & needed == needed:
            return True
        if (done, state) in visited:
            continue
        visited.add((done, state))
        horizon = INFINITY
        for i, op in enumerate(ops):
            if op.invoked > horizon:
                break
            if not done >> i & 1:
                horizon = min(horizon, op.returned)
        for i, op in enumerate(ops):
            if op.invoked > horizon:
                break
            if not done >> i & 1:
                legal, after = step(op, state)
                if legal:
                    pending.append((done | 1 << i, after))
    return False


def revisions_monotonic(answers):
    """answers: (invoked, returned, revision) of linearizable requests. None, or the first pair of
    answers whose order in time contradicts their revisions."""
    by_return = sorted(answers, key=lambda answer: answer[1])
    highest, next_return = None, 0
    for answer in sorted(answers):
        while next_return < len(by_return) and by_return[next_return][1] < answer[0]:
            before = by_return[next_return]
            if highest is None or before[2] > highest[2]:
                highest = before
            next_return += 1
        if highest and answer[2] < highest[2]:
            return highest, answer
    return None
