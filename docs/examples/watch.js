// watch.js: every change under a directory, in Node with a plain socket.
//
//     npm install && node watch.js 127.0.0.1:2380 config
"use strict";
const { Dealer } = require("zeromq");
const { decode, encode } = require("@msgpack/msgpack");

const text = (bytes) => (bytes === undefined ? "" : Buffer.from(bytes).toString());
const show = (kind, item) => console.log(kind, text(item.key), text(item.value));

// Asks for the watch; then hears of it until its node says nothing for so long that it must be lost.
async function hear(socket, directory, state) {
    const options = state.following ? { from: state.following } : {};
    await socket.send(encode([0, 1, "watch_tree", [directory, options]]));
    for (;;) {
        const [payload] = await socket.receive();
        const message = decode(payload);
        let told;
        if (message[0] === 1) {
            if (message[2]) throw new Error(`${message[2][0]}: ${message[2][1]}`);
            told = message[3];
            state.watch = told.watch;
        } else {
            told = message[2][0];
            if (told.watch !== state.watch) continue; // left over from before the connection was lost
            await socket.send(encode([2, "credit", [state.watch, 1]]));
        }
        if (told.compacted)
            throw new Error(`the changes before revision ${told.compacted} are no longer kept`);
        for (const pair of told.pairs ?? []) show("current", pair);
        for (const event of told.events ?? []) show(event.type, event);
        state.following = told.next ?? state.following;
    }
}

async function main(address, directory) {
    const socket = new Dealer({ receiveTimeout: 25000 });
    const state = {}; // the watch's number, and the revision after what was heard
    socket.connect(`tcp://${address}`);
    for (;;) {
        try {
            await hear(socket, directory, state);
        } catch (error) {
            if (error.code !== "EAGAIN") throw error; // else ask again, for what follows
        }
    }
}

main(process.argv[2], process.argv[3]).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
