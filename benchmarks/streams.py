"""
Many streams of four renditions through one ingest, one origin and one edge, on one Redis: what each process takes.

    python benchmarks/streams.py [--streams 500] [--seconds 60] [--rate 10] [--keep FOLDER]

Each rendition has 100 kbit/s: the source, and three of a transcoder that repeats the source's frames, so that no
encoder is measured. The figures are of a steady state. Of some streams every playlist is asked for at the edge
whenever the ingest has announced a segment, until it is listed; the others have no viewers. It needs the project with
``[test]``, and ``cc``.

late  segments of the watched streams that were not listed within a second of the ingest's announcement, or were listed
      with a hole before them
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hiredis
from attrs import define, field
from players import Connection, Location
from rtmp_peers import Usage, compiled, ffmpeg, raise_limits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # Redis and the processes are those of the tests

from tests.lab.redis import LabRedis  # noqa: E402
from tests.ports import free_port  # noqa: E402
from tests.system.processes import TWISTD, Daemon  # noqa: E402

HOST, STREAM = "127.0.0.1", "bench"
ROLES = ("ingest", "origin", "edge")
REPEATING = ("-m", "tests.system.repeating_ingest")
RUNGS = (240, 180, 120)
NAMES = ("source", *(f"{height}p" for height in RUNGS))
SEGMENT_S, MEDIA_S = 3, 12
WATCHED = 20
"""So many streams are watched."""
COME_PER_S = 23
"""So many publishers come in a second, so that their segments do not end all at the same moment."""
WARM_UP_S = 40
"""Twelve segments: as many as a node keeps."""
LATE_S, MISSED_S = 1.0, 10.0
LOOKS_S = (0.01, 0.25)
"""Between two looks for a segment, at first and at most: each is half as long again as the one before."""
CHANNELS = ("livestream:2:ingest", "livestream:2:origin")


def media(folder: Path, rate: int) -> Path:
    """What every publisher sends: 480x270, 100 kbit/s with its sound, a key frame every 3 s."""
    path = folder / "small.flv"
    source = ["-f", "lavfi", "-i", f"testsrc2=size=480x270:rate={rate}", "-f", "lavfi", "-i", "sine=440:16000"]
    video = ["-c:v", "libx264", "-b:v", "76k", "-minrate", "76k", "-maxrate", "76k", "-bufsize", "76k"]
    video += ["-nal-hrd", "cbr", "-g", str(SEGMENT_S * rate), "-sc_threshold", "0", "-bf", "0", "-pix_fmt", "yuv420p"]
    audio = ["-c:a", "aac", "-b:a", "24k", "-ar", "16000", "-ac", "1"]
    command = [ffmpeg(), "-loglevel", "error", "-nostdin", "-y", *source, *video, *audio, "-t", str(MEDIA_S), str(path)]
    subprocess.run(command, check=True)
    return path


@define(eq=False)
class Watch:
    """
    Hears all announcements as Redis passes them on, and looks for those of some streams in the playlists of ``edge``.

    ``passed_s`` is from the ingest's announcement of a segment to the origin's, ``listed_s`` to the edge's listing.
    """

    redis: Location
    edge: Location
    watched: frozenset[str]
    heard: int = field(default=0, init=False)
    passed_s: list[float] = field(factory=list, init=False)
    listed_s: list[float] = field(factory=list, init=False)
    late: list[str] = field(factory=list, init=False)
    _since: dict[tuple[str, str, int], float] = field(factory=dict, init=False)
    _looking: set[asyncio.Task[None]] = field(factory=set, init=False)
    _idle: list[Connection] = field(factory=list, init=False)

    def reset(self) -> None:
        """Forget what was seen so far."""
        self.heard = 0
        for seen in (self.passed_s, self.listed_s, self.late):
            seen.clear()

    async def run(self) -> None:
        async for channel, message in _messages(self.redis):
            told = json.loads(message.partition(b" ")[2])
            if told["kind"] == "segment":
                self._announced(channel, told)

    def _announced(self, channel: str, told: dict[str, Any]) -> None:
        stream, rendition, segment = told["stream"], told["rendition"]["name"], told["segment"]
        key, now = (stream, rendition, segment["msn"]), time.monotonic()
        if channel == CHANNELS[0]:
            self.heard += 1
            self._since[key] = now
            if stream in self.watched:
                looking = asyncio.create_task(self._look(f"/live/{stream}/{rendition}", segment, now))
                self._looking.add(looking)
                looking.add_done_callback(self._looking.discard)
        elif (since := self._since.pop(key, None)) is not None:
            self.passed_s.append(now - since)

    async def _look(self, path: str, segment: dict[str, Any], since: float) -> None:
        """Ask for a playlist until it lists a segment."""
        name = segment["media"][0]
        connection, pause_s = self._idle.pop() if self._idle else Connection(self.edge), LOOKS_S[0]
        while True:
            status, body = await connection.get(f"{path}/index.m3u8")
            took_s = time.monotonic() - since
            if (status == 200 and name.encode() in body) or took_s > MISSED_S:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LOOKS_S[1])
        self._idle.append(connection)
        self.listed_s.append(took_s)
        if took_s > LATE_S or not is_whole(body.decode(), segment["msn"]):
            self.late.append(f"{path}/{name}")


def is_whole(text: str, msn: int) -> bool:
    """Whether a playlist lists everything up to this number, and nothing as a gap."""
    first = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)
    return first is not None and int(first[1]) + text.count("#EXTINF") > msn and "#EXT-X-GAP" not in text


async def _messages(redis: Location) -> AsyncIterator[tuple[str, bytes]]:
    """All that Redis passes on: channel and message."""
    reader, writer = await asyncio.open_connection(*redis)
    writer.write(f"SUBSCRIBE {' '.join(CHANNELS)}\r\n".encode())
    replies = hiredis.Reader()
    while data := await reader.read(1 << 16):
        replies.feed(data)
        while (reply := replies.gets()) is not False:
            if reply[0] == b"message":
                yield reply[1].decode(), reply[2]


@define(eq=False)
class Bench:
    """Redis and the three processes."""

    folder: Path
    redis: LabRedis
    nodes: dict[str, Daemon]
    ports: dict[str, int]

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator[Bench]:
        ports = {f"{role}.{kind}": free_port() for role in ROLES for kind in ("http", "rtmp")}
        with ExitStack() as stack:
            redis = LabRedis.of(folder, HOST)
            stack.enter_context(redis.running())
            nodes = {}
            for role in ROLES:
                sets = [
                    f"bus.redis=redis://{HOST}:{redis.address[1]}/0",
                    "cluster.secret=the secret of this benchmark",
                    f"node.id={role}-1",
                    f"node.http=http://{HOST}:{ports[f'{role}.http']}",
                    f"node.rtmp=rtmp://{HOST}:{ports[f'{role}.rtmp']}",
                    *(f"{role}.{kind}=tcp:{ports[f'{role}.{kind}']}:interface={HOST}" for kind in ("http", "rtmp")),
                    f"transcode.ladder={list(RUNGS)}",
                ]
                program = REPEATING if role == "ingest" else TWISTD
                nodes[role] = Daemon.of(folder, role, *sets, role=role, program=program)
                stack.enter_context(nodes[role].running())
            yield cls(folder, redis, nodes, ports)

    def usages(self) -> dict[str, Usage]:
        return {name: Usage(process.pid) for name, process in (*self.nodes.items(), ("redis", self.redis))}

    async def complete(self, streams: int, limit_s: float) -> None:
        """Wait until the edge lists so many streams in all renditions."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            known = await asyncio.to_thread(self.nodes["edge"].json, "/api/v1/streams")
            assert isinstance(known, dict)
            if sum(len(one["renditions"]) for one in known["streams"]) == streams * len(NAMES):
                return
        raise SystemExit(f"the edge does not list all renditions of {streams} streams within {limit_s:.0f} s")


