"""
The delay from a picture drawn at the publisher to the same picture decoded at a player, by RTMP and by HTTP-FLV.

    python benchmarks/glass.py [--seconds 60] [--tick-ms 64] [--keep FOLDER]

Redis, an ingest, an origin and an edge run as processes of their own on this machine, and so do the publisher and both
players. Each picture carries its number as black and white blocks, which survive the encoder; all read one clock.

whole     drawn to decoded
encoder   drawn to written to the publisher's socket
pipeline  written to arrived at the player, through the three tiers
decoder   arrived to decoded
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import queue
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeAlias

import av
from attrs import frozen
from av.container import InputContainer
from av.video.stream import VideoStream
from cluster import Child
from numbered import FPS, HEIGHT, NUMBERS, WIDTH, backgrounds, drawn, number_of
from rtmp_peers import TWISTD, free_port

BITS_PER_S = 2_500_000
SKIPPED_S = 3.0
"""A player begins with a group of pictures that the edge kept: those are old by nature."""
START_S = 30.0
PLAYING = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "4096", "analyzeduration": "0"}
ENCODING = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "bframes=0:scenecut=0:nal-hrd=none"}
ENCODING |= {"maxrate": str(BITS_PER_S), "bufsize": str(BITS_PER_S // 2)}
STREAM = "glass"

Written = list[tuple[float, float]]
"""When each picture was drawn and written, by its number."""
Seen = list[tuple[int, float, float]]
"""The number of each picture, and when it arrived and was decoded."""
Arrival: TypeAlias = "tuple[av.Packet[VideoStream], float] | None"


def publish(url: str, stop: Event, report: Connection) -> None:
    """Draw pictures in real time until told to stop, and report when each was drawn and written."""
    noise, written = backgrounds(), Written()
    with av.open(url, "w", format="flv", options={"flush_packets": "1"}, timeout=10) as output:
        stream = output.add_stream("libx264", rate=FPS, options=ENCODING)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate, stream.gop_size = BITS_PER_S, 2 * FPS
        began = time.monotonic()
        for number in range(NUMBERS):
            if stop.wait(max(0.0, began + number / FPS - time.monotonic())):
                break
            now = time.monotonic()
            for packet in stream.encode(drawn(number, noise[number % len(noise)])):
                output.mux(packet)
            written.append((now, time.monotonic()))
    report.send(written)


def opened(url: str) -> InputContainer:
    """The stream, asked for again while it is not there yet."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return av.open(url, "r", format="flv", options=PLAYING, timeout=10)
        except (av.FFmpegError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def play(url: str, seconds: float, report: Connection) -> None:
    """Play for a while, and report when each picture arrived and was decoded, without those of the beginning."""
    arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
    with opened(url) as source:
        begin = time.monotonic() + SKIPPED_S
        stream = source.streams.video[0]
        stream.codec_context.thread_count = 1
        reader = threading.Thread(target=receive, args=(source, stream, begin + seconds, arrivals), daemon=True)
        reader.start()
        report.send(decoded(stream, begin, arrivals))
        reader.join(15)


def receive(source: InputContainer, stream: VideoStream, end: float, arrivals: queue.SimpleQueue[Arrival]) -> None:
    """Note when each packet arrived, in a thread: what comes next does not wait for the decoder."""
    try:
        for packet in source.demux(stream):
            arrivals.put((packet, time.monotonic()))
            if time.monotonic() > end:
                break
    finally:
        arrivals.put(None)


def decoded(stream: VideoStream, begin: float, arrivals: queue.SimpleQueue[Arrival]) -> Seen:
    seen, arrived = Seen(), dict[int | None, float]()
    while (arrival := arrivals.get(timeout=15)) is not None:
        packet, at = arrival
        arrived[packet.pts] = at
        for picture in stream.decode(packet) if packet.size else ():
            number = number_of(picture)
            if number is not None and arrived[picture.pts] >= begin:
                seen.append((number, arrived[picture.pts], time.monotonic()))
    return seen


@frozen
class Site:
    """Redis and the three tiers: where to publish and to play, and what listens where once it has started."""

    publish: str
    play: dict[str, str]
    children: list[Child]
    ports: list[int]


def site(folder: Path, tick_ms: int) -> Site:
    store = free_port()
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("neither redis-server nor valkey-server is installed")
    command = [program, "--port", str(store), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    children, ports, above, rtmp = [Child("redis", command, folder)], [store], "", dict[str, int]()
    for role in ("ingest", "origin", "edge"):
        http, rtmp[role], ops = free_port(), free_port(), free_port()
        sets = [f"bus.redis=redis://127.0.0.1:{store}/0", f"push.tick_ms={tick_ms}", "transcode.ladder=[]"]
        sets += [f"{role}.http=tcp:{http}:interface=127.0.0.1", f"{role}.rtmp=tcp:{rtmp[role]}:interface=127.0.0.1"]
        sets += [f"ops.http=tcp:{ops}:interface=127.0.0.1", *([f"{role}.upstreams=[{above}]"] if above else [])]
        command = [*TWISTD, "livestream", f"--role={role}", *(f"--set={one}" for one in sets)]
        children.append(Child(role, command, folder))
        ports.append(ops)
        above = f'{{http="http://127.0.0.1:{http}", rtmp="rtmp://127.0.0.1:{rtmp[role]}"}}'
    urls = {"RTMP": f"rtmp://127.0.0.1:{rtmp['edge']}/live/{STREAM}"}
    urls["HTTP-FLV"] = f"http://127.0.0.1:{http}/live/{STREAM}.flv"
    return Site(f"rtmp://127.0.0.1:{rtmp['ingest']}/live/{STREAM}", urls, children, ports)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(place: Site) -> Iterator[None]:
    """Run the tiers, each once the one above listens, and end them."""
    try:
        for child, port in zip(place.children, place.ports, strict=True):
            child.start()
            deadline = time.monotonic() + START_S
            while not listens(port):
                if time.monotonic() > deadline or not child.is_running:
                    raise SystemExit(
                        f"{child.name} does not listen: {(child.folder / f'{child.name}.log').read_text()}"
                    )
                time.sleep(0.05)
        yield
    finally:
        for child in reversed(place.children):
            if child.is_running:
                child.end(signal.SIGKILL)


def measured(place: Site, seconds: float) -> tuple[Written, dict[str, Seen]]:
    """Publish, play both ways at the same time, and collect what each saw."""
    context = multiprocessing.get_context("spawn")
    stop, started = context.Event(), []

    def start(target: Callable[..., None], *arguments: object) -> Connection:
        ours, theirs = context.Pipe(duplex=False)
        started.append(context.Process(target=target, args=(*arguments, theirs), daemon=True))
        started[-1].start()
        theirs.close()
        return ours

    try:
        publisher = start(publish, place.publish, stop)
        players = {name: start(play, url, seconds) for name, url in place.play.items()}
        limit = time.monotonic() + 2 * START_S + SKIPPED_S + seconds
        seen: dict[str, Seen] = {name: collected(name, player, limit) for name, player in players.items()}
        stop.set()
        return collected("publisher", publisher, time.monotonic() + 10), seen
    finally:
        for process in started:
            process.kill()
            process.join(10)


def collected(name: str, report: Connection, limit: float) -> list:  # type: ignore[type-arg]
    if not report.poll(max(0.0, limit - time.monotonic())):
        raise SystemExit(f"{name}: nothing in time")
    try:
        return list(report.recv())
    except EOFError:
        raise SystemExit(f"{name}: ended before its time") from None


def table(written: Written, seen: dict[str, Seen]) -> None:
    print("| protocol | delay | p50 ms | p95 | p99 | max | pictures | missing |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, pictures in seen.items():
        if not pictures:
            raise SystemExit(f"{name}: no picture could be read")
        known = [(*written[number], arrived, at) for number, arrived, at in pictures]
        numbers = {number for number, _, _ in pictures}
        missing = max(numbers) - min(numbers) + 1 - len(numbers)
        for part, first, last in (("whole", 0, 3), ("encoder", 0, 1), ("pipeline", 1, 2), ("decoder", 2, 3)):
            delays = sorted(1000 * (times[last] - times[first]) for times in known)
            cells = [f"{delays[int(share * (len(delays) - 1))]:.0f}" for share in (0.5, 0.95, 0.99, 1)]
            print(f"| {name} | {part} | {' | '.join(cells)} | {len(known):,} | {missing} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="at most 100: the numbers begin again after 136 s")
    parser.add_argument("--tick-ms", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        os.makedirs(folder, exist_ok=True)
        place = site(folder, args.tick_ms)
        with running(place):
            table(*measured(place, min(args.seconds, 100)))


if __name__ == "__main__":
    main()
