"""
How the memory of each role changes over hours, with a publisher who comes and goes.

    python benchmarks/soak.py [--minutes 40] [--every 30] [--away 5] [--seed 1] [--samples FILE.csv]

Redis, an ingest, an origin and an edge, each a process of its own; a publisher who comes every so many seconds, and is
away for some of them; players of HLS and of HTTP-FLV at the edge. The first quarter is warm-up. A slope is the
least-squares line through what is left, with its standard error, which takes each sample for independent of the others.

*Anonymous* is the process's own heap: no file or library, and none of the memory files of segments, which are counted
beside it. With --every 3 --away 1 a reconnection's growth shows within minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import os
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict, define, field, fields, frozen
from cluster import HTTP, KEY, RTMP, Child, Spec, answers, node, redis, redis_answers, until
from players import Location, Player, Record
from rtmp_peers import encoded, ffmpeg, free_port, raise_limits

STREAM = "soak"
SAMPLE_S = 10.0
WARM_UP = 0.25
"""Of the whole time; what comes within it is left out of the slopes."""
MIB = 2**20
COLUMNS = "{:<7} {:>6} {:>7} {:>17} {:>7} {:>7} {:>17} {:>10} {:>9}"


@frozen
class Sample:
    """What a process had at one time, on the monotonic clock."""

    role: str
    at_s: float
    resident_bytes: int
    anonymous_bytes: int
    memory_file_bytes: int
    descriptors: int


def sampled(role: str, pid: int) -> Sample:
    """What the kernel says of a process now."""
    rollup = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    sizes = {name: int(value.split()[0]) * 1024 for name, value in rollup.items()}
    folder = Path(f"/proc/{pid}/fd")
    descriptors = list(folder.iterdir())
    files = sum(map(memory_file_bytes, descriptors))
    return Sample(role, time.monotonic(), sizes["Rss"], sizes["Anonymous"], files, len(descriptors))


def memory_file_bytes(descriptor: Path) -> int:
    """What is in a memory file; none if it is another file, or has been closed meanwhile."""
    with contextlib.suppress(OSError):
        if str(descriptor.readlink()).startswith("/memfd:"):
            return descriptor.stat().st_blocks * 512
    return 0


@frozen
class Line:
    """A straight line through samples: its slope and the slope's standard error, in MiB an hour."""

    slope: float
    error: float

    def __str__(self) -> str:
        return f"{self.slope:+.2f} ± {self.error:.2f}"


