"""A cluster whose nodes have a network and disks of their own, as a test asks for.

Owns: nodes, network, disks, and the order in which they go. Must not know: clients, faults.
"""

import contextlib
import threading
import time

from disk import Disk
from harness import Cluster
from network import Network
from wire import NoAnswer, RpcError

UNSERVED = ("UNAVAILABLE", "TIMEOUT")


class Arena:
    def __init__(self, count, network=False, disks=None):
        """`disks`: the size of each node's own, or None: all homes in one folder's file system."""
        self.network = None
        self.slow = None  # SlowPaths while there are any
        self.disks = []
        self.cluster = None
        try:
            self.network = Network(count) if network else None
            self.disks = [Disk(disks) for _ in range(count)] if disks else []
            self.cluster = Cluster(count, each=self.options)
        except BaseException:
            self.close()
            raise

    def options(self, number):
        found = {}
        if self.network:
            found.update(host=self.network.host(number), prefix=self.network.prefix(number))
        if self.disks:
            found.update(base=self.disks[number].path)
        return found

    @property
    def nodes(self):
        return self.cluster.nodes

    def number(self, node):
        return self.nodes.index(node)

    def disk(self, node):
        return self.disks[self.number(node)]

    def start(self):
        self.cluster.start()
        return self

    def close(self):
        try:
            if self.cluster:
                self.cluster.close()
        finally:
            for part in [self.slow, self.network, *self.disks]:
                if part:
                    with contextlib.suppress(OSError):  # whatever is left ends with this program
                        part.close()


def in_parallel(function, items):
    """[function(item), …], all at once; the first exception is raised when all have ended."""
    results, problems = {}, []

    def run(place, item):
        try:
            results[place] = function(item)
        except BaseException as problem:
            problems.append(problem)
    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(items)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return [results[place] for place in range(len(threads))]


def answer_timed(node, method, *params, timeout=10, **options):
    """(None or the error's code, seconds until it came); the code is "SILENCE" when none did."""
    begin = time.monotonic()
    with node.client() as client:
        try:
            client.call(method, *params, timeout=timeout, **options)
            code = None
        except RpcError as error:
            code = error.code
        except NoAnswer:
            code = "SILENCE"
    return code, time.monotonic() - begin