async def measure(bench: Bench, args: argparse.Namespace) -> None:
    program, path = compiled(bench.folder), media(bench.folder, args.rate)
    watched = frozenset(f"{STREAM}{number}" for number in range(0, args.streams, max(args.streams // WATCHED, 1)))
    watch = Watch(bench.redis.address, (HOST, bench.ports["edge.http"]), watched)
    watching, limit_s = asyncio.create_task(watch.run()), 60 + args.streams / COME_PER_S
    words = (HOST, bench.ports["ingest.rtmp"], "live", STREAM, args.streams, 0, path, COME_PER_S)
    publishers = subprocess.Popen([program, "publish", *map(str, words)], stdout=subprocess.PIPE)
    try:
        await bench.complete(args.streams, limit_s)
        await asyncio.sleep(WARM_UP_S)
        usages = {**bench.usages(), "generator": Usage(publishers.pid)}
        watch.reset()
        before, began_s = {name: usage.cpu_s() for name, usage in usages.items()}, time.monotonic()
        await asyncio.sleep(args.seconds)
        elapsed_s = time.monotonic() - began_s
        for name, usage in usages.items():
            cpu = 100 * (usage.cpu_s() - before[name]) / elapsed_s
            print(f"| {name} | {cpu:.1f} | {usage.memory_bytes() / 2**20:.0f} |")
        report(watch, elapsed_s)
        print(f"publishers lost: {args.streams - bench.nodes['ingest'].metric('livestream_broadcasts'):.0f}")
    finally:
        watching.cancel()
        publishers.kill()
        publishers.wait()


def report(watch: Watch, elapsed_s: float) -> None:
    passed = len(watch.passed_s) / elapsed_s
    print(f"announcements of the ingest: {watch.heard / elapsed_s:.0f}/s, of the origin: {passed:.0f}/s")
    for what, delays in (("announced by the origin", watch.passed_s), ("listed at the edge", watch.listed_s)):
        ordered = sorted(delays)
        p50, p99 = (1000 * ordered[int((len(ordered) - 1) * part)] for part in (0.5, 0.99))
        print(f"{what}: {len(ordered)}, after {p50:.0f} ms (p50), {p99:.0f} (p99), {1000 * ordered[-1]:.0f} (max)")
    print(f"late: {len(watch.late)}  {' '.join(watch.late[:5])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=int, default=10, help="pictures a second; of sounds there are 16")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    args = parser.parse_args()
    raise_limits()
    with tempfile.TemporaryDirectory(prefix="streams-") as name:
        folder = args.keep.absolute() if args.keep else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with Bench.running(folder) as bench:
            print("| process | % of a core | MiB |\n| --- | --- | --- |", flush=True)
            asyncio.run(measure(bench, args))


if __name__ == "__main__":
    main()
