"""
How long after a publisher's connection an edge lists its first segment, near and far from everything else.

    python benchmarks/first_playlist.py [--runs 5] [--delay 0.05] [--keep FOLDER]

A cluster of the fault laboratory, whose nodes reach Redis and each other over links that take no time, or --delay
seconds each way; publisher and viewer are beside their node. Segments have a second. The first number of a stream waits
for its take, which asks Redis, the other ingests and all origins while the first segment fills.

first  from the publisher's start to the first playlist that lists a segment of it, less the second that it has, median
third  the same of the third segment, less three: what any segment takes to be listed
"""

from __future__ import annotations

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen
from rtmp_peers import compiled

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the laboratory stands beside the tests

from tests.lab.nodes import HOSTS, KEY, LabNode, Topology  # noqa: E402
from tests.lab.proxy import LinkFault, Proxy  # noqa: E402
from tests.lab.publishers import encoded  # noqa: E402
from tests.lab.redis import LabRedis  # noqa: E402

APART_S, LOOK_S, LIMIT_S = 0.3, 0.005, 30
SETTLE_S = 4.0
"""Heartbeats come each second, and a node has learnt what it should know two seconds after its start."""
ALONE, TWO = Topology(1, 1, 1), Topology(2, 1, 1)
SEGMENT_S = 1.0


@frozen
class Cluster:
    """A running cluster, and what publishes to it."""

    nodes: dict[str, LabNode]
    program: str
    media: Path

    @contextmanager
    def publishing(self, stream: str, ingest: str) -> Iterator[float]:
        """Publish within a ``with``; yields when that began."""
        host, port = self.nodes[ingest].rtmp
        words = (self.program, "publish", host, port, "live", f"{stream}?key={KEY}", 1, 0, self.media)
        publisher = subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL)
        try:
            yield time.monotonic()
        finally:
            publisher.kill()
            publisher.wait()

    def listed(self, stream: str, count: int, above: int = 0) -> tuple[float, int]:
        """When the edge listed so many segments of epochs above this one, and the newest of them."""
        deadline = time.monotonic() + LIMIT_S
        connection = http.client.HTTPConnection(*self.nodes["edge-1"].http, timeout=LIMIT_S)
        while time.monotonic() < deadline:
            connection.request("GET", f"/live/{stream}/source/index.m3u8")
            text = connection.getresponse().read().decode()
            epochs = [int(epoch) for epoch in re.findall(r"^(\d+)-\d+\.m4s$", text, re.MULTILINE)]
            if sum(epoch > above for epoch in epochs) >= count:
                return time.monotonic(), max(epochs)
            time.sleep(LOOK_S)
        raise SystemExit(f"{stream}: no {count} segments within {LIMIT_S} s")

    def delays_s(self, stream: str, above: int = 0) -> tuple[float, float]:
        """Publish to the first ingest; how much later than their media the first and the third segment are listed."""
        with self.publishing(stream, "ingest-1") as began:
            (first, _), (third, _) = (self.listed(stream, count, above) for count in (1, 3))
        return first - began - SEGMENT_S, third - began - 3 * SEGMENT_S


def fresh(cluster: Cluster, stream: str) -> tuple[float, float]:
    return cluster.delays_s(stream)


def left(cluster: Cluster, stream: str) -> tuple[float, float]:
    with cluster.publishing(stream, "ingest-2"):
        _, epoch = cluster.listed(stream, 2)
    return cluster.delays_s(stream, epoch)


def fenced(cluster: Cluster, stream: str) -> tuple[float, float]:
    with cluster.publishing(stream, "ingest-2"):
        _, epoch = cluster.listed(stream, 2)
        return cluster.delays_s(stream, epoch)


CASES = (
    ("a new name, one ingest", ALONE, fresh),
    ("a new name, two ingests", TWO, fresh),
    ("until then at the other ingest", TWO, left),
    ("still at the other ingest", TWO, fenced),
)


@contextmanager
def running(folder: Path, topology: Topology, fault: LinkFault) -> Iterator[Cluster]:
    """Redis and the nodes, with all links as ``fault`` says."""
    proxy = Proxy(1)
    with ExitStack() as stack:
        stack.enter_context(proxy.running())
        redis = LabRedis.of(folder, f"{HOSTS['redis']}.1")
        stack.enter_context(redis.running())
        nodes = {}
        for name in topology.ids():
            node = nodes[name] = LabNode(name, redis.address, proxy, folder, ["hls.segment_s=1", "hls.window=18"])
            node.daemon.start()
            stack.callback(node.kill)
        for node in nodes.values():
            node.await_ready()
        proxy.apply(fault, *proxy.links.values())
        time.sleep(SETTLE_S)
        yield Cluster(nodes, compiled(folder), encoded(folder, 1)[0])


def measured(cluster: Cluster, case: Callable[[Cluster, str], tuple[float, float]], runs: int) -> tuple[float, float]:
    """The medians of runs that begin one after the other, in milliseconds."""

    def one(number: int) -> tuple[float, float]:
        time.sleep(number * APART_S)
        return case(cluster, f"{case.__name__}{number}")

    with ThreadPoolExecutor(runs) as pool:
        first, third = zip(*pool.map(one, range(runs)), strict=True)
    return 1000 * statistics.median(first), 1000 * statistics.median(third)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds each way")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    args = parser.parse_args()
    print("| publisher | one way ms | first ms | third ms |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="first-") as name:
        base = args.keep.absolute() if args.keep else Path(name)
        for delay_s in (0.0, args.delay):
            for topology in (ALONE, TWO):
                folder = base / f"{topology.ingests}-{delay_s}"
                folder.mkdir(parents=True, exist_ok=True)
                with running(folder, topology, LinkFault(delay_s=delay_s)) as cluster:
                    for what, needs, case in CASES:
                        if needs == topology:
                            first, third = measured(cluster, case, args.runs)
                            print(f"| {what} | {1000 * delay_s:.0f} | {first:.0f} | {third:.0f} |", flush=True)


if __name__ == "__main__":
    main()