def line(points: Sequence[tuple[float, float]]) -> Line:
    """The least-squares line through points of seconds and bytes."""
    if len(points) < 3:
        return Line(float("nan"), float("nan"))
    count = len(points)
    mean_x, mean_y = (sum(values) / count for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    error = (rest / (count - 2) / spread) ** 0.5
    return Line(slope * 3600 / MIB, error * 3600 / MIB)


@define(eq=False)
class Visits:
    """A publisher who comes every so many seconds, more or less, and leaves in good order or not."""

    url: str
    media: Path
    folder: Path
    every_s: float
    away_s: float
    dice: random.Random
    came: int = field(default=0, init=False)
    _child: Child | None = field(default=None, init=False)

    async def run(self) -> None:
        while True:
            stays_s = (self.every_s - self.away_s) * self.dice.uniform(0.8, 1.2)
            what = ["-re", "-stream_loop", "-1", "-i", str(self.media), "-c", "copy", "-f", "flv", self.url]
            self._child = Child("publisher", [ffmpeg(), "-loglevel", "error", *what], self.folder)
            self._child.start()
            self.came += 1
            await asyncio.sleep(stays_s)
            await asyncio.to_thread(self.leave, self.dice.choice((signal.SIGTERM, signal.SIGKILL)))
            await asyncio.sleep(self.away_s)

    def leave(self, number: int = signal.SIGKILL) -> None:
        if self._child is not None and self._child.is_running:
            self._child.end(number)


async def watch_flv(place: Location, path: str) -> None:
    """Read a push for ever, and ask for it again whenever it ends."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*place)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
            while await reader.read(65536):
                pass
            writer.close()
        await asyncio.sleep(0.5)


async def observe(processes: dict[str, int], seconds: float) -> list[Sample]:
    """Sample all processes until the time is over."""
    samples: list[Sample] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples += [sampled(role, pid) for role, pid in processes.items()]
        await asyncio.sleep(SAMPLE_S)
    return samples


async def soak(folder: Path, args: argparse.Namespace) -> list[Sample]:
    """Run the cluster and those who use it; return the samples of its nodes."""
    port, record, dice = free_port(), Record(), random.Random(args.seed)
    prefix = f"127.{port >> 8}.{port & 0xFF}"  # free as long as this Redis runs, for another soak at the same time
    specs = [Spec(role, 1, f"{prefix}.{number}") for number, role in enumerate(("ingest", "origin", "edge"), 1)]
    ingest, _, edge = specs
    store, nodes = redis(folder, port), {spec: node(spec, folder, port) for spec in specs}
    url = f"rtmp://{ingest.address}:{RTMP}/live/{STREAM}?key={KEY}"
    visits = Visits(url, encoded(folder), folder, args.every, args.away, dice)
    try:
        store.start()
        await until(lambda: redis_answers(port), 10, "Redis ready")
        for spec, child in nodes.items():
            child.start()
            await until(lambda spec=spec: answers(spec.address), 60, f"{spec.name} ready")  # type: ignore[misc]
        running = [asyncio.create_task(visits.run())]
        place = (edge.address, HTTP)
        for _ in range(args.viewers):
            player = Player(f"/live/{STREAM}/source", [place], record, float("inf"))
            running.append(asyncio.create_task(player.run()))
            running.append(asyncio.create_task(watch_flv(place, f"/live/{STREAM}.flv")))
        samples = await observe({spec.role: nodes[spec].pid for spec in specs}, args.minutes * 60)
        for task in running:
            task.cancel()
        print(f"the publisher came {visits.came} times; {dict(sorted(record.counts.items()))}")
        return samples
    finally:
        visits.leave()
        for child in (*nodes.values(), store):
            if child.is_running:
                child.end(signal.SIGKILL)


def table(samples: Sequence[Sample]) -> None:
    print(COLUMNS.format("role", "RSS", "end", "MiB/h", "anon", "end", "MiB/h", "memfd MiB", "files"))
    began, ended = samples[0].at_s, samples[-1].at_s
    for role in dict.fromkeys(sample.role for sample in samples):
        own = [sample for sample in samples if sample.role == role]
        own = [sample for sample in own if sample.at_s - began >= (ended - began) * WARM_UP]
        first, last = own[0], own[-1]
        resident = line([(sample.at_s, sample.resident_bytes) for sample in own])
        anonymous = line([(sample.at_s, sample.anonymous_bytes) for sample in own])
        print(COLUMNS.format(
            role, f"{first.resident_bytes / MIB:.1f}", f"{last.resident_bytes / MIB:.1f}", str(resident),
            f"{first.anonymous_bytes / MIB:.1f}", f"{last.anonymous_bytes / MIB:.1f}", str(anonymous),
            f"{first.memory_file_bytes / MIB:.0f}-{last.memory_file_bytes / MIB:.0f}",
            f"{first.descriptors}-{last.descriptors}",
        ))  # fmt: skip


def written(samples: Sequence[Sample], path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(each.name for each in fields(Sample))
        rows.writerows(asdict(sample).values() for sample in samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--every", type=float, default=30, help="seconds from one coming of the publisher to the next")
    parser.add_argument("--away", type=float, default=5, help="seconds of them in which nobody publishes")
    parser.add_argument("--viewers", type=int, default=3, help="so many of HLS, and as many of HTTP-FLV")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=Path, help="a file for all samples, as CSV")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    args = parser.parse_args()
    raise_limits()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        os.makedirs(folder, exist_ok=True)
        samples = asyncio.run(soak(folder, args))
    if args.samples:
        written(samples, args.samples)
    table(samples)


if __name__ == "__main__":
    main()
