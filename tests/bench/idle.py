"""Connections that do nothing, until they are ended: idle.py clients|watches HOST:PORT COUNT

`clients` are connections that had one answer each; `watches` are streams, 100 on a connection, of which each has heard
that it stands and from then on only, every 10 s, that nothing has happened. Says "ready" on standard error.
"""

import sys

import msgpack
import zmq

WATCHES_EACH = 100
BATCH = 100  # sockets that connect at a time
ANSWER_TIMEOUT_MS = 30000


def sockets_open(context, addr, count):
    """Connected, as each has had an answer."""
    found = []
    while len(found) < count:
        batch = [context.socket(zmq.DEALER) for _ in range(min(BATCH, count - len(found)))]
        for socket in batch:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect("tcp://" + addr)
            ask(socket, 1, "ping")
        for socket in batch:
            answer(socket)
        found += batch
    return found


def ask(socket, msgid, method, *params):
    socket.send_multipart([b"", msgpack.packb([0, msgid, method, list(params)])])


def answer(socket):
    if not socket.poll(ANSWER_TIMEOUT_MS):
        sys.exit("no answer in time")
    kind, _, error, *_ = msgpack.unpackb(socket.recv_multipart()[-1])
    if kind == 1 and error:
        sys.exit(f"{error}")


def main():
    kind, addr, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 10)
    sockets = sockets_open(context, addr, count if kind == "clients" else count // WATCHES_EACH)
    for i, socket in enumerate(sockets if kind == "watches" else []):
        for j in range(WATCHES_EACH):
            ask(socket, j, "watch", f"idle/{i}/{j}")
        for _ in range(WATCHES_EACH):
            answer(socket)
    print("ready", file=sys.stderr, flush=True)
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            socket.recv_multipart()


if __name__ == "__main__":
    main()
