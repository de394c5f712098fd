"""watch.py: every change under a directory, in Python with a plain socket.

    python3 watch.py 127.0.0.1:2380 config
"""
import sys

import msgpack
import zmq

address, directory = sys.argv[1:]
socket = zmq.Context.instance().socket(zmq.DEALER)
socket.setsockopt(zmq.RCVTIMEO, 25000)
socket.connect(f"tcp://{address}")
watch = following = None  # the watch's number; the revision after what was heard


def show(kind, item):
    print(kind, item["key"], item.get("value", b"").decode(), flush=True)


while True:
    options = {"from": following} if following else {}
    socket.send(msgpack.packb([0, 1, "watch_tree", [directory, options]]))
    try:
        while True:
            message = msgpack.unpackb(socket.recv())
            if message[0] == 1:
                if message[2]:
                    sys.exit(f"{message[2][0]}: {message[2][1]}")
                told = message[3]
                watch, following = told["watch"], told["next"]
            else:
                told = message[2][0]
                if told["watch"] != watch:
                    continue  # left over from before the connection was lost
                socket.send(msgpack.packb([2, "credit", [watch, 1]]))
            if "compacted" in told:
                sys.exit(f"the changes before revision {told['compacted']} are no longer kept")
            for pair in told.get("pairs", []):
                show("current", pair)
            for event in told.get("events", []):
                show(event["type"], event)
            following = told.get("next", following)
    except zmq.Again:
        pass  # a node says something every 10 s: it was lost, so ask again, for what follows
