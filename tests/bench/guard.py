"""What an operation costs on one node, counted instead of timed: instructions, system calls, syncs.

    guard.py            counts, and compares with guard.json
    guard.py --write    and keeps the figures there

Counts are nearly the same on an idle and on a busy machine, so a change that costs shows in review. They
are no pass mark: what runs by the clock (flushes, ticks) and how many operations share a batch differ a little
from run to run. The three actors run each by itself: instructions under callgrind, system calls under
strace, which is attached for the measured operations alone. With callgrind the end of the node, and with it its last
flush, is among what is counted.
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from harness import ACTORS, DRAXD, Process, ports_find
from load import bench

KEPT = pathlib.Path(__file__).with_name("guard.json")
OPERATIONS = 3000
KEYS = 1000
WORKLOADS = [(workload, window) for workload in ("put", "get") for window in (1, 64)]
SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync")
WORSE = 1.05  # what is marked
READY_TIMEOUT_S = 60


class Actors:
    """One node whose actors run each by itself, in a folder that goes with it. `prefix(actor)` is a command that
    runs each of them."""

    def __init__(self, prefix=lambda actor: []):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="drax-guard-"))
        self.processes = {}
        port, raft_port = ports_find(2)
        self.addr = f"127.0.0.1:{port}"
        argv = ["--home", str(self.folder / "home"), "--addr", self.addr, "--raft-addr", f"127.0.0.1:{raft_port}"]
        for actor in ACTORS:
            command = prefix(actor)
            self.processes[actor] = Process([*(part.format(folder=self.folder) for part in command),
                                             DRAXD, actor, *argv])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.close()
        shutil.rmtree(self.folder)

    def stop(self):
        for actor in reversed(ACTORS):
            self.processes[actor].signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(READY_TIMEOUT_S)

    def warm(self, workload):
        """Until it answers, and all that is made once has been made."""
        bench(self.addr, workload, count=500, clients=64, keys=KEYS, prefill=True)


def instructions(workload, window):
    """An operation's instructions in each actor."""
    def callgrind(actor):
        return ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={{folder}}/{actor}.out"]

    with Actors(callgrind) as node:
        node.warm(workload)
        for process in node.processes.values():
            subprocess.run(["callgrind_control", "-z", str(process.pid)], check=True, capture_output=True)
        bench(node.addr, workload, count=OPERATIONS, clients=window, keys=KEYS)
        node.stop()
        totals = {}
        for actor in ACTORS:
            text = (node.folder / f"{actor}.out").read_text(encoding="utf-8", errors="replace")
            totals[actor] = sum(map(int, re.findall(r"^totals: (\d+)$", text, re.M)))
        return {actor: round(total / OPERATIONS) for actor, total in totals.items()}


def system_calls(workload, window):
    """({actor: {name: how many an operation}}) as strace counts them."""
    with Actors() as node:
        node.warm(workload)
        tracers = {}
        for actor, process in node.processes.items():
            tracers[actor] = Process(["strace", "-f", "-c", "-U", "calls,name", "-o", f"{node.folder}/{actor}.calls",
                                      "-p", str(process.pid)])
            tracers[actor].line_wait(lambda line: "attached" in line, READY_TIMEOUT_S)
        bench(node.addr, workload, count=OPERATIONS, clients=window, keys=KEYS)
        found = {}
        for actor, tracer in tracers.items():
            tracer.signal(signal.SIGINT)
            tracer.wait(READY_TIMEOUT_S)
            tracer.close()
            text = (node.folder / f"{actor}.calls").read_text(encoding="utf-8")
            found[actor] = {name: int(calls) / OPERATIONS
                            for calls, name in re.findall(r"^\s*(\d+) ([a-z]\w*)$", text, re.M) if name != "total"}
        node.stop()
        return found


def measure(workload, window):
    """The figures of one workload, by name."""
    figures = {}
    for actor, count in instructions(workload, window).items():
        figures[f"instructions, {actor}"] = count
    figures["instructions"] = sum(figures.values())
    calls = system_calls(workload, window)
    for actor, counts in calls.items():
        figures[f"system calls, {actor}"] = round(sum(counts.values()), 2)
    figures["system calls"] = round(sum(sum(counts.values()) for counts in calls.values()), 2)
    figures["syncs"] = round(sum(counts.get(name, 0) for counts in calls.values() for name in SYNCS), 3)
    return figures


def compare(title, figures, kept):
    print(f"\n{title}, an operation of {OPERATIONS}")
    for name, figure in figures.items():
        before = kept.get(name)
        ratio = figure / before if before else None
        mark = " <--" if ratio and ratio > WORSE else ""
        print(f"  {name:24} {figure:>12}" + (f"   was {before:>12}   {ratio:5.2f}x{mark}" if ratio else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the figures in guard.json")
    arguments = parser.parse_args()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    found = {}
    for workload, window in WORKLOADS:
        title = f"{workload}, window {window}"
        found[title] = measure(workload, window)
        compare(title, found[title], kept.get(title, {}))
        sys.stdout.flush()
    if arguments.write:
        KEPT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
