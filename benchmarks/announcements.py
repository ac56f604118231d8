"""
What one announcement costs: at the node that announces it, in Redis, and at a node that hears it.

    python benchmarks/announcements.py [--rounds 100] [--streams 20]

The bus of the project on a Redis of its own, with announcements of four renditions that are signed, and logs of their
usual length. CPU time of one thread; in Redis, what its own INFO says of scripts. It needs the project with ``[test]``.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater

from livestream.bus.announcements import decode, encode
from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.redis import PREFIX, RedisBus
from livestream.metrics import Metrics
from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.window import Window
from livestream.roles.node import LOG_WINDOWS
from livestream.signing import seal, unseal

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # Redis is started as the tests start it

from tests.lab.redis import LabRedis  # noqa: E402

HOST, SECRET = "127.0.0.1", "the secret of this benchmark"
HEIGHTS = (1080, 720, 480, 360)
WINDOW, SEGMENT_MS = 6, 3000
WARM_UP = LOG_WINDOWS * WINDOW // len(HEIGHTS) + 8
"""Segments of each stream until its log is as long as it gets."""
AT_ONCE = 200
"""So many announcements wait for Redis at once, as when the segments of many streams end together."""
WAIT_S = 60


def announcements(streams: int, first: int, rounds: int, node: str) -> list[SegmentAnnounced]:
    """``rounds`` segments of every stream in every rendition, in the order in which they would come."""
    began_ms = int(time.time()) * 1000
    return [
        announcement(f"show{stream}", height, first + index, began_ms, node)
        for index in range(rounds)
        for stream in range(streams)
        for height in HEIGHTS
    ]


def announcement(stream: str, height: int, msn: int, began_ms: int, node: str) -> SegmentAnnounced:
    epoch = Epoch(1_700_000_000_000_000, 0, True)
    info = RenditionInfo(f"{height}p", "avc1.64002a,mp4a.40.2", 6_000_000, 5_000_000, height * 16 // 9, height, 29.97)
    media = ObjectInfo(f"{epoch.number}-{msn}.m4s", 940_000, f"{msn:064x}")
    init = ObjectInfo(f"{epoch.number}-init-0.mp4", 1300, "0" * 64)
    segment = Segment(msn, 0, began_ms + msn, SEGMENT_MS, media, init)
    return SegmentAnnounced(stream, epoch, 3, info, segment, node)


def each_us(work: Callable[[Any], object], values: Sequence[Any]) -> float:
    """The CPU time of one call, in microseconds."""
    began = time.thread_time()
    for one in values:
        work(one)
    return (time.thread_time() - began) / len(values) * 1e6


def steps(told: Sequence[SegmentAnnounced]) -> Iterator[tuple[str, float]]:
    """What is done to one announcement without any network, step by step."""
    payloads = [encode(one) for one in told]
    sealed = [seal(payload, SECRET) for payload in payloads]
    windows = {one.stream: Window(one.stream, WINDOW) for one in told}
    yield "sender: encode", each_us(encode, told)
    yield "sender: sign", each_us(lambda payload: seal(payload, SECRET), payloads)
    yield "receiver: check the signature", each_us(lambda message: unseal(message, SECRET), sealed)
    yield "receiver: decode", each_us(decode, payloads)
    yield "receiver: window", each_us(lambda one: windows[one.stream].apply([one]), told)


async def ready(*buses: RedisBus) -> None:
    deadline = time.monotonic() + WAIT_S
    while not all(bus.is_healthy for bus in buses):
        if time.monotonic() > deadline:
            raise SystemExit("Redis does not answer")
        await deferLater(reactor, 0.02)


async def send(work: Callable[[SegmentAnnounced], Deferred[None]], told: Sequence[SegmentAnnounced]) -> float:
    """Announce all, a number of them at once; return the CPU time of one in this thread, in microseconds."""
    began = time.thread_time()
    for start in range(0, len(told), AT_ONCE):
        answers = await DeferredList([work(one) for one in told[start : start + AT_ONCE]], fireOnOneErrback=True)
        assert all(is_fine for is_fine, _ in answers)
    return (time.thread_time() - began) / len(told) * 1e6


def script_us(redis: LabRedis) -> float:
    """What Redis says that a script took since the last time it was asked, in microseconds."""
    with socket.create_connection(redis.address, 10) as connection:
        connection.sendall(b"INFO commandstats\r\nCONFIG RESETSTAT\r\n")
        lines = connection.makefile("rb")
        text = lines.read(int(lines.readline()[1:])).decode()
    stats = next((line for line in text.splitlines() if line.startswith("cmdstat_evalsha:")), "usec_per_call=nan")
    return float(stats.partition("usec_per_call=")[2].partition(",")[0])


async def hear(redis: LabRedis, bus: RedisBus, told: Sequence[SegmentAnnounced]) -> float:
    """Have another thread publish all, as an origin; return the CPU time of one here until its window has it."""
    known_streams = KnownStreams(bus, Tier.ORIGIN, None, WINDOW, reactor, Metrics())
    heard = {"news": 0}

    def count(stream: str, news: object) -> None:
        heard["news"] += 1

    known_streams.subscribe(count)
    known_streams.start()
    await ready(bus)
    for one in told[: len(told) // 10]:
        known_streams.recovered([one])
    rest = told[len(told) // 10 :]
    messages = [seal(encode(one), SECRET) for one in rest]
    heard["news"], began = 0, time.thread_time()
    threading.Thread(target=publish, args=(redis, messages), daemon=True).start()
    deadline = time.monotonic() + WAIT_S
    while heard["news"] < len(rest):
        if time.monotonic() > deadline:
            raise SystemExit(f"{heard['news']} of {len(rest)} announcements were heard")
        await deferLater(reactor, 0.02)
    took = time.thread_time() - began
    known_streams.stop()
    return took / len(rest) * 1e6


def publish(redis: LabRedis, messages: Sequence[bytes]) -> None:
    channel = f"{PREFIX}{Tier.ORIGIN.value}".encode()
    with socket.create_connection(redis.address, 10) as connection:
        for start in range(0, len(messages), 50):
            batch = messages[start : start + 50]
            head = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n" % (len(channel), channel)
            connection.sendall(b"".join(head + b"$%d\r\n%s\r\n" % (len(one), one) for one in batch))
            lines = connection.makefile("rb")
            for _ in batch:
                lines.readline()


async def measure(redis: LabRedis, args: argparse.Namespace) -> None:
    url = f"redis://{HOST}:{redis.address[1]}/0"
    sender = RedisBus(url, reactor, Metrics(), "ingest-1", LOG_WINDOWS * WINDOW, SECRET)
    hearer = RedisBus(url, reactor, Metrics(), "origin-1", LOG_WINDOWS * WINDOW, SECRET)
    for bus in (sender, hearer):
        bus.startService()
    await ready(sender)
    told = announcements(args.streams, WARM_UP, args.rounds, sender.node)
    print(f"{len(seal(encode(told[0]), SECRET))} bytes\n\n| step | us |\n| --- | --- |")
    for name, us in steps(told):
        print(f"| {name} | {us:.1f} |")
    await send(sender.accept, announcements(args.streams, 0, WARM_UP, sender.node))
    script_us(redis)
    print(f"| sender: all of it, with the command and its answer | {await send(sender.accept, told):.1f} |")
    print(f"| Redis: the script of a writer, with the message passed on | {script_us(redis):.1f} |")
    print(f"| receiver: all of it, with the message read | {await hear(redis, hearer, told):.1f} |")
    for bus in (sender, hearer):
        bus.stopService()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="segments of each stream and rendition")
    parser.add_argument("--streams", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bus-") as name:
        redis = LabRedis.of(Path(name), HOST)
        with redis.running():
            done = ensureDeferred(measure(redis, args))
            done.addErrback(lambda failure: print(failure.getTraceback(), file=sys.stderr))
            done.addBoth(lambda _: reactor.stop())
            reactor.run()


if __name__ == "__main__":
    main()
